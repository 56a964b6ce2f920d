"""Equivariance to the group of a gspace: a table of errors, a test and the maps for a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import groups
from .._escnn import GroupElement, GSpace
from ..arrays import as_float, check_index, check_number
from ..errors import InputError
from ..fields import act, check_features
from ..groups import group_elements
from ..networks import EquivariantNetwork
from .interpolation import within_interpolation
from .measures import errors_inside, unmoved
from .operators import Operator, check_indexes, make_operator, scale_of

# Rounding errors grow with the number of terms in a sum. These tolerances suffice for networks of some tens of layers.
TOLERANCES = {"float32": 1e-4, "float64": 1e-9}
MOST_SAMPLED = 12  # number of elements that interpolate, if `elements` is None


def equivariance_error(
    f: Any,
    x: Any,
    space: GSpace | None = None,
    input: Any = None,
    output: Any = None,
    elements: Sequence[int] | None = None,
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """Measure the equivariance error of a map for each element of a group, relative to the scale of its output.

    error(g) = max |f(g x) - g f(x)| / max |f(x)|
    rms(g) = mean over the images of |f(g x) - g f(x)| / |f(x)|
    floor(g) = mean over the images of |g^-1 g x - x| / |x| + |g^-1 g f(x) - f(x)| / |f(x)|

    In `rms` and `floor`, |.| is the root mean square over the disc (or ball) that no rotation leaves, without the
    corners. The divisors |x| and |f(x)| are those of all images. `floor` is the error that interpolation alone makes
    on these images, there and back again: an `rms` of this size is no evidence against equivariance.

    Args:
        f: the map. An EquivariantNetwork or the result of `symmetrize()` declares its own gspace and fields. For all
            others, `space`, `input` and `output` are required: a torch module; the path of a TorchScript file (.pt) or
            ONNX file (.onnx, which requires onnxruntime); a predictor with `predict_proba()` or `predict()` as in
            scikit-learn, whose features are the values of an input; a keras model, whose channels are last; or a
            function from an array to an array.
        x: array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel): inputs of
            `f`.
        space: GSpace, optional: a gspace, created by `gspace()`.
        input: dict, list or FieldType, optional: the fields of `x`, such as `{"trivial": 1}`.
        output: dict, list or FieldType, optional: the fields of `f(x)`. An output (batch, channel) is transformed by
            its representation only.
        elements: list of int, optional: the numbers of the elements to check. None checks all.
        dtype: str, optional: "float32" or "float64", the precision of the computation. None uses the type of the
            network or module, and "float64" for a function. Files and predictors compute in their own type.

    Returns:
        list of dict: a table with one dict per element: `element` (its number), `name`, `exact` (whether the element
        moves the pixel grid without interpolation; only then can the error be as small as rounding), `error`, `rms`,
        `rms_low` and `rms_high` (the 95 % interval of this mean by Student's t; None for one image) and `floor` (0 for
        exact elements). `rms` and `floor` are None if `x` or `f(x)` is 0 inside the disc. Elements that are not in the
        group of the output, after a restriction, are omitted.

    Raises:
        InputError, FieldError: if fields are missing for a function or do not match.
        ShapeError: if the channels or axes of the output do not match `output`, or if its shape depends on the element.
    Warns:
        ExactnessWarning: if a layer breaks exact equivariance at this size.

    Source:
        Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv 1911.08251. e3nn and escnn measure
        equivariance in the same form.

    Example:
        >>> import gequi, numpy as np
        >>> space = gequi.gspace("rot2dOnR2", N=4)
        >>> rows = equivariance_error(lambda x: x**2, np.random.default_rng(0).normal(size=(1, 1, 5, 5)),
        ...                           space, input={"trivial": 1}, output={"trivial": 1})
        >>> [(row["name"], row["error"]) for row in rows]
        [('0°', 0.0), ('90°', 0.0), ('180°', 0.0), ('270°', 0.0)]
    """
    operator = make_operator(f, space, input, output, dtype)
    x = as_float(check_features(x, operator.in_type), operator.dtype, "x")
    if isinstance(f, EquivariantNetwork):
        f.warn_if_inexact(x.shape[2:])
    value = operator(x)
    scale = scale_of(value)
    rows = group_elements(operator.in_type.gspace)
    wanted = range(len(rows)) if elements is None else check_indexes(elements, "elements", len(rows))
    members = groups.elements(operator.in_type.gspace)
    start, table = unmoved(x, value), []
    for number in wanted:
        element = members[number]
        if operator.to_output(element) is None:
            continue
        moved = operator.move(x, value, element, rows[number]["name"])
        row = {key: rows[number][key] for key in ("element", "name", "exact")}
        row["error"] = float(np.abs(moved.difference).max()) / scale
        table.append({**row, **errors_inside(operator, start, moved, element, row["exact"])})
    return table


def is_equivariant(
    f: Any,
    x: Any,
    space: GSpace | None = None,
    input: Any = None,
    output: Any = None,
    elements: Sequence[int] | None = None,
    dtype: str | None = None,
    tolerance: float | None = None,
) -> bool:
    """Test whether all errors of `equivariance_error()` are within a tolerance.

    For an element that maps the pixel grid onto itself, the error is compared with the tolerance for rounding. Other
    elements interpolate. Their error on a smooth input derived from `x` is compared with the interpolation error, which
    is measured with the identity map (see `gequi/symmetry/interpolation.py`).

    Args:
        f, x, space, input, output, dtype: as in `equivariance_error()`.
        elements: list of int, optional: the numbers of the elements to check. None checks the elements that map the
            pixel grid onto itself. If none of them is a quarter turn, as in a group of 3 rotations, at most 12 of the
            other elements are checked as well.
        tolerance: float, optional: the largest relative error that passes, for all elements. None is 1e-4 in float32
            and 1e-9 in float64 for elements that do not interpolate, and 8 times the interpolation error for the
            others.

    Returns:
        bool: whether all errors are within the tolerance. The result is True for every `f` if the group contains only
        the identity.

    Raises:
        InputError, FieldError, ShapeError: as in `equivariance_error()`.
        InputError: if the test is not informative: `elements` contains only the identity, no element changes `x`, or
            the interpolation error exceeds 2 %, as on small images.

    Source:
        Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv 1911.08251.

    Example:
        >>> import gequi, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(1, 1, 32, 32))
        >>> fields = {"input": {"trivial": 1}, "output": {"trivial": 1}}
        >>> [is_equivariant(f, x, gequi.gspace("rot2dOnR2", N=N), **fields)
        ...  for f in (np.square, lambda x: np.roll(x, 1, axis=3)) for N in (3, 4)]
        [True, True, False, False]
    """
    operator = make_operator(f, space, input, output, dtype)
    x = as_float(check_features(x, operator.in_type), operator.dtype, "x")
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
    """Return the rows of the elements to check, among those that act on the output."""
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
            "`{argument}` must contain an element, other than the identity, that acts on the output: a restriction in the "
            "network has removed the others."
            if any(row["element"] in wanted for row in rows if row not in kept)
            else "`{argument}` must contain an element other than the identity, for which every function is equivariant.",
            "elements",
        )
    return chosen


def _check_moved(operator: Operator, x: np.ndarray, members: list[GroupElement]) -> None:
    """Raise an InputError if no element changes the input although the elements change other inputs."""

    def moves(x: np.ndarray) -> bool:
        moved = [act(x, operator.in_type, element) for element in members]
        return any(each.shape != x.shape or not np.allclose(each, x, rtol=1e-5) for each in moved)

    if not moves(x) and moves(np.arange(1.0, x.size + 1).reshape(x.shape)):
        raise InputError("`{argument}` does not change under any of the elements, so the test is not informative.", "x")


def equivariance_maps(
    f: Any,
    x: Any,
    element: int = 1,
    field: int = 0,
    space: GSpace | None = None,
    input: Any = None,
    output: Any = None,
    dtype: str | None = None,
) -> dict[str, Any]:
    """Compute the maps for a plot of equivariance: a field of f(x) and of f(g x), and their difference with g undone.

    Args:
        f, x, space, input, output, dtype: as in `equivariance_error()`. Only the first image of `x` is used. The images
            have two axes.
        element: int: the number of the element g.
        field: int: the number of the field of the output.

    Returns:
        dict: `input` and `moved`, arrays (row, column), are the first channel of x and of g x. `maps`, `maps_of_moved`
        and `difference`, arrays (channel, row, column), belong to the field; the difference is g^-1 f(g x) - f(x).
        `moves_to` is the channel of f(g x) that corresponds to each channel of f(x), or None if g does not permute the
        channels. `names` are the names of the channels, which are those of the elements for a regular field. `name` is
        the name of g. `error` is defined as in `equivariance_error()`.

    Raises:
        InputError: if the element or field does not exist, or if the output of `f` is not an image or contains only
            zeros.
    """
    operator = make_operator(f, space, input, output, dtype)
    x = as_float(check_features(x, operator.in_type), operator.dtype, "x")[:1]
    rows = group_elements(operator.in_type.gspace)
    number = check_index(element, "element", len(rows))
    g = groups.elements(operator.in_type.gspace)[number]
    on_output = operator.to_output(g)
    field = check_index(field, "field", len(operator.out_type))
    value = operator(x)
    if value.ndim != 4 or operator.in_type.gspace.dimensionality != 2 or on_output is None:
        raise InputError("`{argument}` must map images to images on which the element acts, for a plot.", "network")
    scale = scale_of(value)
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
        "error": float(np.abs(difference).max()) / scale,
    }
