"""The descriptor of volumes: irreps of the rotations of space, read at each token, and compared in 216 poses.

A rotation R of a volume rotates the positions of its tokens and multiplies the channels of each token by Wigner's
matrices D_l(R). The features of a token in one pose therefore determine those in all poses. Poses are compared at 216
rotations, double cosets of the 24 rotations of the cube.

Equivariance: independent quarter turns of the two volumes about any axes rotate the matches accordingly, up to
    rounding.

Source: local descriptors on spheres, Kazhdan, Funkhouser and Rusinkiewicz 2003.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ...geometry.grids import Size, kind_of, size_of
from ...geometry.sampling import grid_sample
from ...networks import EquivariantNetwork
from .encoder import fitting_size, irrep_degrees, looking_at, token_positions
from .harmonics import poses
from .matching import Matches, Tokens, mutual_attention, weighted_matches

QUERIES = 500  # the strongest tokens of the fixed volume, which are matched
LEAST_STRENGTH = 1e-4  # of the strongest token: where a volume is constant, rounding would choose among the tokens
PAIRS_AT_ONCE = 50_000  # of tokens, whose poses are compared at once


@dataclass(frozen=True)
class SphericalDescriptor:
    """The descriptor of volumes with an encoder that `check_encoder()` accepts."""

    encoder: EquivariantNetwork

    @cached_property
    def _channels(self) -> dict[int, list[int]]:
        """The channels of the encoder's output for each degree, by field."""
        channels: dict[int, list[int]] = {}
        start = 0
        for degree in irrep_degrees(self.encoder.out_type):
            assert degree is not None
            channels.setdefault(degree, []).extend(range(start, start + 2 * degree + 1))
            start += 2 * degree + 1
        return dict(sorted(channels.items()))

    @property
    def degrees(self) -> tuple[int, ...]:
        """The degrees of the encoder's irreps, in increasing order."""
        return tuple(self._channels)

    def fitting_size(self, size: Size) -> Size:
        return fitting_size(self.encoder, size)

    def describe(self, image: torch.Tensor, mask: torch.Tensor) -> Tokens:
        """Return the tokens of a volume (1, 1, depth, row, column) in about [0, 1] with a mask of the same shape.

        Channels of degree 0 are equal in every pose and do not contribute to the strength.
        """
        with looking_at(mask):
            output = self.encoder(image)
        shape, size = size_of(image), size_of(output)
        positions = token_positions(self.encoder, shape, size, kind_of(image))
        features = self.features(output[0].flatten(1))
        invariant = len(self._channels.get(0, ()))
        seen = grid_sample(mask, positions.T[None])[0, 0]
        strength = features[:, invariant:].norm(dim=1) * seen
        return Tokens(size, positions, features / (features.norm(dim=1, keepdim=True) + 1e-6), strength)

    def features(self, output: torch.Tensor) -> torch.Tensor:
        """Convert an output (channel, token) to features (token, channel), with channels ordered by degree."""
        order = [channel for channels in self._channels.values() for channel in channels]
        return output[order].T

    def products(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Return the terms in which a score is linear: features (query, channel) and (key, channel) to (query, key,
        entry).

        The score in the pose R is the sum of k_l^T D_l(R) q_l over all irreps, the sum of these entries times those of
        `poses()`.
        """
        products, start = [], 0
        for degree, channels in self._channels.items():
            block = slice(start, start + len(channels))
            start = block.stop
            fields = [each[:, block].unflatten(1, (-1, 2 * degree + 1)) for each in (query, key)]
            products.append(torch.einsum("qsm,ksn->qknm", *fields).flatten(2))
        return torch.cat(products, 2)

    def scores(self, fixed: Tokens, token: int, moving: Tokens) -> torch.Tensor:
        _, wigner = poses(self.degrees, **kind_of(fixed.features))
        return wigner @ self.products(fixed.features[token : token + 1], moving.features)[0].T

    def match(self, fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> Matches:
        """Return the best matches of the strongest tokens of the fixed volume.

        The score of a pair is its maximum over poses. The product of the softmax over keys and the softmax over queries
        is the mutual weight, and the key with the largest weight is selected. The position of the match is the mean
        position of the 3 x 3 x 3 tokens around this key under the softmax.
        """
        token = fixed.strength.argsort(descending=True)[:QUERIES]
        token = token[fixed.strength[token] > LEAST_STRENGTH * fixed.strength[token[0]]]
        query = fixed.features[token]
        rotation, wigner = poses(self.degrees, **kind_of(query))
        scores, best = [], []
        for part in query.split(max(1, PAIRS_AT_ONCE // len(moving.positions))):
            score, pose = (self.products(part, moving.features) @ wigner.T).max(2)
            scores.append(score)
            best.append(pose)
        attention = mutual_attention(torch.cat(scores), sharpness)
        pose = torch.cat(best).gather(1, attention[2][:, None])[:, 0]
        return weighted_matches(fixed, moving, token, attention, rotation[pose])

    def match_both(self, fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> tuple[Matches, Matches]:
        return self.match(fixed, moving, sharpness), self.match(moving, fixed, sharpness)
