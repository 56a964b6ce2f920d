"""Rotations of the plane and of space, and the order of axes in which a matrix acts.

The rotations of a gspace act on points (x, y[, z]) with x along columns to the right, y along rows upwards and z along
depth upwards. Arrays have the axes in the reverse order, and rows and depth run downwards.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch


def rotation_matrix(angles: torch.Tensor) -> torch.Tensor:
    """Return rotations of the plane (..., 2, 2) by angles in radians, from the first axis towards the second."""
    cosine, sine = angles.cos(), angles.sin()
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)


def nearest_rotation(matrices: torch.Tensor) -> torch.Tensor:
    """Return the rotation R with the largest trace of R^T M for each matrix M (..., axis, axis).

    Source: Schonemann 1966.
    """
    left, _, right = torch.linalg.svd(matrices)
    mirrored = torch.linalg.det(left @ right) < 0
    last = torch.where(mirrored, -1.0, 1.0).to(matrices.dtype)
    return torch.cat([left[..., :-1], left[..., -1:] * last[..., None, None]], -1) @ right


def cube_rotations() -> np.ndarray:
    """Return the 24 rotations of the cube: (rotation, axis, axis)."""
    rotations = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.diag(signs)[list(order)]
            if np.linalg.det(matrix) > 0:
                rotations.append(matrix)
    return np.stack(rotations)


def on_array_axes(matrices: np.ndarray) -> np.ndarray:
    """Convert matrices (..., axis, axis) that act on (x, y[, z]) to matrices that act on the axes of an array."""
    signs = np.array([-1.0] * (matrices.shape[-1] - 1) + [1.0])
    return signs[:, None] * matrices[..., ::-1, ::-1] * signs


def versor_rotation(vector: np.ndarray, half_turn: float = 0.0) -> np.ndarray:
    """Return the rotation of the unit quaternion with this vector part and a non-negative scalar part.

    A scalar part whose square is below `half_turn` is a rounding error and is set to 0.
    """
    square = 1 - float(vector @ vector)
    scalar = np.sqrt(square) if square > half_turn else 0.0
    b, c, d = vector if scalar else vector / np.linalg.norm(vector)
    cross = np.array([[0, -d, c], [d, 0, -b], [-c, b, 0]])
    return np.asarray(np.eye(3) + 2 * scalar * cross + 2 * cross @ cross)


def nifti_rotation(vector: np.ndarray) -> np.ndarray:
    """Return the rotation of the vector part of a quaternion in float32, as niftilib computes it."""
    return versor_rotation(vector.astype(np.float64), 1e-7)
