"""Descriptors of images and volumes: tokens in every pose, and the matching of the tokens of two images."""

from .designed import (
    CONTRASTS,
    POSES,
    designed,
    designed_for_volumes,
    designed_layers,
    designed_volume_layers,
)
from .encoder import check_encoder, fitting_size, lift, ready, token_distance, token_positions
from .harmonics import poses, rotations
from .kinds import DEGREE
from .matching import Descriptor, Matches, Tokens
from .planar import PlanarDescriptor
from .spherical import SphericalDescriptor

__all__ = [
    "CONTRASTS",
    "DEGREE",
    "POSES",
    "Descriptor",
    "Matches",
    "PlanarDescriptor",
    "SphericalDescriptor",
    "Tokens",
    "check_encoder",
    "designed",
    "designed_for_volumes",
    "designed_layers",
    "designed_volume_layers",
    "fitting_size",
    "lift",
    "poses",
    "ready",
    "rotations",
    "token_distance",
    "token_positions",
]
