"""The similarity of two images under a map: both are normalized locally, and the variance of their residual is
measured.

f and w are the fixed image and the moving image, resampled through the map. From each the local mean is subtracted, and
the result is divided by the local standard deviation (Gaussian windows, inside the masks only). The residual is f - w.

Source: Cachier and Pennec 2000 (local correlation), Malis 2004 (mean of both gradients).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from ..geometry.filters import gaussian_filter, gradient, local_normalize, masked_gaussian_filter
from ..geometry.grids import Size
from ..geometry.sampling import grid_sample
from .pyramid import Level, stretch


class Normalized(NamedTuple):
    """f and w, and the standard deviations by which they were divided: (map, 1, *size) each."""

    fixed: torch.Tensor
    warped: torch.Tensor
    fixed_deviation: torch.Tensor
    warped_deviation: torch.Tensor


class Residuals(NamedTuple):
    """The residual f - w (map, 1, *size), the gradients of f and w (map, axis, *size), and the precision (map, 1, *size)."""

    residual: torch.Tensor
    fixed_gradient: torch.Tensor
    warped_gradient: torch.Tensor
    precision: torch.Tensor

    @property
    def gradient(self) -> torch.Tensor:
        """The mean of both gradients."""
        return (self.fixed_gradient + self.warped_gradient) / 2


def warp(level: Level, map: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the moving image resampled through a map, and the visibility of both images, from 0 to 1."""
    warped = grid_sample(level.moving, map, size=level.moving_image)
    seen = level.mask * within(map, level.moving_image, level.step)
    if level.moving_mask is not None:
        seen = seen * grid_sample(level.moving_mask, map, size=level.moving_image)
    return warped, seen


def within(points: torch.Tensor, size: Size, step: float) -> torch.Tensor:
    """Return how far points (map, axis, ...) are inside an image, from 0 to 1 over a cell of `step` pixels: (map, 1,
    ...).

    The transition is gradual, because at a step the result of some cells would depend on rounding.
    """
    margin = step / 2 - 0.5
    parts = [
        (torch.minimum(at + 0.5, n - 0.5 - at) + margin).div(margin * 2 + 1).clamp(0, 1)
        for at, n in zip(points.unbind(1), size, strict=True)
    ]
    return torch.stack(parts, 1).prod(1, keepdim=True)


def normalize(
    level: Level, warped: torch.Tensor, seen: torch.Tensor, window: float, contrast_floor: float
) -> Normalized:
    """Normalize the fixed and the warped image to local mean 0 and local standard deviation 1."""
    both = torch.cat([level.fixed.expand_as(warped), warped], 1)
    normal, deviation = local_normalize(both, seen, _windows(level, window), contrast_floor)
    return Normalized(*normal.split(1, 1), *deviation.split(1, 1))


def local_correlation(
    level: Level, f: torch.Tensor, w: torch.Tensor, seen: torch.Tensor, window: float
) -> torch.Tensor:
    """Return the local correlation of f and w, from -1 to 1."""
    moments = gaussian_filter(torch.cat([seen * f * w, seen * f * f, seen * w * w], 1), _windows(level, window))
    return moments[:, :1] / (moments[:, 1:2] * moments[:, 2:]).clamp_min(1e-12).sqrt()


def residuals(level: Level, map: torch.Tensor, noise_floor: float) -> Residuals:
    """Return the residuals at each cell under a map, with their gradients and their precision.

    `noise_floor` is the minimum variance of a residual.
    """
    preset = level.preset
    warped, seen = warp(level, map)
    f, w, fixed_deviation, warped_deviation = normalize(level, warped, seen, level.stage.window, preset.contrast_floor)
    fixed_gradient = level.gradient / fixed_deviation
    warped_gradient = gradient(warped, level.steps) / warped_deviation
    weight = seen
    if level.pair.any_contrast:
        # w is compared with f times the sign of their local correlation, as far as there is one
        agreement = local_correlation(level, f, w, seen, preset.sign_window)
        sign = agreement / (agreement**2 + preset.sign_floor).sqrt()
        f, fixed_gradient, weight = sign * f, sign * fixed_gradient, seen * agreement**2
    residual = f - w
    variance = masked_gaussian_filter(residual**2, seen, _windows(level, preset.noise_window))
    return Residuals(residual, fixed_gradient, warped_gradient, weight / (variance + noise_floor))


def _windows(level: Level, sigma: float) -> list[float]:
    """Convert a standard deviation in pixels of images of the usual size to cells along each axis."""
    wide = sigma * stretch(level.step, level.scale)
    return [max(wide / step, level.preset.least_window) for step in level.steps]
