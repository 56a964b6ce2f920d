"""Detection of constant borders, such as the black frame around a round field of view or the corners of a rotated
picture.

The outline of a border may be the strongest edge of an image. If the border does not move with the object, its outline
would determine the match. Borders are therefore detected and masked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from .preprocess import SMALLEST

# Shares of the range of the image; registration_robustness.py, part "frame", as PNG and as JPEG of quality 75
FLAT = 0.02  # the range over neighboring pixels
EXTREME = 0.02  # how far from black or white
RINGING = 0.08  # how far from black or white beside an edge, after JPEG
DEVIATION = 0.006  # the standard deviation within the border
LEAST_LEFT = 0.05  # the least standard deviation of the rest: a silhouette contains only its outline
# shares of the image
LEAST, MOST = 0.01, 0.8
AROUND = 0.4  # of the pixels at the end of the image: a frame is on several sides
BLOCK = 8  # pixels: of JPEG, which an edge disturbs
SAME_PLACE = 0.9  # the least overlap of two borders, over their union, that are one frame
GRID = 64  # cells along a side, on which borders are compared

Masks = tuple[np.ndarray | None, np.ndarray | None]


def border_masks(moving: np.ndarray, fixed: np.ndarray, wanted: Sequence[bool] = (True, True)) -> list[Masks]:
    """Return the pairs of masks to try, True where an image is used, None for the whole image.

    A border of only one image is masked, and so are borders at the same position in both images: a frame that does not
    move. Borders at different positions may be a background that moves with the object, whose outline shows its
    position; then the whole images are also tried. `wanted` states for which of the two images a border is searched.
    """
    borders = [constant_border(image) if find else None for image, find in zip((moving, fixed), wanted, strict=True)]
    masks: Masks = tuple(None if border is None else ~border for border in borders)  # type: ignore[assignment]
    if borders[0] is None or borders[1] is None or _overlap(borders[0], borders[1]) >= SAME_PLACE:
        return [masks]
    return [masks, (None, None)]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the intersection over union of two borders, the maximum over quarter turns of one of them."""
    small = [
        border[np.ix_(*[((np.arange(GRID) + 0.5) * n / GRID).astype(int) for n in border.shape])]
        for border in (one, other)
    ]
    turned = [np.rot90(small[0], quarters) for quarters in range(4)]
    return max(float((each & small[1]).sum() / (each | small[1]).sum()) for each in turned)


def constant_border(image: np.ndarray) -> np.ndarray | None:
    """Return the pixels of a constant black or white border of an image, True there; None if there is none.

    The border consists of all regions that touch the edge of the image, whose neighboring pixels hardly differ, and
    that are as dark or as bright as any part of the image. It is widened by one pixel, over which an edge is blurred.
    """
    low, high = float(image.min()), float(image.max())
    span = high - low
    flat = ndimage.maximum_filter(image, 3) - ndimage.minimum_filter(image, 3) <= FLAT * span
    border = np.zeros(image.shape, dtype=bool)
    for end in (low, high):
        near = np.abs(image - end) <= EXTREME * span
        region = _touching(flat & near) & near
        if not region.any() or image[region].std() > DEVIATION * span:
            continue
        if np.ptp(image[region]) > 0:  # compressed
            block = ndimage.binary_dilation(region, iterations=BLOCK)
            region = ndimage.binary_propagation(region, mask=block & (np.abs(image - end) <= RINGING * span))
        border |= region
    border = ndimage.binary_dilation(border, np.ones((3,) * image.ndim))
    left = ndimage.binary_erosion(~border, iterations=2, border_value=1)
    around = border[_ends(image.shape)].mean()
    if around < AROUND or not LEAST <= border.mean() <= MOST or not _is_enough(~border):
        return None
    return border if left.any() and image[left].std() >= LEAST_LEFT * span else None


def _is_enough(mask: np.ndarray) -> bool:
    """Return whether a mask leaves enough of an image for a registration."""
    sides = [int(np.ptp(along)) + 1 for along in np.nonzero(mask)] if mask.any() else [0]
    return min(sides) >= SMALLEST and int(mask.sum()) >= SMALLEST**mask.ndim


def _touching(region: np.ndarray) -> np.ndarray:
    """Return the connected parts of a region that touch the edge of the image."""
    return ndimage.binary_propagation(region & _ends(region.shape), mask=region)


def _ends(shape: tuple[int, ...]) -> np.ndarray:
    """Return the outermost pixels of an image, True there."""
    ends = np.ones(shape, dtype=bool)
    ends[(slice(1, -1),) * len(shape)] = False
    return ends
