"""Prediction with a network for numpy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .._layouts import all_finite, empty_tensor, is_row_major
from .._progress import Progress, check_progress, counted
from ..arrays import LazyArray, as_array, check_choice, check_dtype, check_integer, check_result, opened, own_tensor
from ..errors import InputError, ShapeError
from ..fields import check_features
from .compiled import predicting, type_of
from .module import EquivariantNetwork, check_model
from .shapes import largest_features

LARGEST_BATCH = 64
# Number of values in the largest features of a batch. From 2**21 on, the time per image hardly depends on it
# (tests/benchmarks/predicting.py --batches).
FEATURES_OF_A_BATCH = 3 * 2**20
# Number of values of an array of R that are converted at once. With both numbers, prediction needs less than 64 MB beside
# its input and output (tests/benchmarks/border.py --sizes).
VALUES_OF_A_PART = 2**21


def predict(
    model: nn.Module,
    x: Any,
    *more: Any,
    batch_size: int | None = None,
    dtype: str | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Predict with a network or module for an array, in evaluation mode and without gradients.

    The first call compiles a network from `equivariant_network()`: filters are expanded, batch normalizations are
    merged into the preceding convolutions, and all layers become plain torch modules. Further calls use the compiled
    network until the network changes. The same batch size gives identical output; another batch size changes it by
    rounding errors.

    Args:
        model: torch.nn.Module: a network, created by `equivariant_network()`, or any torch module that maps tensors to
            a tensor.
        x: array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel): the inputs. A
            single image (row, column) is used as a batch of one if the input has one channel. A folder of images, a
            list of files or the result of `image_files()` is read batch by batch.
        *more: array: further inputs for modules that take several, such as a query and its context. They are split into
            the same batches.
        batch_size: int, optional: the number of examples processed at once. None is the largest number up to 64 for
            which the largest features of the network have at most 3 * 2^20 values.
        dtype: str, optional: "float32" or "float64". None uses the type of the network.
        precision: str, optional: "bfloat16" to compute convolutions in bfloat16, which has 3 significant digits. It is
            faster on processors and GPUs that support it. Only for networks from `equivariant_network()`. The output
            has the type `dtype`. None uses `dtype`.
        progress: callable, optional: a function that is called after each batch with a dict of `done`, `total`
            (examples) and `seconds_left`.

    Returns:
        array: the output, whose first axis is the batch.

    Reproducibility:
        On one machine, the same number of threads (`torch.get_num_threads()`) gives identical output. With another
        number of threads, sums are computed in another order, and outputs agree to 1e-6 (float32) or 1e-12 (float64),
        relative to the largest value.

    Raises:
        ShapeError: if the axes or channels do not match the network, or if an image is too small for a layer.
        InputError: for values that are not finite.
    Warns:
        ExactnessWarning: for the first image of a size at which a layer is not exactly equivariant.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}])
        >>> predict(net, np.eye(5)).shape
        (1, 4, 3, 3)
    """
    check_model(model)
    size = None if batch_size is None else check_integer(batch_size, "batch_size", minimum=1)
    narrow = _check_precision(model, precision)
    x = opened(x)
    if isinstance(x, LazyArray):
        return _predict_parts(model, x, size, dtype, precision, progress)
    arrays, kind = _inputs(model, x, more, dtype)
    size = size or batch_size_for(model, arrays[0].shape)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    found, tell = _Results(len(arrays[0])), counted(check_progress(progress), len(arrays[0]))
    names = ["x", *["more"] * len(more)]
    batches = [_batches(each, size, kind, name) for each, name in zip(arrays, names, strict=True)]
    with predicting(model, kind, narrow) as run:
        for inputs in zip(*batches, strict=True):
            output = run(*(each.to(device) for each in inputs))
            if not isinstance(output, torch.Tensor):
                template = "`{argument}` must return one tensor; it returned {kind}."
                raise InputError(template, "model", kind=type(output).__name__)
            found.append(len(inputs[0]), output)
            tell(found.filled)
    result = found.tensor.numpy()
    return check_output(result, model) if hasattr(model, "recipe") else result  # others may return NaN


