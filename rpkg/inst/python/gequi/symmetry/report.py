"""Comparison of groups: which symmetry a model has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import groups
from .._escnn import GSpace
from ..arrays import as_array, as_float
from ..errors import InputError, ShapeError
from ..fields import check_features
from ..groups import check_gspace, group_elements, gspace
from .foreign import open_model
from .measures import errors_inside, unmoved
from .operators import Operator, declared_operator, scale_of

# The candidates if there are none, by the number of axes of the input.
CANDIDATES: dict[int, list[tuple[str, dict[str, int]]]] = {
    4: [("flip2dOnR2", {}), *(("rot2dOnR2", {"N": n}) for n in (2, 4, 8)), *(("flipRot2dOnR2", {"N": n}) for n in (2, 4, 8))],
    5: [("invOnR3", {}), ("octaOnR3", {}), ("fullOctaOnR3", {})],
}  # fmt: skip
AT_ROUNDING = 1e-4  # an excess below it is that of float32, and ranks as 0


def symmetry_report(
    model: Any,
    x: Any,
    spaces: Sequence[GSpace] | None = None,
    input: Any = None,
    output: Any = None,
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """Compare the equivariance errors of a model for several groups, and rank the groups.

    Args:
        model: a model of any kind that `equivariance_error()` accepts.
        x: array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel): inputs.
        spaces: list of GSpace, optional: the candidates. None compares, on images, a reflection and the groups of 2, 4
            and 8 rotations without and with reflections; on volumes, the inversion and the octahedral groups.
        input: dict, list or FieldType, optional: the fields of `x`, of which every candidate must have those names.
            None takes all channels as trivial.
        output: dict, list or FieldType, optional: the fields of the output. None takes all channels as trivial: an
            output (batch, channel) should be invariant, and output images should move with the input.
        dtype: str, optional: as in `equivariance_error()`.

    Returns:
        list of dict: a table with one dict per candidate, the best first: `space`, `elements` (their number; the test
        elements of a continuous group), `error` (the largest, see `equivariance_error()`), `rms` and `floor` (means over
        the elements but the identity), `excess` (of `rms` over `floor`, at least 0) and `changed` (the share of examples
        whose class, the largest channel, differs for at least one element; None unless the output is (batch, channel)
        with several channels). Rows are sorted by `excess`, and values below 1e-4 count as equal. Equal rows are sorted
        by the number of elements, the largest group first.

    Raises:
        InputError, FieldError, ShapeError: as in `equivariance_error()`; for vectors without `spaces`, and if `x` or
            the output is 0 inside the disc.

    Source:
        the errors: see `equivariance_error()`.

    Example:
        >>> import gequi, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(4, 1, 8, 8))
        >>> rows = symmetry_report(lambda x: (x * np.flip(x, 3)).mean((2, 3)), x)
        >>> rows[0]["space"], rows[0]["elements"]
        ('flipRot2dOnR2(N = 2)', 4)
    """
    opened = open_model(model, "model")
    array = as_array(x, "x")
    if array.ndim < 2:
        raise ShapeError(
            "`{argument}` must have the axes (batch, channel, ...); got shape {shape}.", "x", shape=array.shape
        )
    rows = []
    for space in _candidates(spaces, array.ndim):
        fields = {"trivial": array.shape[1]} if input is None else input
        own = {"trivial": _output_size(opened, space, fields, array, dtype)} if output is None else output
        operator = declared_operator(opened, space, fields, own, dtype)
        operator.argument = "model"
        rows.append(_row(operator, array))
    return sorted(rows, key=lambda row: (0 if row["excess"] < AT_ROUNDING else row["excess"], -row["elements"]))


def _candidates(spaces: Any, axes: int) -> list[GSpace]:
    if spaces is None:
        if axes not in CANDIDATES:
            template = (
                "`{argument}` is missing: there are candidates for images and volumes only; `{x:name}` has {axes} axes."
            )
            raise InputError(template, "spaces", x="x", axes=axes)
        return [gspace(name, **options) for name, options in CANDIDATES[axes]]
    given = list(spaces) if isinstance(spaces, list | tuple) else [spaces]
    if not given:
        raise InputError("`{argument}` is empty; {none!r} is the default.", "spaces", none=None)
    return [check_gspace(space, "spaces") for space in given]


def _output_size(model: Any, space: GSpace, input: Any, x: np.ndarray, dtype: str | None) -> int:
    """Return the number of channels of the output."""
    operator = declared_operator(model, space, input, {"trivial": 1}, dtype)
    value = as_array(operator.f(as_float(check_features(x, operator.in_type)[:2], operator.dtype, "x")), "model(x)")
    if value.ndim < 2:
        template = "`{argument}` must return features (batch, channel, ...); it returned shape {shape}."
        raise ShapeError(template, "model", shape=value.shape)
    return int(value.shape[1])


def _row(operator: Operator, x: np.ndarray) -> dict[str, Any]:
    space = operator.in_type.gspace
    x = as_float(check_features(x, operator.in_type), operator.dtype, "x")
    value = operator(x)
    scale, errors, inside, changed = scale_of(value), [0.0], [], np.zeros(len(x), dtype=bool)
    start = unmoved(x, value)
    members = list(zip(groups.elements(space), group_elements(space), strict=True))
    for element, row in members:
        if element == space.fibergroup.identity:
            continue
        moved = operator.move(x, value, element, row["name"])
        errors.append(float(np.abs(moved.difference).max()) / scale)
        inside.append(errors_inside(operator, start, moved, element, row["exact"]))
        if inside[-1]["floor"] is None:
            raise InputError("`{argument}` or its output is 0 inside the disc that no rotation leaves.", "x")
        if value.ndim == 2:
            changed |= moved.of_input.argmax(1) != moved.output.argmax(1)
    rms, floor = (sum(each[name] for each in inside) / max(len(inside), 1) for name in ("rms", "floor"))
    return {
        "space": _name(space), "elements": len(members), "error": max(errors), "rms": rms, "floor": floor,
        "excess": max(rms - floor, 0.0),
        "changed": float(changed.mean()) if value.ndim == 2 and value.shape[1] > 1 else None,
    }  # fmt: skip


def _name(space: GSpace) -> str:
    """The call that makes a gspace, in short."""
    known = dict(getattr(space, "gequi_description", {"name": str(space)}))
    name = known.pop("name")
    return f"{name}({', '.join(f'{key} = {value}' for key, value in known.items())})" if known else str(name)
