"""The descriptor of images: regular fields of the rotations of the plane, read at each token in each pose.

Channel h of a regular field corresponds to the rotation by 2 pi h / N. The features of a token in pose g are its
regular fields, cyclically shifted by g. They do not depend on the position and pose of an object. If there are many
rotations, every second (third, ...) channel is read, so that 8 remain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ...geometry.grids import Size, kind_of, size_of
from ...geometry.sampling import grid_sample
from ...networks import EquivariantNetwork
from .encoder import fitting_size, looking_at, token_positions
from .kinds import direction_step
from .matching import Matches, Tokens, mutual_attention, weighted_matches


@dataclass(frozen=True)
class PlanarDescriptor:
    """The descriptor of images with an encoder that `check_encoder()` accepts."""

    encoder: EquivariantNetwork

    @property
    def poses(self) -> int:
        """The number of rotations."""
        return int(self.encoder.out_type.gspace.fibergroup.order())

    def fitting_size(self, size: Size) -> Size:
        return fitting_size(self.encoder, size)

    def describe(self, image: torch.Tensor, mask: torch.Tensor) -> Tokens:
        """Return the tokens of an image (1, 1, row, column) in about [0, 1] with a mask of the same shape."""
        with looking_at(mask):
            output = self.encoder(image)
        shape, size = size_of(image), size_of(output)
        positions = token_positions(self.encoder, shape, size, kind_of(image))
        rolled = self.features(output[0].flatten(1))
        norm = rolled[:, 0].norm(dim=-1)
        seen = grid_sample(mask, positions.T[None, :, None])[0, 0, 0]
        return Tokens(size, positions, rolled / (rolled.norm(dim=-1, keepdim=True) + 1e-6), norm * seen)

    def features(self, output: torch.Tensor) -> torch.Tensor:
        """Convert an output (channel, token) to features in each pose: (token, pose, feature)."""
        return roll(output, self.poses)

    def scores(self, fixed: Tokens, token: int, moving: Tokens) -> torch.Tensor:
        query = fixed.features[token : token + 1, 0]
        return torch.cat([_pose_score(query, moving, pose) for pose in range(self.poses)])

    def match(self, fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> Matches:
        """Return the best match of each token of `fixed`, with subtoken position and subpose rotation.

        The score of a pair is its maximum over the poses of the key. The product of the softmax over keys and the
        softmax over queries is the mutual weight, and the key with the largest weight is selected. The position of the
        match is the mean position of the 3 x 3 tokens around this key under the softmax. Its rotation is refined by a
        parabola through the scores of the neighboring poses.
        """
        return self._match(fixed, moving, _best_score(fixed, moving), sharpness)

    def match_both(self, fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> tuple[Matches, Matches]:
        """Return the matches in both directions, from the same scores."""
        score = _best_score(fixed, moving)
        return self._match(fixed, moving, score, sharpness), self._match(moving, fixed, score.mT, sharpness)

    def _match(self, fixed: Tokens, moving: Tokens, score: torch.Tensor, sharpness: float) -> Matches:
        """Return the matches from the best score over poses of each pair of tokens, (query, key)."""
        query, poses = fixed.features[:, 0], moving.features.shape[1]
        over_keys, mutual, key = mutual_attention(score, sharpness)
        profile = torch.einsum("qd,qsd->qs", query, moving.features[key])
        best = profile.argmax(1)
        before, at, after = (profile.gather(1, ((best + step) % poses)[:, None])[:, 0] for step in (-1, 0, 1))
        part = 0.5 * (before - after) / (before - 2 * at + after - 1e-9)
        angle = (best + part.clamp(-0.5, 0.5)) * (2 * math.pi / poses)

        rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).unflatten(1, (2, 2))
        every = torch.arange(len(query), device=query.device)
        return weighted_matches(fixed, moving, every, (over_keys, mutual, key), rotation)


def roll(output: torch.Tensor, poses: int) -> torch.Tensor:
    """Convert regular fields (field * pose, token), in escnn's order, to features (token, pose, feature)."""
    every = torch.arange(0, poses, direction_step(poses), device=output.device)
    channel = (torch.arange(poses, device=output.device)[:, None] + every) % poses
    fields = output.unflatten(0, (-1, poses)).permute(2, 0, 1)  # (token, field, pose)
    return fields[:, :, channel].transpose(1, 2).flatten(2)


def _best_score(fixed: Tokens, moving: Tokens) -> torch.Tensor:
    """Return the best similarity over poses of each token of `fixed` to each of `moving`: (query, key)."""
    query = fixed.features[:, 0]
    score = _pose_score(query, moving, 0)
    for pose in range(1, moving.features.shape[1]):
        score = torch.maximum(score, _pose_score(query, moving, pose))
    return score


def _pose_score(query: torch.Tensor, moving: Tokens, pose: int) -> torch.Tensor:
    """Return the similarity (query, key), from -1 to 1, of features (query, feature) to those of a pose."""
    return query @ moving.features[:, pose].T
