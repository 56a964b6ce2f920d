"""Sampling of images and volumes at points between pixels."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Sequence

import torch
from torch.nn import functional

from .grids import mirrored, size_of, spline_coefficients

INTERPOLATIONS = ("linear", "cubic", "nearest")
PADDINGS = ("border", "zeros", "reflection")

# A spline's coefficients decay by 2 - sqrt(3) per pixel: to 1e-16 of the first within 28 pixels.
_REACH, _BLOCK = 32, 64
POINTS_AT_ONCE = 2**15  # so that the intermediate values stay in the cache; set by tests/benchmarks/maps.py --blocks

# Along an axis: the pixel below each point (int32), and the weights of the pixels around it.
Taps = tuple[torch.Tensor, list[torch.Tensor]]


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
            for an image and its quarter turns, so that the results agree in every bit. It takes about three times as
            long, and for many channels, which are then read one by one, up to ten times.

    Returns:
        a tensor (batch, channel, *out).

    Source: the cubic spline, Unser, Aldroubi and Eden 1993.
    """
    shape = size_of(image)
    if interpolation == "linear" and not (symmetric and padding == "border"):
        return _torch_sample(image, points, padding, shape if size is None else size)
    if interpolation == "cubic":
        for axis in range(len(shape)):
            image = spline_filter(image, axis + 2)
    sampled = _gather(_extended(image, interpolation), points, shape, interpolation, symmetric)
    if padding == "zeros":
        reach = 0.5 if interpolation == "nearest" else 0.0
        sampled = sampled * inside(points, shape, reach)[:, None]
    return sampled


