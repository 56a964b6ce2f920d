"""Registration by attention: inversion of sampled functions, and maps that align two images."""

from .curves import fourier_features, invert_function, register_curves
from .evaluation import evaluate_registration
from .many import Registrations
from .plotting import plot_registration
from .register import register_images
from .result import Registration
from .steps import registration_steps
from .transform_files import Transform, read_transform, write_transform

__all__ = [
    "Registration",
    "Registrations",
    "Transform",
    "evaluate_registration",
    "fourier_features",
    "invert_function",
    "plot_registration",
    "read_transform",
    "register_curves",
    "register_images",
    "registration_steps",
    "write_transform",
]
