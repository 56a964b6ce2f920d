"""The regular representations of finite groups, in a small part of the time that escnn takes.

escnn multiplies all pairs of elements of a group to find how often each irrep occurs: 3,600 products of rotations for the
icosahedral group, which take most of the time of its gspace. The number is known: an irrep of size d occurs d times if
it is of real type, d / 2 times if it is of complex type and d / 4 times if it is of quaternionic type (Serre, Linear
Representations of Finite Groups, sections 2.4 and 13.2).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
from escnn.group import Group, IrreducibleRepresentation, representation as _module

_of_escnn = _module.build_regular_representation


def regular_representation(group: Group) -> tuple[list[IrreducibleRepresentation], np.ndarray, np.ndarray]:
    """Return the irreps of the regular representation of a finite group, its change of basis, and the inverse of it.

    The result equals that of escnn's `build_regular_representation()` in every bit.
    """
    times = [(irrep, irrep.size // irrep.sum_of_squares_constituents) for irrep in group.irreps()]
    rows = [
        np.concatenate([(math.sqrt(irrep.size) * irrep(element))[:, :count].T.ravel() for irrep, count in times])
        for element in group.elements
    ]
    change = np.stack(rows) / math.sqrt(group.order())
    return [irrep for irrep, count in times for _ in range(count)], change, change.T


@contextlib.contextmanager
def quick_regular_representations() -> Iterator[None]:
    """Let escnn use `regular_representation()` while it creates a gspace for gequi."""
    _module.build_regular_representation = regular_representation
    try:
        yield
    finally:
        _module.build_regular_representation = _of_escnn
