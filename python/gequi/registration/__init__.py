"""Registration by attention: the inverse of a sampled function, and the map that carries one image onto another."""

from .curves import fourier_features, invert_function, register_curves
from .evaluation import evaluate_registration
from .register import register_images
from .result import Registration
from .steps import registration_steps

__all__ = [
    "Registration",
    "evaluate_registration",
    "fourier_features",
    "invert_function",
    "register_curves",
    "register_images",
    "registration_steps",
]
