"""Grids of cells that cover an image evenly, and the linear maps between them as small dense matrices.

A matrix acts along rows, another along columns. All of them are symmetric about the middle of their grid, so all of
them commute with quarter turns up to rounding, for any size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.nn import functional

from ..maps import spline_coefficients

Size = tuple[int, int]


def separable(x: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """A matrix (out, in) along rows and another along columns of x (..., row, column)."""
    return matrices[0] @ x @ matrices[1].mT


def centres(size: Size, image: Size, dtype: torch.dtype) -> torch.Tensor:
    """Where the middles of `size` cells lie, in pixels of the image that they cover: (axis, row, column)."""
    axes = [
        (torch.arange(cells, dtype=dtype) + 0.5) * (pixels / cells) - 0.5
        for cells, pixels in zip(size, image, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def smooth(x: torch.Tensor, sigmas: Sequence[float], normalised: bool = False) -> torch.Tensor:
    """Gaussian smoothing, sigmas in cells: with 0 beyond the border, or with weights that sum to 1 in the image."""
    return separable(
        x, [_gaussian(n, sigma, normalised, x.dtype) for n, sigma in zip(x.shape[-2:], sigmas, strict=True)]
    )


def average(x: torch.Tensor, size: Size) -> torch.Tensor:
    """Means over `size` equal cells, which may cut pixels."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return separable(x, [_area(n, m, n / m, x.dtype) for n, m in zip(x.shape[-2:], size, strict=True)])


def refine(x: torch.Tensor, size: Size) -> torch.Tensor:
    """The cubic spline through the cells of x at the middles of `size` cells."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return separable(x, [_spline(n, m, n / m, x.dtype) for n, m in zip(x.shape[-2:], size, strict=True)])


def resample(x: torch.Tensor, size: Size, steps: Sequence[float]) -> torch.Tensor:
    """x on `size` cells of `steps` pixels about its middle: means where these are larger than pixels, else splines."""
    return separable(
        x,
        [
            (_area if step > 1 else _spline)(n, m, step, x.dtype)
            for n, m, step in zip(x.shape[-2:], size, steps, strict=True)
        ],
    )


def cosines(x: torch.Tensor, inverse: bool = False) -> torch.Tensor:
    """The orthonormal cosine transform (DCT-II) of the last two axes, or its inverse."""
    matrices = [_cosine(n, x.dtype) for n in x.shape[-2:]]
    return separable(x, [matrix.mT for matrix in matrices] if inverse else matrices)


def squared_frequencies(size: Size, image: Size, dtype: torch.dtype) -> torch.Tensor:
    """|k|^2 in (radians per pixel)^2 for each coefficient of `cosines`."""
    rows, columns = (
        (math.pi * torch.arange(cells, dtype=dtype) / pixels) ** 2 for cells, pixels in zip(size, image, strict=True)
    )
    return rows[:, None] + columns


def gradient(x: torch.Tensor, steps: Sequence[float]) -> torch.Tensor:
    """Central differences of (batch, 1, row, column) with a repeated border: (batch, 2, row, column)."""
    padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    by_row = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / (2 * steps[0])
    by_column = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / (2 * steps[1])
    return torch.cat([by_row, by_column], 1)


def look_up(x: torch.Tensor, points: torch.Tensor, image: Size, outside: str = "border") -> torch.Tensor:
    """Cells x (1 or batch, channel, row, column) over an image, at points (batch, axis, ...) in its pixels, linearly."""
    scale = torch.tensor(image, dtype=points.dtype).reshape(1, 2, *[1] * (points.ndim - 2))
    unit = (2 * points + 1) / scale - 1
    return functional.grid_sample(
        x.expand(len(points), -1, -1, -1), unit.flip(1).movedim(1, -1), padding_mode=outside, align_corners=False
    )


@lru_cache(maxsize=256)
def _gaussian(n: int, sigma: float, normalised: bool, dtype: torch.dtype) -> torch.Tensor:
    position = torch.arange(n, dtype=torch.float64)
    weights = torch.exp(-((position[:, None] - position) ** 2) / (2 * sigma**2))
    total = (
        weights.sum(1, keepdim=True)
        if normalised
        else torch.exp(-((torch.arange(-4 * n, 4 * n + 1) / sigma) ** 2) / 2).sum()
    )
    return (weights / total).to(dtype)


@lru_cache(maxsize=256)
def _area(n: int, m: int, step: float, dtype: torch.dtype) -> torch.Tensor:
    low = n / 2 + (torch.arange(m, dtype=torch.float64)[:, None] - m / 2) * step
    pixel = torch.arange(n, dtype=torch.float64)
    overlap = (torch.minimum(low + step, pixel + 1) - torch.maximum(low, pixel)).clamp_min(0)
    return (overlap / overlap.sum(1, keepdim=True)).to(dtype)


@lru_cache(maxsize=256)
def _spline(n: int, m: int, step: float, dtype: torch.dtype) -> torch.Tensor:
    position = (n - 1) / 2 + (torch.arange(m, dtype=torch.float64) - (m - 1) / 2) * step
    distance = (position.clamp(0, n - 1)[:, None] - torch.arange(-1, n + 1, dtype=torch.float64)).abs()
    basis = torch.where(distance < 1, 2 / 3 - distance**2 * (2 - distance) / 2, (2 - distance).clamp_min(0) ** 3 / 6)
    weights = basis[:, 1:-1].clone()
    weights[:, min(1, n - 1)] += basis[:, 0]  # mirrored at the ends
    weights[:, max(n - 2, 0)] += basis[:, -1]
    return (weights @ spline_coefficients(n, torch.float64)).to(dtype)


@lru_cache(maxsize=256)
def _cosine(n: int, dtype: torch.dtype) -> torch.Tensor:
    k = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi * (k + 0.5) * k[:, None] / n) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix.to(dtype)
