"""Learning an encoder from a user's own images: pairs whose map is known, and the loss of their attention.

A pair is drawn from one image: a part of it, and the same part seen through a turn by any angle after a smooth warp,
each in an appearance of its own. The loss is the cross-entropy of the true place and pose under the attention of the
tokens, over keys and over queries (InfoNCE, van den Oord et al. 2018, in both directions).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ..arrays import own_tensor
from ..geometry.filters import gaussian_filter, quantile_stretch
from ..geometry.grids import Kind
from ..geometry.linalg import vector_norm
from ..geometry.rotations import rotation_matrix
from ..geometry.sampling import grid_sample
from ..networks import EquivariantNetwork, output_shape
from .descriptors.planar import roll, token_distance, token_positions

SIDE = 96  # pixels of the images of a pair
PAIRS = 4  # in a batch
QUERIES = 160  # tokens of an image that are asked at a step
SHARPNESS = 20.0
WARP = 8.0  # pixels, at most
SCALES = (0.75, 1.3)


# ---- pairs ----------------------------------------------------------------------------------------------


class PairMaker:
    """Batches of pairs for `fit()`: x (image, 1, row, column), fixed and moving by turns, and what is true of them.

    y (image, 4, token): for each token of a fixed image the row and the column of its partner, in pixels of the moving
    image, the turn there in radians, and whether the partner is seen; 0 for moving images.
    """

    def __init__(
        self, images: Sequence[np.ndarray], network: EquivariantNetwork, any_contrast: bool, seed: int
    ) -> None:
        kind = Kind(dtype=torch.float32, device=torch.device("cpu"))
        self.images = [unit_range(image).to(**kind) for image in images]
        self.any_contrast = any_contrast
        self.random = torch.Generator().manual_seed(seed)
        size = output_shape(network, (1, 1, SIDE, SIDE))[2:]
        self.positions = token_positions(network, (SIDE, SIDE), size, kind).T  # (axis, token)

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        drawn = [self.pair() for _ in range(PAIRS)]
        x = torch.stack([image for fixed, moving, _ in drawn for image in (fixed, moving)])
        y = torch.stack([part for _, _, truth in drawn for part in (truth, torch.zeros_like(truth))])
        return x.numpy(), y.numpy()

    def pair(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A fixed and a moving image (1, row, column), and the truth (4, token)."""
        image = self.images[self.integer(len(self.images))]
        channels = [self.integer(len(image)) for _ in range(2)]
        middle = (SIDE - 1) / 2
        pixels = torch.cartesian_prod(*[torch.arange(SIDE, dtype=torch.float32)] * 2).T  # (axis, pixel)
        shift = self.smooth_shift()
        angle = self.uniform(0, 2 * math.pi)
        turn = _rotation(angle)

        def carry(points: torch.Tensor) -> torch.Tensor:
            return turn @ (points + _read(shift[None], points)[0] - middle) + middle

        frame = self.frame(image.shape[1:])
        fixed, moving = (
            self.appearance(_read(image[None, channel : channel + 1], frame(at))[0].reshape(1, 1, SIDE, SIDE))[0]
            for channel, at in zip(channels, (carry(pixels), pixels), strict=True)
        )
        partners = carry(self.positions)
        step = torch.eye(2)
        along = [carry(self.positions + step[:, i : i + 1]) - partners for i in range(2)]
        local = torch.atan2(along[0][1] - along[1][0], along[0][0] + along[1][1])
        seen = ((partners >= 0) & (partners <= SIDE - 1)).all(0)
        return fixed, moving, torch.cat([partners, local[None], seen[None].to(partners)])

    def frame(self, shape: Sequence[int]) -> Callable[[torch.Tensor], torch.Tensor]:
        """Where in an image a part of it lies: of a random size, turned and mirrored at random."""
        scale = self.uniform(*SCALES) * min(1.0, min(shape) / SIDE)
        turn = scale * _rotation(self.uniform(0, 2 * math.pi))
        if self.integer(2):
            turn = turn.flip(1)
        room = [max(n - 1 - scale * SIDE, 0.0) for n in shape]
        corner = torch.tensor(
            [(n - 1) / 2 + self.uniform(-0.5, 0.5) * free for n, free in zip(shape, room, strict=True)]
        )
        return lambda points: turn @ (points - (SIDE - 1) / 2) + corner[:, None]

    def smooth_shift(self) -> torch.Tensor:
        """A smooth random shift (axis, row, column), in pixels."""
        noise = torch.randn(1, 2, SIDE, SIDE, generator=self.random)
        shift = gaussian_filter(noise, [0.12 * SIDE] * 2, True)[0]
        return shift * (self.uniform(0, WARP) / vector_norm(shift, 0).max())

    # ---- what may differ between two images of one thing ----

    def appearance(self, image: torch.Tensor) -> torch.Tensor:
        """An image (1, 1, row, column) as another camera, or another kind of image, would show it."""
        image = self.recoloured(stretched(image)) if self.any_contrast else image
        image = stretched(image).clamp(0, 1) ** self.uniform(0.6, 1.6)
        bias = gaussian_filter(torch.randn(image.shape, generator=self.random), [0.2 * SIDE] * 2, True)
        image = image * (1 + self.uniform(0, 0.4) * bias / bias.abs().max())
        if self.integer(2):
            image = gaussian_filter(image, [self.uniform(0.3, 1.5)] * 2, True)
        image = stretched(image)
        return image + self.uniform(0, 0.06) * torch.randn(image.shape, generator=self.random)

    def recoloured(self, image: torch.Tensor) -> torch.Tensor:
        """The image through a random intensity curve, as its edges, as a few labels, inverted, or as it is."""
        kind = self.integer(6)
        if kind <= 1:  # a curve that rises and falls
            knots = torch.rand(3 + self.integer(5), generator=self.random)
            return through(image.clamp(0, 1), knots)
        if kind == 2:
            wide = gaussian_filter(image, [self.uniform(0.7, 2.0)] * 2, True)
            return vector_norm(torch.stack(torch.gradient(wide, dim=(2, 3))), 0)
        if kind == 3:  # each label has a grey of its own
            labels = 3 + self.integer(5)
            edges = torch.quantile(image, torch.rand(labels - 1, generator=self.random).sort().values)
            greys = torch.rand(labels, generator=self.random)
            return gaussian_filter(greys[torch.bucketize(image, edges)], [0.7] * 2, True)
        return 1 - image if kind == 4 else image

    def integer(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.random))

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.random))


