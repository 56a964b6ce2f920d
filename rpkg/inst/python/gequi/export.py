"""Networks for other programs: ONNX and TorchScript files, which need neither gequi nor escnn to run.

A steerable convolution in evaluation mode is an ordinary convolution, whose kernel is a constant. So what is exported
is a graph of torch's operations with the expanded kernels as its constants: the recipe, the basis and the group are
gone, the symmetry is not.
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
OPSET = 18  # the oldest that torch's exporter writes without a conversion
_SPEAKERS = ("torch", "torch.onnx", "torch.export", "torch.fx", "torch._dynamo", "onnxscript", "onnx_ir")
# A trace that agrees with the model to this part of its largest output follows it; one that has missed a branch, or
# has taken a size for a constant, does not come near.
_SAME = 1e-4


def export_model(model: nn.Module, path: Any, input_shape: Any, format: str = "onnx", dtype: str = "float32") -> str:
    """Writes what a network computes into a file that other programs run: in evaluation mode, as `predict()`.

    The batch axis is free: the file takes batches of any size. So are the sizes of images and the number of tokens,
    where the network takes any.

    Args:
        model: from `equivariant_network()` or another factory of gequi, or any torch module.
        path: the file; one that exists is replaced, when the new one is whole.
        input_shape: the shape of an input, such as (1, 1, 28, 28); for a module of several inputs a list of shapes.
        format: "onnx", for onnxruntime and others in many languages; its inputs are named as the arguments of the
            model's `forward()`, its output "output", its free axes "batch", "row", "column", "depth" and "token". Or
            "torchscript", for `torch.jit.load()` and LibTorch in C++.
        dtype: "float32", which all runtimes have, or "float64"; onnxruntime has no convolution in float64.

    Returns:
        the path, as text.

    Raises:
        ShapeError: a shape that does not fit the network, or an image too small for a layer (named).
        InputError: a layer that has no form of its own for all sizes of image (oriented_gradients, ring_descriptor,
            local_normalization, sphere_descriptor, token_pool), a module that torch cannot export (the message holds
            torch's reason), or a path that cannot be written to.
        SetupError: onnx or onnxscript are not installed, which "onnx" needs.

    Source:
        ONNX, onnx.ai (opset 18); torch.onnx and torch.jit of PyTorch, which write the files.

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
        output_size(model, shapes[0])  # refuses a shape that does not fit, and names the layer
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
        except Exception as error:  # whatever the model refuses the shape with
            template = "`{argument}` {shapes} does not go through the model: {reason}"
            raise InputError(template, "input_shape", shapes=shown, reason=_reason(error)) from error
        try:
            data = write(model, examples)
        except GequiError:
            raise
        except Exception as error:  # whatever torch refuses the module with
            template = "`{argument}` cannot be exported with inputs of shape {shapes}: {reason}"
            raise InputError(template, "model", shapes=shown, reason=_reason(error)) from error
    return str(write_file(path, data))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Not a word of the exporters, which print what they could not follow besides raising an error."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        with quiet(_SPEAKERS, ".*", logging.CRITICAL + 1):
            yield


Inputs = tuple[torch.Tensor, ...]
Examples = Callable[[int], Inputs]


def _larger(model: nn.Module, inputs: Inputs) -> Iterator[tuple[int, int, Inputs]]:
    """Each axis of an image, or of tokens, that may have another size: which input, which axis, and inputs with it."""
    for number, given in enumerate(inputs):
        for place, axis in enumerate(_axes(given.ndim)):
            if axis in ("batch", "channel", "feature"):
                continue
            larger = list(inputs)
            larger[number] = torch.cat([given] * 2, place)  # twice the size passes through halvings too
            try:
                model(*larger)
            except Exception:  # whatever the model refuses a size with
                continue
            yield number, place, tuple(larger)


def _axes(ndim: int) -> list[str]:
    return AXES[ndim].split() if ndim in AXES else ["batch", *(f"axis_{number}" for number in range(1, ndim))]


def _reason(error: BaseException) -> str:
    """The first sentence of the error at the bottom, without the advice to torch's developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.') if lines else ''}."


# ---- ONNX -----------------------------------------------------------------------------------------------


def _onnx(model: nn.Module, examples: Examples) -> bytes:
    """The model as bytes of an ONNX file, by torch's exporter over torch.export."""
    inputs = examples(2)  # torch takes a batch of 1 for a constant
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
    """The names of the arguments of forward(); x where it has none that are fixed."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = [name for name, each in inspect.signature(model.forward).parameters.items() if each.kind in kinds]
    if len(named) < count:
        named = ["x"] if count == 1 else [f"x{number}" for number in range(1, count + 1)]
    return [{"input": "x"}.get(name, name) for name in named[:count]]


def _forget_sources(proto: Any) -> None:
    """Takes out what the exporter notes for its own developers: lines, and paths of files, of the program."""
    for graph in [proto.graph, *proto.functions]:
        values = () if graph is not proto.graph else (*graph.input, *graph.output, *graph.initializer)
        for part in (*graph.node, *graph.value_info, *values, graph):
            del part.metadata_props[:]


def _name_axes(proto: Any, axes: list[list[str]]) -> None:
    """Calls the free axes "batch", "row" and the like, where torch calls them s77."""
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
    """The model as bytes of a TorchScript file: the operations of one call, recorded."""
    traced = torch.jit.trace(model, examples(2), check_trace=False)
    drawn = examples(3)
    for others in (drawn, tuple(-each for each in drawn), *(larger for _, _, larger in _larger(model, drawn))):
        if not _agree(model, traced, others):
            raise InputError(
                "`{argument}` does other things for other inputs, which a recording of one call does not follow: take "
                "the format {format!r}.",
                "model", format="onnx",
            )  # fmt: skip
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    return buffer.getvalue()


def _agree(model: nn.Module, traced: Any, inputs: Inputs) -> bool:
    """Whether a recording does what the model does."""
    ours = model(*inputs)
    try:
        theirs = traced(*inputs)
    except RuntimeError:
        return False
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= _SAME * ours.abs().max())


__all__ = ["export_model"]
