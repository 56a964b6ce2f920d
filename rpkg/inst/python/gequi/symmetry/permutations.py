"""Measurement of equivariance to permutations along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .._recipes import choose_seed
from ..arrays import as_array, as_float, check_dtype, check_function, check_integer
from ..errors import ShapeError
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
    """Measure the permutation equivariance error of a map, relative to the scale of its output.

    error(P) = max |f(P x) - P f(x)| / max |f(x)|, where P permutes x along `input` and f(x) along `output`.

    Args:
        f: callable: a function from an array to an array, such as an operation on images or attention on tokens.
        x: array: an input of `f`.
        input: int or list of int: the axis or axes of `x` that are permuted. Several axes get the same permutation.
        output: int or list of int, optional: the axis or axes of `f(x)` that are permuted. None tests invariance.
        permutations: int: the number of permutations to test. The first two are the exchange of the first two positions
            and the cyclic shift by one position, which generate all permutations. The others are random.
        seed: int, optional: the seed of the random permutations. None draws one.
        dtype: str, optional: "float32" or "float64", the precision to which `x` is rounded. None is float64.

    Returns:
        list of dict: a table as in `equivariance_error()` with one dict per permutation: `element` (its number),
        `name`, `exact` (always True, because permutations do not interpolate) and `error`.

    Raises:
        InputError: if an axis does not exist or the output contains only zeros.
        ShapeError: if an axis of `f(x)` has another size than the permuted axis of `x`.

    Source:
        Zaheer et al. (2017), Deep sets, arXiv 1703.06114.

    Example:
        >>> import gequi
        >>> image = gequi.sample_image("volcano")
        >>> rows = permutation_error(lambda a: a.sum(axis=0), image, input=0, seed=1)
        >>> max(row["error"] for row in rows) < 1e-12
        True
        >>> [row["name"] for row in rows]
        ['exchange', 'cycle', 'random 1', 'random 2', 'random 3']
    """
    check_function(f, "f")
    kind = str(check_dtype("float64" if dtype is None else dtype)).removeprefix("torch.")
    array = as_float(as_array(x, "x"), kind, "x")
    if not array.ndim:
        raise ShapeError("`{argument}` must have at least one axis, which is permuted; got a single number.", "x")
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
