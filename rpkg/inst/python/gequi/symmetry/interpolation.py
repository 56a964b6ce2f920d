"""Elements that have to interpolate: their errors, beside those that interpolation makes by itself.

An element that does not map the pixel grid onto itself samples between the pixels, so that f(g x) and g f(x) differ for
an equivariant f too. How much of the difference is interpolation is measured on the identity map: x and f(x) are moved
by g and back, and what is lost is the floor.

    error(g) = |f(g x) - g f(x)| / |f(x)|,    floor(g) = |g^-1 g x - x| / |x| + |g^-1 g f(x) - f(x)| / |f(x)|

Both are taken on a smooth input without symmetry of its own that vanishes towards the border (`smooth_input()`), and in
the root mean square over the disc (or ball) that no rotation moves out of the image. There the floor falls with the
fourth power of the smoothness, and the error of a map that is not equivariant hardly falls at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from .._escnn import GroupElement
from ..arrays import as_numpy, own_tensor
from ..errors import InputError
from ..fields import act
from ..geometry.filters import gaussian_filter
from .operators import Operator

# Set by tests/benchmarks/equivariance.py: maps that are equivariant between the pixels too stay within FACTOR floors, and
# those that are not exceed it, also where they differ little from one that is.
FACTOR = 8.0
MOST_FLOOR = 0.02  # above it, relative errors of 16 % would pass
SMOOTHING = 2.5  # the radius of the disc over the standard deviation of the filter
REACH = 0.8  # where the input vanishes, as a part of that radius
_BLOBS = ((1.0, (0.35, -0.15, 0.2)), (0.5, (-0.25, 0.3, -0.1)))  # (weight, place): without any symmetry
_BLOB_WIDTH = 0.4


def within_interpolation(operator: Operator, x: np.ndarray, elements: Mapping[str, GroupElement]) -> bool:
    """Whether interpolation explains the errors of all elements (by their names).

    Raises:
        InputError: interpolation alone makes so large an error that nothing can be said.
    """
    smooth = smooth_input(x)
    floors = {}
    for name, element in elements.items():
        error, floors[name] = error_and_floor(operator, smooth, element)
        if error > max(FACTOR * floors[name], float(np.finfo(operator.dtype).eps) ** 0.5):
            return False
    worst = max(floors, key=lambda name: floors[name])
    if floors[worst] > MOST_FLOOR:
        raise InputError(
            "`{argument}` is too small to tell: {name} does not move the pixel grid onto itself, and interpolation "
            "alone makes a relative error of {lost:.2g} on size {size}. Take a larger input, or judge the errors of "
            "equivariance_error() by a `{tolerance:name}` of your own.",
            "x", name=worst, lost=floors[worst], size=x.shape[2:], tolerance="tolerance",
        )  # fmt: skip
    return True


def error_and_floor(operator: Operator, x: np.ndarray, element: GroupElement) -> tuple[float, float]:
    """error(g) and floor(g) of one element."""
    on_output = operator.to_output(element)
    value = operator(x)
    if not _length(x) or not _length(value):
        raise InputError(
            "`{argument}`, made smooth, is 0 or leads to an output of zeros only, which tells nothing.", "x"
        )
    moved, expected = act(x, operator.in_type, element), act(value, operator.out_type, on_output)
    floor = _length(act(moved, operator.in_type, ~element) - x) / _length(x)
    floor += _length(act(expected, operator.out_type, ~on_output) - value) / _length(value)
    return _length(operator(moved) - expected) / _length(value), floor


def smooth_input(x: np.ndarray) -> np.ndarray:
    """x (batch, channel, *size), smoothed, within a smooth window that vanishes towards the border."""
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


def _length(value: np.ndarray) -> float:
    """The root mean square over the disc that rotations keep within the image."""
    if value.ndim > 2:
        size = value.shape[2:]
        squares = [(np.arange(n) - (n - 1) / 2) ** 2 for n in size]
        disc = sum(np.meshgrid(*squares, indexing="ij")) <= ((min(size) - 1) / 2) ** 2 + 1e-9
        value = value[:, :, disc]
    return float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
