"""Shapes of the input and output of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..arrays import check_integer, entries
from ..errors import ShapeError
from ..fields import AXES
from .module import EquivariantNetwork, check_network


def output_shape(network: EquivariantNetwork, input_shape: Sequence[int]) -> tuple[int, ...]:
    """Compute the shape of the output of a network for a given input shape, without running the network.

    Args:
        network: EquivariantNetwork: a network, created by `equivariant_network()`.
        input_shape: tuple of int: (batch, channel, row, column), (batch, channel, depth, row, column) or (batch,
            channel).

    Returns:
        tuple of int: the shape of the array that `predict()` returns.

    Raises:
        ShapeError: if the shape does not match the input fields or is too small for a layer (the message names it).
    Warns:
        ExactnessWarning: if a stride or padding breaks exact equivariance at this size. The message names the layer.

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
    """Compute the spatial size of the output. The error for a size that is too small names the layer."""
    size = check_input_shape(network, input_shape)[2:]
    for step in network.steps:
        size = step.after(size)
    return size


def largest_features(network: EquivariantNetwork, input_shape: Sequence[int]) -> int:
    """Return the number of values in the largest features of one input. Errors are those of `output_size()`.

    The network stores the result of each shape, because `predict()` needs it at every call.
    """
    found = network.largest_features.get(tuple(input_shape[1:]))
    if found is None:
        shape = check_input_shape(network, input_shape)
        size, found = shape[2:], math.prod(shape[1:])
        for step in network.steps:
            size = step.after(size)
            found = max(found, step.out_type.size * math.prod(size))
        network.largest_features[shape[1:]] = found
    return found


def check_input_shape(network: EquivariantNetwork, input_shape: Sequence[int]) -> tuple[int, ...]:
    """Check the shape of an input against the input fields of a network and return it as a tuple."""
    wanted = 2 + network.space.dimensionality
    shape = tuple(check_integer(n, "input_shape", minimum=1) for n in entries(input_shape))
    if len(shape) != wanted or shape[1] != network.in_type.size:
        axes = AXES[network.space.dimensionality].replace("channel", f"channel = {network.in_type.size}")
        raise ShapeError("`{argument}` must be {axes}; got {shape}.", "input_shape", axes=axes, shape=shape)
    return shape
