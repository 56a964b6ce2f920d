"""The designed encoder of images: its layers have no weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ...groups import gspace
from ...networks import EquivariantNetwork, equivariant_network
from .kinds import RINGS

POSES = 16

Rings = tuple[tuple[float, float], ...]


def designed_layers(any_contrast: bool, rings: Rings = RINGS, sigma: float = 1.0) -> list[dict[str, Any]]:
    """The layers of the designed encoder."""
    return [
        {"layer": "oriented_gradients", "sigma": sigma, "signed": not any_contrast},
        {"layer": "ring_descriptor", "rings": [list(ring) for ring in rings]},
    ]


@lru_cache(maxsize=32)
def designed(
    any_contrast: bool, rings: Rings = RINGS, sigma: float = 1.0, dtype: str = "float32"
) -> EquivariantNetwork:
    """The designed encoder: nothing in it is trained, or drawn."""
    layers = designed_layers(any_contrast, rings, sigma)
    return equivariant_network(gspace("rot2dOnR2", N=POSES), "trivial", layers, seed=0, dtype=dtype)
