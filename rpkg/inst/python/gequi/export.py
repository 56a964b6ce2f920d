"""Export of networks to ONNX and TorchScript files, which run without gequi and escnn.

In evaluation mode, a steerable convolution is an ordinary convolution with a constant kernel. The exported graph
contains torch operations with the expanded kernels as constants. It does not contain the recipe, the filter basis or
the group, but its output has the same symmetry.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ._files import write_file
from ._quiet import quiet
from .arrays import check_choice, check_dtype
from .errors import GequiError, InputError, need_packages
from .networks import EquivariantNetwork, check_model, evaluating, output_size, plain_network, with_dtype
from .tracing import AXES, check_shapes

FORMATS = ("onnx", "torchscript")
OPSET = 18  # the oldest version that torch's exporter writes without conversion
_SPEAKERS = ("torch", "torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "onnxscript", "onnx_ir")
# Largest difference between a correct trace and the model, relative to the largest output. A trace that misses a branch
# or treats a size as a constant differs much more.
_SAME = 1e-4


def export_model(model: nn.Module, path: Any, input_shape: Any, format: str = "onnx", dtype: str = "float32") -> str:
    """Export the computation of a network in evaluation mode to an ONNX or TorchScript file.

    The batch axis is dynamic. Image sizes and the number of tokens are dynamic if the network accepts any size.

    Args:
        model: torch.nn.Module: a network, created by `equivariant_network()` or another factory of gequi, or any torch
            module.
        path: str or Path: the file. An existing file is replaced once the new file is complete.
        input_shape: tuple of int or list of tuple: the shape of an input, such as (1, 1, 28, 28). For a module with
            several inputs, a list of shapes.
        format: str: "onnx" for onnxruntime and other programs: the inputs are named like the arguments of the model's
            `forward()`, the output is named "output", and the dynamic axes are named "batch", "row", "column", "depth"
            and "token". "torchscript" for `torch.jit.load()` and LibTorch in C++.
        dtype: str: "float32", which all runtimes support, or "float64". onnxruntime has no float64 convolution.

    Returns:
        str: the path.

    Raises:
        ShapeError: if the shape does not match the network or is too small for a layer (the message names it).
        InputError: for layers that cannot be exported for all image sizes (oriented_gradients, ring_descriptor,
            local_normalization, sphere_descriptor, token_pool), for a module that torch cannot export (the message
            contains torch's reason), and for a path that cannot be written.
        SetupError: if onnx or onnxscript is not installed, which "onnx" requires.

    Source:
        ONNX, onnx.ai (opset 18). The files are written by torch.onnx and torch.jit of PyTorch.

    Example:
        >>> import tempfile, gequi, numpy as np
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = export_model(net, folder + "/net.pt", (1, 1, 9, 9), format="torchscript")
        ...     again = torch.jit.load(file)
        >>> bool(np.allclose(again(torch.ones(3, 1, 12, 9)).detach(), gequi.predict(net, np.ones((3, 1, 12, 9)))))
        True
    """
    check_model(model, "model")
    kind, wanted = check_choice(format, "format", FORMATS), check_dtype(dtype)
    shapes = check_shapes(input_shape)
    for part in model.modules():
        if hasattr(part, "not_exported"):
            template = "`{argument}` has a layer {layer}, which is not exported."
            raise InputError(template, "model", layer=str(part.not_exported))
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if isinstance(model, EquivariantNetwork):
        output_size(model, shapes[0])  # raises an error that names the layer
        model = plain_network(with_dtype(model, dtype))
    elif any(p.is_floating_point() and p.dtype != wanted for p in model.parameters()):
        model = copy.deepcopy(model).to(wanted)
    write = _onnx if kind == "onnx" else _torchscript
    if kind == "onnx":
        need_packages(("onnx", "onnxscript"), "the format 'onnx'", "export")
    generator = torch.Generator().manual_seed(0)

    def examples(batch: int) -> Inputs:
        return tuple(
            torch.randn((batch, *shape[1:]), generator=generator, dtype=torch.float64).to(device, wanted)
            for shape in shapes
        )

    shown = ", ".join(map(str, shapes))
    with evaluating(model), torch.no_grad(), _silence():
        try:
            model(*examples(2))
        except Exception as error:  # any exception of the model
            template = "`{argument}` {shapes} is not accepted by the model: {reason}"
            raise InputError(template, "input_shape", shapes=shown, reason=_reason(error)) from error
        try:
            data = write(model, examples)
        except GequiError:
            raise
        except Exception as error:  # any exception of torch
            template = "`{argument}` cannot be exported with inputs of shape {shapes}: {reason}"
            raise InputError(template, "model", shapes=shown, reason=_reason(error)) from error
    return str(write_file(path, data))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress the output of the exporters, which print details in addition to raising an error."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        with quiet(_SPEAKERS, ".*", logging.CRITICAL + 1):
            yield


Inputs = tuple[torch.Tensor, ...]
Examples = Callable[[int], Inputs]


def _larger(model: nn.Module, inputs: Inputs) -> Iterator[tuple[int, int, Inputs]]:
    """Yield each axis of images or tokens that accepts another size: number of the input, axis, larger inputs."""
    for number, given in enumerate(inputs):
        for place, axis in enumerate(_axes(given.ndim)):
            if axis in ("batch", "channel", "feature"):
                continue
            larger = list(inputs)
            larger[number] = torch.cat([given] * 2, place)  # double the size also passes layers that halve it
            try:
                model(*larger)
            except Exception:  # any exception of the model: the axis is fixed
                continue
            yield number, place, tuple(larger)


def _axes(ndim: int) -> list[str]:
    return AXES[ndim].split() if ndim in AXES else ["batch", *(f"axis_{number}" for number in range(1, ndim))]


def _reason(error: BaseException) -> str:
    """Return the first line of the original error, without the advice for torch's developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.') if lines else ''}."


