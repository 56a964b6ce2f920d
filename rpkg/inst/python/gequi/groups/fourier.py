"""The Fourier transform of a finite group: the basis in which its regular representation is block diagonal."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np

from .._escnn import GSpace, Representation
from .element import cayley_table


@dataclass(frozen=True)
class Band:
    """The irreducible representations of one size and type, and their part of the Fourier transform.

    A map that commutes with the regular representation, y[g] = sum_h W[g^-1 h] x[h], does not mix irreps. Of the
    components of an irrep of size d, it mixes runs of d, each in the same way; there are d / s runs, where s is 1, 2 or
    4 for an irrep of real, complex or quaternionic type. Its matrix on a run is `blocks` @ W.
    """

    rows: np.ndarray  # (irrep, run, d, element): orthonormal rows of the Fourier transform
    blocks: np.ndarray  # (irrep, d, d, element)


_computed: dict[int, tuple[Band, ...]] = {}


def fourier_bands(space: GSpace) -> tuple[Band, ...]:
    """Compute the Fourier transform of a finite group. The trivial representation is alone in the first band.

    It is computed once for each group: in space, the products of all elements take a second.
    """
    group = space.fibergroup
    if id(group) not in _computed:  # not every group is hashable
        _computed[id(group)] = _fourier_bands(space)
        weakref.finalize(group, _computed.pop, id(group), None)
    return _computed[id(group)]


def _fourier_bands(space: GSpace) -> tuple[Band, ...]:
    regular = space.regular_repr
    found: dict[tuple[int, ...], tuple[Representation, list[int]]] = {}
    first = 0
    for name in regular.irreps:
        irrep = space.irrep(*name)
        found.setdefault(name, (irrep, []))[1].append(first)
        first += irrep.size
    table = cayley_table(space)
    bands: dict[tuple[bool, int, int], list[Band]] = {}
    for irrep, starts in found.values():
        basis = _adapted_basis(irrep)  # (component, run, s)
        copies = np.stack([regular.change_of_basis[:, start : start + irrep.size] for start in starts])
        rows = np.einsum("mgc,crs->rmsg", copies, basis).reshape(basis.shape[1], irrep.size, -1)
        blocks = np.einsum("ig,jgu->iju", rows[0], rows[0][:, table])  # W is 1 at u: h = g u
        key = (not irrep.is_trivial(), *basis.shape[::2])
        bands.setdefault(key, []).append(Band(rows, blocks))
    return tuple(
        Band(np.stack([each.rows for each in same]), np.stack([each.blocks for each in same]))
        for _, same in sorted(bands.items(), key=lambda item: item[0])
    )


def _adapted_basis(irrep: Representation) -> np.ndarray:
    """Return an orthonormal basis (component, run, s) in which all maps that commute with an irrep mix runs alike.

    These maps are spanned by s isometries. Each run is the orbit of a vector under them.
    """
    maps = irrep.endomorphism_basis()
    basis = np.zeros((irrep.size, 0))
    for vector in np.eye(irrep.size):
        rest = vector - basis @ (basis.T @ vector)
        if np.linalg.norm(rest) > 0.5 / np.sqrt(irrep.size) and basis.shape[1] < irrep.size:
            orbit = (maps @ rest).T
            basis = np.concatenate([basis, orbit / np.linalg.norm(orbit, axis=0)], 1)
    return basis.reshape(irrep.size, -1, len(maps))
