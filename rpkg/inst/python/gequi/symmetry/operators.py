"""Maps on numpy arrays with declared field types, whose equivariance is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from .._escnn import FieldType, GroupElement
from ..arrays import as_array, check_dtype, check_index, entries
from ..errors import InputError, ShapeError
from ..fields import act_on_each, parse_fields
from ..groups import check_gspace
from ..networks import EquivariantNetwork, predict
from .averaging import SymmetrizedModel
from .canonical import CanonicalizedModel
from .foreign import ArrayFunction, check_output, module_type, open_model, with_type


class Moved(NamedTuple):
    """An input and its output, moved by an element g."""

    input: np.ndarray  # g x
    output: np.ndarray  # g f(x)
    of_input: np.ndarray  # f(g x)

    @property
    def difference(self) -> np.ndarray:
        """f(g x) - g f(x)"""
        return self.of_input - self.output


class Operator:
    """A map on numpy arrays with declared field types."""

    def __init__(self, f: ArrayFunction, dtype: str, in_type: FieldType, out_type: FieldType) -> None:
        self.f, self.in_type, self.out_type, self.dtype = f, in_type, out_type, np.dtype(dtype)
        self.to_output: Callable[[Any], Any] = lambda element: element
        self.argument = "f"  # by which messages call the map

    def __call__(self, x: np.ndarray) -> np.ndarray:
        value = as_array(self.f(x), f"{self.argument}(x)")
        check_output(value.shape, self.out_type, self.argument)
        return value.astype(self.dtype, copy=False)

    def move(self, x: np.ndarray, value: np.ndarray, element: GroupElement, name: str) -> Moved:
        """Move x and `value`, which is f(x), by an element. Messages call the element by its `name`."""
        there, output = act_on_each((x, self.in_type, element), (value, self.out_type, self.to_output(element)))
        of_input = self(there)
        if of_input.shape != output.shape:
            raise ShapeError(
                "`{argument}` gives shape {shape} for the input moved by {element}; its output moved by this element "
                "has shape {expected}.",
                self.argument, shape=of_input.shape, element=name, expected=output.shape,
            )  # fmt: skip
        return Moved(there, output, of_input)

    def move_back(self, moved: Moved, element: GroupElement) -> list[np.ndarray]:
        """Move the input and the output back by the inverse of an element."""
        back, on_output = ~element, ~self.to_output(element)
        return act_on_each((moved.input, self.in_type, back), (moved.output, self.out_type, on_output))


def make_operator(f: Any, space: Any, input: Any, output: Any, dtype: str | None) -> Operator:
    if isinstance(f, EquivariantNetwork | SymmetrizedModel | CanonicalizedModel):
        if any(given is not None for given in (space, input, output)):
            raise InputError(
                "`{argument}`, `{input:name}` and `{output:name}` are declared by the network; leave them out.",
                "space", input="input", output="output",
            )  # fmt: skip
        operator = Operator(*_function_of(f, dtype), f.in_type, f.out_type)
        operator.to_output = f.to_output
        return operator
    model = open_model(f, "f")
    for name, given in (("space", space), ("input", input), ("output", output)):
        if given is None:
            raise InputError(
                "`{argument}` is missing: it is required for a function, which does not declare how it transforms."
                if not isinstance(model, nn.Module)
                else "`{argument}` is missing: it is required for a module, which does not declare how it transforms.",
                name,
            )
    return declared_operator(model, space, input, output, dtype)


def declared_operator(
    model: nn.Module | ArrayFunction, space: Any, input: Any, output: Any, dtype: str | None
) -> Operator:
    """The operator of a model that transforms as `input` and `output` say, whatever it declares itself."""
    check_gspace(space)
    types = []
    for name, fields in (("input", input), ("output", output)):
        types.append(fields if isinstance(fields, FieldType) else parse_fields(space, fields, name))
        if types[-1].gspace != space:
            template = "`{argument}` must be of the gspace of `{space:name}`; got a field type of another."
            raise InputError(template, name, space="space")
    return Operator(*_function_of(model, dtype), *types)


def _function_of(model: nn.Module | ArrayFunction, dtype: str | None) -> tuple[ArrayFunction, str]:
    """A model as a function of arrays, and the type in which it computes."""
    wanted = None if dtype is None else check_dtype(dtype)
    if isinstance(model, nn.Module):
        own = model.dtype if isinstance(model, EquivariantNetwork) else module_type(model)
        module = model if wanted is None else with_type(model, wanted)
        return (lambda x: predict(module, x)), str(wanted or own).removeprefix("torch.")
    return model, str(wanted or torch.float64).removeprefix("torch.")


def scale_of(value: np.ndarray) -> float:
    """Return the largest absolute value of an output, to which errors are relative."""
    scale = float(np.abs(value).max())
    if scale == 0:
        raise InputError("`{argument}` gives an output of zeros only, so that no relative error is defined.", "x")
    return scale


def check_indexes(values: Any, argument: str, count: int) -> list[int]:
    """Check one or several indexes of `count` items and return them as a list."""
    numbers = [check_index(value, argument, count) for value in entries(values)]
    if not numbers:
        raise InputError("`{argument}` is empty; {none!r} is the default.", argument, none=None)
    return numbers
