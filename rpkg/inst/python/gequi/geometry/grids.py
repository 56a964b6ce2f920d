"""Grids of cells that cover an image or volume evenly, and linear maps between them as small dense matrices.

One matrix acts along each axis. Each matrix is symmetric about the middle of its grid, so it commutes with quarter
turns up to rounding for every size. Matrices are cached for each size, type and device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypedDict

import torch

Size = tuple[int, ...]  # (row, column) or (depth, row, column)


class Kind(TypedDict):
    """The type and the device of tensors."""

    dtype: torch.dtype
    device: torch.device


def kind_of(x: torch.Tensor) -> Kind:
    """Return the type and the device of x."""
    return Kind(dtype=x.dtype, device=x.device)


def size_of(x: torch.Tensor) -> Size:
    """Return the size of x (batch, channel, *size)."""
    return tuple(x.shape[2:])


# ---- coordinates ----------------------------------------------------------------------------------------


def pixel_grid(size: Sequence[int], dtype: torch.dtype, device: torch.device | None = None) -> torch.Tensor:
    """Return the coordinates of all pixels: (axis, *size)."""
    axes = [torch.arange(n, dtype=dtype, device=device) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def cell_centers(size: Size, image: Size, dtype: torch.dtype, device: torch.device | None = None) -> torch.Tensor:
    """Return the centers of `size` cells that cover an image, in pixels of the image: (axis, *size)."""
    axes = [
        (torch.arange(cells, dtype=dtype, device=device) + 0.5) * (pixels / cells) - 0.5
        for cells, pixels in zip(size, image, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def turned_grid(size: Sequence[int], matrices: torch.Tensor) -> torch.Tensor:
    """Return the points that a matrix about the center maps to the pixels: M^-1 (x - c) + c, (batch, axis, *size).

    An image that is sampled at these points is transformed by the matrix. `matrices` (batch, axis, axis) are orthogonal
    and act on the axes of the array.
    """
    x = pixel_grid(size, matrices.dtype, matrices.device)
    center = ((torch.tensor(size, dtype=x.dtype, device=x.device) - 1) / 2).reshape(-1, *[1] * len(size))
    return torch.einsum("bji,j...->bi...", matrices, x - center) + center


def squared_frequencies(
    size: Size, image: Size, dtype: torch.dtype, device: torch.device | None = None
) -> torch.Tensor:
    """Return |k|^2 in (radians per pixel)^2 for each coefficient of `dct()`: (*size)."""
    axes = [
        (math.pi * torch.arange(cells, dtype=dtype, device=device) / pixels) ** 2
        for cells, pixels in zip(size, image, strict=True)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).sum(0)


# ---- linear maps along the axes -------------------------------------------------------------------------


def apply_separable(x: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Apply a matrix (out, in) along each of the last two or three axes of x."""
    *first, rows, columns = matrices
    x = rows @ x @ columns.mT
    for matrix in first:  # the rows and columns of a volume are one long axis here
        x = (matrix @ x.flatten(-2)).unflatten(-1, x.shape[-2:])
    return x


def area_resample(x: torch.Tensor, size: Size) -> torch.Tensor:
    """Compute the means of x (batch, channel, *cells) over `size` equal cells, whose borders may cut pixels."""
    return x if size_of(x) == tuple(size) else _resized(_area, x, size)


def masked_area_resample(x: torch.Tensor, mask: torch.Tensor, size: Size) -> torch.Tensor:
    """Compute the means over `size` equal cells within a mask with values from 0 to 1."""
    return area_resample(x * mask, size) / area_resample(mask, size).clamp_min(1e-6)


def cubic_resample(x: torch.Tensor, size: Size) -> torch.Tensor:
    """Evaluate the interpolating cubic spline of x (batch, channel, *cells) at the centers of `size` cells."""
    return x if size_of(x) == tuple(size) else _resized(_spline, x, size)


def resample(x: torch.Tensor, size: Size, steps: Sequence[float]) -> torch.Tensor:
    """Resample x to `size` cells of `steps` pixels about its center: by means for steps above 1, else by splines."""
    return apply_separable(
        x,
        [
            (_area if step > 1 else _spline)(n, m, step, x.dtype, x.device)
            for n, m, step in zip(size_of(x), size, steps, strict=True)
        ],
    )


def dct(x: torch.Tensor, inverse: bool = False) -> torch.Tensor:
    """Compute the orthonormal discrete cosine transform (DCT-II) of x (batch, channel, *size), or its inverse."""
    matrices = [_cosine(n, x.dtype, x.device) for n in size_of(x)]
    return apply_separable(x, [matrix.mT for matrix in matrices] if inverse else matrices)


