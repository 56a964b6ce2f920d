"""Descriptors of images and volumes: what lies about each token, known in every pose, and how tokens are matched."""

from .designed import designed
from .matching import Descriptor, Matches, Tokens
from .planar import PlanarDescriptor
from .spherical import SphericalDescriptor

__all__ = ["Descriptor", "Matches", "PlanarDescriptor", "SphericalDescriptor", "Tokens", "designed"]
