"""The shapes of the features in a network per module, and the connections between modules.

Any torch module is accepted, including those of escnn. It is run once on zeros, and each call of a module is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from .._escnn import EquivariantModule, GeometricTensor
from .._limits import check_memory
from ..arrays import check_integer
from ..errors import InputError, ShapeError
from ..networks import check_model, evaluating

Trace = list[dict[str, Any]]

AXES = {
    1: "batch",
    2: "batch channel",
    3: "batch token feature",
    4: "batch channel row column",
    5: "batch channel depth row column",
}
_MOST_NUMBERS = 1000  # in the shapes of all inputs
_MOST_AXES = 8  # of an input; more numbers are an array, not its shape


def trace_shapes(model: nn.Module, input_shape: Any) -> Trace:
    """Run a network once on zeros and record its modules, their input and output shapes, and their connections.

    Args:
        model: a network, or any torch module, including those of escnn.
        input_shape: tuple of int: the shape of the input, such as (1, 3, 32, 32). For a model with several inputs, a
            list of shapes.

    Returns:
        a table, a list of dicts with one dict per module, where containers precede their contents: `name` (the torch
        name; "(model)" for the model itself), `kind` (the class, or an operation such as "add" or "concat" that
        combines results), `input` and `output` (shapes such as "1 3 32 32", separated by commas), `axes` (of the
        output), `parameters` (the number of trainable parameters, including contained modules; 0 if a module occurs
        again), `depth` (the nesting depth, 0 for the model), `leaf` (whether the module contains no other row) and
        `sources` (for a leaf, the names of the leaves that provide its input, separated by commas; "input", or "input
        1", "input 2" for several inputs). The last row has the kind "output".

    Raises:
        InputError: a malformed shape, or a shape that the model does not accept. The message includes the message of
            the model.

    Source:
        after the Tracker of Abbott 2024 (arXiv 2402.05424).

    Example:
        >>> from torch import nn
        >>> [(row["kind"], row["output"]) for row in trace_shapes(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), (1, 4))]
        [('Sequential', '1 2'), ('Linear', '1 2'), ('ReLU', '1 2'), ('output', '1 2')]
    """
    check_model(model, "model")
    shapes = check_shapes(input_shape)
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    tensors = [torch.zeros(shape, dtype=first.dtype, device=first.device) for shape in shapes]
    inputs: list[Any] = list(tensors)
    if isinstance(model, EquivariantModule):
        inputs = [GeometricTensor(tensor, model.in_type) for tensor in tensors]
    watch = _Watch(model)
    for number, tensor in enumerate(tensors, start=1):
        watch.note([tensor], "input" if len(tensors) == 1 else f"input {number}")
    try:
        with evaluating(model), torch.no_grad(), watch:
            result = _tensors(model(*inputs))
    except Exception as error:  # models raise errors of any type
        raise InputError(
            "`{argument}` {shapes} is not accepted by the model: {reason}",
            "input_shape", shapes=", ".join(map(_text, shapes)), reason=f"{type(error).__name__}: {error}",
        ) from error  # fmt: skip
    watch.row("output", "output", result, 0)
    watch.rows[-1] |= _described(result)
    return watch.rows


def _described(tensors: list[torch.Tensor]) -> dict[str, str]:
    """Return the shapes of an output and the names of its axes."""
    return {
        "output": ", ".join(_text(tensor.shape) for tensor in tensors),
        "axes": ", ".join(AXES.get(tensor.ndim, "") for tensor in tensors),
    }


def check_shapes(input_shape: Any) -> list[tuple[int, ...]]:
    """Check the shapes of a model's inputs: one, or a list of them."""
    given = input_shape
    if isinstance(given, np.ndarray):  # more numbers than shapes have are an array
        given = list(given.shape) + [0] * _MOST_AXES if given.size > _MOST_NUMBERS else given.tolist()
    if isinstance(given, int | float):
        given = [given]
    try:
        several = isinstance(given[0], Sequence | np.ndarray)
        shapes = [list(shape) for shape in given] if several else [list(given)]
    except (TypeError, IndexError, KeyError):
        raise InputError(
            "`{argument}` must be a shape, such as {example}, or a list of shapes; got {input_shape!r:.60}.",
            "input_shape", example=(1, 3, 32, 32), input_shape=input_shape,
        ) from None  # fmt: skip
    for shape in shapes:
        if len(shape) > _MOST_AXES:
            raise ShapeError(
                "`{argument}` must be a shape, such as {example}; got {count} numbers. Of an array, give its shape.",
                "input_shape", example=(1, 3, 32, 32), count=len(shape),
            )  # fmt: skip
    checked = [tuple(check_integer(size, "input_shape", minimum=1) for size in shape) for shape in shapes]
    check_memory(8 * sum(math.prod(shape) for shape in checked), "input_shape")
    return checked


def _text(shape: Iterable[int]) -> str:
    return " ".join(map(str, shape))


