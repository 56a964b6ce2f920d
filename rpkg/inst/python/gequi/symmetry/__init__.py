"""The check that every operator passes through: how far it is from commuting with its group.

f is equivariant where f(g x) = g f(x) for every element g: transforming the input transforms the output, each by the
representation that its fields declare. An invariant f is one whose output fields are trivial. Where the group is that
of the permutations along an axis, `permutation_error()` measures the same.
"""

from .equivariance import equivariance_error, equivariance_maps, is_equivariant
from .permutations import permutation_error

__all__ = ["equivariance_error", "equivariance_maps", "is_equivariant", "permutation_error"]
