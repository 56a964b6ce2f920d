"""Shapes of a network's input and output."""

from __future__ import annotations

from collections.abc import Sequence

from ..arrays import check_integer, entries
from ..errors import ShapeError
from ..fields import AXES
from .module import EquivariantNetwork, check_network


def output_shape(network: EquivariantNetwork, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a network's output, without running it; warns of layers that break exactness at this size.

    Args:
        network: from `equivariant_network()`.
        input_shape: (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel).

    Returns:
        the shape of what `predict()` returns for such an input.

    Raises:
        ShapeError: a shape that does not fit the input fields, or an image too small for a layer (named).
    Warns:
        ExactnessWarning: a stride or padding that breaks exact equivariance at this size; names the layer.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 3}, "kernel_size": 3}])
        >>> output_shape(net, (2, 1, 32, 32))
        (2, 12, 30, 30)
    """
    check_network(network)
    shape = check_input_shape(network, input_shape)
    network.warn_if_inexact(shape[2:])
    return (shape[0], network.out_type.size, *output_size(network, shape))


def output_size(network: EquivariantNetwork, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The spatial size of the output; a shape that does not fit a layer is refused by the layer's name."""
    size = check_input_shape(network, input_shape)[2:]
    for step in network.steps:
        size = step.after(size)
    return size


def check_input_shape(network: EquivariantNetwork, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a network's input, checked against its fields."""
    wanted = 2 + network.space.dimensionality
    shape = tuple(check_integer(n, "input_shape", minimum=1) for n in entries(input_shape))
    if len(shape) != wanted or shape[1] != network.in_type.size:
        axes = AXES[network.space.dimensionality].replace("channel", f"channel = {network.in_type.size}")
        raise ShapeError("`{argument}` must be {axes}; got {shape}.", "input_shape", axes=axes, shape=shape)
    return shape
