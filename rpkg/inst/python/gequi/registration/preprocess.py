"""Input of a registration: checks of images, masks and spacings, and conversion to pixels of one length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..arrays import as_array, own_tensor
from ..errors import InputError, ShapeError
from ..geometry.filters import gaussian_filter, quantile_stretch
from ..geometry.grids import Kind, Size, resample, size_of
from ..maps import check_spacing

AXES = "(row, column) or (depth, row, column), in gray"
SMALLEST = 16  # pixels along a side
FILL_WINDOW = 8.0  # pixels: of the mean that fills what is masked; not tuned


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images in about [0, 1] and their masks, each (1, 1, *size), on pixels of one size."""

    fixed: torch.Tensor
    moving: torch.Tensor
    fixed_mask: torch.Tensor
    moving_mask: torch.Tensor
    any_contrast: bool = False

    @property
    def axes(self) -> int:
        return self.fixed.ndim - 2

    @property
    def fixed_size(self) -> Size:
        return size_of(self.fixed)

    @property
    def moving_size(self) -> Size:
        return size_of(self.moving)

    @property
    def exchanged(self) -> Pair:
        """The pair with exchanged roles of its images."""
        return Pair(self.moving, self.fixed, self.moving_mask, self.fixed_mask, self.any_contrast)


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
    """Return the pair on working pixels.

    Returns:
        the pair; the frames of moving and fixed; the pixels of moving; and the area (volume) of a pixel of moving as a
        multiple of that of a pixel of fixed.
    """
    moving_pixels = check_image(moving, "moving")
    fixed_pixels = check_image(fixed, "fixed")
    axes = fixed_pixels.ndim
    if moving_pixels.ndim != axes:
        raise ShapeError(
            "`moving` and `fixed` must be two images or two volumes; their shapes are {moving!r} and {fixed!r}.",
            "moving", moving=moving_pixels.shape, fixed=fixed_pixels.shape,
        )  # fmt: skip
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
    return pair, frames, moving_pixels, float(np.prod(np.divide(moving_length, length)))


def check_image(image: Any, argument: str) -> np.ndarray:
    """Check that `image` is a grayscale image or volume of sufficient size and not constant, and return an array."""
    array = as_array(image, argument, ndim=(2, 3), axes=AXES)
    array = array.astype(np.float32) if array.dtype == np.float16 else array  # scipy's filters do not support float16
    if min(array.shape) < SMALLEST:
        raise ShapeError(
            "`{argument}` must be at least {least} pixels along each side; its shape is {shape!r}.",
            argument, least=SMALLEST, shape=array.shape,
        )  # fmt: skip
    if array.min() == array.max():
        raise InputError(
            "`{argument}` is constant, {value} everywhere: there is nothing to match.",
            argument, value=str(array.flat[0]),
        )  # fmt: skip
    return array


def check_mask(mask: Any, image: np.ndarray, argument: str) -> np.ndarray:
    """Return the mask of an image, True where it is used; `find` states whether to detect one if none is given."""
    if mask is None:
        return np.ones(image.shape, dtype=bool)
    array = as_array(mask, argument, ndim=image.ndim, axes="as its image has")
    if array.shape != image.shape:
        raise ShapeError(
            "`{argument}` must have its image's shape, {shape!r}; got {given!r}.",
            argument, shape=image.shape, given=array.shape,
        )  # fmt: skip
    if not np.isin(array, (0, 1)).all():
        raise InputError(
            "`{argument}` must hold nothing but {true!r} and {false!r} (or 1 and 0).", argument, true=True, false=False
        )
    array = array.astype(bool)
    least = SMALLEST**image.ndim
    if array.sum() < least:
        raise InputError(
            "`{argument}` leaves {count} pixels of the image; at least {least} are needed.",
            argument, count=int(array.sum()), least=least,
        )  # fmt: skip
    if image[array].min() == image[array].max():
        raise InputError("`{argument}` leaves a constant part of the image: there is nothing to match.", argument)
    return array


