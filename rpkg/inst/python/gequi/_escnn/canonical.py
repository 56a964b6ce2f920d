"""Bases that depend on a space alone, and not on the machine that computes them.

escnn solves linear systems for the Clebsch-Gordan coefficients of most groups and for the irreps in a restricted
representation. Any orthonormal basis of the null space is a solution. Which one is found depends on the linear algebra
library, its threads, random elements of the group and the cache on disk. Here any
orthonormal basis of a space is converted to the same basis.
"""

from __future__ import annotations

import numpy as np

# The least squared length of what is left of a projected coordinate vector. Rounding leaves 1e-24 of a dependent one.
# Independent ones are longer: what is left of a space of dimension 1 or more has a coordinate of at least 1 / size, and
# size is below 1e4.
_INDEPENDENT = 1e-4


def canonical_basis(vectors: np.ndarray, multiples: np.ndarray | None = None) -> np.ndarray:
    """Convert a basis of a space to the basis that Gram-Schmidt makes of the projected coordinate vectors.

    Let P be the orthogonal projector onto the space, which is the same for all of its bases. The coordinate vectors e_i
    are projected in their order. Each P e_i is made orthogonal to the vectors already found. It is skipped if nothing
    is left; otherwise it is normalized. Coordinate i of the result is therefore positive.

    Args:
        vectors: rows of equal length, orthogonal up to rounding, (dimension, size).
        multiples: matrices (k, n, n) that act on the last n coordinates of a vector reshaped to (-1, n), under which the
            space is closed, the first the identity. Then only every k-th vector is returned: the space is the sum of
            the orthogonal spaces that the multiples of each returned vector span. None is the identity alone.

    Returns:
        orthonormal rows, (dimension / k, size).

    Raises:
        ArithmeticError: if the vectors are dependent.
    """
    size = vectors.shape[1]
    rest = _orthonormal(vectors)
    found: list[np.ndarray] = []
    for column in range(size):
        if not len(rest):
            break
        coordinates = rest[:, column]
        length = float(coordinates @ coordinates)
        if length > _INDEPENDENT:
            vector = coordinates @ rest / np.sqrt(length)
            found.append(vector)
            rest = _without(rest, _multiples(vector, multiples))
    if len(rest):
        raise ArithmeticError("the vectors of a basis are dependent")
    return np.stack(found)


def _orthonormal(vectors: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the row space. The rows are orthogonal and of equal length but for rounding."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    q, r = np.linalg.qr((vectors / lengths).T)
    if np.abs(np.diag(r)).min(initial=1) ** 2 < _INDEPENDENT:
        raise ArithmeticError("the vectors of a basis are dependent")
    return np.asarray(q.T)


def _multiples(vector: np.ndarray, matrices: np.ndarray | None) -> np.ndarray:
    """Return a vector and its multiples as orthonormal rows."""
    if matrices is None:
        return vector[None]
    rows = np.stack([vector.reshape(-1, matrix.shape[0]) @ matrix for matrix in matrices]).reshape(len(matrices), -1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _without(basis: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the part of a space that is orthogonal to vectors in it (orthonormal rows)."""
    coordinates = basis @ vectors.T
    q = np.linalg.qr(coordinates, mode="complete")[0]
    return np.asarray(q[:, len(vectors) :].T @ basis)
