"""The kinds of layers of an equivariant network: one table, from which both languages take them."""

from . import convolutions, nonlinearities, normalization, pooling, structure
from ._plan import Kind, Step, Window, kind, layer_kinds, plan

__all__ = ["Kind", "Step", "Window", "convolutions", "kind", "layer_kinds", "nonlinearities", "normalization", "plan",
           "pooling", "structure"]  # fmt: skip
