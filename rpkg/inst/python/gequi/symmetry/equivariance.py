"""Equivariance to the group of a gspace: a table of errors, an answer, and what a picture shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import groups
from .._escnn import GroupElement, GSpace
from ..arrays import check_index, check_number
from ..errors import InputError, ShapeError
from ..fields import act, check_features
from ..groups import group_elements
from ..networks import EquivariantNetwork
from .interpolation import within_interpolation
from .operators import Operator, check_indexes, make_operator, scale_of

# Rounding grows with the number of terms in a sum: these leave room for networks of some tens of layers.
TOLERANCES = {"float32": 1e-4, "float64": 1e-9}
MOST_SAMPLED = 12  # elements of those that interpolate, where none is named


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
    operator = make_operator(f, space, input, output, dtype)
    x = check_features(x, operator.in_type).astype(operator.dtype)
    if isinstance(f, EquivariantNetwork):
        f.warn_if_inexact(x.shape[2:])
    value = operator(x)
    scale = scale_of(value)
    rows = group_elements(operator.in_type.gspace)
    wanted = range(len(rows)) if elements is None else check_indexes(elements, "elements", len(rows))
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

    An element that moves the pixel grid onto itself is judged by its error, which is that of rounding. Another one has
    to interpolate: its error, on a smooth input made from `x`, is compared with the error that interpolation makes by
    itself, measured on the identity map (see `gequi/symmetry/interpolation.py`).

    Args:
        f, x, space, input, output, dtype: as in `equivariance_error()`.
        elements: numbers of the elements to check. None checks those that move the pixel grid onto itself; where no
            quarter turn is among them, as in a group of 3 rotations, the others too, or 12 of them where there are more.
        tolerance: largest relative error that passes, for every element; None is 1e-4 in float32 and 1e-9 in float64
            for elements that do not interpolate, and 8 times the error of interpolation for those that do.

    Returns:
        True or False. True is the answer for any `f` where the group has the identity only.

    Raises:
        as `equivariance_error()`, and InputError where nothing can be said: `elements` holds no more than the identity;
        no element changes `x`; interpolation alone makes an error above 2 %, as on small images.

    Example:
        >>> import gequi, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(1, 1, 32, 32))
        >>> fields = {"input": {"trivial": 1}, "output": {"trivial": 1}}
        >>> [is_equivariant(f, x, gequi.gspace("rot2dOnR2", N=N), **fields)
        ...  for f in (np.square, lambda x: np.roll(x, 1, axis=3)) for N in (3, 4)]
        [True, True, False, False]
    """
    operator = make_operator(f, space, input, output, dtype)
    x = check_features(x, operator.in_type).astype(operator.dtype)
    limit = TOLERANCES[str(np.dtype(operator.dtype))] if tolerance is None else check_number(tolerance, "tolerance", 0)
    chosen = _choose_elements(operator, elements)
    plain = [row["element"] for row in chosen if row["exact"] or tolerance is not None]
    if plain and any(row["error"] > limit for row in equivariance_error(f, x, space, input, output, plain, dtype)):
        return False
    members = groups.elements(operator.in_type.gspace)
    sampled = {row["name"]: members[row["element"]] for row in chosen if row["element"] not in plain}
    if sampled:
        return within_interpolation(operator, x, sampled)
    _check_moved(operator, x, [members[number] for number in plain])
    return True


def _choose_elements(operator: Operator, elements: Sequence[int] | None) -> list[dict[str, Any]]:
    """The rows of the elements to judge, of those that act on the output."""
    space = operator.in_type.gspace
    members, rows = groups.elements(space), group_elements(space)
    kept = [row for row in rows if operator.to_output(members[row["element"]]) is not None]
    telling = [row for row in kept if members[row["element"]] != space.fibergroup.identity]
    if elements is None:
        exact = [row for row in kept if row["exact"]]
        if len(exact) == len(kept) or any(math.isclose(row["angle"], math.pi / 2) for row in exact):
            return exact
        sampled = [row for row in kept if not row["exact"]]
        return exact + sampled[:: -(-len(sampled) // MOST_SAMPLED)]
    wanted = set(check_indexes(elements, "elements", len(rows)))
    chosen = [row for row in kept if row["element"] in wanted]
    if not chosen or (telling and not any(row["element"] in wanted for row in telling)):
        raise InputError(
            "`{argument}` must hold an element that tells something: every function passes under the identity, and the "
            "others named are those that a restriction inside the network has given up."
            if any(row["element"] in wanted for row in rows if row not in kept)
            else "`{argument}` must hold an element besides the identity, under which every function passes.",
            "elements",
        )
    return chosen


def _check_moved(operator: Operator, x: np.ndarray, members: list[GroupElement]) -> None:
    """Refuses an input that no element changes, where another input would be changed."""

    def moves(x: np.ndarray) -> bool:
        moved = [act(x, operator.in_type, element) for element in members]
        return any(each.shape != x.shape or not np.allclose(each, x, rtol=1e-5) for each in moved)

    if not moves(x) and moves(np.arange(1.0, x.size + 1).reshape(x.shape)):
        raise InputError("`{argument}` is changed by none of the elements, so that it tells nothing.", "x")


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
    operator = make_operator(f, space, input, output, dtype)
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
