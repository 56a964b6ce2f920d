"""The law of maps that commute with permutations along an axis, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .._recipes import choose_seed
from ..arrays import as_array, check_dtype, check_integer
from ..errors import InputError, ShapeError
from .operators import check_indexes, scale_of


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
    kind = np.dtype(str(check_dtype("float64" if dtype is None else dtype)).removeprefix("torch."))
    array = as_array(x, "x").astype(kind)
    value = as_array(f(array), "f(x)")
    scale = scale_of(value)
    axes = {
        "input": check_indexes(input, "input", array.ndim),
        "output": [] if output is None else check_indexes(output, "output", value.ndim),
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
