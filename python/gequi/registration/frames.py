"""What comes in to a registration: images, masks and spacings, checked and brought to pixels of one length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..arrays import as_array, own_tensor
from ..errors import InputError, ShapeError
from ..geometry.filters import gaussian_filter, quantile_stretch
from ..geometry.grids import Kind, Size, resample
from ..maps import check_spacing
from .dense import Pair

AXES = "(row, column) or (row, column, depth), in grey"
SMALLEST = 16  # pixels along a side


def prepare_pair(
    moving: Any,
    fixed: Any,
    spacing: Any,
    moving_spacing: Any,
    moving_mask: Any,
    fixed_mask: Any,
    contrast: str,
    kind: Kind,
) -> tuple[Pair, list[Frame], np.ndarray, float]:
    """A pair on working pixels, from what was given.

    Besides it the frames of moving and fixed, the pixels of moving, and the area (volume) of a pixel of moving as a
    multiple of one of fixed.
    """
    moving_pixels = check_image(moving, "moving")
    fixed_pixels = check_image(fixed, "fixed")
    axes = fixed_pixels.ndim
    if moving_pixels.ndim != axes:
        raise ShapeError(
            f"`moving` and `fixed` must be two images or two volumes; their shapes are {moving_pixels.shape} and "
            f"{fixed_pixels.shape}.",
            "moving",
        )
    length = check_spacing(spacing, axes, "spacing")
    moving_length = length if moving_spacing is None else check_spacing(moving_spacing, axes, "moving_spacing")
    masks = [
        check_mask(mask, pixels, f"{name}_mask")
        for mask, pixels, name in ((moving_mask, moving_pixels, "moving"), (fixed_mask, fixed_pixels, "fixed"))
    ]
    unit = max(length.min(), moving_length.min())
    frames = [Frame.of(mask, each / unit) for mask, each in zip(masks, (moving_length, length), strict=True)]
    images = [
        prepare(pixels, mask, frame, name, kind)
        for pixels, mask, frame, name in zip(
            (moving_pixels, fixed_pixels), masks, frames, ("moving", "fixed"), strict=True
        )
    ]
    pair = Pair(images[1][0], images[0][0], images[1][1], images[0][1], contrast == "any")
    return pair, frames, moving_pixels, float(np.prod(moving_length) / np.prod(length))


def check_image(image: Any, argument: str) -> np.ndarray:
    """`image`, where it is a grey image with something on it."""
    array = as_array(image, argument, ndim=(2, 3), axes=AXES)
    if min(array.shape) < SMALLEST:
        raise ShapeError(
            f"`{argument}` must be at least {SMALLEST} pixels along each side; its shape is {array.shape}.", argument
        )
    if array.min() == array.max():
        raise InputError(
            f"`{argument}` is constant, {array.flat[0]!s} everywhere: there is nothing to match.", argument
        )
    return array


def check_mask(mask: Any, image: np.ndarray, argument: str) -> np.ndarray:
    """A mask of an image, True where it is to be looked at."""
    if mask is None:
        return np.ones(image.shape, dtype=bool)
    array = as_array(mask, argument, ndim=image.ndim, axes="as its image has")
    if array.shape != image.shape:
        raise ShapeError(f"`{argument}` must have its image's shape, {image.shape}; got {array.shape}.", argument)
    if not np.isin(array, (0, 1)).all():
        raise InputError(f"`{argument}` must hold nothing but True and False (or 1 and 0).", argument)
    array = array.astype(bool)
    least = SMALLEST**image.ndim
    if array.sum() < least:
        raise InputError(
            f"`{argument}` leaves {int(array.sum())} pixels of the image; at least {least} are needed.", argument
        )
    if image[array].min() == image[array].max():
        raise InputError(f"`{argument}` leaves a constant part of the image: there is nothing to match.", argument)
    return array


def prepare(
    pixels: np.ndarray, mask: np.ndarray, frame: Frame, argument: str, kind: Kind
) -> tuple[torch.Tensor, torch.Tensor]:
    """An image on working pixels, scaled to about [0, 1], and its mask. What is masked is filled from around it."""
    pixels, mask = frame.cut(pixels), frame.cut(mask)
    exact = own_tensor(pixels, torch.float64, kind["device"])[None, None]
    image = quantile_stretch(exact, own_tensor(mask, torch.bool, kind["device"])).to(**kind)
    seen = own_tensor(mask, **kind)[None, None]
    if not mask.all():
        windows = [8.0] * pixels.ndim
        near = gaussian_filter(seen, windows)
        around = gaussian_filter(seen * image, windows) / near.clamp_min(1e-6)
        mean = (seen * image).sum() / seen.sum()
        image = torch.where(seen > 0, image, torch.where(near > 1e-4, around, mean))
    if any(step != 1 for step in frame.steps):
        image, seen = (resample(x, frame.work, frame.steps) for x in (image, seen))
    if min(frame.work) < SMALLEST:
        whole = frame.part == frame.pixels
        what = f"`{argument}` has" if whole else f"`{argument}_mask` leaves a box of"
        pixels_of = "pixels" if all(step == 1 for step in frame.steps) else "pixels of the larger spacing"
        raise ShapeError(
            f"{what} {frame.work} {pixels_of}; at least {SMALLEST} along each side are needed.",
            argument if whole else f"{argument}_mask",
        )
    return image, seen.clamp(0, 1)


@dataclass
class Frame:
    """The part of an image that is looked at, and square pixels (cubic voxels) of one length on which the work is done.

    The part is the smallest box that holds the mask, so that a picture that is moved in its image is the same work.
    The working pixels lie about the part's middle.
    """

    pixels: Size  # of the whole image
    corner: Size  # the part's first pixel
    part: Size
    work: Size
    steps: tuple[float, ...]  # pixels to a working pixel

    @classmethod
    def of(cls, mask: np.ndarray, spacing: np.ndarray) -> Frame:
        """An image with this mask whose pixels have this spacing, in working pixels."""
        ends = [np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))[[0, -1]]
                for axis in range(mask.ndim)]  # fmt: skip
        corner, part = tuple(int(low) for low, _ in ends), tuple(int(high - low) + 1 for low, high in ends)
        steps = tuple(float(1 / length) for length in spacing)
        work = tuple(max(math.ceil(n / step - 1e-6), 1) for n, step in zip(part, steps, strict=True))
        return cls(mask.shape, corner, part, work, steps)

    @property
    def is_same(self) -> bool:
        return self.part == self.pixels and all(step == 1 for step in self.steps)

    def cut(self, array: np.ndarray) -> np.ndarray:
        """The part of the image, or of its mask."""
        return array[tuple(slice(low, low + n) for low, n in zip(self.corner, self.part, strict=True))]

    def to_work(self, points: torch.Tensor) -> torch.Tensor:
        """Points (axis, ...) in pixels, in working pixels."""
        if self.is_same:
            return points
        return torch.stack(
            [
                (p - low - (n - 1) / 2) / step + (m - 1) / 2
                for p, low, n, m, step in zip(points, self.corner, self.part, self.work, self.steps, strict=True)
            ]
        )

    def to_pixels(self, points: torch.Tensor) -> torch.Tensor:
        if self.is_same:
            return points
        return torch.stack(
            [
                (p - (m - 1) / 2) * step + (n - 1) / 2 + low
                for p, low, n, m, step in zip(points, self.corner, self.part, self.work, self.steps, strict=True)
            ]
        )

    def middle(self, kind: Kind) -> torch.Tensor:
        """The middle of the whole image in working pixels: (axis)."""
        return self.to_work(torch.tensor([(n - 1) / 2 for n in self.pixels], **kind)[:, None])[:, 0]
