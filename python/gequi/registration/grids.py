"""Grids of cells that cover an image or volume evenly, and the linear maps between them as small dense matrices.

One matrix acts along each axis. All of them are symmetric about the middle of their grid, so all of them commute with
quarter turns up to rounding, for any size. Every matrix is made once for each type and device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypedDict

import torch
from torch.nn import functional

from ..maps import spline_coefficients, without_denormals

DENSE = 256  # cells along a side, up to which a matrix of all cells smooths faster than strips do
STRIP = 32
Size = tuple[int, ...]  # (row, column) or (row, column, depth)


class Kind(TypedDict):
    """In what type, and on what device, tensors are made."""

    dtype: torch.dtype
    device: torch.device


def kind_of(x: torch.Tensor) -> Kind:
    """The type and device of x, for tensors that are to meet it."""
    return Kind(dtype=x.dtype, device=x.device)


def separable(x: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """A matrix (out, in) along each of the last axes of x, (..., row, column) or (..., row, column, depth)."""
    *first, rows, columns = matrices
    x = rows @ x @ columns.mT
    for matrix in first:  # of a volume, whose columns and depths are then one long row
        x = (matrix @ x.flatten(-2)).unflatten(-1, x.shape[-2:])
    return x


def size_of(x: torch.Tensor) -> Size:
    """Sizes of x (batch, channel, *size)."""
    return tuple(x.shape[2:])


def centres(size: Size, image: Size, dtype: torch.dtype, device: torch.device | None = None) -> torch.Tensor:
    """Where the middles of `size` cells lie, in pixels of the image that they cover: (axis, *size)."""
    axes = [
        (torch.arange(cells, dtype=dtype, device=device) + 0.5) * (pixels / cells) - 0.5
        for cells, pixels in zip(size, image, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def smooth(x: torch.Tensor, sigmas: Sequence[float], normalised: bool = False) -> torch.Tensor:
    """Gaussian smoothing of x (batch, channel, *size), sigmas in cells.

    With 0 beyond the border, or with weights that sum to 1 in the image.
    """
    if max(size_of(x)) > DENSE and x.ndim == 4 and not normalised:
        return _smooth_rows(_smooth_rows(x, sigmas[0]).mT, sigmas[1]).mT
    return separable(
        x, [_gaussian(n, sigma, normalised, x.dtype, x.device) for n, sigma in zip(size_of(x), sigmas, strict=True)]
    )


def _smooth_rows(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """The same along the rows of a long image, in strips: the time grows with the rows, not with their square."""
    reach, rows = math.ceil(5 * sigma), x.shape[-2]
    strips = math.ceil(rows / STRIP)
    padded = functional.pad(x, (0, 0, reach, reach + strips * STRIP - rows))
    around = padded.unfold(-2, STRIP + 2 * reach, STRIP)  # (batch, channel, strip, column, row)
    return (_strip(sigma, reach, x.dtype, x.device) @ around.mT).flatten(-3, -2)[..., :rows, :]


def average(x: torch.Tensor, size: Size) -> torch.Tensor:
    """Means over `size` equal cells, which may cut pixels."""
    return x if size_of(x) == tuple(size) else _resized(_area, x, size)


def refine(x: torch.Tensor, size: Size) -> torch.Tensor:
    """The cubic spline through the cells of x at the middles of `size` cells."""
    return x if size_of(x) == tuple(size) else _resized(_spline, x, size)


def resample(x: torch.Tensor, size: Size, steps: Sequence[float]) -> torch.Tensor:
    """x on `size` cells of `steps` pixels about its middle: means where these are larger than pixels, else splines."""
    return separable(
        x,
        [
            (_area if step > 1 else _spline)(n, m, step, x.dtype, x.device)
            for n, m, step in zip(size_of(x), size, steps, strict=True)
        ],
    )


def cosines(x: torch.Tensor, inverse: bool = False) -> torch.Tensor:
    """The orthonormal cosine transform (DCT-II) of x (batch, channel, *size) along its axes, or its inverse."""
    matrices = [_cosine(n, x.dtype, x.device) for n in size_of(x)]
    return separable(x, [matrix.mT for matrix in matrices] if inverse else matrices)


def mode_products(x: torch.Tensor, modes: int) -> torch.Tensor:
    """The sum of x times each two of the lowest modes of `cosines`.

    x is (batch, channel, *size); the result (batch, channel, *modes of one, *modes of the other).
    """
    axes = len(size_of(x))
    # cos(a) cos(b) = (cos(a + b) + cos(a - b)) / 2: first the sums with single cosines, which are few
    single = separable(x, [_single(n, modes, x.dtype, x.device) for n in size_of(x)])
    pairs = separable(single, [_pairs(n, modes, x.dtype, x.device) for n in size_of(x)])
    pairs = pairs.unflatten(-1, (modes, modes))
    for axis in range(3, axes + 2)[::-1]:
        pairs = pairs.unflatten(axis - 1, (modes, modes))
    order = [2 + 2 * axis for axis in range(axes)]
    return pairs.permute(0, 1, *order, *[place + 1 for place in order])


def squared_frequencies(
    size: Size, image: Size, dtype: torch.dtype, device: torch.device | None = None
) -> torch.Tensor:
    """|k|^2 in (radians per pixel)^2 for each coefficient of `cosines`."""
    axes = [
        (math.pi * torch.arange(cells, dtype=dtype, device=device) / pixels) ** 2
        for cells, pixels in zip(size, image, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).sum(0)


def gradient(x: torch.Tensor, steps: Sequence[float]) -> torch.Tensor:
    """Central differences of (batch, 1, *size) with a repeated border: (batch, axis, *size)."""
    axes = len(steps)
    padded = functional.pad(x, (1, 1) * axes, mode="replicate")

    def shifted(axis: int, start: int) -> torch.Tensor:
        part = padded
        for other, size in enumerate(size_of(x)):
            part = part.narrow(other + 2, start if other == axis else 1, size)
        return part

    return torch.cat([(shifted(axis, 2) - shifted(axis, 0)) / (2 * steps[axis]) for axis in range(axes)], 1)


def look_up(x: torch.Tensor, points: torch.Tensor, image: Size, outside: str = "border") -> torch.Tensor:
    """Cells x (1 or batch, channel, *size) over an image, at points (batch, axis, *out) in its pixels, linearly.

    torch reads only grids of as many axes as x has: other points, as a list (batch, axis, point), are made such.
    """
    axes = len(image)
    out = points.shape[2:]
    scale = torch.tensor(image, dtype=points.dtype, device=points.device).reshape(1, axes, *[1] * axes)
    grid = points.reshape(*points.shape[:2], *([1] * (axes - 1) + [-1] if len(out) != axes else out))
    unit = (2 * grid + 1) / scale - 1
    read = functional.grid_sample(
        x.expand(len(points), *x.shape[1:]), unit.flip(1).movedim(1, -1), padding_mode=outside, align_corners=False
    )
    return read.reshape(*read.shape[:2], *out)


def _resized(matrix: Callable[..., torch.Tensor], x: torch.Tensor, size: Size) -> torch.Tensor:
    return separable(x, [matrix(n, m, n / m, x.dtype, x.device) for n, m in zip(size_of(x), size, strict=True)])


@lru_cache(maxsize=256)
def _gaussian(n: int, sigma: float, normalised: bool, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    position = torch.arange(n, dtype=torch.float64, device=device)
    weights = torch.exp(-((position[:, None] - position) ** 2) / (2 * sigma**2))
    total = (
        weights.sum(1, keepdim=True)
        if normalised
        else torch.exp(-((torch.arange(-4 * n, 4 * n + 1, device=device) / sigma) ** 2) / 2).sum()
    )
    return without_denormals(weights / total).to(dtype)


@lru_cache(maxsize=256)
def _strip(sigma: float, reach: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """The weights of a strip's rows and those around it: each row reaches as far to both sides."""
    weights = _gaussian(STRIP + 2 * reach, sigma, False, dtype, device)[reach : reach + STRIP]
    return weights.triu().tril(2 * reach)


