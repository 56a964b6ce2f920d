"""Tokens, and the attention that matches them.

Attention over positions and poses finds, for each token of the fixed image, its position in the moving image.

Equivariance: a rotation of one image rotates the positions of its tokens and permutes their poses. A shift of an image
by whole tokens shifts the positions. Attention is a sum over tokens and does not depend on their order.

Source: coordinate attention, CARL (Greer et al. 2024, arXiv 2405.16738), extended to poses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from ...geometry.grids import Size
from ...networks import EquivariantNetwork


@dataclass
class Tokens:
    """The tokens of an image or a volume, centered in it.

    Attributes:
        size: the number of tokens along each axis.
        positions: (token, axis), in pixels of the image.
        features: normalized; for an image (token, pose, feature), for a volume (token, channel) in one pose.
        strength: (token), the amount of visible structure.
    """

    size: Size
    positions: torch.Tensor
    features: torch.Tensor
    strength: torch.Tensor


@dataclass
class Matches:
    """Tokens of the fixed image, and the match of each in the moving image.

    Attributes:
        token: (match), the numbers of the tokens of the fixed image.
        fixed, moving: (match, axis), the positions of each token and of its match.
        rotation: (match, axis, axis), the rotation between them.
        weight: (match), the weight of the match.
    """

    token: torch.Tensor
    fixed: torch.Tensor
    moving: torch.Tensor
    rotation: torch.Tensor
    weight: torch.Tensor


class Descriptor(Protocol):
    """Describes an image or a volume at tokens in all poses, and matches the tokens of two images."""

    @property
    def encoder(self) -> EquivariantNetwork:
        """The network that computes the features."""
        ...

    def fitting_size(self, size: Size) -> Size:
        """Return the largest size up to this one at which the tokens are centered in the image."""
        ...

    def describe(self, image: torch.Tensor, mask: torch.Tensor) -> Tokens:
        """Return the tokens of an image in about [0, 1] with a mask, both (1, 1, *size)."""
        ...

    def scores(self, fixed: Tokens, token: int, moving: Tokens) -> torch.Tensor:
        """Return the similarity (pose, token), from -1 to 1, of one token of `fixed` to all of `moving`."""
        ...

    def match(self, fixed: Tokens, moving: Tokens, sharpness: float) -> Matches:
        """Return the best matches of tokens of `fixed` over all positions and poses, by attention of this sharpness."""
        ...

    def match_both(self, fixed: Tokens, moving: Tokens, sharpness: float) -> tuple[Matches, Matches]:
        """Return the matches of tokens of `fixed` in the moving image, and those of `moving` in the fixed image."""
        ...


def mutual_attention(score: torch.Tensor, sharpness: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the softmax of scores (query, key) over keys; its largest product with that over queries, and the key."""
    over_keys = torch.softmax(sharpness * score, 1)
    mutual, key = (over_keys * torch.softmax(sharpness * score, 0)).max(1)
    return over_keys, mutual, key


def weighted_matches(
    fixed: Tokens,
    moving: Tokens,
    token: torch.Tensor,
    attention: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    rotation: torch.Tensor,
) -> Matches:
    """Return the matches of some tokens of `fixed` with their best keys, weighted by attention and strength.

    Args:
        token: (query), the numbers of the compared tokens of `fixed`.
        attention: their attention to all tokens of `moving`, as returned by `mutual_attention()`.
        rotation: (query, axis, axis).
    """
    over_keys, mutual, key = attention
    strength = (fixed.strength[token] * moving.strength[key]).clamp_min(0).sqrt()
    weight = mutual.sqrt() * strength / strength.max().clamp_min(1e-12)
    return Matches(token, fixed.positions[token], _mean_positions(moving, key, over_keys), rotation, weight)


def _mean_positions(moving: Tokens, key: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the mean position of each query's best key and its neighbors, weighted by the attention: (query, axis)."""
    size = torch.tensor(moving.size, device=key.device)
    near = torch.arange(-1, 2, device=key.device)
    around = torch.cartesian_prod(*[near] * len(size))
    cells = torch.stack(torch.unravel_index(key, moving.size), 1)[:, None] + around  # (query, neighbor, axis)
    exists = ((cells >= 0) & (cells < size)).all(2)
    strides = [math.prod(moving.size[axis + 1 :]) for axis in range(len(size))]
    numbers = sum(cells[..., axis] * stride for axis, stride in enumerate(strides))
    neighbors = torch.where(exists, numbers, key[:, None])
    share = share.gather(1, neighbors) * exists
    return (share[:, :, None] * moving.positions[neighbors]).sum(1) / (share.sum(1, keepdim=True) + 1e-30)