# ---- ONNX -----------------------------------------------------------------------------------------------


def _onnx(model: nn.Module, examples: Examples) -> bytes:
    """Convert the model to the bytes of an ONNX file with torch's exporter, which uses torch.export."""
    inputs = examples(2)  # torch treats a batch of 1 as a constant
    names = _input_names(model, len(inputs))
    axes = [_axes(each.ndim) for each in inputs]
    free: tuple[dict[int, Any], ...] = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
    for number, place, _ in _larger(model, inputs):
        free[number][place] = torch.export.Dim.AUTO
    program = torch.onnx.export(
        model, inputs, None, dynamo=True, verbose=False, opset_version=OPSET, input_names=names,
        output_names=["output"], dynamic_shapes=free,
    )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    _forget_sources(proto)
    _name_axes(proto, [[f"{name}_{axis}" if len(names) > 1 and axis != "batch" else axis for axis in each]
                       for name, each in zip(names, axes, strict=True)])  # fmt: skip
    return bytes(proto.SerializeToString())


def _input_names(model: nn.Module, count: int) -> list[str]:
    """Return the names of the arguments of forward(), or x if it has no named arguments."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [name for name, each in inspect.signature(model.forward).parameters.items() if each.kind in kinds]
    if len(named) < count:
        named = ["x"] if count == 1 else [f"x{number}" for number in range(1, count + 1)]
    return [{"input": "x"}.get(name, name) for name in named[:count]]


def _forget_sources(proto: Any) -> None:
    """Remove the metadata for developers: source lines and file paths."""
    for graph in [proto.graph, *proto.functions]:
        values = () if graph is not proto.graph else (*graph.input, *graph.output, *graph.initializer)
        for part in (*graph.node, *graph.value_info, *values, graph):
            del part.metadata_props[:]


def _name_axes(proto: Any, axes: list[list[str]]) -> None:
    """Rename the dynamic axes from torch's names, such as s77, to "batch", "row" and similar names."""
    named: dict[str, str] = {}
    for value, of_value in zip(proto.graph.input, axes, strict=True):
        for size, axis in zip(value.type.tensor_type.shape.dim, of_value, strict=True):
            if size.dim_param:
                named.setdefault(size.dim_param, axis)
    symbol = re.compile(r"\b[a-z]+\d+\b")
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = symbol.sub(lambda found: named.get(found[0], found[0]), size.dim_param)


# ---- TorchScript ----------------------------------------------------------------------------------------


def _torchscript(model: nn.Module, examples: Examples) -> bytes:
    """Convert the model to the bytes of a TorchScript file, by tracing one call."""
    traced = torch.jit.trace(model, examples(2), check_trace=False)
    drawn = examples(3)
    for others in (drawn, tuple(-each for each in drawn), *(larger for _, _, larger in _larger(model, drawn))):
        if not _agree(model, traced, others):
            raise InputError(
                "`{argument}` computes differently for other inputs, and a recording of one call does not contain this: "
                "use the format {format!r}.",
                "model", format="onnx",
            )  # fmt: skip
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    return buffer.getvalue()


def _agree(model: nn.Module, traced: Any, inputs: Inputs) -> bool:
    """Return whether a trace computes the same as the model."""
    ours = model(*inputs)
    try:
        theirs = traced(*inputs)
    except RuntimeError:
        return False
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= _SAME * ours.abs().max())


__all__ = ["export_model"]
