"""The claimed uncertainty outside the fixed image, where a map is extrapolated linearly."""

from __future__ import annotations

import numpy as np

from .presets import preset_for


def distance_beyond(points: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return the distance (...) of points (axis, ...) from the outer edges of an image, in pixels; 0 inside."""
    beyond = [np.maximum(np.maximum(-0.5 - p, p - (n - 0.5)), 0) for p, n in zip(points, size, strict=True)]
    return np.sqrt(sum(each**2 for each in beyond))


def bend_of(map: np.ndarray) -> float:
    """Return the relative root mean square deviation of a map's derivative from its mean; 0 if the map is linear.

    It is the expected slope of the error of a linear extrapolation, per pixel of distance.
    """
    axes = len(map)
    slopes = np.stack([np.stack(np.gradient(part)) for part in map]).reshape(axes, axes, -1)
    mean = slopes.mean(2)
    bends = np.linalg.pinv(mean) @ slopes.transpose(2, 0, 1) - np.eye(axes)
    return float(np.sqrt((bends**2).sum((1, 2)).mean() / axes))


def extrapolated(
    deviation: np.ndarray, distance: np.ndarray, size: tuple[int, ...], bend: float, scale: np.ndarray | float = 1.0
) -> np.ndarray:
    """Return the standard deviation of a map at a distance from the fixed image, from the value at its border.

    It is sqrt((deviation (1 + distance / r))^2 + (k distance)^2): the uncertainty at the border is also an uncertainty
    of the slope of the map, and a curved map is not continued linearly. r is a fraction of the mean side of the image,
    and k a multiple of the curvature of the map. `scale` is the number of pixels, the unit of the deviation, per pixel
    of the distance.
    """
    preset = preset_for(len(size))
    reach = preset.extrapolation_reach * float(np.prod(size)) ** (1 / len(size))
    grown = deviation * (1 + distance / reach)
    return np.hypot(grown, preset.extrapolation_bend * bend * distance * scale)
