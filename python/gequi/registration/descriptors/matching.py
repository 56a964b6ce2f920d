"""Attention over position and pose: each token of the fixed image finds its position in the moving image.

The law. Turning either image, each by its own element, turns the places that it holds and rolls the poses; moving one
by whole tokens moves them. Attention is a sum over tokens, to which their order is nothing.

Source: coordinate attention, CARL (Greer et al. 2024, arXiv 2405.16738), here over poses as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from ...geometry.grids import Size


@dataclass
class Tokens:
    """The tokens of an image or a volume, evenly about its middle.

    Attributes:
        size: the number of tokens along each axis.
        positions: (token, axis), in pixels of the image.
        features: of norm 1; for an image (token, pose, feature), for a volume (token, sphere, harmonic).
        strength: (token), how much there is to see.
    """

    size: Size
    positions: torch.Tensor
    features: torch.Tensor
    strength: torch.Tensor


@dataclass
class Matches:
    """The match of each token of the fixed image in the moving image.

    Attributes:
        fixed, moving: the positions (token, axis) of each token and of its match.
        rotation: (token, axis, axis), the rotation between them.
        weight: (token).
    """

    fixed: torch.Tensor
    moving: torch.Tensor
    rotation: torch.Tensor
    weight: torch.Tensor


class Descriptor(Protocol):
    """Describes an image or a volume at tokens in all poses, and matches the tokens of two images."""

    def fitting_size(self, size: Size) -> Size:
        """The largest size up to this one at which the tokens lie evenly about the middle of the image."""
        ...

    def describe(self, image: torch.Tensor, mask: torch.Tensor) -> Tokens:
        """The tokens of an image in about [0, 1] and of its mask, both (1, 1, *size)."""
        ...

    def match(self, fixed: Tokens, moving: Tokens, sharpness: float) -> Matches:
        """The best match of each token of `fixed` over all positions and poses, by attention of this sharpness."""
        ...


def mutual_attention(score: torch.Tensor, sharpness: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The softmax of scores (query, key) over keys; the best product with that over queries, and its key."""
    over_keys = torch.softmax(sharpness * score, 1)
    mutual, key = (over_keys * torch.softmax(sharpness * score, 0)).max(1)
    return over_keys, mutual, key


def joined(
    fixed: Tokens,
    moving: Tokens,
    over_keys: torch.Tensor,
    mutual: torch.Tensor,
    key: torch.Tensor,
    rotation: torch.Tensor,
) -> Matches:
    """Matches of every token of `fixed` with its best key, weighted by their attention and their strengths."""
    strength = (fixed.strength * moving.strength[key]).clamp_min(0).sqrt()
    weight = mutual.sqrt() * strength / strength.max().clamp_min(1e-12)
    return Matches(fixed.positions, partners(moving, key, over_keys), rotation, weight)


def partners(moving: Tokens, key: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """The mean place of each query's best key and the tokens next to it, under its shares: (query, axis)."""
    size = torch.tensor(moving.size, device=key.device)
    near = torch.arange(-1, 2, device=key.device)
    around = torch.cartesian_prod(*[near] * len(size))
    cells = torch.stack(torch.unravel_index(key, moving.size), 1)[:, None] + around  # (query, neighbour, axis)
    exists = ((cells >= 0) & (cells < size)).all(2)
    strides = [math.prod(moving.size[axis + 1 :]) for axis in range(len(size))]
    numbers = sum(cells[..., axis] * stride for axis, stride in enumerate(strides))
    neighbours = torch.where(exists, numbers, key[:, None])
    share = share.gather(1, neighbours) * exists
    return (share[:, :, None] * moving.positions[neighbours]).sum(1) / (share.sum(1, keepdim=True) + 1e-30)
