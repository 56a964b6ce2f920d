"""The designed encoder of volumes, and its attention over position and pose.

A token is described by spherical harmonics: what lies on a few spheres about it, as functions of the direction. A turn
R of the volume moves the tokens and turns each token's coefficients by Wigner's matrices D_l(R), so that a token is
known in every pose once it is known in one. Poses are compared at 216 rotations, double cosets of the 24 turns of the
cube: turning either volume by a turn of the cube permutes them.

The law. Quarter turns of the two volumes about any axes, each by its own, turn the matches accordingly, up to rounding.

Source: correlation of functions on the sphere over rotations, Kostelec and Rockmore 2008; quadrature, Lebedev 1976;
local descriptors on spheres, Kazhdan, Funkhouser and Rusinkiewicz 2003.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import legendre

from ...geometry.filters import gaussian_filter, local_normalize, masked_gaussian_filter
from ...geometry.grids import Size, cell_centers, kind_of, size_of
from ...geometry.rotations import cube_rotations
from ...geometry.sampling import grid_sample
from .matching import Matches, Tokens, joined, mutual_attention

TOKEN = 4  # voxels
QUERIES = 500  # the strongest tokens of the fixed volume, which ask
DEGREE = 3  # of the spherical harmonics
SPHERES = ((2.0, 0.8), (4.0, 1.0), (6.0, 1.3), (8.0, 1.6), (10.0, 2.0))  # radius and smoothing, in voxels
WIDE_SPHERES = ((3.0, 1.2), (6.0, 1.5), (9.0, 2.0), (12.0, 2.5), (15.0, 3.0))
CONTRAST_FLOOR = 0.05  # the least local standard deviation, for volumes in about [0, 1]
PAIRS_AT_ONCE = 50_000  # of tokens, whose poses are compared at once
# Lebedev's points, by an orbit of the cube's turns and reflections each, and their weights: exact to degree 11
ORBITS = (
    ((0, 0, 1), 4 / 315),
    ((0, 1, 1), 64 / 2835),
    ((1, 1, 1), 27 / 1280),
    ((1, 1, 3), 14641 / 725760),
)


@dataclass
class SphericalDescriptor:
    """The descriptor of volumes.

    Attributes:
        spheres: the radius and the smoothing of each, in voxels.
        window: of the local normalization, in voxels.
        any_contrast: whether it is blind to the sign of contrast.
    """

    spheres: tuple[tuple[float, float], ...] = SPHERES
    window: float = 4.0
    any_contrast: bool = False

    def fitting_size(self, size: Size) -> Size:
        return size

    def describe(self, image: torch.Tensor, mask: torch.Tensor) -> Tokens:
        return describe_volume(image, mask, self.spheres, self.window, self.any_contrast)

    def match(self, fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> Matches:
        return match_volumes(fixed, moving, sharpness)


def describe_volume(
    volume: torch.Tensor,
    mask: torch.Tensor,
    spheres: tuple[tuple[float, float], ...] = SPHERES,
    window: float = 4.0,
    any_contrast: bool = False,
) -> Tokens:
    """Tokens every 4 voxels: the harmonics of the locally normalised volume on spheres about each.

    The volume, with its local mean removed and divided by its local standard deviation, is smoothed and read at 50
    points of each sphere; points outside count as 0.

    Args:
        volume, mask: (1, 1, row, column, depth), the volume in about [0, 1].
        window: of the local normalisation, in voxels.
        any_contrast: take the absolute value of the normalised volume, which is blind to the sign of contrast.
    """
    shape = size_of(volume)
    size = tuple(max(n // TOKEN, 1) for n in shape)
    kind = kind_of(volume)
    positions = cell_centers(size, shape, **kind).flatten(1).T
    normal = normalised(volume, mask, window)
    normal = normal.abs() if any_contrast else normal
    points, weights = quadrature()
    directions = torch.as_tensor(points, **kind)
    analysis = torch.as_tensor(weights[:, None] * harmonics(points), **kind)
    features = []
    for radius, blur in spheres:
        at = (positions[:, None] + radius * directions).permute(2, 0, 1).reshape(1, 3, -1)
        read = grid_sample(gaussian_filter(normal, [blur] * 3, True), at, padding="zeros")
        features.append(read.reshape(len(positions), -1) @ analysis)
    stacked = torch.stack(features, 1)
    norm = stacked.flatten(1).norm(dim=1)
    seen = grid_sample(mask, positions.T[None])[0, 0]
    # what is the same in every direction tells no pose: it does not count as strength
    strength = stacked[:, :, 1:].flatten(1).norm(dim=1) * seen
    return Tokens(size, positions, stacked / (norm[:, None, None] + 1e-6), strength)


def normalised(volume: torch.Tensor, mask: torch.Tensor, window: float) -> torch.Tensor:
    """The volume with local mean 0 and local standard deviation 1, within the mask."""
    volume = masked_gaussian_filter(volume, mask, [0.7] * 3, normalized=True)
    return mask * local_normalize(volume, mask, [window] * 3, CONTRAST_FLOOR)[0]


def match_volumes(fixed: Tokens, moving: Tokens, sharpness: float = 40.0) -> Matches:
    """The best keys, over all positions and poses, of the strongest tokens of the fixed volume.

    The score of a pair is its best over poses R, the sum of k_l^T D_l(R) q_l over degrees l and spheres.
    """
    strongest = fixed.strength.argsort(descending=True)[:QUERIES]
    query = Tokens(fixed.size, fixed.positions[strongest], fixed.features[strongest], fixed.strength[strongest])
    turns, wigner = poses(**kind_of(query.features))
    degrees = [slice(degree**2, (degree + 1) ** 2) for degree in range(DEGREE + 1)]
    scores, best = [], []
    for part in query.features.split(max(1, PAIRS_AT_ONCE // len(moving.positions))):
        products = torch.cat(
            [torch.einsum("qsm,ksn->qknm", part[:, :, d], moving.features[:, :, d]).flatten(2) for d in degrees], 2
        )
        score, pose = (products @ wigner.T).max(2)
        scores.append(score)
        best.append(pose)
    over_keys, mutual, key = mutual_attention(torch.cat(scores), sharpness)
    pose = torch.cat(best).gather(1, key[:, None])[:, 0]
    return joined(query, moving, over_keys, mutual, key, turns[pose])


# ---- functions on the sphere ------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Lebedev's 50 directions (point, axis) and their weights, which sum to 1."""
    points, weights = [], []
    for representative, weight in ORBITS:
        signs = itertools.product((-1, 1), repeat=3)
        orbit = {
            tuple(s * x for s, x in zip(sign, order, strict=True))
            for sign in signs
            for order in itertools.permutations(representative)
        }
        points += [np.array(point) / math.hypot(*point) for point in sorted(orbit)]
        weights += [weight] * len(orbit)
    return np.stack(points), np.array(weights)


