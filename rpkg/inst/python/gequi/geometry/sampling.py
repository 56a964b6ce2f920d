"""Sampling of images and volumes at points between pixels."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch.nn import functional

from .grids import mirrored, size_of, spline_coefficients

INTERPOLATIONS = ("linear", "cubic", "nearest")
PADDINGS = ("border", "zeros", "reflection")

Tap = tuple[torch.Tensor, torch.Tensor]  # the index of a pixel along an axis, and its weight


def grid_sample(
    image: torch.Tensor,
    points: torch.Tensor,
    interpolation: str = "linear",
    padding: str = "border",
    size: Sequence[int] | None = None,
    symmetric: bool = False,
) -> torch.Tensor:
    """Sample an image at points.

    Args:
        image: tensor (1 or batch, channel, *cells).
        points: tensor (batch, axis, *out), in pixels from 0.
        interpolation: str: "linear"; "cubic", the interpolating B-spline with mirrored ends; or "nearest", where a
            point halfway between two pixels takes the pixel with the larger index.
        padding: str: the values outside the image. "border" uses the nearest pixel, "reflection" mirrors the image
            about its borders (linear only), and "zeros" is 0: with linear interpolation between the outermost pixels
            and 0, for "cubic" from the centers of the outermost pixels on, for "nearest" half a pixel further out.
        size: tuple of int: the size of the image in whose pixels `points` are given, if the cells of `image` cover that
            image evenly (linear only). None means that the cells are the pixels.
        symmetric: bool: whether to add the four (eight) products of linear interpolation in an order that is the same
            for an image and its quarter turns, so that the results agree in every bit. It is 7 to 9 times slower.

    Returns:
        a tensor (batch, channel, *out).

    Source: the cubic spline, Unser, Aldroubi and Eden 1993.
    """
    shape = size_of(image)
    if interpolation == "linear" and not (symmetric and padding == "border"):
        return _torch_sample(image, points, padding, shape if size is None else size)
    if interpolation == "cubic":
        for axis, n in enumerate(shape):
            image = _apply_along(spline_coefficients(n, image.dtype, image.device), image, axis + 2)
    taps = {"linear": _linear_taps, "cubic": _cubic_taps, "nearest": _nearest_taps}[interpolation]
    sampled = _gather(image, [taps(p.clamp(0, n - 1), n) for p, n in zip(points.unbind(1), shape, strict=True)])
    if padding == "zeros":
        reach = 0.5 if interpolation == "nearest" else 0.0
        sampled = sampled * inside(points, shape, reach)[:, None]
    return sampled


def inside(points: torch.Tensor, shape: Sequence[int], reach: float = 0.5) -> torch.Tensor:
    """Return whether points (batch, axis, ...) are at most `reach` pixels beyond the outermost pixels' centers."""
    within = [
        (p > -reach) & (p < n - 1 + reach) if reach else (p >= 0) & (p <= n - 1)
        for p, n in zip(points.unbind(1), shape, strict=True)
    ]
    return torch.stack(within).all(0)


def nearest_pixels(points: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return the indexes (batch, axis, ...) of the pixels of an image that are nearest to points (batch, axis, ...)."""
    return torch.stack([_nearest(p, n) for p, n in zip(points.unbind(1), shape, strict=True)], 1)


def _torch_sample(image: torch.Tensor, points: torch.Tensor, padding: str, size: Sequence[int]) -> torch.Tensor:
    """Interpolate linearly with torch, which requires as many axes for the points as for the image."""
    axes = len(size)
    out = points.shape[2:]
    scale = torch.tensor(size, dtype=points.dtype, device=points.device).reshape(1, axes, *[1] * axes)
    grid = points.reshape(*points.shape[:2], *([1] * (axes - 1) + [-1] if len(out) != axes else out))
    unit = (2 * grid + 1) / scale - 1
    sampled = functional.grid_sample(
        image.expand(len(points), *image.shape[1:]),
        unit.flip(1).movedim(1, -1),
        padding_mode=padding,
        align_corners=False,
    )
    return sampled.reshape(*sampled.shape[:2], *out)


def _gather(image: torch.Tensor, taps: Sequence[Sequence[Tap]]) -> torch.Tensor:
    """Compute the weighted sum of the pixels at the taps of each axis, with opposite corners of a cell first."""
    batch, *out = taps[0][0][0].shape
    shape, channels, values = size_of(image), image.shape[1], image.flatten(2)
    corners = list(itertools.product(*(range(len(tap)) for tap in taps)))

    def corner(which: tuple[int, ...]) -> torch.Tensor:
        index, weight = taps[0][0][0].new_zeros(1), image.new_ones(1)
        for tap, number, n in zip(taps, which, shape, strict=True):
            position, part = tap[number]
            index, weight = index * n + position, weight * part
        index = index.reshape(batch, 1, -1)
        if len(values) == 1:
            picked = values[0][:, index[:, 0]].transpose(0, 1)
        else:
            picked = values.gather(2, index.expand(-1, channels, -1))
        return picked * weight.reshape(batch, 1, -1)

    if len(corners) == 1:
        return corner(corners[0]).reshape(batch, channels, *out)
    total = image.new_zeros(1)
    for first, last in zip(corners[: len(corners) // 2], reversed(corners), strict=False):
        total = total + (corner(first) + corner(last))
    return total.reshape(batch, channels, *out)


def _apply_along(matrix: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    """Apply a matrix (out, in) along one axis of x."""
    return torch.tensordot(x, matrix, dims=([axis], [1])).movedim(-1, axis)


def _nearest(p: torch.Tensor, size: int) -> torch.Tensor:
    return (p.clamp(0, size - 1) + 0.5).floor().clamp(max=size - 1).long()


def _nearest_taps(p: torch.Tensor, size: int) -> list[Tap]:
    return [(_nearest(p, size), torch.ones_like(p))]


def _linear_taps(p: torch.Tensor, size: int) -> list[Tap]:
    """Return the 2 pixels around p, which is within the image."""
    low = p.detach().floor().clamp(max=max(size - 2, 0))
    part = p - low
    return [(low.long(), 1 - part), ((low + 1).clamp(max=size - 1).long(), part)]


def _cubic_taps(p: torch.Tensor, size: int) -> list[Tap]:
    """Return the 4 spline coefficients around p, mirrored at the ends."""
    low = p.detach().floor().clamp(max=max(size - 2, 0))
    right = p - low
    left = 1 - right
    weights = [left**3 / 6, 2 / 3 - right**2 * (2 - right) / 2, 2 / 3 - left**2 * (2 - left) / 2, right**3 / 6]
    return [
        (mirrored(low.long() + offset, size), weight) for offset, weight in zip((-1, 0, 1, 2), weights, strict=True)
    ]
