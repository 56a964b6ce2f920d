"""Operators with a declared symmetry, checked: equivariant networks, attention and registration on plain arrays.

Every public name is a function: arrays in, arrays out; gspaces, field types and networks are escnn's and torch's
own objects, and a registration is a value with methods. The classes of errors and warnings are reachable here too, as
`gequi.GequiError`.
"""

from . import _forks as _forks
from ._version import __version__ as __version__
from .architectures import (
    equivariant_resnet,
    equivariant_vit,
    gsa_network,
    identity_resnet,
    image_classifier_mlp,
    predict_points,
    unet,
)
from .attention import multi_head_attention, scaled_dot_product_attention, softmax, visual_attention
from .axes import broadcast_over, einsum, rearrange
from .encoders import registration_encoder
from .errors import (
    AmbiguousRegistrationWarning as AmbiguousRegistrationWarning,
    ExactnessWarning as ExactnessWarning,
    FieldError as FieldError,
    GequiError as GequiError,
    GequiWarning as GequiWarning,
    InputError as InputError,
    ModelFileError as ModelFileError,
    SetupError as SetupError,
    ShapeError as ShapeError,
    TrainingError as TrainingError,
    TransformFileError as TransformFileError,
    UnrelatedImagesError as UnrelatedImagesError,
)
from .export import export_model
from .fields import field_type, transform_field
from .folders import (
    collect_prediction,
    collect_registration,
    image_files,
    predict_folder,
    prepare_prediction,
    prepare_registration,
    register_folder,
    write_image,
)
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
from .maps import compose_maps, identity_map, invert_map, map_jacobian, warp_image, warp_points
from .networks import equivariant_network, get_weights, output_shape, predict, set_weights
from .pictures import to_grayscale
from .plots import (
    plot_equivariance,
    plot_equivariance_error,
    plot_gspace,
    plot_history,
    plot_image,
    plot_inverse_function,
    plot_inverted_input,
    plot_local_equivariance_error,
    plot_network,
    plot_trace,
)
from .registration import (
    evaluate_registration,
    fourier_features,
    invert_function,
    plot_registration,
    read_transform,
    register_curves,
    register_images,
    registration_steps,
    write_transform,
)
from .saving import load_model, save_model
from .slides import read_slide, transform_slide_points, warp_slide
from .stacks import plot_stack, register_stack
from .symmetry import (
    canonicalize,
    conformal_sets,
    equivariance_error,
    is_equivariant,
    local_equivariance_error,
    permutation_error,
    symmetrize,
    symmetry_report,
)
from .templates import group_mean, plot_group_mean
from .tracing import as_dot, trace_shapes
from .training import collect_job, evaluate, fit, fit_canonicalizer, prepare_job

__all__ = [
    "as_dot",
    "broadcast_over",
    "canonicalize",
    "cayley_table",
    "collect_job",
    "collect_prediction",
    "collect_registration",
    "compose_maps",
    "conformal_sets",
    "einsum",
    "equivariance_error",
    "equivariant_network",
    "equivariant_resnet",
    "equivariant_vit",
    "evaluate",
    "evaluate_registration",
    "export_model",
    "field_type",
    "fit",
    "fit_canonicalizer",
    "fourier_features",
    "get_weights",
    "gram_image",
    "group_elements",
    "group_mean",
    "gsa_network",
    "gspace",
    "gspaces",
    "identity_map",
    "identity_resnet",
    "image_classifier_mlp",
    "image_files",
    "image_product",
    "image_value",
    "invert_function",
    "invert_input",
    "invert_map",
    "is_equivariant",
    "layer_kinds",
    "load_model",
    "local_equivariance_error",
    "map_jacobian",
    "multi_head_attention",
    "normalize_columns",
    "normalize_image",
    "normalize_rows",
    "oscillatory_warp",
    "output_shape",
    "permutation_error",
    "plot_equivariance",
    "plot_equivariance_error",
    "plot_group_mean",
    "plot_gspace",
    "plot_history",
    "plot_image",
    "plot_inverse_function",
    "plot_inverted_input",
    "plot_local_equivariance_error",
    "plot_network",
    "plot_registration",
    "plot_stack",
    "plot_trace",
    "predict",
    "predict_folder",
    "predict_points",
    "prepare_job",
    "prepare_prediction",
    "prepare_registration",
    "read_slide",
    "read_transform",
    "rearrange",
    "register_curves",
    "register_folder",
    "register_images",
    "register_stack",
    "registration_encoder",
    "registration_steps",
    "representation_matrix",
    "representations",
    "sample_image",
    "save_model",
    "scaled_dot_product_attention",
    "set_weights",
    "signed_image",
    "softmax",
    "symmetrize",
    "symmetry_report",
    "to_grayscale",
    "trace_shapes",
    "transform_field",
    "transform_slide_points",
    "unet",
    "visual_attention",
    "warp_image",
    "warp_points",
    "warp_slide",
    "write_image",
    "write_transform",
]
