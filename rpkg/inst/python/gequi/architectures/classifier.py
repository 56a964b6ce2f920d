"""A multilayer perceptron for images."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from .._escnn import GSpace
from .._limits import check_memory
from .._recipes import factory
from ..arrays import check_choice, check_integer
from ..errors import InputError
from ..networks import equivariant_network
from .parts import OUTPUTS, Layers, chain, check_integers, head, regular_conv, with_initial_weights


@factory
def image_classifier_mlp(
    input_shape: Sequence[int] = (1, 28, 28),
    hidden: Sequence[int] = (512, 512),
    classes: int = 10,
    output: str = "logits",
    space: GSpace | None = None,
    seed: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Create a multilayer perceptron that classifies images: linear layers with ReLU on all pixels.

    Args:
        input_shape: tuple (channel, row, column): the shape of the images.
        hidden: list of int: the widths of the hidden layers.
        classes: int: the number of classes.
        output: str: "logits" for training, or "probabilities", which sum to 1.
        space: a gspace of the plane with a finite group, or None for a network without equivariance. With a gspace, the
            first layer is a steerable convolution whose kernel covers the whole image (one pixel less if a side is
            even, since a kernel needs a center), and the last layer acts on the maximum over each regular field, so the
            output is invariant.
        seed: int: the seed of the initial weights. None draws a seed.
        dtype: str: "float32" or "float64".

    Returns:
        a torch module from (batch, channel, row, column) to (batch, class), with 669,706 parameters for default
        arguments. With `space`, an equivariant network.

    Raises:
        InputError: sizes that are not integers of at least 1; with `space`, images that are not square, or widths that
            are not divisible by the order of the group.

    Source:
        Abbott 2024 (arXiv 2402.05424), figure 19.

    Example:
        >>> model = image_classifier_mlp(seed=1)
        >>> sum(parameter.numel() for parameter in model.parameters())
        669706
    """
    channels, rows, columns = check_integers(input_shape, "input_shape", 3)
    widths = check_integers(hidden, "hidden")
    classes = check_integer(classes, "classes", minimum=1)
    check_choice(output, "output", OUTPUTS)
    if space is not None:
        if rows != columns:
            raise InputError(
                "`{argument}` must be square for an equivariant network; got {rows} x {columns}.",
                "input_shape", rows=rows, columns=columns,
            )  # fmt: skip
        sizes = [rows - 1 + rows % 2] + [1] * (len(widths) - 1)
        layers: Layers = []
        for width, size in zip(widths, sizes, strict=True):
            layers += [regular_conv(space, width, size, "hidden"), {"layer": "relu"}]
        return equivariant_network(space, {"trivial": channels}, layers + head(classes, output), seed, dtype)
    sizes = [channels * rows * columns, *widths, classes]
    check_memory(8 * sum(before * after for before, after in itertools.pairwise(sizes)), "hidden")
    return with_initial_weights(lambda: _mlp(sizes, output), seed, dtype, "hidden")


def _mlp(widths: list[int], output: str) -> nn.Sequential:
    parts: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        parts += [(f"linear_{number}", nn.Linear(before, after)), (f"relu_{number}", nn.ReLU())]
    return chain(parts[:-1], output)  # no ReLU after the last