class _Results:
    """The outputs of all batches in one tensor, which has the shape and the type of the first one."""

    tensor: torch.Tensor

    def __init__(self, count: int) -> None:
        self.count, self.filled = count, 0

    def append(self, rows: int, output: torch.Tensor) -> None:
        if not self.filled:
            self.tensor = empty_tensor((self.count, *output.shape[1:]), output.dtype)
        self.tensor[self.filled : self.filled + rows] = output
        self.filled += rows


def _batches(array: np.ndarray, size: int, kind: torch.dtype, name: str) -> Iterator[torch.Tensor]:
    """Yield the batches of an array as tensors.

    In an array of R, the values of one example are far apart. It is converted in parts of several batches, because the
    memory is read in pieces of at least 64 bytes.
    """
    row = array[0].size
    step = size if is_row_major(array) else size * max(1, VALUES_OF_A_PART // (size * row))
    for first in range(0, len(array), step):
        part = own_tensor(array[first : first + step], kind, argument=name)
        if step == size:
            yield part
        else:
            yield from (each.clone() for each in part.split(size))  # as aligned as any other batch
        del part  # before the next one is made


def _check_precision(model: nn.Module, precision: str | None) -> torch.dtype | None:
    if precision is None:
        return None
    check_choice(precision, "precision", ("bfloat16",))
    if not isinstance(model, EquivariantNetwork):
        template = "`{argument}` = {precision!r} is for networks from equivariant_network(); leave it out."
        raise InputError(template, "precision", precision=precision)
    return torch.bfloat16


def _predict_parts(
    model: nn.Module, x: LazyArray, size: int | None, dtype: str | None, precision: str | None,
    progress: Progress | None,
) -> np.ndarray:  # fmt: skip
    """Predict for inputs that are read batch by batch."""
    size = size or batch_size_for(model, x.shape)
    tell, found = counted(check_progress(progress), len(x)), _Results(len(x))
    for start in range(0, len(x), size):
        part = x[start : start + size]
        output = predict(model, part, batch_size=size, dtype=dtype, precision=precision)
        found.append(len(part), torch.from_numpy(output))
        tell(found.filled)
    return found.tensor.numpy()


def _inputs(model: nn.Module, x: Any, more: Sequence[Any], dtype: str | None) -> tuple[list[np.ndarray], torch.dtype]:
    """Check the inputs of a model and choose the floating-point type of the computation."""
    if isinstance(model, EquivariantNetwork):
        arrays = [check_features(x, model.in_type)]
        model.warn_if_inexact(arrays[0].shape[2:], once=True)
        largest_features(model, arrays[0].shape)  # raises an error that names the layer if an image is too small
        return arrays, type_of(model) if dtype is None else check_dtype(dtype)
    arrays = [as_array(each, name) for each, name in zip((x, *more), ["x", *["more"] * len(more)], strict=True)]
    kind = next((p.dtype for p in model.parameters()), torch.get_default_dtype())
    if dtype is not None and check_dtype(dtype) != kind:
        raise InputError(
            "`{argument}` must be the module's own, {kind}, or {none!r}; got {dtype!r}.",
            "dtype", kind=str(kind), none=None, dtype=dtype,
        )  # fmt: skip
    if any(len(each) != len(arrays[0]) for each in arrays):
        raise ShapeError(
            "`{x:name}` and `{argument}` must have the same batch axis; got {sizes!r}.",
            "more", x="x", sizes=[len(each) for each in arrays],
        )  # fmt: skip
    return arrays, kind


def batch_size_for(model: nn.Module, shape: Sequence[int]) -> int:
    """Return the number of inputs of shape (batch, channel, ...) that are processed at once."""
    if not isinstance(model, EquivariantNetwork):
        return LARGEST_BATCH
    try:
        largest = largest_features(model, shape)
    except ShapeError:  # the error with its reason is raised when the network runs
        return 1
    return max(1, min(LARGEST_BATCH, FEATURES_OF_A_BATCH // largest))


def check_output(output: np.ndarray, model: nn.Module, argument: str = "x") -> np.ndarray:
    """Return the `output` of a model created by gequi if it is finite. The error names weights that are not finite."""
    if all_finite(output) or all(bool(torch.isfinite(each).all()) for each in model.parameters()):
        return check_result(output, argument)
    raise InputError("`{argument}` has weights that are not finite: its training has diverged.", "model")
