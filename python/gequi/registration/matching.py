"""Attention over position and pose: each token of the fixed image finds its place in the moving image.

The law. Turning either image, each by its own element, turns the places that it holds and rolls the poses; moving one
by whole tokens moves them. Attention is a sum over tokens, to which their order is nothing.

Source: coordinate attention, CARL (Greer et al. 2024, arXiv 2405.16738), here over poses as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from ..geometry.grids import Size
from .tokens import Tokens


class HasPlaces(Protocol):
    """What the tokens of images and of volumes have in common."""

    size: Size
    places: torch.Tensor
    strength: torch.Tensor


@dataclass
class Matches:
    """For each token of the fixed image: its place, its partner's (token, axis), the turn between them, a weight.

    A turn is a rotation matrix: (token, axis, axis).
    """

    fixed: torch.Tensor
    moving: torch.Tensor
    turn: torch.Tensor
    weight: torch.Tensor


def match(fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> Matches:
    """Each query's best key over all positions and poses, with a partner finer than a token.

    The score of a pair is the best over the poses of key. The softmax over keys and that over queries, multiplied,
    are the mutual weight, whose best key wins; the value is the mean place of the 3 x 3 tokens about it under the
    softmax; the turn is refined by a parabola through the scores of the neighbouring poses.
    """
    query, poses = fixed.features[:, 0], moving.features.shape[1]
    score = pose_score(query, moving, 0)
    for pose in range(1, poses):
        score = torch.maximum(score, pose_score(query, moving, pose))
    over_keys, mutual, key = mutual_attention(score, sharpness)

    profile = torch.einsum("qd,qsd->qs", query, moving.features[key])
    best = profile.argmax(1)
    before, at, after = (profile.gather(1, ((best + step) % poses)[:, None])[:, 0] for step in (-1, 0, 1))
    part = 0.5 * (before - after) / (before - 2 * at + after - 1e-9)
    turn = (best + part.clamp(-0.5, 0.5)) * (2 * math.pi / poses)

    rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).unflatten(1, (2, 2))
    return joined(fixed, moving, over_keys, mutual, key, rotation)


def pose_score(query: torch.Tensor, moving: Tokens, pose: int) -> torch.Tensor:
    """How alike features (query, feature) are to those of each token in a pose, between -1 and 1: (query, key)."""
    return query @ moving.features[:, pose].T


def mutual_attention(score: torch.Tensor, sharpness: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The softmax of scores (query, key) over keys; the best product with that over queries, and its key."""
    over_keys = torch.softmax(sharpness * score, 1)
    mutual, key = (over_keys * torch.softmax(sharpness * score, 0)).max(1)
    return over_keys, mutual, key


def joined(
    fixed: HasPlaces,
    moving: HasPlaces,
    over_keys: torch.Tensor,
    mutual: torch.Tensor,
    key: torch.Tensor,
    turn: torch.Tensor,
) -> Matches:
    """Matches of every token of `fixed` with its best key, weighted by their attention and their strengths."""
    strength = (fixed.strength * moving.strength[key]).clamp_min(0).sqrt()
    weight = mutual.sqrt() * strength / strength.max().clamp_min(1e-12)
    return Matches(fixed.places, partners(moving, key, over_keys), turn, weight)


def partners(moving: HasPlaces, key: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
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
    return (share[:, :, None] * moving.places[neighbours]).sum(1) / (share.sum(1, keepdim=True) + 1e-30)