def harmonics(directions: np.ndarray) -> np.ndarray:
    """Orthonormal harmonics up to a degree at directions (point, axis): (point, harmonic), degree by degree.

    A basis of degree l is read off the kernel (2 l + 1) P_l(u . v), the projection on that degree: any basis will do.
    """
    points, weights = quadrature()
    columns = []
    for degree in range(DEGREE + 1):
        root = np.sqrt(weights)[:, None]
        _, vectors = np.linalg.eigh(root * _projection(degree, points, points) * root.T)
        basis = vectors[:, -(2 * degree + 1) :] / root
        columns.append(_projection(degree, directions, points) * weights @ basis)
    return np.concatenate(columns, 1)


def _projection(degree: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return (2 * degree + 1) * legendre.legval((u @ v.T).clip(-1, 1), [0] * degree + [1])


@lru_cache(maxsize=8)
def poses(dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """216 rotations (pose, axis, axis) and D_l of each, all degrees in one row: (pose, entry).

    They are the cube's turns O and their double coset O c O with the turn c by 36 degrees about (1, 1, 1): any rotation
    is within 37 degrees of one of them, 20 in the mean.
    """
    cube = cube_rotations()
    third = np.roll(np.eye(3), 1, axis=0)  # a third of a turn about (1, 1, 1)
    skew, angle = (third - third.T) / math.sqrt(3), math.radians(36)
    turn = np.eye(3) + math.sin(angle) * skew + (1 - math.cos(angle)) * skew @ skew  # Rodrigues
    every = np.concatenate([cube.reshape(-1, 9), np.einsum("aij,jk,bkl->abil", cube, turn, cube).reshape(-1, 9)])
    _, first = np.unique(every.round(6) + 0.0, axis=0, return_index=True)
    turns = every[np.sort(first)].reshape(-1, 3, 3)
    points, weights = quadrature()
    values = weights[:, None] * harmonics(points)
    blocks = [slice(degree**2, (degree + 1) ** 2) for degree in range(DEGREE + 1)]
    rows = []
    for turn in turns:
        matrix = harmonics(points @ turn.T).T @ values  # Y(R u) = D(R) Y(u)
        rows.append(np.concatenate([matrix[block, block].ravel() for block in blocks]))
    return torch.as_tensor(turns, dtype=dtype, device=device), torch.as_tensor(
        np.stack(rows), dtype=dtype, device=device
    )
