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
    """Gaussian smoothing with a standard deviation in pixels for each axis.

    Outside the image the values are 0; with `normalized`, the weights inside the image sum to 1 instead.
    """
    if max(size_of(x)) > DENSE and x.ndim == 4 and not normalized:
        return _filter_rows(_filter_rows(x, sigmas[0]).mT, sigmas[1]).mT
    return apply_separable(
        x, [_gaussian(n, sigma, normalized, x.dtype, x.device) for n, sigma in zip(size_of(x), sigmas, strict=True)]
    )


def masked_gaussian_filter(
    x: torch.Tensor, mask: torch.Tensor, sigmas: Sequence[float], normalized: bool = False, floor: float = 1e-3
) -> torch.Tensor:
    """The local mean of what lies in a mask with values from 0 to 1 (normalized convolution).

    `floor` is the least weight by which the sum is divided.
    """
    weight = gaussian_filter(mask, sigmas, normalized).clamp_min(floor)
    return gaussian_filter(mask * x, sigmas, normalized) / weight


def local_moments(x: torch.Tensor, mask: torch.Tensor, sigmas: Sequence[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """The local mean and variance of each channel of x under a Gaussian window within a mask (batch, 1, *size)."""
    channels = x.shape[1]
    moments = gaussian_filter(torch.cat([mask, mask * x, mask * x**2], 1), sigmas)
    weight, first, second = moments.split([1, channels, channels], 1)
    weight = weight.clamp_min(1e-3)
    mean = first / weight
    return mean, (second / weight - mean**2).clamp_min(0)


def local_normalize(
    x: torch.Tensor, mask: torch.Tensor, sigmas: Sequence[float], floor: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """x with a local mean of 0 and a local standard deviation of 1 or less, and the deviation it was divided by.

    The deviation is the root of the local variance plus `floor` squared, so that flat regions stay near 0.
    """
    mean, variance = local_moments(x, mask, sigmas)
    deviation = (variance + floor**2).sqrt()
    return (x - mean) / deviation, deviation


def gradient(x: torch.Tensor, steps: Sequence[float]) -> torch.Tensor:
    """Central differences of x (batch, 1, *size) with a repeated border: (batch, axis, *size).

    `steps` are the distances of neighboring pixels along each axis.
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
    """Each channel of x (batch, channel, *size) scaled so that its 0.5 and 99.5 percent quantiles become 0 and 1.

    Values outside the two quantiles go beyond [0, 1]. Where the quantiles are equal, the least and the largest value
    take their place.

    Args:
        mask: where the quantiles are taken, True or False, of the shape (*size); None is everywhere.
        floor: the least difference of the quantiles by which is divided.
    """
    inside = x.flatten(2) if mask is None else x[:, :, mask]
    low, high = (_quantile(inside, q) for q in QUANTILES)
    flat = high <= low
    low, high = torch.where(flat, inside.amin(-1), low), torch.where(flat, inside.amax(-1), high)
    spread = (high - low).clamp_min(floor)
    shape = (*x.shape[:2], *[1] * (x.ndim - 2))
    return (x - low.reshape(shape)) / torch.where(spread > 0, spread, 1.0).reshape(shape)


def _quantile(x: torch.Tensor, q: float) -> torch.Tensor:
    """The quantile along the last axis, by linear interpolation; `torch.quantile` takes 16 million values at most."""
    place = q * (x.shape[-1] - 1)
    below = math.floor(place)
    values = x.kthvalue(below + 1, -1).values
    if below == place:
        return values
    return values + (place - below) * (x.kthvalue(below + 2, -1).values - values)


def _filter_rows(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian smoothing along the rows axis in strips: the time grows with the rows, not with their square."""
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
    """The weights of a strip's rows and of those around it: each row reaches equally far to both sides."""
    weights = _gaussian(STRIP + 2 * reach, sigma, False, dtype, device)[reach : reach + STRIP]
    return weights.triu().tril(2 * reach)
