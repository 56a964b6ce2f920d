"""Models that gequi did not make, as functions of arrays or as torch modules.

A model is one of
    a torch module, TorchScript included;
    the path of a TorchScript file (.pt, .pth, .ts) or of an ONNX file (.onnx, run by onnxruntime);
    a predictor as in scikit-learn: an object with `predict_proba()` or `predict()`, which takes (example, feature);
    a model of keras: its images have the channels last;
    a function from an array to an array.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .._escnn import FieldType
from ..arrays import as_array, as_numpy, own_tensor
from ..errors import InputError, SetupError, ShapeError
from ..fields import show_fields
from ..networks import EquivariantNetwork, with_dtype

ArrayFunction = Callable[[np.ndarray], Any]
TORCHSCRIPT = (".pt", ".pth", ".ts")
ONNX = (".onnx",)


class FunctionModule(nn.Module):
    """A function of arrays as a module, without gradients. Its type, float64 at first, changes as that of a module."""

    function: ArrayFunction

    def __init__(self, function: ArrayFunction, argument: str, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.function, self.argument = function, argument
        self.kind = nn.Parameter(torch.empty(0, dtype=dtype), requires_grad=False)  # for its type

    def __deepcopy__(self, memo: dict[int, Any]) -> FunctionModule:
        return FunctionModule(self.function, self.argument, self.kind.dtype)  # a file or predictor is not copied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = as_array(self.function(as_numpy(x)), f"{self.argument}(x)")
        return own_tensor(value, self.kind.dtype, x.device)


def as_module(model: Any, argument: str) -> nn.Module:
    """A model of any kind as a torch module."""
    opened = open_model(model, argument)
    return opened if isinstance(opened, nn.Module) else FunctionModule(opened, argument)


def open_model(model: Any, argument: str) -> nn.Module | ArrayFunction:
    """A model of any kind as a torch module or as a function of arrays.

    Raises:
        InputError: something else, or a file that cannot be read.
        SetupError: an ONNX file without onnxruntime.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(model, str | Path) and Path(model).suffix.lower() in (*TORCHSCRIPT, *ONNX):
        return _open_file(Path(model), argument)
    if hasattr(model, "predict") and not isinstance(model, type):
        return _of_keras(model) if callable(model) else _of_predictor(model)
    if not callable(model):
        raise InputError(
            "`{argument}` must be a network or a function, a torch module, a predictor with a method `predict()`, or a "
            "file .onnx or .pt; got {model!r:.80}.", argument, model=model,
        )  # fmt: skip
    function: ArrayFunction = model
    return function


def check_output(shape: Sequence[int], out_type: FieldType, argument: str) -> None:
    """Raise a ShapeError unless a model, which messages call `argument`, has returned the fields that are declared."""
    if len(shape) not in {2, 2 + out_type.gspace.dimensionality} or shape[1] != out_type.size:
        raise ShapeError(
            "`{model:name}` must return features with {size} channels on axis {axis:index}, as `{argument}` declares "
            "({fields}); it returned shape {shape}.",
            "output", model=argument, size=out_type.size, axis=1, fields=show_fields(out_type), shape=tuple(shape),
        )  # fmt: skip


def module_type(module: nn.Module) -> torch.dtype:
    """The floating-point type of the weights of a module."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype())


def with_type(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a module in another floating-point type, or `module` if it has this type."""
    if isinstance(module, EquivariantNetwork):
        return with_dtype(module, str(dtype).removeprefix("torch."))
    own = getattr(module, "with_type", None)  # of a module that contains others
    if own is not None:
        again: nn.Module = own(dtype)
        return again
    return module if module_type(module) == dtype else copy.deepcopy(module).to(dtype)


def _open_file(path: Path, argument: str) -> nn.Module | ArrayFunction:
    is_onnx = path.suffix.lower() in ONNX
    if is_onnx and importlib.util.find_spec("onnxruntime") is None:
        template = "`{argument}` is an ONNX file, which needs the Python package onnxruntime: install it."
        raise SetupError(template, argument)
    try:
        if is_onnx:
            return _of_onnx(path.read_bytes())
        with warnings.catch_warnings():  # torch has announced another format for the future
            warnings.simplefilter("ignore", DeprecationWarning)
            loaded: nn.Module = torch.jit.load(io.BytesIO(path.read_bytes()), map_location="cpu")
        return loaded
    except Exception as error:  # any error of the two libraries
        raise InputError(
            "`{argument}` is a file that cannot be opened as a model: {reason}",
            argument, reason=str(error).strip().splitlines()[0],
        ) from error  # fmt: skip


def _of_onnx(data: bytes) -> ArrayFunction:
    """An ONNX model of one input and one output."""
    import onnxruntime  # type: ignore[import-untyped]

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    kind = np.float64 if given.type == "tensor(double)" else np.float32
    most = given.shape[0] if isinstance(given.shape[0], int) else None

    def run(x: np.ndarray) -> np.ndarray:
        size = most or len(x)
        parts = []
        for start in range(0, len(x), size):  # a file may have a batch axis of fixed size
            part = x[start : start + size].astype(kind)
            filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            parts.append(session.run(None, {given.name: filled})[0][: len(part)])
        return np.concatenate(parts)

    return run


def _of_predictor(model: Any) -> ArrayFunction:
    """A predictor as in scikit-learn, on examples whose features are the pixels."""
    answer = model.predict_proba if hasattr(model, "predict_proba") else model.predict

    def run(x: np.ndarray) -> np.ndarray:
        value = np.asarray(answer(x.reshape(len(x), -1)))
        return value[:, None] if value.ndim == 1 else value

    return run


def _of_keras(model: Any) -> ArrayFunction:
    """A model of keras, with the channels last."""

    def run(x: np.ndarray) -> np.ndarray:
        value = np.asarray(model.predict(np.moveaxis(x, 1, -1), verbose=0))
        return np.moveaxis(value, -1, 1)

    return run
