"""Solutions of escnn's linear systems, replaced by canonical ones in gequi's copies of the kernels (canonical.py).

Weights are coefficients of a basis of kernels, so a basis that differs between machines makes another network of the
same weights. Three things differ between machines:

1.  The coefficients of kernels between two irreps: Clebsch-Gordan coefficients and restrictions of irreps.
2.  The signs of the spherical harmonics, which escnn derives from Clebsch-Gordan coefficients.
3.  The change of basis of restricted, quotient and induced representations.

The kernels of cyclic groups and of SO(2) in the plane, and the subgroups of the plane's groups, have closed forms in
escnn. They are the same on every machine and stay as they are.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from escnn import group as _group
from escnn.group import Group, Representation
from escnn.nn import FieldType

from .canonical import canonical_basis
from .copies import own

_solver = own("kernels.wignereckart_solver")
_harmonics = own("kernels.harmonic_polynomial_r3").HarmonicPolynomialR3Generator
_as_found: ContextVar[bool] = ContextVar("bases as escnn finds them", default=False)
_ORTHOGONAL = 1e-6  # rounding leaves 1e-9 of the products of different columns


@contextlib.contextmanager
def bases_as_found() -> Iterator[None]:
    """Within it, this thread builds networks on the bases that escnn finds, as gequi did up to version 0.1.0."""
    token = _as_found.set(True)
    try:
        yield
    finally:
        _as_found.reset(token)


def are_bases_as_found() -> bool:
    """Return whether the caller is within `bases_as_found()`."""
    return _as_found.get()


def _canonical_rows(coefficients: torch.Tensor) -> torch.Tensor:
    """Convert orthogonal rows of one length, (dimension, ...), to the canonical basis of their span, of this length."""
    rows = coefficients.double().flatten(1).numpy()
    length = np.sqrt((rows**2).sum(1).mean())
    return torch.from_numpy(length * canonical_basis(rows)).to(coefficients.dtype).reshape(coefficients.shape)


# ---- 1. kernels between two irreps ----------------------------------------------------------------------


def _create_product_irreps(group: Group, source: tuple[Any, ...], target: tuple[Any, ...]) -> None:
    """Create the irreps of a continuous group that occur in the product of two irreps.

    escnn searches for them among the irreps that exist, and fails if one is missing. In a product of O(2) or SO(2) the
    frequencies add.
    """
    if isinstance(group, _group.DirectProductGroup):
        for factor, a, b in zip((group.G1, group.G2), source[:2], target[:2], strict=True):
            _create_product_irreps(factor, a, b)
    elif isinstance(group, (_group.SO2, _group.O2)):
        of_rotations = (1,) if isinstance(group, _group.O2) else ()
        for frequency in range(1, source[-1] + target[-1] + 1):
            group.irrep(*of_rotations, frequency)


def _has_closed_form(basis: Any) -> bool:
    return basis.basis.dimensionality < 3 and isinstance(basis.group, (_group.CyclicGroup, _group.SO2))


def _solutions(basis: Any, harmonic: Any) -> list[int]:
    """Return the number of solutions for each irrep in a harmonic. Those of one irrep span a space of their own."""
    if not hasattr(basis, "_js_restriction"):
        return [basis.group.irrep(*harmonic).sum_of_squares_constituents * basis._jJl[harmonic]]
    return [
        basis.group.irrep(*irrep).sum_of_squares_constituents
        * basis.group._clebsh_gordan_coeff(basis.n, basis.m, irrep).shape[2]
        * times
        for irrep, times in basis._js_restriction[harmonic]
    ]


def _with_canonical_coefficients(kind: Any) -> None:
    solve, generate = kind.__init__, kind._generator.__func__

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        solve(self, *arguments, **options)
        if _as_found.get() or _has_closed_form(self):
            return
        for number, harmonic in enumerate(self.js):
            found = self.coeff(number)
            of_solutions = 2 if kind is _solver.WignerEckartBasis else 1  # axes that count the solutions
            parts = found.flatten(0, of_solutions - 1).split(_solutions(self, harmonic))
            canonical = torch.cat([_canonical_rows(part) for part in parts])
            self.register_buffer(f"coeff_{number}", canonical.reshape(found.shape))

    def _generator(cls: Any, basis: Any, source: Any, target: Any, **options: Any) -> Any:
        group = basis.group.subgroup(options["sg_id"])[0] if "sg_id" in options else basis.group
        _create_product_irreps(group, group.get_irrep_id(source), group.get_irrep_id(target))
        if _as_found.get():  # no part of the instances that escnn keeps
            return kind(basis, in_irrep=source, out_irrep=target, **options)
        return generate(cls, basis, source, target, **options)

    kind.__init__ = __init__
    kind._generator = classmethod(_generator)


for _kind in (_solver.WignerEckartBasis, _solver.RestrictedWignerEckartBasis):
    _with_canonical_coefficients(_kind)


# ---- 2. spherical harmonics -----------------------------------------------------------------------------

_init_harmonics = _harmonics.__init__


def _init_canonical_harmonics(self: Any, degree: int) -> None:
    """Build the harmonics: those of degree l are linear in the products of those of degrees l - 1 and 1."""
    _init_harmonics(self, degree)
    if _as_found.get():
        return
    for l in range(2, degree + 1):  # noqa: E741
        buffer = f"cob_{l}"
        self.register_buffer(buffer, _canonical_rows(getattr(self, buffer)[None])[0])


_harmonics.__init__ = _init_canonical_harmonics


# ---- 3. representations ---------------------------------------------------------------------------------


def canonical_representation(found: Representation, parent: Group) -> Representation:
    """Return a representation with the canonical change of basis for its irreps.

    An occurrence of an irrep psi is a map V with rho(g) V = V psi(g). All such maps are a space, which is closed under
    the matrices that commute with psi. Each vector of its canonical basis is one occurrence.

    Args:
        found: a restricted, quotient or induced representation, as escnn makes it.
        parent: the group whose irreps escnn has restricted for it.

    Returns:
        the representation with the same matrices, name and irreps.
    """
    planar = (_group.CyclicGroup, _group.DihedralGroup, _group.SO2, _group.O2)
    before = found.change_of_basis
    if _as_found.get() or isinstance(parent, planar) or found.irreducible:
        return found
    if np.abs(before.T @ before - np.eye(found.size)).max() > _ORTHOGONAL:
        return found
    columns: dict[Any, list[int]] = {}  # irrep -> the first columns of its occurrences
    position = 0
    for irrep in found.irreps:
        columns.setdefault(irrep, []).append(position)
        position += found.group.irrep(*irrep).size
    after = np.empty_like(before)
    for irrep, starts in columns.items():
        psi = found.group.irrep(*irrep)
        commuting = psi.endomorphism_basis()
        maps = [before[:, start : start + psi.size] @ matrix for start in starts for matrix in commuting]
        vectors = canonical_basis(np.stack(maps).reshape(len(maps), -1), commuting)
        for start, vector in zip(starts, vectors, strict=True):
            after[:, start : start + psi.size] = vector.reshape(-1, psi.size) * np.sqrt(psi.size)
    made = copy.copy(found)  # escnn allows one representation of a name to be made
    made.change_of_basis, made.change_of_basis_inv = after, after.T.copy()
    made._cached_restricted_representations = {}
    return made


def canonical_type(found: FieldType, parent: Group) -> FieldType:
    """Return a field type with the canonical change of basis of each representation."""
    made = {each: canonical_representation(each, parent) for each in dict.fromkeys(found.representations)}
    return FieldType(found.gspace, [made[each] for each in found.representations])
