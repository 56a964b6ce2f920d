"""A residual network with identity mappings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from .._escnn import GSpace
from .._recipes import factory
from ..arrays import check_choice, check_integer
from ..errors import InputError
from ..networks import equivariant_network
from .parts import OUTPUTS, Layers, chain, check_integers, head, regular_conv, with_initial_weights


@factory
def identity_resnet(
    channels: int = 3,
    classes: int = 10,
    components: int = 3,
    widths: Sequence[int] = (16, 64, 128, 256),
    output: str = "logits",
    space: GSpace | None = None,
    seed: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Create a residual network with identity mappings, where normalization and ReLU precede each convolution.

    The network consists of a convolution to the first width, one block for each further width, the mean over the image
    and a linear layer. All blocks except the first halve the image size. A block consists of `components` residual
    connections. The first changes the width, also by a convolution in its shortcut; the others have separate weights
    and add to their input.

    Args:
        channels: int: the number of channels of the images.
        classes: int: the number of classes.
        components: int: the number of residual connections per block (N in the figure).
        widths: list of int: the number of channels after the first convolution and after each block. The widths of
            blocks must be divisible by 4.
        output: str: "logits" for training, or "probabilities", which sum to 1.
        space: a gspace of the plane with a finite group, or None for a network without equivariance. Strides are
            exactly equivariant if each image that a block halves has an odd size, such as 33, 17, 9.
        seed: int: the seed of the initial weights. None draws a seed.
        dtype: str: "float32" or "float64".

    Returns:
        a torch module from (batch, channel, row, column) of any size to (batch, class), with 314,698 parameters for
        default arguments. With `space`, an equivariant network.

    Raises:
        InputError: sizes that are not integers of at least 1, or widths that are not divisible by 4 (with `space`, by 4
            times the order of the group).

    Source:
        He et al. 2016 (arXiv 1603.05027); Abbott 2024 (arXiv 2402.05424), figure 26.

    Example:
        >>> model = identity_resnet(seed=1)
        >>> sum(parameter.numel() for parameter in model.parameters())
        314698
    """
    channels = check_integer(channels, "channels", minimum=1)
    classes = check_integer(classes, "classes", minimum=1)
    components = check_integer(components, "components", minimum=1)
    numbers = check_integers(widths, "widths")
    check_choice(output, "output", OUTPUTS)
    for width in numbers[1:]:
        if width % 4:
            raise InputError(
                "`{argument}` of blocks must be divisible by 4, for the bottleneck; got {width}.", "widths", width=width
            )
    strides = ([1] + [2] * (len(numbers) - 2))[: len(numbers) - 1]
    if space is not None:
        layers = [regular_conv(space, numbers[0], 3, "widths", padding=1)]
        for stride, after in zip(strides, numbers[1:], strict=True):
            layers += _block_recipe(space, components, after, stride)
        layers += [{"layer": "batch_norm"}, {"layer": "relu"}, *head(classes, output)]
        return equivariant_network(space, {"trivial": channels}, layers, seed, dtype)
    return with_initial_weights(lambda: _resnet(channels, numbers, strides, components, classes, output), seed, dtype)


def _resnet(
    channels: int, widths: list[int], strides: list[int], components: int, classes: int, output: str
) -> nn.Sequential:
    parts: list[tuple[str, nn.Module]] = [("conv", nn.Conv2d(channels, widths[0], 3, padding=1))]
    for number, (stride, (before, after)) in enumerate(zip(strides, itertools.pairwise(widths), strict=True), start=1):
        parts.append((f"block_{number}", _block(components, before, after, stride)))
    parts += [
        ("norm", nn.BatchNorm2d(widths[-1])), ("relu", nn.ReLU()), ("pool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()), ("linear", nn.Linear(widths[-1], classes)),
    ]  # fmt: skip
    return chain(parts, output)


class Residual(nn.Module):
    """The sum of the outputs of two modules for the same input. The shortcut is the identity if it is None."""

    def __init__(self, main: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x) + (x if self.shortcut is None else self.shortcut(x))


def _norm_relu(width: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(width), nn.ReLU()]


def _block(components: int, before: int, after: int, stride: int) -> nn.Sequential:
    inner = after // 4

    def bottleneck(width: int, stride: int = 1) -> list[nn.Module]:
        return [
            nn.Conv2d(width, inner, 1, stride), *_norm_relu(inner),
            nn.Conv2d(inner, inner, 3, padding=1), *_norm_relu(inner), nn.Conv2d(inner, after, 1),
        ]  # fmt: skip

    first = Residual(nn.Sequential(*bottleneck(before, stride)), nn.Conv2d(before, after, 1, stride))
    # A new list for each: repeating one module would share its weights.
    others = [Residual(nn.Sequential(*_norm_relu(after), *bottleneck(after))) for _ in range(components - 1)]
    return nn.Sequential(*_norm_relu(before), first, *others)


def _block_recipe(space: GSpace, components: int, after: int, stride: int) -> Layers:
    norm_relu: Layers = [{"layer": "batch_norm"}, {"layer": "relu"}]

    def bottleneck(stride: int) -> Layers:
        return [
            regular_conv(space, after // 4, 1, "widths", stride=stride), *norm_relu,
            regular_conv(space, after // 4, 3, "widths", padding=1), *norm_relu, regular_conv(space, after, 1, "widths"),
        ]  # fmt: skip

    shortcut = [regular_conv(space, after, 1, "widths", stride=stride)]
    first = {"layer": "residual", "layers": bottleneck(stride), "shortcut": shortcut}
    others: Layers = [{"layer": "residual", "layers": norm_relu + bottleneck(1)} for _ in range(components - 1)]
    return [*norm_relu, first, *others]
