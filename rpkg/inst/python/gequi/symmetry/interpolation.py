"""Elements that interpolate: their equivariance error compared with the interpolation error.

An element that does not map the pixel grid onto itself samples between the pixels, so f(g x) and g f(x) differ even if
f is equivariant. The part of the difference that is due to interpolation is measured with the identity map: x and f(x)
are transformed by g and back, and the relative changes are the floor.

    error(g) = |f(g x) - g f(x)| / |f(x)|,    floor(g) = |g^-1 g x - x| / |x| + |g^-1 g f(x) - f(x)| / |f(x)|

Both are computed on a smooth input without symmetry that vanishes towards the border (`smooth_input()`), as the root
mean square over the disc (or ball) that stays inside the image under every rotation. There, the floor decreases with
the fourth power of the smoothness, whereas the error of a map that is not equivariant hardly decreases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from .._escnn import GroupElement
from ..arrays import as_numpy, own_tensor
from ..errors import InputError
from ..geometry.filters import gaussian_filter
from .measures import floors, length, unmoved
from .operators import Operator

# Set by tests/benchmarks/equivariance.py: the error of maps that are equivariant between the pixels is at most FACTOR
# floors. The error of other maps is larger, even if they differ little from an equivariant map.
FACTOR = 8.0
MOST_FLOOR = 0.02  # above it, relative errors of 16 % would pass
SMOOTHING = 2.5  # the radius of the disc over the standard deviation of the filter
REACH = 0.8  # radius at which the input vanishes, relative to the radius of the disc
_BLOBS = ((1.0, (0.35, -0.15, 0.2)), (0.5, (-0.25, 0.3, -0.1)))  # (weight, position), without symmetry
_BLOB_WIDTH = 0.4


def within_interpolation(operator: Operator, x: np.ndarray, elements: Mapping[str, GroupElement]) -> bool:
    """Return whether the interpolation error explains the errors of all elements, which are given by their names.

    Raises:
        InputError: if the interpolation error is too large for a decision.
    """
    smooth = smooth_input(x)
    floors = {}
    for name, element in elements.items():
        error, floors[name] = error_and_floor(operator, smooth, element, name)
        if error > max(FACTOR * floors[name], float(np.finfo(operator.dtype).eps) ** 0.5):
            return False
    worst = max(floors, key=lambda name: floors[name])
    if floors[worst] > MOST_FLOOR:
        raise InputError(
            "`{argument}` is too small for the test: {name} does not map the pixel grid onto itself, and interpolation "
            "alone causes a relative error of {lost:.2g} at size {size}. Use a larger input, or set `{tolerance:name}` "
            "for the errors of equivariance_error().",
            "x", name=worst, lost=floors[worst], size=x.shape[2:], tolerance="tolerance",
        )  # fmt: skip
    return True


def error_and_floor(operator: Operator, x: np.ndarray, element: GroupElement, name: str = "g") -> tuple[float, float]:
    """Compute error(g) and floor(g) of one element."""
    start = unmoved(x, operator(x))
    if not all(start.lengths):
        raise InputError("`{argument}` is 0 after smoothing, or its output is, so the test is not informative.", "x")
    moved = operator.move(start.input, start.output, element, name)
    floor = sum(math.sqrt(float(np.mean(part**2))) for part in floors(operator, start, moved, element))
    return length(moved.difference) / start.lengths[1], floor


def smooth_input(x: np.ndarray) -> np.ndarray:
    """Smooth x (batch, channel, *size) and multiply it by a smooth window that vanishes towards the border."""
    size = x.shape[2:]
    radius = min(size) / 2
    smooth = as_numpy(gaussian_filter(own_tensor(x, torch.float64), [radius / SMOOTHING] * len(size), normalized=True))
    places = np.stack(np.meshgrid(*[(np.arange(n) - (n - 1) / 2) / radius for n in size], indexing="ij"), axis=-1)
    window = np.cos(np.pi / 2 * np.clip(np.linalg.norm(places, axis=-1) / REACH, 0, 1)) ** 2
    blobs = sum(
        weight * np.exp(-(np.linalg.norm(places - place[: len(size)], axis=-1) ** 2) / (2 * _BLOB_WIDTH**2))
        for weight, place in _BLOBS
    )
    scale = np.abs(x).max() / max(float(np.abs(smooth).max()), np.finfo(np.float64).tiny)
    return np.asarray((scale * smooth * (window * blobs / np.max(blobs))).astype(x.dtype))
