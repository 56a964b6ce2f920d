"""Training pairs with a known map.

A pair is generated from one image: a part of it, and the same part after a random rotation and a smooth warp, each
with a random appearance.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ..arrays import own_tensor
from ..geometry.filters import gaussian_filter, quantile_stretch
from ..geometry.grids import Kind, pixel_grid
from ..geometry.linalg import vector_norm
from ..geometry.rotations import nearest_rotation, rotation_matrix
from ..geometry.sampling import grid_sample
from ..networks import EquivariantNetwork, output_shape
from ..registration.descriptors import token_positions

IMAGE_SIDE, VOLUME_SIDE = 96, 40  # pixels of the images of a pair
PAIRS = 4  # in a batch
SCALES = (0.75, 1.3)


class PairMaker(ABC):
    """Batches of pairs for `fit()`: x (image, 1, *size), fixed and moving images in alternation, and the truth y.

    y (image, value, token) contains, for each token of a fixed image, the position of its partner in pixels of the
    moving image, the rotation at this position, and whether the partner is visible. It is 0 for moving images.
    """

    dimension: int
    side: int  # pixels
    warp: float  # pixels, at most

    def __init__(
        self, images: Sequence[np.ndarray], network: EquivariantNetwork, any_contrast: bool, seed: int
    ) -> None:
        kind = Kind(dtype=torch.float32, device=torch.device("cpu"))
        self.images = [unit_range(image).to(**kind) for image in images]
        self.any_contrast = any_contrast
        self.random = torch.Generator().manual_seed(seed)
        self.size = (self.side,) * self.dimension
        size = output_shape(network, (1, 1, *self.size))[2:]
        self.positions = token_positions(network, self.size, size, kind).T  # (axis, token)

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = [self.pair() for _ in range(PAIRS)]
        x = torch.stack([image for fixed, moving, _ in drawn for image in (fixed, moving)])
        y = torch.stack([part for _, _, truth in drawn for part in (truth, torch.zeros_like(truth))])
        return x.numpy(), y.numpy()

    def pair(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return a fixed and a moving image (1, *size), and the truth (value, token)."""
        image = self.images[self.integer(len(self.images))]
        channels = [self.integer(len(image)) for _ in range(2)]
        middle = (self.side - 1) / 2
        pixels = pixel_grid(self.size, torch.float32).flatten(1)
        shift = self.smooth_shift()
        rotation = self.random_rotation()

        def carry(points: torch.Tensor) -> torch.Tensor:
            return rotation @ (points + _read(shift[None], points)[0] - middle) + middle

        frame = self.frame(image.shape[1:])
        fixed, moving = (
            self.appearance(_read(image[None, channel : channel + 1], frame(at))[0].reshape(1, 1, *self.size))[0]
            for channel, at in zip(channels, (carry(pixels), pixels), strict=True)
        )
        partners = carry(self.positions)
        step = torch.eye(self.dimension)
        along = [carry(self.positions + step[:, i : i + 1]) - partners for i in range(self.dimension)]
        seen = ((partners >= 0) & (partners <= self.side - 1)).all(0)
        return fixed, moving, torch.cat([partners, self.rotation_along(along), seen[None].to(partners)])

    @abstractmethod
    def random_rotation(self) -> torch.Tensor:
        """Return a random rotation matrix."""

    @abstractmethod
    def rotation_along(self, along: list[torch.Tensor]) -> torch.Tensor:
        """Return the rotations (value, token) of a map whose derivatives along each axis are (axis, token)."""

    def frame(self, shape: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Choose a part of an image, of random size and with random rotation and reflection."""
        scale = self.uniform(*SCALES) * min(1.0, min(shape) / self.side)
        matrix = scale * self.random_rotation()
        if self.integer(2):
            matrix = matrix.flip(1)
        room = [max(n - 1 - scale * self.side, 0.0) for n in shape]
        corner = torch.tensor(
            [(n - 1) / 2 + self.uniform(-0.5, 0.5) * free for n, free in zip(shape, room, strict=True)]
        )
        return lambda points: matrix @ (points - (self.side - 1) / 2) + corner[:, None]

    def smooth_shift(self) -> torch.Tensor:
        """Return a smooth random displacement (axis, *size), in pixels."""
        noise = torch.randn(1, self.dimension, *self.size, generator=self.random)
        shift = self.blurred(noise, 0.12 * self.side)[0]
        return shift * (self.uniform(0, self.warp) / vector_norm(shift, 0).max())

    # ---- what may differ between two images of one thing ----

    def appearance(self, image: torch.Tensor) -> torch.Tensor:
        """Change the appearance of an image (1, 1, *size), as from another camera or modality."""
        image = self.recolored(stretched(image)) if self.any_contrast else image
        image = stretched(image).clamp(0, 1) ** self.uniform(0.6, 1.6)
        bias = self.blurred(torch.randn(image.shape, generator=self.random), 0.2 * self.side)
        image = image * (1 + self.uniform(0, 0.4) * bias / bias.abs().max())
        if self.integer(2):
            image = self.blurred(image, self.uniform(0.3, 1.5))
        image = stretched(image)
        return image + self.uniform(0, 0.06) * torch.randn(image.shape, generator=self.random)

    def recolored(self, image: torch.Tensor) -> torch.Tensor:
        """Map the image through a random intensity curve, or to its edges, a few labels or its negative, or keep it."""
        kind = self.integer(6)
        if kind <= 1:  # a curve that rises and falls
            knots = torch.rand(3 + self.integer(5), generator=self.random)
            return through(image.clamp(0, 1), knots)
        if kind == 2:
            wide = self.blurred(image, self.uniform(0.7, 2.0))
            return vector_norm(torch.stack(torch.gradient(wide, dim=list(range(2, image.ndim)))), 0)
        if kind == 3:  # each label has a gray value of its own
            labels = 3 + self.integer(5)
            edges = torch.quantile(image, torch.rand(labels - 1, generator=self.random).sort().values)
            grays = torch.rand(labels, generator=self.random)
            return self.blurred(grays[torch.bucketize(image, edges)], 0.7)
        return 1 - image if kind == 4 else image

    def blurred(self, image: torch.Tensor, sigma: float) -> torch.Tensor:
        return gaussian_filter(image, [sigma] * self.dimension, True)

    def integer(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.random))

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.random))


class ImagePairs(PairMaker):
    """Pairs of images. The truth of a token is (row, column, angle in radians, seen)."""

    dimension, side, warp = 2, IMAGE_SIDE, 8.0

    def random_rotation(self) -> torch.Tensor:
        angle = self.uniform(0, 2 * math.pi)
        return rotation_matrix(torch.tensor(angle, dtype=torch.float64)).float()

    def rotation_along(self, along: list[torch.Tensor]) -> torch.Tensor:
        return torch.atan2(along[0][1] - along[1][0], along[0][0] + along[1][1])[None]


class VolumePairs(PairMaker):
    """Pairs of volumes. The truth of a token is (depth, row, column, the 9 entries of a rotation matrix, seen)."""

    dimension, side, warp = 3, VOLUME_SIDE, 3.0

    def random_rotation(self) -> torch.Tensor:
        noise = torch.randn(3, 3, generator=self.random, dtype=torch.float64)
        orthogonal, triangular = torch.linalg.qr(noise)
        orthogonal = orthogonal * triangular.diagonal().sign()  # then it is uniform: Mezzadri 2007
        return (orthogonal * torch.linalg.det(orthogonal).sign()).float()

    def rotation_along(self, along: list[torch.Tensor]) -> torch.Tensor:
        derivatives = torch.stack(along, 1).permute(2, 0, 1)  # (token, axis of the value, axis of the step)
        return nearest_rotation(derivatives).flatten(1).T


def unit_range(image: np.ndarray) -> torch.Tensor:
    """Convert an image (*size, channel) to (channel, *size), with each channel scaled to [0, 1]."""
    return quantile_stretch(own_tensor(image, torch.float64).movedim(-1, 0)[None])[0]


def stretched(image: torch.Tensor) -> torch.Tensor:
    """Scale an image (1, 1, *size) to [0, 1], as registration does."""
    return quantile_stretch(image, floor=1e-3)


def through(image: torch.Tensor, knots: torch.Tensor) -> torch.Tensor:
    """Map an image in [0, 1] through the piecewise linear curve with these values at equal distances."""
    at = image * (len(knots) - 1)
    left = at.floor().long().clamp(0, len(knots) - 2)
    part = at - left
    return knots[left] * (1 - part) + knots[left + 1] * part


def _read(image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Interpolate (1, channel, *size) linearly at points (axis, point), with reflection beyond the border."""
    return grid_sample(image, points[None], padding="reflection")
