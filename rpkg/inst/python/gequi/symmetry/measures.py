"""Errors of whole batches: inside the disc that no rotation leaves, and the error that resampling alone makes.

    rms_i(g) = |f(g x_i) - g f(x_i)| / |f(x)|
    floor_i(g) = |g^-1 g x_i - x_i| / |x| + |g^-1 g f(x_i) - f(x_i)| / |f(x)|

|.| is the root mean square over the channels and the pixels of the disc (or ball), for x and f(x) over all images. Both
are averaged over the images i. The floor is 0 for elements that map the pixel grid onto itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from .._escnn import GroupElement
from .operators import Moved, Operator

COVERAGE = 0.95  # of the interval of the mean over the images


def image_lengths(value: np.ndarray) -> np.ndarray:
    """Compute the root mean square of each example over the disc that rotations keep inside the image."""
    disc = _disc(value.shape[2:]) if value.ndim > 2 else np.ones(1)
    if not disc.any():  # as of 2 x 2 pixels
        return np.zeros(len(value))
    sums = np.square(value.reshape(-1, disc.size), dtype=np.float64) @ disc
    return np.asarray(np.sqrt(sums.reshape(len(value), -1).mean(axis=1) / disc.sum()))


def _disc(size: Sequence[int]) -> np.ndarray:
    """Return 1 for the pixels of an image of this size inside the disc and 0 for the others, flattened."""
    squares = [(np.arange(n) - (n - 1) / 2) ** 2 for n in size]
    inside = sum(np.meshgrid(*squares, indexing="ij")) <= ((min(size) - 1) / 2) ** 2 + 1e-9
    return np.asarray(inside, dtype=np.float64).ravel()


def length(value: np.ndarray) -> float:
    """Compute the root mean square of all examples over the disc."""
    return math.sqrt(float(np.mean(image_lengths(value) ** 2)))


class Unmoved(NamedTuple):
    """Inputs x and their outputs f(x), and the root mean square of each, to which errors are relative."""

    input: np.ndarray
    output: np.ndarray
    lengths: tuple[float, float]


def unmoved(x: np.ndarray, value: np.ndarray) -> Unmoved:
    """Measure x and `value`, which is f(x)."""
    return Unmoved(x, value, (length(x), length(value)))


def floors(operator: Operator, start: Unmoved, moved: Moved, element: GroupElement) -> tuple[np.ndarray, np.ndarray]:
    """Compute the errors that moving x and f(x) there and back again makes, for each example."""
    back, output_back = operator.move_back(moved, element)
    errors = image_lengths(back - start.input), image_lengths(output_back - start.output)
    return errors[0] / start.lengths[0], errors[1] / start.lengths[1]


def mean_and_interval(values: np.ndarray, name: str) -> dict[str, Any]:
    """Return the mean of the values of independent examples and the 95 % interval of the mean by Student's t."""
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return {name: mean, f"{name}_low": None, f"{name}_high": None}
    half = float(stdtrit(count - 1, (1 + COVERAGE) / 2)) * float(values.std(ddof=1)) / math.sqrt(count)
    return {name: mean, f"{name}_low": max(0.0, mean - half), f"{name}_high": mean + half}


def errors_inside(
    operator: Operator, start: Unmoved, moved: Moved, element: GroupElement, exact: bool
) -> dict[str, Any]:
    """Return `rms` with its interval and `floor`, which are None if x or f(x) is 0 inside the disc."""
    if not all(start.lengths):
        return dict.fromkeys(("rms", "rms_low", "rms_high", "floor"))
    floor = 0.0 if exact else float(np.mean(np.add(*floors(operator, start, moved, element))))
    return {**mean_and_interval(image_lengths(moved.difference) / start.lengths[1], "rms"), "floor": floor}
