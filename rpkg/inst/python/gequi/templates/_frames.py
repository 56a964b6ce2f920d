"""The mean of linear maps from a template to images, as the frame in which their mean is the identity.

A linear map leads from a position y in the template, from its center and in units of length, to the position
z = A y + b in an image, from the center of that image. A frame (G, g) carries a new template to the present one,
y = G y' + g. In the right frame

- the mean of the stretches is 0: A^T A is the metric that an image induces on the template, and the mean of these
  metrics is the identity;
- the mean of the turns is 0: the polar factors of A G have the mean rotation 1;
- the mean of the shifts is 0: the centers of the images lie about the center of the template.

The three means do not depend on the present frame, nor on the order of the images.

Source: Moakher 2002 (means of rotations); Pennec, Fillard and Ayache 2006 (means of metrics).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ROUNDS = 50  # of the mean of metrics, which converges in about five for stretches below a factor of two
LEAST_AGREEMENT = 0.1  # of rotations, from 0 (they have no mean) to 1 (all the same); not tuned


class Linear(NamedTuple):
    """z = matrix y + shift."""

    matrix: np.ndarray
    shift: np.ndarray


class Frame(NamedTuple):
    """y = matrix y' + shift. `mean_turn` tells whether the rotations of the images determine the rotation."""

    matrix: np.ndarray
    shift: np.ndarray
    mean_turn: bool


def mean_frame(linears: Sequence[Linear], start: int) -> Frame:
    """Return the frame in which the mean of the maps is the identity.

    Args:
        start: the map whose rotation becomes the identity if the rotations of all maps have no mean.
    """
    upright = _power(mean_metric([each.matrix.T @ each.matrix for each in linears]), -0.5)
    turns = np.stack([rotation_of(each.matrix @ upright) for each in linears])
    mean, agreement = mean_rotation(turns)
    determined = agreement >= LEAST_AGREEMENT
    turn = mean if determined else turns[start]
    centers = [-np.linalg.solve(each.matrix, each.shift) for each in linears]
    return Frame(upright @ turn.T, np.mean(centers, 0), determined)


def rotation_of(matrix: np.ndarray) -> np.ndarray:
    """Return the rotation of the polar decomposition of a matrix with a positive determinant."""
    return _nearest(matrix)[0]


def mean_rotation(turns: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the mean of rotations (n, axis, axis), and how well they agree.

    The mean is the rotation nearest to the mean of the matrices. The agreement is 1 for equal rotations, and 0 if
    several rotations are equally near.
    """
    return _nearest(turns.mean(0))


def _nearest(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    left, lengths, right = np.linalg.svd(matrix)
    sign = np.sign(np.linalg.det(left @ right))
    left[:, -1] *= sign
    return left @ right, float(lengths[-2] + sign * lengths[-1]) / 2


def mean_metric(metrics: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of positive definite matrices M, which is F^T mean(M) F for matrices F^T M F."""
    mean = np.mean(metrics, 0)
    for _ in range(ROUNDS):
        root, inverse = _power(mean, 0.5), _power(mean, -0.5)
        step = np.mean([_logarithm(inverse @ metric @ inverse) for metric in metrics], 0)
        mean = root @ _exponential(step) @ root
        if np.abs(step).max() < 1e-14:
            break
    return mean


def _power(metric: np.ndarray, exponent: float) -> np.ndarray:
    values, vectors = np.linalg.eigh(metric)
    return np.asarray((vectors * values**exponent) @ vectors.T)


def _logarithm(metric: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(metric)
    return np.asarray((vectors * np.log(values)) @ vectors.T)


def _exponential(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.exp(values)) @ vectors.T)