def prepare(
    pixels: np.ndarray, mask: np.ndarray, frame: Frame, argument: str, kind: Kind
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image on working pixels, scaled to about [0, 1], and its mask. Masked pixels are filled."""
    pixels, mask = frame.cut(pixels), frame.cut(mask)
    own_tensor(pixels, **kind, argument=argument)  # raises an error for values that the type cannot represent
    exact = own_tensor(pixels, torch.float64, kind["device"])[None, None]
    image = quantile_stretch(exact, own_tensor(mask, torch.bool, kind["device"])).to(**kind)
    seen = own_tensor(mask, **kind)[None, None]
    if not mask.all():
        image = _filled(image, seen)
    if any(step != 1 for step in frame.steps):
        image, seen = (resample(x, frame.work, frame.steps) for x in (image, seen))
    if min(frame.work) < SMALLEST:
        whole = frame.part == frame.pixels
        raise ShapeError(
            "`{argument}` {verb} {size!r} {pixels}; at least {least} along each side are needed.",
            argument if whole else f"{argument}_mask",
            verb="has" if whole else "leaves a box of",
            size=frame.work,
            pixels="pixels" if all(step == 1 for step in frame.steps) else "pixels of the larger spacing",
            least=SMALLEST,
        )
    return image, seen.clamp(0, 1)


def _filled(image: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Fill masked pixels with the local mean of the visible ones, or with the overall mean if these are far away."""
    windows = [FILL_WINDOW] * (image.ndim - 2)
    near = gaussian_filter(seen, windows)
    around = gaussian_filter(seen * image, windows) / near.clamp_min(1e-6)
    mean = (seen * image).sum() / seen.sum()
    return torch.where(seen > 0, image, torch.where(near > 1e-4, around, mean))


@dataclass(frozen=True)
class Frame:
    """The used part of an image, and the square pixels (cubic voxels) of one length on which the registration works.

    The part is the bounding box of the mask, so an object that is moved in its image is registered in the same way. The
    working pixels are centered on the part.

    Attributes:
        pixels: the size of the whole image.
        corner: the first pixel of the part.
        part: the size of the part, in pixels.
        work: the size of the part, in working pixels.
        steps: the number of pixels per working pixel along each axis.
        mirrored: whether the working pixels run backwards along the last axis.
    """

    pixels: Size
    corner: Size
    part: Size
    work: Size
    steps: tuple[float, ...]
    mirrored: bool = False

    @classmethod
    def of(cls, mask: np.ndarray, spacing: np.ndarray) -> Frame:
        """Return the frame of an image with this mask, whose pixels have this spacing in working pixels."""
        ends = [np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))[[0, -1]]
                for axis in range(mask.ndim)]  # fmt: skip
        corner, part = tuple(int(low) for low, _ in ends), tuple(int(high - low) + 1 for low, high in ends)
        steps = tuple(float(1 / length) for length in spacing)
        work = tuple(max(math.ceil(n / step - 1e-6), 1) for n, step in zip(part, steps, strict=True))
        return cls(mask.shape, corner, part, work, steps)

    @property
    def is_same(self) -> bool:
        """Whether the working pixels are the pixels of the image."""
        return self.part == self.pixels and all(step == 1 for step in self.steps) and not self.mirrored

    def cut(self, array: np.ndarray) -> np.ndarray:
        """Return the part of the image, or of its mask."""
        return array[tuple(slice(low, low + n) for low, n in zip(self.corner, self.part, strict=True))]

    def to_work(self, points: torch.Tensor) -> torch.Tensor:
        """Convert points (axis, ...) from pixels to working pixels."""
        if self.is_same:
            return points
        return self._reflected(
            torch.stack(
                [
                    (p - low - (n - 1) / 2) / step + (m - 1) / 2
                    for p, low, n, m, step in zip(points, self.corner, self.part, self.work, self.steps, strict=True)
                ]
            )
        )

    def to_pixels(self, points: torch.Tensor) -> torch.Tensor:
        """Convert points (axis, ...) from working pixels to pixels."""
        if self.is_same:
            return points
        return torch.stack(
            [
                (p - (m - 1) / 2) * step + (n - 1) / 2 + low
                for p, low, n, m, step in zip(
                    self._reflected(points), self.corner, self.part, self.work, self.steps, strict=True
                )
            ]
        )

    def _reflected(self, points: torch.Tensor) -> torch.Tensor:
        """Reflect points (axis, ...) in working pixels along the last axis in a mirrored frame."""
        if not self.mirrored:
            return points
        return torch.cat([points[:-1], self.work[-1] - 1 - points[-1:]])

    def center(self, kind: Kind) -> torch.Tensor:
        """Return the center of the whole image in working pixels: (axis)."""
        return self.to_work(torch.tensor([(n - 1) / 2 for n in self.pixels], **kind)[:, None])[:, 0]
