"""Registration by attention: the inverse of a sampled function, and the map that carries one image onto another."""

from .curves import fourier_features, invert_function, register_curves
from .images import register_images
from .steps import registration_steps

__all__ = [
    "fourier_features",
    "invert_function",
    "register_curves",
    "register_images",
    "registration_steps",
]
