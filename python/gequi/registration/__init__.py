"""Registration by attention: the inverse of a sampled function, and what follows from it."""

from .curves import fourier_features, invert_function, register_curves

__all__ = ["fourier_features", "invert_function", "register_curves"]
