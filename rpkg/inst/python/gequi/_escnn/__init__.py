"""The door to escnn: every other module imports escnn from here.

`importing` imports it, `copies` makes gequi's own copies of the modules that gequi needs in another form, `layers`
changes the copies, `solutions` makes bases the same on every machine, and `regular` makes regular representations in
less time. `escnn` is the package as gequi sees it: escnn's own groups, gspaces, field types, tensors and most layers,
and copies of the others. Code that imports escnn itself finds it unchanged.
"""

from .importing import cache_folder, wigner_d_matrix  # first: it imports escnn  # isort: skip
from escnn.group import Group, GroupElement, Representation
from escnn.gspaces import GSpace
from escnn.nn import EquivariantModule, FieldType, GeometricTensor

from . import lean, sampling  # noqa: F401  replace functions of the copies
from .conversion import converted_weights
from .layers import basis_samples, escnn, float_type, he_standard_deviations, identity_rows

from . import printing  # noqa: F401  isort: skip
from .regular import quick_regular_representations
from .solutions import bases_as_found, canonical_representation, canonical_type

__all__ = [
    "EquivariantModule",
    "FieldType",
    "GSpace",
    "GeometricTensor",
    "Group",
    "GroupElement",
    "Representation",
    "bases_as_found",
    "basis_samples",
    "cache_folder",
    "canonical_representation",
    "canonical_type",
    "converted_weights",
    "escnn",
    "float_type",
    "he_standard_deviations",
    "identity_rows",
    "quick_regular_representations",
    "wigner_d_matrix",
]
