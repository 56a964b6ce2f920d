"""Operators with a declared symmetry, checked: equivariant networks, attention and registration on plain arrays.

Every public name is a function: arrays in, arrays out; gspaces, field types and networks are escnn's and torch's
own objects.
"""

from ._version import __version__ as __version__
from .fields import field_type, transform_field
from .groups import cayley_table, group_elements, gspace, gspaces, representation_matrix, representations
from .layers import layer_kinds
from .networks import equivariant_network, get_weights, output_shape, predict, set_weights
from .saving import load_model, save_model
from .symmetry import equivariance_error, is_equivariant
from .training import evaluate, fit

__all__ = [
    "cayley_table",
    "equivariance_error",
    "equivariant_network",
    "evaluate",
    "field_type",
    "fit",
    "get_weights",
    "group_elements",
    "gspace",
    "gspaces",
    "is_equivariant",
    "layer_kinds",
    "load_model",
    "output_shape",
    "predict",
    "representation_matrix",
    "representations",
    "save_model",
    "set_weights",
    "transform_field",
]
