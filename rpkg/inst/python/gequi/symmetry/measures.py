"""Errors of whole batches: inside the disc that no rotation leaves, and the error that resampling alone makes.

    rms_i(g) = |f(g x_i) - g f(x_i)| / |f(x)|
    floor_i(g) = |g^-1 g x_i - x_i| / |x| + |g^-1 g f(x_i) - f(x_i)| / |f(x)|

|.| is the root mean square over the channels and the pixels of the disc (or ball), for x and f(x) over all images. Both
are averaged over the images i. The floor is 0 for elements that map the pixel grid onto itself.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import stdtrit

from .._escnn import GroupElement
from ..fields import act
from .operators import Operator

COVERAGE = 0.95  # of the interval of the mean over the images


def image_lengths(value: np.ndarray) -> np.ndarray:
    """Compute the root mean square of each example over the disc that rotations keep inside the image."""
    if value.ndim > 2:
        size = value.shape[2:]
        squares = [(np.arange(n) - (n - 1) / 2) ** 2 for n in size]
        disc = sum(np.meshgrid(*squares, indexing="ij")) <= ((min(size) - 1) / 2) ** 2 + 1e-9
        value = value[:, :, disc]
        if not disc.any():  # as of 2 x 2 pixels
            return np.zeros(len(value))
    return np.asarray(np.sqrt(np.square(value, dtype=np.float64).reshape(len(value), -1).mean(axis=1)))


def length(value: np.ndarray) -> float:
    """Compute the root mean square of all examples over the disc."""
    return math.sqrt(float(np.mean(image_lengths(value) ** 2)))


def floors(
    operator: Operator, x: np.ndarray, value: np.ndarray, element: GroupElement
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the errors that moving x and f(x) there and back again makes, for each example."""
    on_output = operator.to_output(element)
    there, expected = act(x, operator.in_type, element), act(value, operator.out_type, on_output)
    back, output_back = act(there, operator.in_type, ~element), act(expected, operator.out_type, ~on_output)
    return image_lengths(back - x) / length(x), image_lengths(output_back - value) / length(value)


def mean_and_interval(values: np.ndarray, name: str) -> dict[str, Any]:
    """Return the mean of the values of independent examples and the 95 % interval of the mean by Student's t."""
    mean, count = float(values.mean()), len(values)
    if count == 1:
        return {name: mean, f"{name}_low": None, f"{name}_high": None}
    half = float(stdtrit(count - 1, (1 + COVERAGE) / 2)) * float(values.std(ddof=1)) / math.sqrt(count)
    return {name: mean, f"{name}_low": max(0.0, mean - half), f"{name}_high": mean + half}


def errors_inside(
    operator: Operator, x: np.ndarray, value: np.ndarray, difference: np.ndarray, element: GroupElement, exact: bool
) -> dict[str, Any]:
    """Return `rms` with its interval and `floor`, which are None if x or f(x) is 0 inside the disc.

    `value` is f(x), and `difference` is f(g x) - g f(x).
    """
    lengths = length(x), length(value)
    if not all(lengths):
        return dict.fromkeys(("rms", "rms_low", "rms_high", "floor"))
    floor = 0.0 if exact else float(np.mean(np.add(*floors(operator, x, value, element))))
    return {**mean_and_interval(image_lengths(difference) / lengths[1], "rms"), "floor": floor}
