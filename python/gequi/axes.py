"""Axes by name: sums over products, rearrangements, and functions repeated over an axis they do not know.

Convention. A specification such as "y k h, x k h -> y x h" names the axes of each operand, operands apart by commas,
and after the arrow the axes of the result. The same name is the same axis, so it has the same size everywhere.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .arrays import as_array, as_numpy, check_dtype, check_integer, own_tensor
from .errors import InputError, ShapeError, listing, nearest

_NAME = re.compile(r"[A-Za-z_]\w*")
_REST = "..."


def einsum(spec: str, *operands: Any, dtype: str = "float64") -> np.ndarray:
    """The sum of products over named axes: axes that the result does not name are summed over.

    Every transpose, outer, inner and matrix product, diagonal and trace of arrays is one such specification.

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
            f"`spec` names the axes of {len(groups)} operands, {spec!r}; got {len(arrays)} arrays.", "spec"
        )
    _sizes(groups, arrays)
    names = list(dict.fromkeys(itertools.chain(*groups)))
    for name in result:
        if name not in names:
            raise InputError(
                f"`spec`: the result's axis {name!r} is an axis of no operand.{nearest(name, names)}", "spec"
            )
    numbers = {name: Ellipsis if name == _REST else number for number, name in enumerate(names)}
    pairs = [
        part
        for array, group in zip(arrays, groups, strict=True)
        for part in (own_tensor(array, kind), [numbers[name] for name in group])
    ]
    return as_numpy(torch.einsum(*pairs, [numbers[name] for name in result]))


def _read(spec: object) -> tuple[list[list[str]], list[str]]:
    """The axes of each operand and of the result."""
    if not isinstance(spec, str) or spec.count("->") != 1:
        raise InputError(f"`spec` must read as 'i j, j k -> i k'; got {spec!r}.", "spec")
    operands, result = spec.split("->")
    groups = [_names(group, spec) for group in operands.split(",")]
    after = _names(result, spec)
    twice = [name for name in after if after.count(name) > 1]
    if twice:
        raise InputError(f"`spec`: the result names the axis {twice[0]!r} twice, in {spec!r}.", "spec")
    return groups, after


def _names(group: str, spec: str) -> list[str]:
    names = group.split()
    for name in names:
        if name != _REST and not _NAME.fullmatch(name):
            raise InputError(
                f"`spec`: {name!r} is no name of an axis, in {spec!r}; a name is a letter, then letters, digits or _.",
                "spec",
            )
    if names.count(_REST) > 1:
        raise InputError(f"`spec`: '...' occurs twice in {group.strip()!r}.", "spec")
    return names


def _sizes(groups: Sequence[Sequence[str]], arrays: Sequence[np.ndarray]) -> dict[str, int]:
    """The size of each named axis, after the check that it has only one."""
    sizes: dict[str, int] = {}
    first: dict[str, int] = {}
    rests: list[tuple[int, ...]] = []
    for number, (group, array) in enumerate(zip(groups, arrays, strict=True), start=1):
        named = [name for name in group if name != _REST]
        if array.ndim < len(named) or (array.ndim > len(named) and _REST not in group):
            raise ShapeError(
                f"operand {number} must have the axes ({' '.join(group)}); got {array.ndim} axes, shape {array.shape}.",
                f"operand {number}",
            )
        at = group.index(_REST) if _REST in group else len(group)
        behind = array.ndim - (len(named) - at)
        rests.append(array.shape[at:behind])
        shape = (*array.shape[:at], *array.shape[behind:])
        for name, size in zip(named, shape, strict=True):
            if sizes.setdefault(name, size) != size:
                where = f"operand {number}" if first[name] != number else "the same operand"
                raise ShapeError(
                    f"axis {name!r} has the size {sizes[name]} in operand {first[name]} and {size} in {where}.", name
                )
            first.setdefault(name, number)
    try:
        np.broadcast_shapes(*rests)
    except ValueError:
        raise ShapeError(f"the axes '...' of the operands do not broadcast: {listing(rests)}.", "...") from None
    return sizes


