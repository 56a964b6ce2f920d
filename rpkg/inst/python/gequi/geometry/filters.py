"""Filters of images and volumes (batch, channel, *size): Gaussian, gradient, local normalization, quantile stretch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.nn import functional

from .grids import apply_separable, size_of, without_denormals

DENSE = 256  # pixels along a side up to which one matrix for the whole axis is faster than strips
STRIP = 32
QUANTILES = (0.005, 0.995)


def gaussian_filter(x: torch.Tensor, sigmas: Sequence[float], normalized: bool = False) -> torch.Tensor:
    """Smooth x with a Gaussian whose standard deviation is given in pixels for each axis.

    Values outside the image are 0. With `normalized`, the weights inside the image sum to 1 instead.
    """
    if max(size_of(x)) > DENSE and x.ndim == 4 and not normalized:
        return _filter_rows(_filter_rows(x, sigmas[0]).mT, sigmas[1]).mT
    return apply_separable(
        x, [_gaussian(n, sigma, normalized, x.dtype, x.device) for n, sigma in zip(size_of(x), sigmas, strict=True)]
    )


def masked_gaussian_filter(
    x: torch.Tensor, mask: torch.Tensor, sigmas: Sequence[float], normalized: bool = False, floor: float = 1e-3
) -> torch.Tensor:
    """Compute the local mean within a mask with values from 0 to 1 (normalized convolution).

    `floor` is the minimum weight by which the sum is divided.
    """
    weight = gaussian_filter(mask, sigmas, normalized).clamp_min(floor)
    return gaussian_filter(mask * x, sigmas, normalized) / weight


def local_moments(x: torch.Tensor, mask: torch.Tensor, sigmas: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the local mean and variance of each channel of x in a Gaussian window within a mask (batch, 1, *size)."""
    channels = x.shape[1]
    if len(sigmas) == 3:  # one channel after the other: a volume has many voxels
        weight = gaussian_filter(mask, sigmas)
        first, second = (
            torch.cat([gaussian_filter(mask * channel**power, sigmas) for channel in x.split(1, 1)], 1)
            for power in (1, 2)
        )
    else:
        moments = gaussian_filter(torch.cat([mask, mask * x, mask * x**2], 1), sigmas)
        weight, first, second = moments.split([1, channels, channels], 1)
    weight = weight.clamp_min(1e-3)
    mean = first / weight
    return mean, (second / weight - mean**2).clamp_min(0)


def local_normalize(
    x: torch.Tensor, mask: torch.Tensor, sigmas: Sequence[float], floor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalize x to a local mean of 0 and a local standard deviation of at most 1, and return the divisor as well.

    The divisor is the root of the local variance plus `floor` squared, so flat regions stay near 0.
    """
    mean, variance = local_moments(x, mask, sigmas)
    deviation = (variance + floor**2).sqrt()
    return (x - mean) / deviation, deviation


def gradient(x: torch.Tensor, steps: Sequence[float]) -> torch.Tensor:
    """Compute central differences of x (batch, 1, *size) with a repeated border: (batch, axis, *size).

    `steps` are the distances between neighboring pixels along each axis.
    """
    axes = len(steps)
    padded = functional.pad(x, (1, 1) * axes, mode="replicate")

    def shifted(axis: int, start: int) -> torch.Tensor:
        part = padded
        for other, size in enumerate(size_of(x)):
            part = part.narrow(other + 2, start if other == axis else 1, size)
        return part

    return torch.cat([(shifted(axis, 2) - shifted(axis, 0)) / (2 * steps[axis]) for axis in range(axes)], 1)


def quantile_stretch(x: torch.Tensor, mask: torch.Tensor | None = None, floor: float = 0.0) -> torch.Tensor:
    """Scale each channel of x (batch, channel, *size) so that its 0.5 and 99.5 percent quantiles become 0 and 1.

    Values outside the two quantiles are mapped outside [0, 1]. If the quantiles are equal, the minimum and maximum are
    used instead.

    Args:
        mask: tensor (*size): True where the quantiles are computed. None is everywhere.
        floor: float: the minimum of the difference of the quantiles, the divisor.
    """
    inside = x.flatten(2) if mask is None else x[:, :, mask]
    low, high = (_quantile(inside, q) for q in QUANTILES)
    flat = high <= low
    low, high = torch.where(flat, inside.amin(-1), low), torch.where(flat, inside.amax(-1), high)
    spread = (high - low).clamp_min(floor)
    shape = (*x.shape[:2], *[1] * (x.ndim - 2))
    return (x - low.reshape(shape)) / torch.where(spread > 0, spread, 1.0).reshape(shape)


def _quantile(x: torch.Tensor, q: float) -> torch.Tensor:
    """Return the quantile along the last axis, linearly interpolated; `torch.quantile` accepts 16 million values."""
    place = q * (x.shape[-1] - 1)
    below = math.floor(place)
    values = x.kthvalue(below + 1, -1).values
    if below == place:
        return values
    return values + (place - below) * (x.kthvalue(below + 2, -1).values - values)


def _filter_rows(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Smooth along the row axis in strips, so that the time is proportional to the rows, not to their square."""
    reach, rows = math.ceil(5 * sigma), x.shape[-2]
    strips = math.ceil(rows / STRIP)
    padded = functional.pad(x, (0, 0, reach, reach + strips * STRIP - rows))
    around = padded.unfold(-2, STRIP + 2 * reach, STRIP)  # (batch, channel, strip, column, row)
    return (_strip(sigma, reach, x.dtype, x.device) @ around.mT).flatten(-3, -2)[..., :rows, :]


@lru_cache(maxsize=256)
def _gaussian(n: int, sigma: float, normalized: bool, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    position = torch.arange(n, dtype=torch.float64, device=device)
    weights = torch.exp(-((position[:, None] - position) ** 2) / (2 * sigma**2))
    total = (
        weights.sum(1, keepdim=True)
        if normalized
        else torch.exp(-((torch.arange(-4 * n, 4 * n + 1, device=device) / sigma) ** 2) / 2).sum()
    )
    return without_denormals(weights / total).to(dtype)


@lru_cache(maxsize=256)
def _strip(sigma: float, reach: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the weights of the rows of a strip and its surroundings; each row reaches equally far to both sides."""
    weights = _gaussian(STRIP + 2 * reach, sigma, False, dtype, device)[reach : reach + STRIP]
    return weights.triu().tril(2 * reach)
