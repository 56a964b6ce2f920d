"""Prediction: arrays go through a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from .._progress import Progress, check_progress, counted
from ..arrays import LazyArray, as_array, as_numpy, check_dtype, check_integer, check_result, opened, own_tensor
from ..errors import InputError, ShapeError
from ..fields import check_features
from .module import EquivariantNetwork, check_model
from .recipe import with_dtype
from .shapes import output_size


def predict(
    model: nn.Module,
    x: Any,
    *more: Any,
    batch_size: int = 64,
    dtype: str | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Predict with a network: its output for an array, in evaluation mode and without gradients.

    Args:
        model: from `equivariant_network()`, or any torch module that maps tensors to a tensor.
        x: (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel). A single image
            (row, column) counts as a batch of one where the input has one channel. Or a folder of images, a list of
            files, or what `image_files()` returned, of which a batch is read at a time.
        *more: further arrays, for modules that take several (a query and its context); they are cut into the same
            batches.
        batch_size: how many go through at once.
        dtype: "float32" or "float64"; None is the network's own.
        progress: a function that is called after each batch with a dict: `done` and `total` (of the batch axis) and
            `seconds_left`.

    Returns:
        a numpy array, batch first.

    Reproducibility:
        On one machine, the same number of threads (`torch.get_num_threads()`) gives the same output to the bit. Another
        number adds in another order: outputs agree to 1e-6 (float32) and 1e-12 (float64) of the largest.

    Raises:
        ShapeError: axes or channels that do not fit the network, or an image too small for it.
        InputError: values that are not finite numbers.
    Warns:
        ExactnessWarning: at the first image of a size at which a layer breaks exact equivariance.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}])
        >>> predict(net, np.eye(5)).shape
        (1, 4, 3, 3)
    """
    check_model(model)
    size = check_integer(batch_size, "batch_size", minimum=1)
    x = opened(x)
    if isinstance(x, LazyArray):
        tell = counted(check_progress(progress), len(x))
        pieces = []
        for start in range(0, len(x), size):
            pieces.append(predict(model, x[start : start + size], batch_size=size, dtype=dtype))
            tell(min(start + size, len(x)))
        return np.concatenate(pieces)
    names = ["x", *["more"] * len(more)]
    if isinstance(model, EquivariantNetwork):
        model = model if dtype is None else with_dtype(model, dtype)
        arrays = [check_features(x, model.in_type)]
        model.warn_if_inexact(arrays[0].shape[2:], once=True)
        output_size(model, arrays[0].shape)  # an image too small for a layer is refused by name, before any work
        kind = model.dtype
    else:
        arrays = [as_array(each, name) for each, name in zip((x, *more), names, strict=True)]
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
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    pieces, tell = [], counted(check_progress(progress), len(arrays[0]))
    with evaluating(model), torch.no_grad():
        for start in range(0, len(arrays[0]), size):
            batch = [
                own_tensor(each[start : start + size], kind, argument=name).to(device)
                for each, name in zip(arrays, names, strict=False)
            ]
            pieces.append(as_numpy(model(*batch)))
            tell(min(start + size, len(arrays[0])))
    found = np.concatenate(pieces)
    return check_output(found, model) if hasattr(model, "recipe") else found  # what others' modules mean, they know


def check_output(output: np.ndarray, model: nn.Module, argument: str = "x") -> np.ndarray:
    """`output` of a model that gequi made, where it is finite; else an error that says whether the weights were."""
    if np.isfinite(output).all() or all(bool(torch.isfinite(each).all()) for each in model.parameters()):
        return check_result(output, argument)
    raise InputError("`{argument}` has weights that are not finite: its training has diverged.", "model")


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while. escnn expands its filters when it enters that mode and would keep them although
    the weights change, so the mode is entered anew each time, and left again, each part as it was."""
    before = [(part, part.training) for part in model.modules()]
    model.train()
    model.eval()
    try:
        yield
    finally:
        model.train()
        for part, training in before:
            if part.training != training:
                part.train(training)
