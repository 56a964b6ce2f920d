"""The claimed uncertainty beyond the fixed image, where a map goes on straight."""

from __future__ import annotations

import numpy as np

from .presets import preset_for


def distance_beyond(points: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """How far points (axis, ...) lie beyond the outer edges of an image's pixels, in pixels; 0 inside: (...)."""
    beyond = [np.maximum(np.maximum(-0.5 - p, p - (n - 0.5)), 0) for p, n in zip(points, size, strict=True)]
    return np.sqrt(sum(each**2 for each in beyond))


def bend_of(map: np.ndarray) -> float:
    """How far a map (axis, *size) is from a linear one: the rms of its derivative, less the mean one, over the mean one.

    It is the expected slope of the error of a straight continuation, for each pixel that it goes on; 0 of a linear map.
    """
    axes = len(map)
    slopes = np.stack([np.stack(np.gradient(part)) for part in map]).reshape(axes, axes, -1)
    mean = slopes.mean(2)
    bends = np.linalg.pinv(mean) @ slopes.transpose(2, 0, 1) - np.eye(axes)
    return float(np.sqrt((bends**2).sum((1, 2)).mean() / axes))


def extrapolated(
    deviation: np.ndarray, distance: np.ndarray, size: tuple[int, ...], bend: float, scale: np.ndarray | float = 1.0
) -> np.ndarray:
    """The standard deviation of a map at a distance from the fixed image of some size, from that at its border.

    sqrt((deviation (1 + distance / r))^2 + (k distance)^2): what is uncertain at the border is a slope of the map too,
    and where the map is bent it does not go on straight. r is a share of the mean side of the image, k a multiple of
    the map's own bend; `scale` is the number of pixels, in which the deviation is, to a pixel of the distance.
    """
    preset = preset_for(len(size))
    reach = preset.extrapolation_reach * float(np.prod(size)) ** (1 / len(size))
    grown = deviation * (1 + distance / reach)
    return np.hypot(grown, preset.extrapolation_bend * bend * distance * scale)