def _tensors(value: Any) -> list[torch.Tensor]:
    """Return the tensors in the input or output of a module."""
    if isinstance(value, GeometricTensor):
        return [value.tensor]
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, list | tuple) else []


class _Watch(TorchFunctionMode):
    """Records each module that is called, and for each tensor the row of the table that it comes from.

    Functions between modules propagate the sources of their arguments. A function that combines tensors from different
    modules, such as the sum of a residual connection, has its own row.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.rows: Trace = []
        self.open: list[int] = []  # numbers of the rows of the modules that are running, outermost first
        self.origin: dict[int, str] = {}
        self.kept: list[torch.Tensor] = []  # so that no other tensor gets the id of one that is gone
        self.times: dict[str, int] = {}
        self.names = _modules_to_watch(model)
        self.hooks: list[RemovableHandle] = []

    def __enter__(self) -> _Watch:
        for module in self.names:
            self.hooks.append(module.register_forward_pre_hook(self._begin, with_kwargs=True))
            self.hooks.append(module.register_forward_hook(self._end))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self.hooks:
            hook.remove()

    def note(self, tensors: Iterable[torch.Tensor], source: str) -> None:
        for tensor in tensors:
            self.origin[id(tensor)] = source
            self.kept.append(tensor)

    def row(self, name: str, kind: str, tensors: list[torch.Tensor], parameters: int) -> None:
        """Begin a row whose output is not known yet."""
        self.times[name] = self.times.get(name, 0) + 1
        sources = dict.fromkeys(self.origin[id(tensor)] for tensor in tensors if id(tensor) in self.origin)
        self.rows.append(
            {
                "name": name if self.times[name] == 1 else f"{name} ({self.times[name]})",
                "kind": kind,
                "input": ", ".join(_text(tensor.shape) for tensor in tensors),
                "output": "",
                "axes": "",
                "parameters": parameters if self.times[name] == 1 else 0,
                "depth": len(self.open),
                "leaf": True,
                "sources": ", ".join(sources),
            }
        )

    def _begin(self, module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        for number in self.open:
            self.rows[number]["leaf"] = False
        self.row(self.names[module], type(module).__name__, _tensors([arguments, options]), count_parameters(module))
        self.open.append(len(self.rows) - 1)

    def _end(self, module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        number = self.open.pop()
        row, tensors = self.rows[number], _tensors(result)
        row |= _described(tensors)
        if row["leaf"]:
            del self.rows[number + 1 :]  # functions inside a module without submodules are not recorded
            self.note(tensors, row["name"])
        else:
            row["sources"] = ""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        result = function(*arguments, **(options or {}))
        made = _tensors(result)
        given = [tensor for tensor in _tensors([arguments, options or {}]) if id(tensor) in self.origin]
        sources = dict.fromkeys(self.origin[id(tensor)] for tensor in given)
        if made and len(sources) == 1:
            self.note(made, next(iter(sources)))
        elif made and sources:
            kind = {"cat": "concat"}.get(function.__name__, function.__name__.strip("_"))
            inside = self.rows[self.open[-1]]["name"] if len(self.open) > 1 else ""
            self.row(f"{inside}.{kind}".lstrip("."), kind, given, 0)
            self.rows[-1] |= _described(made)
            self.note(made, self.rows[-1]["name"])
        return result


def _modules_to_watch(model: nn.Module) -> dict[nn.Module, str]:
    """Return the modules whose calls are recorded. The modules inside layers of escnn are not."""
    names: dict[nn.Module, str] = {}
    closed: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(prefix) for prefix in closed):
            continue
        names[module] = name or "(model)"
        inner = [each for each in module.modules() if each is not module]
        if isinstance(module, EquivariantModule) and not any(isinstance(each, EquivariantModule) for each in inner):
            closed.append(f"{name}." if name else "")
    return names


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters of a model; shared parameters count once."""
    return sum(parameter.numel() for parameter in check_model(model, "model").parameters() if parameter.requires_grad)


def check_trace(trace: Any) -> Trace:
    """Check that `trace` is a table from `trace_shapes()`, and return it."""
    wanted = {"name", "kind", "input", "output", "axes", "parameters", "depth", "leaf", "sources"}
    if not isinstance(trace, list) or not trace or not all(isinstance(r, dict) and wanted <= set(r) for r in trace):
        raise InputError(
            "`{argument}` must be a table, as trace_shapes() makes it; got {trace!r:.60}.", "trace", trace=trace
        )
    return trace


def input_shapes(rows: Trace) -> dict[str, tuple[str, str]]:
    """Return the shape and the axes of each input of the model."""
    shapes = rows[0]["input"].split(", ")
    names = ["input"] if len(shapes) == 1 else [f"input {number}" for number in range(1, len(shapes) + 1)]
    return {name: (shape, AXES.get(len(shape.split()), "")) for name, shape in zip(names, shapes, strict=True)}