def rearrange(x: Any, spec: str, **sizes: int) -> np.ndarray:
    """An array with its axes in another order, split or joined.

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
    array = as_array(x, "x", finite=False)
    if not isinstance(spec, str) or spec.count("->") != 1 or "," in spec:
        raise InputError(f"`spec` must read as 'row (h k) -> h row k'; got {spec!r}.", "spec")
    before, after = (_composed(side, spec) for side in spec.split("->"))
    known = _split_sizes(before, array, {key: check_integer(value, key, minimum=1) for key, value in sizes.items()})
    flat_before, flat_after = list(itertools.chain(*before)), list(itertools.chain(*after))
    for here, there, side in ((flat_before, flat_after, "after"), (flat_after, flat_before, "before")):
        for name in here:
            if name not in there:
                raise InputError(f"`spec`: axis {name!r} is missing {side} the arrow, in {spec!r}.", "spec")
    split = array.reshape([known[name] for name in flat_before])
    moved = split.transpose([flat_before.index(name) for name in flat_after])
    shape = [int(np.prod([known[name] for name in group], dtype=int)) for group in after]
    return np.array(moved.reshape(shape), order="C")


def _composed(side: str, spec: str) -> list[list[str]]:
    """The axes of one side, each as the list of what it is made of: "a (b c) 1" as [[a], [b, c], []]."""
    groups: list[list[str]] = []
    inside = False
    for token in re.findall(r"[()]|[^\s()]+", side):
        if token in "()":
            if inside == (token == "("):
                raise InputError(f"`spec` has parentheses that do not match: {spec!r}.", "spec")
            inside = token == "("
            groups += [[]] if inside else []
        elif token == "1":
            groups += [] if inside else [[]]
        elif not _NAME.fullmatch(token):
            raise InputError(f"`spec`: {token!r} is no name of an axis, in {spec!r}.", "spec")
        elif inside:
            groups[-1].append(token)
        else:
            groups.append([token])
    names = list(itertools.chain(*groups))
    twice = [name for name in names if names.count(name) > 1]
    if inside or twice:
        fault = f"names the axis {twice[0]!r} twice on one side" if twice else "has parentheses that do not match"
        raise InputError(f"`spec` {fault}: {spec!r}.", "spec")
    return groups


def _split_sizes(groups: list[list[str]], array: np.ndarray, given: dict[str, int]) -> dict[str, int]:
    """The size of each axis before the arrow, from the shape and the sizes given."""
    known = list(itertools.chain(*groups))
    for name in given:
        if name not in known:
            raise InputError(f"`{name}` is no axis of `spec`.{nearest(name, known)}", name)
    if array.ndim != len(groups):
        raise ShapeError(f"`x` must have {len(groups)} axes, as `spec` says; got the shape {array.shape}.", "x")
    sizes = dict(given)
    for group, length in zip(groups, array.shape, strict=True):
        unknown = [name for name in group if name not in sizes]
        product = int(np.prod([sizes[name] for name in group if name in sizes], dtype=int))
        if len(unknown) > 1:
            raise InputError(f"of the axes {listing(unknown)} all but one need a size: {unknown[0]} = ...", unknown[0])
        if length % product or (not unknown and length != product):
            text = f"axis {group[0]!r}" if len(group) == 1 else f"axis ({' '.join(group)})" if group else "axis 1"
            fixed = ", ".join(f"{name} = {sizes[name]}" for name in group if name in sizes) or "size 1"
            raise ShapeError(f"{text} has the size {length}, which does not fit {fixed}.", group[0] if group else "x")
        if unknown:
            sizes[unknown[0]] = length // product
    return sizes


def broadcast_over(f: Callable[..., Any], axis: str, spec: str) -> Callable[..., np.ndarray]:
    """A function repeated over an axis that it does not know: an index before it is the same index after it.

    G: a -> b becomes "a c -> b c", the function that applies G to each column c. An operand that does not have the
    axis goes to each call whole.

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
    if not callable(f):
        raise InputError(f"`f` must be a function of arrays; got {f!r:.80}.", "f")
    groups, result = _read(spec)
    if _REST in itertools.chain(*groups, result):
        raise InputError("`spec` must name each axis here; '...' is for einsum.", "spec")
    for group in groups:
        if len(set(group)) < len(group):
            raise InputError(f"`spec` names an axis twice in the operand ({' '.join(group)}).", "spec")
    over = axis.split() if isinstance(axis, str) else []
    if not over:
        raise InputError(f"`axis` must be the name of an axis; got {axis!r}.", "axis")
    known = [name for name in dict.fromkeys(itertools.chain(*groups)) if name in result]
    for name in over:
        if name not in known:
            raise InputError(
                f"`axis` {name!r} must be an axis of an operand and of the result of {spec!r}.{nearest(name, known)}",
                "axis",
            )
    inner = [name for name in result if name not in over]

    def repeated(*operands: Any) -> np.ndarray:
        arrays = [as_array(each, f"operand {number}") for number, each in enumerate(operands, start=1)]
        if len(arrays) != len(groups):
            raise InputError(f"{spec!r} is a function of {len(groups)} arrays; got {len(arrays)}.", "operands")
        sizes = _sizes(groups, arrays)
        pieces: list[np.ndarray] = []
        for index in itertools.product(*(range(sizes[name]) for name in over)):
            at = dict(zip(over, index, strict=True))
            parts = [
                array[tuple(at.get(name, slice(None)) for name in group)].copy()
                for array, group in zip(arrays, groups, strict=True)
            ]
            piece = as_array(f(*parts), "result of f", finite=False)
            if piece.size == 1 and max(piece.ndim, len(inner)) == 1:  # R has no number without an axis
                piece = piece.reshape((1,) * len(inner))
            _check_piece(piece, inner, sizes, pieces)
            pieces.append(piece)
        whole = np.stack(pieces).reshape(*(sizes[name] for name in over), *pieces[0].shape)
        return np.ascontiguousarray(whole.transpose([[*over, *inner].index(name) for name in result]))

    return repeated


def broadcast_call(f: Callable[..., Any], axis: str, spec: str, *operands: Any) -> np.ndarray:
    """`broadcast_over(f, axis, spec)` called with `operands`: for a language that keeps the function on its side."""
    return broadcast_over(f, axis, spec)(*operands)


def _check_piece(piece: np.ndarray, inner: list[str], sizes: dict[str, int], before: list[np.ndarray]) -> None:
    """Refuses a result of f whose axes are not those of the specification, or change from call to call."""
    if piece.ndim != len(inner):
        raise ShapeError(
            f"the result of `f` must have the axes ({' '.join(inner)}); got {piece.ndim} axes, shape {piece.shape}.", "f"
        )
    for name, size in zip(inner, piece.shape, strict=True):
        if sizes.get(name, size) != size:
            raise ShapeError(
                f"axis {name!r} has the size {sizes[name]} in an operand and {size} in the result of `f`.", "f"
            )
    if before and piece.shape != before[0].shape:
        raise ShapeError(f"`f` gave the shape {before[0].shape} first and {piece.shape} later.", "f")
