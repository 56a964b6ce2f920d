"""Functions on the sphere: quadrature, spherical harmonics, and the rotations of space at which poses are compared.

Directions and rotations act on the axes of an array, (depth, row, column). The harmonics of degree l transform by the
irrep of degree l of escnn, Y(R u) = D_l(R) Y(u), where D_l acts on (x, y, z).

Source: quadrature, Lebedev 1976; correlation of functions on the sphere over rotations, Kostelec and Rockmore 2008.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import torch

from ..._escnn import escnn
from ...geometry.rotations import cube_rotations

# Lebedev's points, each orbit of the rotations and reflections of the cube by one of its points, and their weights: they
# are exact to degree 11.
ORBITS = (
    ((0, 0, 1), 4 / 315),
    ((0, 1, 1), 64 / 2835),
    ((1, 1, 1), 27 / 1280),
    ((1, 1, 3), 14641 / 725760),
)
BETWEEN = 36.0  # degrees about (1, 1, 1): the rotation whose double coset lies between the rotations of the cube
_SIGNS = np.array([-1.0, -1.0, 1.0])  # z and y run upwards, depth and row downwards


@lru_cache(maxsize=1)
def quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return Lebedev's 50 directions (point, axis) and their weights, which sum to 1."""
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


def harmonics(directions: np.ndarray, degree: int) -> np.ndarray:
    """Return the orthonormal spherical harmonics of one degree at directions (point, axis): (point, harmonic).

    For a rotation that carries the pole to u, the column of D_l that is invariant to rotations about the pole is a
    harmonic function of u.
    """
    columns = [wigner_matrix(_from_pole(u), degree)[:, degree] for u in directions]
    return math.sqrt(2 * degree + 1) * np.stack(columns)


def wigner_matrix(rotation: np.ndarray, degree: int) -> np.ndarray:
    """Return escnn's irrep of SO(3) of one degree at a rotation of the axes of an array."""
    group = escnn.group.so3_group(degree)
    in_space = (_SIGNS[:, None] * rotation * _SIGNS)[::-1, ::-1]  # the inverse of on_array_axes()
    return np.asarray(group.irrep(degree)(group.element(in_space, "MAT")))


def _from_pole(direction: np.ndarray) -> np.ndarray:
    """Return a rotation of the axes of an array that carries the pole, z, to a direction."""
    pole = np.array([-1.0, 0.0, 0.0])  # z runs against depth
    axis = np.cross(pole, direction)
    sine, cosine = np.linalg.norm(axis), pole @ direction
    if sine < 1e-12:  # along the pole, or a half turn against it
        return np.eye(3) if cosine > 0 else np.diag([-1.0, -1.0, 1.0])
    return _rotation_about(axis / sine, math.atan2(sine, cosine))


def _rotation_about(axis: np.ndarray, angle: float) -> np.ndarray:
    """Return the rotation by an angle about a unit axis (Rodrigues' formula)."""
    cross = np.cross(np.eye(3), axis)  # cross @ v = axis x v
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


@lru_cache(maxsize=1)
def rotations() -> np.ndarray:
    """Return 216 rotations (pose, axis, axis).

    They are the rotations of the cube O and their double coset O c O, where c is the rotation by 36 degrees about (1,
    1, 1). Every rotation is within 37 degrees of one of them, 20 degrees on average.
    """
    cube = cube_rotations()
    between = _rotation_about(np.ones(3) / math.sqrt(3), math.radians(BETWEEN))
    every = np.concatenate([cube.reshape(-1, 9), np.einsum("aij,jk,bkl->abil", cube, between, cube).reshape(-1, 9)])
    _, first = np.unique(every.round(6) + 0.0, axis=0, return_index=True)
    return every[np.sort(first)].reshape(-1, 3, 3)


@lru_cache(maxsize=8)
def poses(degrees: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the 216 rotations (pose, axis, axis), and D_l of each for all degrees, flattened: (pose, entry)."""
    rows = [np.concatenate([wigner_matrix(each, degree).ravel() for degree in degrees]) for each in rotations()]
    return (
        torch.as_tensor(rotations(), dtype=dtype, device=device),
        torch.as_tensor(np.stack(rows), dtype=dtype, device=device),
    )
