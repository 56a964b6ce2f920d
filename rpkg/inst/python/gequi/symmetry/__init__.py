"""Measurement of equivariance: how far an operator is from commuting with its group; and its mending.

f is equivariant if f(g x) = g f(x) for every element g: transforming the input transforms the output, each by the
representation of its fields. f is invariant if it is equivariant and its output fields are trivial.
`permutation_error()` measures the same for the group of permutations along an axis.
"""

from .canonical import canonicalize, check_canonicalizer, moved, neighbors, scores_of, smallest_turn
from .conformal import conformal_sets, restore_conformal
from .equivariance import equivariance_error, equivariance_maps, is_equivariant
from .local import local_equivariance_error
from .permutations import permutation_error
from .report import symmetry_report
from .symmetrizing import symmetrize

__all__ = [
    "canonicalize",
    "check_canonicalizer",
    "conformal_sets",
    "equivariance_error",
    "equivariance_maps",
    "is_equivariant",
    "local_equivariance_error",
    "moved",
    "neighbors",
    "permutation_error",
    "restore_conformal",
    "scores_of",
    "smallest_turn",
    "symmetrize",
    "symmetry_report",
]
