"""Operators with a declared symmetry, checked: equivariant networks, attention and registration on plain arrays.

Every public name is a function: arrays in, arrays out; gspaces, field types and networks are escnn's and torch's
own objects.
"""

from ._version import __version__ as __version__
from .fields import field_type, transform_field
from .groups import cayley_table, group_elements, gspace, gspaces, representation_matrix, representations

__all__ = [
    "cayley_table",
    "field_type",
    "group_elements",
    "gspace",
    "gspaces",
    "representation_matrix",
    "representations",
    "transform_field",
]
