"""Inspection of networks: the shapes of their features per module, as a table, a graph and a diagram."""

from .diagrams import lay_out
from .dot import as_dot
from .shapes import AXES, Trace, check_shapes, check_trace, count_parameters, input_shapes, trace_shapes

__all__ = [
    "AXES",
    "Trace",
    "as_dot",
    "check_shapes",
    "check_trace",
    "count_parameters",
    "input_shapes",
    "lay_out",
    "trace_shapes",
]
