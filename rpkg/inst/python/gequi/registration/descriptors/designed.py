"""The designed encoders of images and of volumes, whose layers have no weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...groups import gspace
from ...networks import EquivariantNetwork, equivariant_network
from .kinds import DEGREE, RINGS, SPHERES

CONTRASTS = ("same", "any")
POSES = 16

Rings = tuple[tuple[float, float], ...]


def designed_layers(any_contrast: bool, rings: Rings = RINGS, sigma: float = 1.0) -> list[dict[str, Any]]:
    """Return the layers of the designed encoder of images."""
    return [
        {"layer": "oriented_gradients", "sigma": sigma, "signed": not any_contrast},
        {"layer": "ring_descriptor", "rings": [list(ring) for ring in rings]},
    ]


def designed_volume_layers(any_contrast: bool, spheres: Rings = SPHERES, window: float = 4.0) -> list[dict[str, Any]]:
    """Return the layers of the designed encoder of volumes."""
    return [
        {"layer": "local_normalization", "window": window, "signed": not any_contrast},
        {"layer": "sphere_descriptor", "spheres": [list(sphere) for sphere in spheres]},
    ]


@lru_cache(maxsize=32)
def designed(
    any_contrast: bool, rings: Rings = RINGS, sigma: float = 1.0, dtype: str = "float32"
) -> EquivariantNetwork:
    """Return the designed encoder of images. It contains no trained or random parts."""
    layers = designed_layers(any_contrast, rings, sigma)
    return equivariant_network(gspace("rot2dOnR2", N=POSES), "trivial", layers, seed=0, dtype=dtype)


@lru_cache(maxsize=32)
def designed_for_volumes(
    any_contrast: bool, spheres: Rings = SPHERES, window: float = 4.0, dtype: str = "float32"
) -> EquivariantNetwork:
    """Return the designed encoder of volumes. It contains no trained or random parts."""
    layers = designed_volume_layers(any_contrast, spheres, window)
    return equivariant_network(gspace("rot3dOnR3", maximum_frequency=DEGREE), "trivial", layers, seed=0, dtype=dtype)
