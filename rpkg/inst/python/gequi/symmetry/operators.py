"""Maps on numpy arrays with declared field types, whose equivariance is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._escnn import FieldType
from ..arrays import as_array, check_dtype, check_function, check_index, entries
from ..errors import InputError, ShapeError
from ..fields import parse_fields, show_fields
from ..groups import check_gspace
from ..networks import EquivariantNetwork, predict, with_dtype


class Operator:
    """A map on numpy arrays with declared field types."""

    def __init__(self, f: Callable[[np.ndarray], Any], in_type: FieldType, out_type: FieldType, dtype: Any) -> None:
        self.f, self.in_type, self.out_type, self.dtype = f, in_type, out_type, np.dtype(dtype)
        self.to_output: Callable[[Any], Any] = lambda element: element

    def __call__(self, x: np.ndarray) -> np.ndarray:
        value = as_array(self.f(x), "f(x)")
        axes = {2, 2 + self.out_type.gspace.dimensionality}
        if value.ndim not in axes or value.shape[1] != self.out_type.size:
            raise ShapeError(
                "`{f:name}` must return features with {size} channels on axis {axis:index}, as `{argument}` declares "
                "({fields}); it returned shape {shape}.",
                "output", f="f", size=self.out_type.size, axis=1, fields=show_fields(self.out_type), shape=value.shape,
            )  # fmt: skip
        return value.astype(self.dtype, copy=False)


def make_operator(f: Any, space: Any, input: Any, output: Any, dtype: str | None) -> Operator:
    if isinstance(f, EquivariantNetwork):
        if any(given is not None for given in (space, input, output)):
            raise InputError(
                "`{argument}`, `{input:name}` and `{output:name}` are declared by the network; leave them out.",
                "space", input="input", output="output",
            )  # fmt: skip
        network = f if dtype is None else with_dtype(f, dtype)
        name = str(network.dtype).removeprefix("torch.")
        operator = Operator(lambda x: predict(network, x), network.in_type, network.out_type, name)
        operator.to_output = network.to_output
        return operator
    if not callable(f):
        raise InputError("`{argument}` must be a network or a function; got {f!r:.80}.", "f", f=f)
    check_function(f, "f")
    for name, given in (("space", space), ("input", input), ("output", output)):
        if given is None:
            raise InputError(
                "`{argument}` is missing: it is required for a function, which does not declare how it transforms.",
                name,
            )
    check_gspace(space)
    in_type, out_type = (
        fields if isinstance(fields, FieldType) else parse_fields(space, fields, name)
        for name, fields in (("input", input), ("output", output))
    )
    return Operator(
        f, in_type, out_type, str(check_dtype("float64" if dtype is None else dtype)).removeprefix("torch.")
    )


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