@lru_cache(maxsize=256)
def _area(n: int, m: int, step: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    low = n / 2 + (torch.arange(m, dtype=torch.float64, device=device)[:, None] - m / 2) * step
    pixel = torch.arange(n, dtype=torch.float64, device=device)
    overlap = (torch.minimum(low + step, pixel + 1) - torch.maximum(low, pixel)).clamp_min(0)
    return (overlap / overlap.sum(1, keepdim=True)).to(dtype)


@lru_cache(maxsize=256)
def _spline(n: int, m: int, step: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    position = (n - 1) / 2 + (torch.arange(m, dtype=torch.float64, device=device) - (m - 1) / 2) * step
    distance = (position.clamp(0, n - 1)[:, None] - torch.arange(-1, n + 1, dtype=torch.float64, device=device)).abs()
    basis = torch.where(distance < 1, 2 / 3 - distance**2 * (2 - distance) / 2, (2 - distance).clamp_min(0) ** 3 / 6)
    weights = basis[:, 1:-1].clone()
    weights[:, min(1, n - 1)] += basis[:, 0]  # mirrored at the ends
    weights[:, max(n - 2, 0)] += basis[:, -1]
    return without_denormals(weights @ spline_coefficients(n, torch.float64, device)).to(dtype)


@lru_cache(maxsize=256)
def _cosine(n: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    k = torch.arange(n, dtype=torch.float64, device=device)
    matrix = torch.cos(math.pi * (k + 0.5) * k[:, None] / n) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix.to(dtype)


@lru_cache(maxsize=256)
def _single(n: int, modes: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Cosines, of length sqrt(n) or so, of the frequencies 0 to 2 modes - 2: (frequency, cell)."""
    k = torch.arange(2 * modes - 1, dtype=torch.float64, device=device)
    x = torch.arange(n, dtype=torch.float64, device=device) + 0.5
    return torch.cos(math.pi / n * k[:, None] * x).to(dtype)


@lru_cache(maxsize=256)
def _pairs(n: int, modes: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Products of two modes of `_cosine` as sums of `_single`: (modes * modes, frequency)."""
    k = torch.arange(modes, device=device)
    one, other = torch.cartesian_prod(k, k).unbind(1)
    unit = torch.eye(2 * modes - 1, dtype=torch.float64, device=device)
    length = ((1 + (k > 0).double()) / n).sqrt()
    return ((length[one] * length[other] / 2)[:, None] * (unit[one + other] + unit[(one - other).abs()])).to(dtype)
