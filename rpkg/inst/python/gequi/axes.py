"""Named axes: sums of products, rearrangements, and functions that are repeated along an additional axis.

Convention. A specification such as "y k h, x k h -> y x h" names the axes of each operand, separated by commas, and
after the arrow the axes of the result. Axes with the same name have the same size.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .arrays import as_array, as_numpy, check_dtype, check_function, check_integer, check_result, own_tensor
from .errors import InputError, ShapeError, nearest

_NAME = re.compile(r"[A-Za-z_]\w*")
_REST = "..."
_UNMATCHED = "`{argument}` has parentheses that do not match: {spec!r}."


def einsum(spec: str, *operands: Any, dtype: str = "float64") -> np.ndarray:
    """Compute sums of products over named axes.

    Axes that are missing in the result are summed over. Transposes, outer and inner products, matrix products,
    diagonals and traces are special cases.

    Args:
        spec: axes of the operands -> axes of the result: "i j, j k -> i k" is the matrix product, "i i ->" the
            trace, "i i -> i" the diagonal. "..." stands for any further axes, which broadcast.
        *operands: one array for each group of axes.
        dtype: "float32" or "float64".

    Returns:
        an array with the axes after the arrow.

    Raises:
        ShapeError: an axis with two sizes, or an operand with more or fewer axes than its group; both name the axis
            or the operand.
        InputError: a malformed specification.

    Source:
        Rogozhnikov 2022 (einops); Abbott 2024 (arXiv 2402.05424), figures 17 and 18.

    Example:
        >>> einsum("row column -> column", [[1, 2], [3, 4]]).tolist()
        [4.0, 6.0]
    """
    kind = check_dtype(dtype)
    groups, result = _read(spec)
    arrays = [as_array(each, f"operand {number}") for number, each in enumerate(operands, start=1)]
    if len(arrays) != len(groups):
        raise InputError(
            "`{argument}` does not fit the arrays, {spec!r}; number of operands: {wanted}, number of arrays: {given}.",
            "spec", wanted=len(groups), spec=spec, given=len(arrays),
        )  # fmt: skip
    _sizes(groups, arrays)
    names = list(dict.fromkeys(itertools.chain(*groups)))
    for name in result:
        if name not in names:
            raise InputError(
                "`{argument}`: the axis {axis!r} of the result occurs in no operand.{hint}",
                "spec", axis=name, hint=nearest(name, names),
            )  # fmt: skip
    numbers = {name: Ellipsis if name == _REST else number for number, name in enumerate(names)}
    named = [f"operand {number}" for number in range(1, len(arrays) + 1)]
    pairs = [
        part
        for array, group, argument in zip(arrays, groups, named, strict=True)
        for part in (own_tensor(array, kind, argument=argument), [numbers[name] for name in group])
    ]
    return check_result(as_numpy(torch.einsum(*pairs, [numbers[name] for name in result])), "operand 1")


def _read(spec: object) -> tuple[list[list[str]], list[str]]:
    """Return the axes of each operand and of the result."""
    if not isinstance(spec, str) or spec.count("->") != 1:
        template = "`{argument}` must read as {example!r}; got {spec!r}."
        raise InputError(template, "spec", example="i j, j k -> i k", spec=spec)
    operands, result = spec.split("->")
    groups = [_names(group, spec) for group in operands.split(",")]
    after = _names(result, spec)
    twice = [name for name in after if after.count(name) > 1]
    if twice:
        template = "`{argument}`: the result names the axis {axis!r} twice, in {spec!r}."
        raise InputError(template, "spec", axis=twice[0], spec=spec)
    return groups, after


def _names(group: str, spec: str) -> list[str]:
    names = group.split()
    for name in names:
        if name != _REST and not _NAME.fullmatch(name):
            raise InputError(
                "`{argument}`: {axis!r} in {spec!r} is not a valid axis name; a name is a letter, followed by letters, "
                "digits or _.",
                "spec", axis=name, spec=spec,
            )  # fmt: skip
    if names.count(_REST) > 1:
        template = "`{argument}`: {rest!r} occurs twice in {group!r}."
        raise InputError(template, "spec", rest=_REST, group=group.strip())
    return names


def _sizes(groups: Sequence[Sequence[str]], arrays: Sequence[np.ndarray]) -> dict[str, int]:
    """Return the size of each named axis. Raise an error if an axis has several sizes."""
    sizes: dict[str, int] = {}
    first: dict[str, int] = {}
    rests: list[tuple[int, ...]] = []
    for number, (group, array) in enumerate(zip(groups, arrays, strict=True), start=1):
        named = [name for name in group if name != _REST]
        if array.ndim < len(named) or (array.ndim > len(named) and _REST not in group):
            raise ShapeError(
                "{argument} must have the axes ({axes}); got shape {shape}, number of axes: {ndim}.",
                f"operand {number}", axes=" ".join(group), ndim=array.ndim, shape=array.shape,
            )  # fmt: skip
        at = group.index(_REST) if _REST in group else len(group)
        behind = array.ndim - (len(named) - at)
        rests.append(array.shape[at:behind])
        shape = (*array.shape[:at], *array.shape[behind:])
        for name, size in zip(named, shape, strict=True):
            if sizes.setdefault(name, size) != size:
                raise ShapeError(
                    "axis {axis!r} has the size {before} in operand {first} and {after} in {where}.",
                    name, axis=name, before=sizes[name], first=first[name], after=size,
                    where=f"operand {number}" if first[name] != number else "the same operand",
                )  # fmt: skip
            first.setdefault(name, number)
    try:
        np.broadcast_shapes(*rests)
    except ValueError:
        template = "the axes {rest!r} of the operands do not broadcast: {shapes}."
        raise ShapeError(template, "...", rest=_REST, shapes=", ".join(map(str, rests))) from None
    return sizes


def rearrange(x: Any, spec: str, **sizes: int) -> np.ndarray:
    """Permute, split and join the axes of an array.

    Args:
        x: numbers, any shape.
        spec: axes before -> axes after, axes in parentheses being one axis of the array: "row (h k) -> h row k"
            splits the last axis into h times k, h varying slowest. 1 is an axis of size 1.
        **sizes: the sizes of axes that the shape alone does not give: of those in one pair of parentheses, all but
            one.

    Returns:
        an array of the same values and type, in memory of its own.

    Raises:
        ShapeError: sizes that do not fit; the message names the axis.
        InputError: a malformed specification, or an axis on one side only.

    Source:
        Rogozhnikov 2022 (einops), whose notation this is.

    Example:
        >>> rearrange([[1, 2, 3, 4]], "row (h k) -> h row k", h=2).tolist()
        [[[1, 2]], [[3, 4]]]
    """
    array = as_array(x, "x", finite=False, flags=True)
    if not isinstance(spec, str) or spec.count("->") != 1 or "," in spec:
        template = "`{argument}` must read as {example!r}; got {spec!r}."
        raise InputError(template, "spec", example="row (h k) -> h row k", spec=spec)
    before, after = (_composed(side, spec) for side in spec.split("->"))
    known = _split_sizes(before, array, {key: check_integer(value, key, minimum=1) for key, value in sizes.items()})
    flat_before, flat_after = list(itertools.chain(*before)), list(itertools.chain(*after))
    for here, there, side in ((flat_before, flat_after, "after"), (flat_after, flat_before, "before")):
        for name in here:
            if name not in there:
                template = "`{argument}`: axis {axis!r} is missing {side} the arrow, in {spec!r}."
                raise InputError(template, "spec", axis=name, side=side, spec=spec)
    split = array.reshape([known[name] for name in flat_before])
    moved = split.transpose([flat_before.index(name) for name in flat_after])
    shape = [int(np.prod([known[name] for name in group], dtype=int)) for group in after]
    return np.array(moved.reshape(shape), order="C")


def _composed(side: str, spec: str) -> list[list[str]]:
    """Return the axes of one side, each as a list of its parts: "a (b c) 1" becomes [[a], [b, c], []]."""
    groups: list[list[str]] = []
    inside = False
    for token in re.findall(r"[()]|[^\s()]+", side):
        if token in "()":
            if inside == (token == "("):
                raise InputError(_UNMATCHED, "spec", spec=spec)
            inside = token == "("
            groups += [[]] if inside else []
        elif token == "1":
            groups += [] if inside else [[]]
        elif not _NAME.fullmatch(token):
            raise InputError(
                "`{argument}`: {axis!r} in {spec!r} is not a valid axis name.", "spec", axis=token, spec=spec
            )
        elif inside:
            groups[-1].append(token)
        else:
            groups.append([token])
    names = list(itertools.chain(*groups))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        template = "`{argument}` names the axis {axis!r} twice on one side: {spec!r}."
        raise InputError(template, "spec", axis=twice[0], spec=spec)
    if inside:
        raise InputError(_UNMATCHED, "spec", spec=spec)
    return groups


def _split_sizes(groups: list[list[str]], array: np.ndarray, given: dict[str, int]) -> dict[str, int]:
    """Return the size of each axis before the arrow, from the shape and the given sizes."""
    known = list(itertools.chain(*groups))
    for name in given:
        if name not in known:
            raise InputError("`{argument}` is not an axis of `spec`.{hint}", name, hint=nearest(name, known))
    if array.ndim != len(groups):
        template = "`{argument}` must have the axes of `spec`, number of axes: {wanted}; got shape {shape}."
        raise ShapeError(template, "x", wanted=len(groups), shape=array.shape)
    sizes = dict(given)
    for group, length in zip(groups, array.shape, strict=True):
        unknown = [name for name in group if name not in sizes]
        product = math.prod(sizes[name] for name in group if name in sizes)
        if len(unknown) > 1:
            template = "of the axes {axes:list} all but one need a size: {argument} = ..."
            raise InputError(template, unknown[0], axes=unknown)
        if length % product or (not unknown and length != product):
            shown = "{axis!r}" if len(group) == 1 else "({axis})" if group else "1"
            raise ShapeError(
                "axis " + shown + " has the size {size}, which does not fit {fixed}.",
                group[0] if group else "x", axis=" ".join(group), size=length,
                fixed=", ".join(f"{name} = {sizes[name]}" for name in group if name in sizes) or "size 1",
            )  # fmt: skip
        if unknown:
            sizes[unknown[0]] = length // product
    return sizes


def broadcast_over(f: Callable[..., Any], axis: str, spec: str) -> Callable[..., np.ndarray]:
    """Return a function that applies `f` independently along an additional axis.

    G: a -> b becomes "a c -> b c", the function that applies G to each column c. Operands without the axis are passed
    to each call unchanged.

    Args:
        f: a function of arrays that gives an array (or a number).
        axis: the name of the axis to repeat over, or several, apart by spaces.
        spec: the axes of the function that is returned: "a c -> b c", or "c a, d -> c b" for a function of two
            arrays of which only the first has the axis.

    Returns:
        a function of arrays with the axes that `spec` says.

    Raises:
        InputError: a malformed specification, or an axis that is in no operand or not in the result.
        ShapeError: (when called) an axis with two sizes, or a result of `f` with other axes than `spec` says.

    Source:
        Abbott 2024 (arXiv 2402.05424), definition 2.14 and figures 10 to 12.

    Example:
        >>> columns = broadcast_over(sum, "c", "a c -> c")
        >>> columns([[1, 2], [3, 4]]).tolist()
        [4, 6]
    """
    check_function(f, "f")
    groups, result = _read(spec)
    if _REST in itertools.chain(*groups, result):
        raise InputError("`{argument}` must name each axis here; {rest!r} is for einsum.", "spec", rest=_REST)
    for group in groups:
        if len(set(group)) < len(group):
            template = "`{argument}` names an axis twice in the operand ({axes})."
            raise InputError(template, "spec", axes=" ".join(group))
    over = axis.split() if isinstance(axis, str) else []
    if not over:
        raise InputError("`{argument}` must be the name of an axis; got {value!r}.", "axis", value=axis)
    known = [name for name in dict.fromkeys(itertools.chain(*groups)) if name in result]
    for name in over:
        if name not in known:
            raise InputError(
                "`{argument}` {axis!r} must be an axis of an operand and of the result of {spec!r}.{hint}",
                "axis", axis=name, spec=spec, hint=nearest(name, known),
            )  # fmt: skip
    inner = [name for name in result if name not in over]

    def repeated(*operands: Any) -> np.ndarray:
        arrays = [as_array(each, f"operand {number}", flags=True) for number, each in enumerate(operands, start=1)]
        if len(arrays) != len(groups):
            template = "The number of operands of {spec!r} is {wanted}; number of arrays: {given}."
            raise InputError(template, "operands", spec=spec, wanted=len(groups), given=len(arrays))
        sizes = _sizes(groups, arrays)
        pieces: list[np.ndarray] = []
        for index in itertools.product(*(range(sizes[name]) for name in over)):
            at = dict(zip(over, index, strict=True))
            parts = [
                array[tuple(at.get(name, slice(None)) for name in group)].copy()
                for array, group in zip(arrays, groups, strict=True)
            ]
            piece = as_array(f(*parts), "result of f", finite=False, flags=True)
            if piece.size == 1 and max(piece.ndim, len(inner)) == 1:  # R has no scalars without an axis
                piece = piece.reshape((1,) * len(inner))
            _check_piece(piece, inner, sizes, pieces)
            pieces.append(piece)
        whole = np.stack(pieces).reshape(*(sizes[name] for name in over), *pieces[0].shape)
        return np.ascontiguousarray(whole.transpose([[*over, *inner].index(name) for name in result]))

    return repeated


def broadcast_call(f: Callable[..., Any], axis: str, spec: str, *operands: Any) -> np.ndarray:
    """Call `broadcast_over(f, axis, spec)` with `operands`, for R, where `f` is a function of R."""
    return broadcast_over(f, axis, spec)(*operands)


def _check_piece(piece: np.ndarray, inner: list[str], sizes: dict[str, int], before: list[np.ndarray]) -> None:
    """Raise an error if the axes of a result of f do not match the specification, or differ between calls."""
    if piece.ndim != len(inner):
        raise ShapeError(
            "the result of `{argument}` must have the axes ({axes}); got shape {shape}, number of axes: {ndim}.",
            "f", axes=" ".join(inner), ndim=piece.ndim, shape=piece.shape,
        )  # fmt: skip
    for name, size in zip(inner, piece.shape, strict=True):
        if sizes.get(name, size) != size:
            raise ShapeError(
                "axis {axis!r} has the size {before} in an operand and {after} in the result of `{argument}`.",
                "f", axis=name, before=sizes[name], after=size,
            )  # fmt: skip
    if before and piece.shape != before[0].shape:
        template = "`{argument}` gave the shape {before} first and {after} later."
        raise ShapeError(template, "f", before=before[0].shape, after=piece.shape)