def dct_products(x: torch.Tensor, modes: Sequence[int]) -> torch.Tensor:
    """Compute the sums of x (batch, channel, *size) times the products of pairs of the lowest basis functions of
    `dct()`.

    `modes` is the number of basis functions along each axis.

    Returns:
        a tensor (batch, channel, *modes of the first, *modes of the second).
    """
    axes = len(size_of(x))
    # cos(a) cos(b) = (cos(a + b) + cos(a - b)) / 2: the sums with single cosines come first, since they are few
    along = list(zip(size_of(x), modes, strict=True))
    single = apply_separable(x, [_single_cosines(n, m, x.dtype, x.device) for n, m in along])
    pairs = apply_separable(single, [_cosine_pairs(n, m, x.dtype, x.device) for n, m in along])
    for axis in reversed(range(axes)):
        pairs = pairs.unflatten(axis + 2, (modes[axis], modes[axis]))
    order = [2 + 2 * axis for axis in range(axes)]
    return pairs.permute(0, 1, *order, *[place + 1 for place in order])


def _resized(matrix: Callable[..., torch.Tensor], x: torch.Tensor, size: Size) -> torch.Tensor:
    return apply_separable(x, [matrix(n, m, n / m, x.dtype, x.device) for n, m in zip(size_of(x), size, strict=True)])


# ---- the matrices ---------------------------------------------------------------------------------------


def without_denormals(matrix: torch.Tensor) -> torch.Tensor:
    """Set the entries of a matrix below 1e-20 in absolute value to 0.

    The tails of a Gaussian or of the inverse of a spline matrix reach the denormal numbers of float32, which slow a
    matrix product down by a factor of ten. The omitted values are below the rounding error of any sum in which they
    occur.
    """
    return torch.where(matrix.abs() < 1e-20, 0.0, matrix)


@lru_cache(maxsize=64)
def spline_coefficients(size: int, dtype: torch.dtype, device: torch.device | None = None) -> torch.Tensor:
    """Return the matrix from values at 0, 1, ... to the coefficients of the cubic B-spline through them, mirrored at
    the ends.

    Source: Unser, Aldroubi and Eden 1993.
    """
    if size == 1:
        return torch.ones(1, 1, dtype=dtype, device=device)
    basis = torch.eye(size, dtype=torch.float64, device=device) * 4
    for offset in (-1, 1):
        neighbors = mirrored(torch.arange(size, device=device) + offset, size)
        basis[torch.arange(size, device=device), neighbors] += 1
    return without_denormals(torch.linalg.inv(basis / 6)).to(dtype)


def mirrored(index: torch.Tensor, size: int) -> torch.Tensor:
    """Mirror indexes beyond the ends of an axis about its first and last pixel."""
    index = index.abs() % max(2 * (size - 1), 1)
    return torch.minimum(index, 2 * (size - 1) - index)


@lru_cache(maxsize=256)
def _area(n: int, m: int, step: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the weights (m, n) of n pixels in m cells of `step` pixels about the middle."""
    low = n / 2 + (torch.arange(m, dtype=torch.float64, device=device)[:, None] - m / 2) * step
    pixel = torch.arange(n, dtype=torch.float64, device=device)
    overlap = (torch.minimum(low + step, pixel + 1) - torch.maximum(low, pixel)).clamp_min(0)
    return (overlap / overlap.sum(1, keepdim=True)).to(dtype)


@lru_cache(maxsize=256)
def _spline(n: int, m: int, step: float, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the values (m, n) of the cubic spline through n pixels at m points, `step` pixels apart, centered."""
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
def _single_cosines(n: int, modes: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return cosines, not normalized, of the frequencies 0 to 2 modes - 2: (frequency, cell)."""
    k = torch.arange(2 * modes - 1, dtype=torch.float64, device=device)
    x = torch.arange(n, dtype=torch.float64, device=device) + 0.5
    return torch.cos(math.pi / n * k[:, None] * x).to(dtype)


@lru_cache(maxsize=256)
def _cosine_pairs(n: int, modes: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return the products of pairs of rows of `_cosine` as sums of `_single_cosines`: (modes * modes, frequency)."""
    k = torch.arange(modes, device=device)
    one, other = torch.cartesian_prod(k, k).unbind(1)
    unit = torch.eye(2 * modes - 1, dtype=torch.float64, device=device)
    length = ((1 + (k > 0).double()) / n).sqrt()
    return ((length[one] * length[other] / 2)[:, None] * (unit[one + other] + unit[(one - other).abs()])).to(dtype)