def unit_range(image: np.ndarray) -> torch.Tensor:
    """An image (row, column, channel) as (channel, row, column), each channel stretched to [0, 1]."""
    return quantile_stretch(own_tensor(image, torch.float64).movedim(-1, 0)[None])[0]


def stretched(image: torch.Tensor) -> torch.Tensor:
    """An image (1, 1, row, column) stretched to [0, 1], as registration takes it."""
    return quantile_stretch(image, floor=1e-3)


def through(image: torch.Tensor, knots: torch.Tensor) -> torch.Tensor:
    """The image in [0, 1] through the broken line that has these values at even distances."""
    at = image * (len(knots) - 1)
    left = at.floor().long().clamp(0, len(knots) - 2)
    part = at - left
    return knots[left] * (1 - part) + knots[left + 1] * part


def _rotation(angle: float) -> torch.Tensor:
    return rotation_matrix(torch.tensor(angle, dtype=torch.float64)).float()


def _read(image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Linear interpolation of (1, channel, row, column) at points (axis, point), mirrored beyond the border."""
    return grid_sample(image, points[None], padding="reflection")


# ---- the loss -------------------------------------------------------------------------------------------


class AttentionLoss:
    """Minus the mean log-attention of the true key, over keys and poses, and of the true query, over queries."""

    def __init__(self, network: EquivariantNetwork, seed: int) -> None:
        self.poses = int(network.out_type.gspace.fibergroup.order())
        self.distance = token_distance(network, SIDE)
        self.size = output_shape(network, (1, 1, SIDE, SIDE))[2:]
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        losses = [
            self.of_pair(fixed.flatten(1), moving.flatten(1), known)
            for fixed, moving, known in zip(output[::2], output[1::2], truth[::2], strict=True)
        ]
        return torch.stack(losses).mean()

    def of_pair(self, fixed: torch.Tensor, moving: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        asked = torch.randperm(truth.shape[1], generator=self.random).to(truth.device)
        asked = asked[truth[3, asked] > 0][:QUERIES]
        query = functional.normalize(roll(fixed, self.poses)[asked, 0], dim=1)
        keys = functional.normalize(roll(moving, self.poses), dim=2)
        logits = SHARPNESS * torch.einsum("qd,ksd->qks", query, keys)
        middle = (SIDE - 1) / 2
        cell = [
            ((truth[axis, asked] - middle) / self.distance + (n - 1) / 2).round().long().clamp(0, n - 1)
            for axis, n in enumerate(self.size)
        ]
        key = cell[0] * self.size[1] + cell[1]
        pose = (truth[2, asked] * self.poses / (2 * math.pi)).round().long() % self.poses
        over_keys = functional.cross_entropy(logits.flatten(1), key * self.poses + pose)
        to_key = logits[:, key, pose]  # (query, true key of each query)
        return over_keys + functional.cross_entropy(to_key.T, torch.arange(len(asked), device=key.device))


class Deadline:
    """A progress function that says stop after some minutes, and otherwise what the user's says."""

    def __init__(self, minutes: float, progress: Callable[[dict[str, Any]], Any] | None) -> None:
        self.end, self.progress = time.monotonic() + 60 * minutes, progress

    def __call__(self, told: dict[str, Any]) -> bool:
        answer = True if self.progress is None else self.progress(told)
        wanted = answer is None or bool(answer)
        return wanted and time.monotonic() < self.end