def inside(points: torch.Tensor, shape: Sequence[int], reach: float = 0.5) -> torch.Tensor:
    """Return whether points (batch, axis, ...) are at most `reach` pixels beyond the outermost pixels' centers.

    With a reach of 0, a point that only rounding moves off the outermost centers is inside: a turn about an axis of a
    volume leaves the first and the last slice where they are.
    """
    slack = 16 * torch.finfo(points.dtype).eps * max(shape)
    within = [
        (p > -reach) & (p < n - 1 + reach) if reach else (p >= -slack) & (p <= n - 1 + slack)
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


def _extended(image: torch.Tensor, interpolation: str) -> torch.Tensor:
    """Add the pixels beyond the border of an image (batch, channel, *shape) that an interpolation reads.

    Linear interpolation reads one after the last pixel, with a weight of 0. The spline reads one before the first pixel
    and two after the last one, mirrored.
    """
    for axis, n in enumerate(size_of(image), 2):
        before, after = {"linear": ([], [n - 1]), "cubic": ([1], [n - 2, n - 3]), "nearest": ([], [])}[interpolation]
        start, end = ([image.narrow(axis, min(abs(at), n - 1), 1) for at in some] for some in (before, after))
        image = torch.cat([*start, image, *end], axis) if end else image
    return image


def _gather(
    image: torch.Tensor, points: torch.Tensor, shape: Sequence[int], interpolation: str, symmetric: bool
) -> torch.Tensor:
    """Sample an extended image of this shape without its extension at points, in blocks that stay in the cache."""
    batch, channels = len(points), image.shape[1]
    taps = {"linear": _linear_taps, "cubic": _cubic_taps, "nearest": _nearest_taps}[interpolation]
    learned = torch.is_grad_enabled() and (image.requires_grad or points.requires_grad)
    # For one channel, computing all weights takes longer than their use.
    bags = not (symmetric or learned or channels == 1 or interpolation == "nearest")
    sampled = []
    for number, at in enumerate(points.flatten(2)):
        values = image[number if len(image) > 1 else 0].flatten(1)
        values = values.T.contiguous() if bags else values
        gather = _gather_bags if bags else _gather_block
        blocks = [
            gather(values, size_of(image), [taps(p.clamp(0, n - 1)) for p, n in zip(some, shape, strict=True)])
            for some in at.split(POINTS_AT_ONCE, 1)
        ]
        sampled.append(torch.cat(blocks, 1))
    return torch.stack(sampled).reshape(batch, channels, *points.shape[2:])


def _gather_bags(values: torch.Tensor, shape: Sequence[int], taps: Sequence[Taps]) -> torch.Tensor:
    """Compute the sums of `_gather_block()` by `embedding_bag()`, which reads the channels of a pixel at once.

    Args:
        values: tensor (pixel, channel): an extended image of this `shape`.
    """
    ahead = torch.tensor(_corners_ahead([len(weights) for _, weights in taps], shape), dtype=torch.int32)
    pixels = _cell_index([low for low, _ in taps], shape)[:, None] + ahead.to(values.device)
    weights = torch.stack(taps[0][1], 1).to(values)
    for _, along in taps[1:]:
        weights = (weights[:, :, None] * torch.stack(along, 1).to(values)[:, None]).flatten(1)
    return functional.embedding_bag(pixels, values, mode="sum", per_sample_weights=weights).T


def _gather_block(values: torch.Tensor, shape: Sequence[int], taps: Sequence[Taps]) -> torch.Tensor:
    """Compute the weighted sum of the pixels at the taps of each axis, with opposite corners of a cell first.

    In an extended image every corner of a cell is at a fixed distance in memory from its lowest pixel. One index
    therefore serves them all.

    Args:
        values: tensor (channel, pixel): an extended image of this `shape`.
    """
    index = _cell_index([low for low, _ in taps], shape)
    corners = list(itertools.product(*(weights for _, weights in taps)))
    ahead = _corners_ahead([len(weights) for _, weights in taps], shape)

    def terms(number: int) -> list[torch.Tensor]:
        weight = functools.reduce(operator.mul, corners[number])
        return [channel[ahead[number] :].index_select(0, index) * weight for channel in values]

    if len(corners) == 1:
        return torch.stack(terms(0))
    totals: list[torch.Tensor] = []
    for number in range(len(corners) // 2):
        both = [one + other for one, other in zip(terms(number), terms(-1 - number), strict=True)]
        totals = [total + more for total, more in zip(totals, both, strict=True)] if totals else both
    return torch.stack(totals)


def _cell_index(low: Sequence[torch.Tensor], shape: Sequence[int]) -> torch.Tensor:
    """Return the place in memory of pixels, from their index along each axis."""
    index = low[0].long() if math.prod(shape) >= 2**31 else low[0]
    for along, n in zip(low[1:], shape[1:], strict=True):
        index = index * n + along
    return index


def _corners_ahead(pixels: Sequence[int], shape: Sequence[int]) -> list[int]:
    """Return how far ahead in memory of the lowest pixel of a cell each of its pixels is."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return [sum(map(operator.mul, corner, strides)) for corner in itertools.product(*map(range, pixels))]


def sample_with_slopes(image: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Interpolate an image (channel, *shape) linearly at points (axis, point) within it, with the derivatives there.

    Returns:
        the values (channel, point) and their derivatives along each axis (channel, axis, point). Between two pixels
        these are the differences of the pixels; at a pixel, those to the next one.
    """
    shape, channels = image.shape[1:], image.flatten(1)
    below = [_below(p, n - 2) for p, n in zip(points, shape, strict=True)]
    index = _cell_index([low for low, _ in below], shape)
    ahead = _corners_ahead([2] * len(shape), shape)
    read = [channel[step:].index_select(0, index) for step in ahead for channel in channels]
    values = torch.stack(read).reshape(*[2] * len(shape), len(channels), -1)
    slopes: list[torch.Tensor] = []
    for _, part in below:
        slopes = [slope[0] + part * (slope[1] - slope[0]) for slope in slopes]
        slopes.append(values[1] - values[0])
        values = values[0] + part * slopes[-1]
    return values, torch.stack(slopes, 1)


def spline_filter(image: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the coefficients of the cubic B-spline through the values along an axis, mirrored at its ends.

    A coefficient depends on the values within `_REACH` pixels, up to rounding. The matrix of a long axis is therefore
    applied to blocks of `_BLOCK` pixels and their surroundings.
    """
    n = image.shape[axis]
    whole = _BLOCK + 2 * _REACH
    if n < 2 * whole:
        matrix = spline_coefficients(n, image.dtype, image.device)
        return torch.tensordot(image, matrix, dims=([axis], [1])).movedim(-1, axis)
    matrix = spline_coefficients(whole, image.dtype, image.device)[_REACH : _REACH + _BLOCK]
    blocks = -(-n // _BLOCK)
    index = mirrored(torch.arange(-_REACH, blocks * _BLOCK + _REACH, device=image.device), n)
    windows = image.index_select(axis, index).unfold(axis, whole, _BLOCK)
    filtered = torch.tensordot(windows, matrix, dims=([-1], [1]))
    return filtered.movedim(-1, axis + 1).flatten(axis, axis + 1).narrow(axis, 0, n)


def _nearest(p: torch.Tensor, size: int) -> torch.Tensor:
    return (p.clamp(0, size - 1) + 0.5).floor().clamp(max=size - 1).long()


def _nearest_taps(p: torch.Tensor) -> Taps:
    return (p + 0.5).int(), [torch.ones_like(p)]


def _below(p: torch.Tensor, last: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pixel below each point, at most the pixel `last`, and how far the point is from it."""
    low = p.detach().int()  # the size along one axis is always below 2^31
    low = low if last is None else low.clamp(max=last)
    return low, p - low


def _linear_taps(p: torch.Tensor) -> Taps:
    """Return the weights of the 2 pixels around p."""
    low, part = _below(p)
    return low, [1 - part, part]


def _cubic_taps(p: torch.Tensor) -> Taps:
    """Return the weights of the 4 spline coefficients around p. The image starts with one more than its pixels."""
    low, right = _below(p)
    left = 1 - right
    cubes = [part * part * part / 6 for part in (left, right)]
    middle = [2 / 3 - part * part * (1 - part / 2) for part in (right, left)]
    return low, [cubes[0], *middle, cubes[1]]
