"""The kinds of layers of equivariant networks, in one table that R and Python share."""

from . import convolutions, doubling, nonlinearities, normalization, patches, pooling, structure
from .plan import Kind, Step, Window, kind, layer_kinds, plan_layer, plan_layers

__all__ = [
    "Kind", "Step", "Window", "convolutions", "doubling", "kind", "layer_kinds", "nonlinearities", "normalization", "patches",
    "plan_layer", "plan_layers", "pooling", "structure",
]  # fmt: skip
