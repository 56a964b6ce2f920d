"""Bases that every machine finds alike.

escnn solves linear systems for the Clebsch-Gordan coefficients of most groups and for the irreps in a restricted
representation. Any orthonormal basis of the null space is a solution; which one comes out depends on the linear algebra
library, its threads, and what an earlier process left in the cache. Weights are coefficients of such a basis, so
here it is replaced by one that depends on the space alone.
"""

from __future__ import annotations

import numpy as np
import torch

_INDEPENDENT = 1e-4  # a squared norm: rounding leaves 1e-28 of a dependent vector, the groups' constants more than 1e-2


def canonical_basis(vectors: np.ndarray) -> np.ndarray:
    """The basis of a space that Gram and Schmidt make of the coordinate vectors' projections onto it, in order.

    With P the projection onto the space, v_i = P e_i less its projections onto the earlier ones; those that vanish are
    passed over, the others normalized. Their i-th coordinate is then positive. P is the same for every basis of the
    space, so the result is too.

    Args:
        vectors: an orthonormal basis, (dimension, size).

    Returns:
        an orthonormal basis of the same space, (dimension, size).
    """
    rest, found = vectors, []
    for column in range(vectors.shape[1]):
        coordinates = rest[:, column]  # of P e_i, in what is left of the basis
        length = float(coordinates @ coordinates)
        if length > _INDEPENDENT:
            direction = coordinates / np.sqrt(length)
            found.append(direction @ rest)
            rest = _without(rest, direction)
        if len(found) == len(vectors):
            return np.stack(found)
    raise ArithmeticError("the vectors of a basis are dependent")


def _without(basis: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what is orthogonal to `direction`, a unit vector in coordinates of `basis`.

    The Householder reflection that takes `direction` to the coordinate vector of its largest entry takes the others to
    the rest.
    """
    place = int(np.abs(direction).argmax())
    normal = direction.copy()
    normal[place] += np.copysign(1.0, direction[place])
    reflected = basis - np.outer(normal, (2 / (normal @ normal)) * (normal @ basis))
    return np.delete(reflected, place, axis=0)


def canonical_rows(coefficients: torch.Tensor) -> torch.Tensor:
    """Orthogonal rows of one length, (dimension, ...), as the canonical basis of their span, of the same length."""
    rows = coefficients.double().flatten(1).numpy()
    lengths = np.linalg.norm(rows, axis=1)
    canonical = canonical_basis(rows / lengths[:, None]) * lengths.mean()
    return torch.from_numpy(canonical).to(coefficients.dtype).reshape(coefficients.shape)
