"""The loss of an encoder: the cross-entropy of the true position and pose under the attention between tokens.

It is computed over keys and over queries (InfoNCE, van den Oord et al. 2018, in both directions).
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from ..geometry.grids import kind_of
from ..networks import EquivariantNetwork, output_shape
from ..registration.descriptors import PlanarDescriptor, SphericalDescriptor, poses, token_distance
from .pairs import IMAGE_SIDE, VOLUME_SIDE

SHARPNESS = 20.0
RANDOM_POSES = 24  # of the 216 rotations of space, that are compared at a step besides the true ones


class AttentionLoss(ABC):
    """The negative mean log-attention of the true key over keys and poses, and of the true query over queries."""

    dimension: int
    side: int  # pixels of the images of a pair
    queries: int  # tokens of an image that are asked at a step

    def __init__(self, network: EquivariantNetwork, seed: int) -> None:
        shape = [self.side] * self.dimension
        self.distance = token_distance(network, self.side)
        self.size = output_shape(network, (1, 1, *shape))[2:]
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, output: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        losses = [
            self.of_pair(fixed.flatten(1), moving.flatten(1), known)
            for fixed, moving, known in zip(output[::2], output[1::2], truth[::2], strict=True)
        ]
        return torch.stack(losses).mean()

    def of_pair(self, fixed: torch.Tensor, moving: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Compute the loss of two outputs (channel, token), where `truth` comes from a `PairMaker`."""
        asked = torch.randperm(truth.shape[1], generator=self.random).to(truth.device)
        asked = asked[truth[-1, asked] > 0][: self.queries]
        scores, pose = self.compare(fixed, moving, asked, truth[self.dimension : -1, asked])
        logits = SHARPNESS * scores
        middle = (self.side - 1) / 2
        key = torch.zeros_like(asked)
        for partner, n in zip(truth, self.size, strict=False):
            cell = ((partner[asked] - middle) / self.distance + (n - 1) / 2).round().long().clamp(0, n - 1)
            key = key * n + cell
        over_keys = functional.cross_entropy(logits.flatten(1), key * scores.shape[2] + pose)
        to_key = logits[:, key, pose]  # (query, true key of each query)
        return over_keys + functional.cross_entropy(to_key.T, torch.arange(len(asked), device=key.device))

    @abstractmethod
    def compare(
        self, fixed: torch.Tensor, moving: torch.Tensor, asked: torch.Tensor, rotation: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores (query, key, pose) of the tokens `asked`, and the pose nearest to the rotation of each."""


class ImageLoss(AttentionLoss):
    """The loss of an encoder of images, over all poses."""

    dimension, side, queries = 2, IMAGE_SIDE, 160

    def __init__(self, network: EquivariantNetwork, seed: int) -> None:
        super().__init__(network, seed)
        self.descriptor = PlanarDescriptor(network)

    def compare(
        self, fixed: torch.Tensor, moving: torch.Tensor, asked: torch.Tensor, rotation: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        query = functional.normalize(self.descriptor.features(fixed)[asked, 0], dim=1)
        keys = functional.normalize(self.descriptor.features(moving), dim=2)
        count = self.descriptor.poses
        pose = (rotation[0] * count / (2 * math.pi)).round().long() % count
        return torch.einsum("qd,ksd->qks", query, keys), pose


class VolumeLoss(AttentionLoss):
    """The loss of an encoder of volumes, over the poses nearest to the true rotations and some random poses."""

    dimension, side, queries = 3, VOLUME_SIDE, 64

    def __init__(self, network: EquivariantNetwork, seed: int) -> None:
        super().__init__(network, seed)
        self.descriptor = SphericalDescriptor(network)

    def compare(
        self, fixed: torch.Tensor, moving: torch.Tensor, asked: torch.Tensor, rotation: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        query = functional.normalize(self.descriptor.features(fixed)[asked], dim=1)
        keys = functional.normalize(self.descriptor.features(moving), dim=1)
        every, wigner = poses(self.descriptor.degrees, **kind_of(query))
        nearest = (every.flatten(1) @ rotation).argmax(0)  # the largest trace is the smallest angle between
        drawn = torch.randperm(len(every), generator=self.random)[:RANDOM_POSES].to(nearest.device)
        compared, pose = torch.unique(torch.cat([nearest, drawn]), return_inverse=True)
        scores = self.descriptor.products(query, keys) @ wigner[compared].T
        return scores, pose[: len(asked)]


class Deadline:
    """A progress function that ends the training after some minutes, or when the user's function returns False."""

    def __init__(self, minutes: float, progress: Callable[[dict[str, Any]], Any] | None) -> None:
        self.end, self.progress = time.monotonic() + 60 * minutes, progress

    def __call__(self, told: dict[str, Any]) -> bool:
        answer = True if self.progress is None else self.progress(told)
        wanted = answer is None or bool(answer)
        return wanted and time.monotonic() < self.end
