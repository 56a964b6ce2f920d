"""Operators with a declared symmetry, checked: equivariant networks, attention and registration on plain arrays.

Every public name is a function: arrays in, arrays out; gspaces, field types and networks are escnn's and torch's
own objects.
"""

from ._version import __version__ as __version__
from .fields import field_type, transform_field
from .groups import cayley_table, group_elements, gspace, gspaces, representation_matrix, representations
from .images import (
    gram_image,
    image_product,
    image_value,
    normalize_columns,
    normalize_image,
    normalize_rows,
    oscillatory_warp,
    sample_image,
    signed_image,
)
from .inversion import invert_input
from .layers import layer_kinds
from .networks import equivariant_network, get_weights, output_shape, predict, set_weights
from .symmetry import equivariance_error, is_equivariant, permutation_error

__all__ = [
    "cayley_table",
    "equivariance_error",
    "equivariant_network",
    "field_type",
    "get_weights",
    "gram_image",
    "group_elements",
    "gspace",
    "gspaces",
    "image_product",
    "image_value",
    "invert_input",
    "is_equivariant",
    "layer_kinds",
    "normalize_columns",
    "normalize_image",
    "normalize_rows",
    "oscillatory_warp",
    "output_shape",
    "permutation_error",
    "predict",
    "representation_matrix",
    "representations",
    "sample_image",
    "set_weights",
    "signed_image",
    "transform_field",
]
