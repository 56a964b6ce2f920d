"""The check that every operator passes through: how far it is from commuting with its group.

f is equivariant where f(g x) = g f(x) for every element g: transforming the input transforms the output, each by
the representation that its fields declare. An invariant f is one whose output fields are trivial. Where the group is
that of the permutations along an axis, `permutation_error()` measures the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from . import groups
from ._escnn import FieldType, GSpace
from ._recipes import choose_seed
from .arrays import as_array, check_dtype, check_index, check_integer, check_number
from .errors import InputError, ShapeError
from .fields import act, check_features, parse_fields, show_fields
from .groups import check_gspace, group_elements
from .networks import EquivariantNetwork, predict, with_dtype

# Rounding grows with the number of terms in a sum: these leave room for networks of some tens of layers.
TOLERANCES = {"float32": 1e-4, "float64": 1e-9}


def equivariance_error(
    f: EquivariantNetwork | Callable[[np.ndarray], Any],
    x: Any,
    space: GSpace | None = None,
    input: Any = None,
    output: Any = None,
    elements: Sequence[int] | None = None,
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """How far a map is from commuting with each element of a group, relative to the scale of its output.

    error(g) = max |f(g x) - g f(x)| / max |f(x)|

    Args:
        f: a network, which declares its own gspace and fields; or any function from an array to an array, with
            `space`, `input` and `output` declared here.
        x: an input of `f`: (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel).
        space: the gspace; for a network its own.
        input: the fields of `x`, such as `{"trivial": 1}`.
        output: the fields of `f(x)`. A result (batch, channel) transforms by its fields alone.
        elements: numbers of the elements to check; None checks all.
        dtype: "float32" or "float64", in which the map is run; None is the network's own, float64 for a function.

    Returns:
        a table, one dict an element: `element` (its number), `name`, `exact` (whether it moves the pixel grid
        without interpolation: only then can the error be as small as rounding) and `error`. Elements that a
        restriction inside the network has given up are left out.

    Raises:
        InputError, FieldError: fields that are missing where `f` is a function, or that do not fit.
        ShapeError: an output whose channels or axes do not fit `output`, or that changes shape with `g`.
    Warns:
        ExactnessWarning: a layer that breaks exactness at this size.

    Source:
        the definition of equivariance; measured in this form by e3nn and escnn too.

    Example:
        >>> import gequi, numpy as np
        >>> space = gequi.gspace("rot2dOnR2", N=4)
        >>> rows = equivariance_error(lambda x: x**2, np.random.default_rng(0).normal(size=(1, 1, 5, 5)),
        ...                           space, input={"trivial": 1}, output={"trivial": 1})
        >>> [(row["name"], row["error"]) for row in rows]
        [('0°', 0.0), ('90°', 0.0), ('180°', 0.0), ('270°', 0.0)]
    """
    operator = _operator(f, space, input, output, dtype)
    x = check_features(x, operator.in_type).astype(operator.dtype)
    if isinstance(f, EquivariantNetwork):
        f.warn_if_inexact(x.shape[2:])
    value = operator(x)
    scale = _scale(value)
    rows = group_elements(operator.in_type.gspace)
    wanted = range(len(rows)) if elements is None else _check_indexes(elements, "elements", len(rows))
    table = []
    for number in wanted:
        element = groups.elements(operator.in_type.gspace)[number]
        on_output = operator.to_output(element)
        if on_output is None:
            continue
        moved = operator(act(x, operator.in_type, element))
        expected = act(value, operator.out_type, on_output)
        if moved.shape != expected.shape:
            raise ShapeError(
                "`{argument}` gives shape {shape} for the input moved by {element}; its output moved by this element "
                "has shape {expected}.",
                "f", shape=moved.shape, element=rows[number]["name"], expected=expected.shape,
            )  # fmt: skip
        row = {key: rows[number][key] for key in ("element", "name", "exact")}
        table.append({**row, "error": float(np.abs(moved - expected).max()) / scale})
    return table


def is_equivariant(
    f: EquivariantNetwork | Callable[[np.ndarray], Any],
    x: Any,
    space: GSpace | None = None,
    input: Any = None,
    output: Any = None,
    elements: Sequence[int] | None = None,
    dtype: str | None = None,
    tolerance: float | None = None,
) -> bool:
    """Whether `equivariance_error()` stays within a tolerance.

    Args:
        f, x, space, input, output, dtype: as in `equivariance_error()`.
        elements: numbers of the elements to check; None checks those that move the pixel grid exactly, since the
            others measure the interpolation as well.
        tolerance: largest relative error that passes; None is 1e-4 in float32 and 1e-9 in float64.

    Returns:
        True or False.

    Example:
        >>> import gequi, numpy as np
        >>> space = gequi.gspace("rot2dOnR2", N=4)
        >>> is_equivariant(lambda x: np.roll(x, 1, axis=3), np.random.default_rng(0).normal(size=(1, 1, 5, 5)),
        ...                space, input={"trivial": 1}, output={"trivial": 1})
        False
    """
    operator = _operator(f, space, input, output, dtype)
    if elements is None:
        elements = [row["element"] for row in group_elements(operator.in_type.gspace) if row["exact"]]
    limit = TOLERANCES[str(np.dtype(operator.dtype))] if tolerance is None else check_number(tolerance, "tolerance", 0)
    table = equivariance_error(f, x, space, input, output, elements, dtype)
    return all(row["error"] <= limit for row in table)


def equivariance_maps(
    f: EquivariantNetwork | Callable[[np.ndarray], Any],
    x: Any,
    element: int = 1,
    field: int = 0,
    space: GSpace | None = None,
    input: Any = None,
    output: Any = None,
    dtype: str | None = None,
) -> dict[str, Any]:
    """What a picture of equivariance shows: one field of f(x) and of f(g x), and their difference once g is undone.

    Args:
        f, x, space, input, output, dtype: as in `equivariance_error()`; of `x` the first image, of two axes.
        element: the number of g.
        field: the number of the field of the output.

    Returns:
        a dict: `input` and `moved` (row, column), the first channel of x and of g x; `maps`, `maps_of_moved` and
        `difference` (channel, row, column) of the field, the last being g^-1 f(g x) - f(x); `moves_to`, the channel
        of f(g x) in which each channel of f(x) is found, or None where g does not permute the channels; `names` of
        the channels, those of the elements for a regular field; `name` of g; and `error`, as in
        `equivariance_error()`.

    Raises:
        InputError: no such element or field, or an `f` whose output is no image.
    """
    operator = _operator(f, space, input, output, dtype)
    x = check_features(x, operator.in_type).astype(operator.dtype)[:1]
    rows = group_elements(operator.in_type.gspace)
    number = check_index(element, "element", len(rows))
    g = groups.elements(operator.in_type.gspace)[number]
    on_output = operator.to_output(g)
    field = check_index(field, "field", len(operator.out_type))
    value = operator(x)
    if value.ndim != 4 or operator.in_type.gspace.dimensionality != 2 or on_output is None:
        raise InputError(
            "`{argument}` must lead from images to images that the element moves, for a picture of it.", "f"
        )
    moved = act(x, operator.in_type, g)
    of_moved = operator(moved)
    difference = act(of_moved, operator.out_type, ~on_output) - value
    sizes = [int(representation.size) for representation in operator.out_type.representations]
    channels = slice(sum(sizes[:field]), sum(sizes[: field + 1]))
    representation = operator.out_type.representations[field]
    rho = np.asarray(representation(on_output)).round(9)
    permutes = bool(((rho == 0) | (rho == 1)).all())
    regular = sizes[field] == len(rows) and permutes
    return {
        "input": x[0, 0],
        "moved": moved[0, 0],
        "maps": value[0, channels],
        "maps_of_moved": of_moved[0, channels],
        "difference": difference[0, channels],
        "moves_to": rho.argmax(axis=0).tolist() if permutes else None,
        "names": [row["name"] for row in rows] if regular else [str(n + 1) for n in range(sizes[field])],
        "name": rows[number]["name"],
        "error": float(np.abs(difference).max()) / float(np.abs(value).max()),
    }


def permutation_error(
    f: Callable[[np.ndarray], Any],
    x: Any,
    input: int | Sequence[int],
    output: int | Sequence[int] | None = None,
    permutations: int = 5,
    seed: int | None = None,
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """How far a map is from commuting with permutations along an axis, relative to the scale of its output.

    error(P) = max |f(P x) - P f(x)| / max |f(x)|, where P permutes x along `input` and f(x) along `output`.

    Args:
        f: any function from an array to an array: an operation on images, attention on tokens.
        x: an input of `f`.
        input: the axis of `x` that is permuted, or the axes, all by the same permutation.
        output: the axis or axes of `f(x)` that the law permutes; None for a map that should not change at all.
        permutations: how many to try: the exchange of the first two positions, the cycle by one position (these two
            generate all others), and then random ones.
        seed: of the random ones; None is fresh.
        dtype: "float32" or "float64" of `x`; None is float64.

    Returns:
        a table as that of `equivariance_error()`, one dict a permutation: `element` (its number), `name`, `exact` (true:
        a permutation never interpolates) and `error`.

    Raises:
        InputError: an axis that is not there; an output of zeros only.
        ShapeError: an axis of `f(x)` whose size is not that of the permuted axis of `x`.

    Example:
        >>> import gequi
        >>> image = gequi.sample_image("volcano")
        >>> rows = permutation_error(lambda a: a.sum(axis=0), image, input=0, seed=1)
        >>> max(row["error"] for row in rows) < 1e-12
        True
        >>> [row["name"] for row in rows]
        ['exchange', 'cycle', 'random 1', 'random 2', 'random 3']
    """
    if not callable(f):
        raise InputError("`{argument}` must be a function; got {f!r:.80}.", "f", f=f)
    kind = np.dtype(str(check_dtype(dtype or "float64")).removeprefix("torch."))
    array = as_array(x, "x").astype(kind)
    value = as_array(f(array), "f(x)")
    scale = _scale(value)
    axes = {
        "input": _check_indexes(input, "input", array.ndim),
        "output": [] if output is None else _check_indexes(output, "output", value.ndim),
    }
    size = array.shape[axes["input"][0]] if axes["input"] else 1
    _check_sizes(array, axes["input"], size, "input", "x")
    _check_sizes(value, axes["output"], size, "output", "f(x)")
    table = []
    count = check_integer(permutations, "permutations", minimum=1)
    for number, (name, order) in enumerate(_permutations(size, count, seed)):
        moved = as_array(f(_along(array, axes["input"], order)), "f(x)")
        expected = _along(value, axes["output"], order)
        if moved.shape != expected.shape:
            raise ShapeError(
                "`{argument}` gives shape {shape} for the permuted input, {expected} for `{x:name}`.",
                "f", shape=moved.shape, expected=expected.shape, x="x",
            )  # fmt: skip
        error = float(np.abs(moved - expected).max()) / scale
        table.append({"element": number, "name": name, "exact": True, "error": error})
    return table


def _scale(value: np.ndarray) -> float:
    """The largest absolute value of an output, to which errors are relative."""
    scale = float(np.abs(value).max())
    if scale == 0:
        raise InputError("`{argument}` leads to an output of zeros only, to which no error can be relative.", "x")
    return scale


def _check_indexes(values: Any, argument: str, count: int) -> list[int]:
    """One index, or several, of `count` things."""
    return [check_index(value, argument, count) for value in np.asarray(values).reshape(-1).tolist()]


def _check_sizes(array: np.ndarray, axes: list[int], size: int, argument: str, whose: str) -> None:
    for axis in axes:
        if array.shape[axis] != size:
            raise ShapeError(
                "`{whose}` must have the size {size} along `{axes:name}`, as `{x:name}` along the first axis of "
                "`{input:name}`; got {found}.",
                whose[0], whose=whose, size=size, axes=argument, x="x", input="input", found=array.shape[axis],
            )  # fmt: skip


def _permutations(size: int, count: int, seed: int | None) -> list[tuple[str, np.ndarray]]:
    generator = torch.Generator().manual_seed(choose_seed(seed))
    positions = np.arange(size)
    named = [("exchange", np.r_[positions[1::-1], positions[2:]]), ("cycle", np.roll(positions, 1))]
    drawn = [(f"random {k}", torch.randperm(size, generator=generator).numpy()) for k in range(1, count - 1)]
    return (named + drawn)[:count]


def _along(x: np.ndarray, axes: list[int], order: np.ndarray) -> np.ndarray:
    for axis in axes:
        x = x.take(order, axis=axis)
    return x


class _Operator:
    """A map on numpy arrays with declared types."""

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


def _operator(f: Any, space: Any, input: Any, output: Any, dtype: str | None) -> _Operator:
    if isinstance(f, EquivariantNetwork):
        if any(given is not None for given in (space, input, output)):
            raise InputError(
                "`{argument}`, `{input:name}` and `{output:name}` are the network's own; leave them out.",
                "space", input="input", output="output",
            )  # fmt: skip
        network = f if dtype is None else with_dtype(f, dtype)
        name = str(network.dtype).removeprefix("torch.")
        operator = _Operator(lambda x: predict(network, x), network.in_type, network.out_type, name)
        operator.to_output = network.to_output
        return operator
    if not callable(f):
        raise InputError("`{argument}` must be a network or a function; got {f!r:.80}.", "f", f=f)
    for name, given in (("space", space), ("input", input), ("output", output)):
        if given is None:
            raise InputError("`{argument}` is missing: a function does not say itself how it transforms.", name)
    check_gspace(space)
    in_type, out_type = (
        fields if isinstance(fields, FieldType) else parse_fields(space, fields, name)
        for name, fields in (("input", input), ("output", output))
    )
    return _Operator(f, in_type, out_type, str(check_dtype(dtype or "float64")).removeprefix("torch."))
