"""U-Nets."""

from __future__ import annotations

import torch
from torch import nn

from .._escnn import GSpace
from .._recipes import factory
from ..arrays import check_choice, check_integer
from ..errors import ShapeError
from ..networks import equivariant_network
from .parts import Layers, fields_conv, regular_conv, with_initial_weights

VARIANTS = ("ronneberger", "circuit")


@factory
def unet(
    channels: int = 1,
    classes: int = 2,
    levels: int = 4,
    width: int | None = None,
    variant: str = "ronneberger",
    space: GSpace | None = None,
    seed: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Create a U-Net for segmentation: a contracting path of `levels` levels, followed by an expanding path.

    Each level of the contracting path halves the image size and doubles the number of channels. Each level of the
    expanding path is concatenated with the features of the same level of the contracting path. All convolutions are
    padded, so the output has the size of the input.

    Args:
        channels: int: the number of channels of the images.
        classes: int: the number of classes, which is the number of output channels.
        levels: int: the number of times the image size is halved.
        width: int: the number of channels of the first level. None is 64 ("ronneberger") or 128 ("circuit").
        variant: str: "ronneberger", the network of 2015, or "circuit", the diagram of Abbott, which stores the features
            of the first level without using them.
        space: a gspace of the plane with a finite group, or None for a network without equivariance. With a gspace,
            images are enlarged by bilinear interpolation followed by a convolution, since a steerable kernel needs a
            center and a transposed convolution of size 2 has none.
        seed: int: the seed of the initial weights. None draws a seed.
        dtype: str: "float32" or "float64".

    Returns:
        a torch module from (batch, channel, row, column), where both sizes are divisible by 2^levels, to logits (batch,
        class, row, column). With default arguments it has 31,030,658 parameters, and 123,664,898 for "circuit". With
        `space`, an equivariant network whose output rotates with the image.

    Raises:
        InputError: sizes that are not integers of at least 1; with `space`, a width that is not divisible by the order
            of the group.

    Source:
        Ronneberger, Fischer & Brox 2015 (arXiv 1505.04597); Abbott 2024 (arXiv 2402.05424), figure 27.

    Example:
        >>> model = unet(levels=2, width=8, seed=1)
        >>> model(torch.zeros(1, 1, 16, 24)).shape
        torch.Size([1, 2, 16, 24])
    """
    channels = check_integer(channels, "channels", minimum=1)
    classes = check_integer(classes, "classes", minimum=1)
    levels = check_integer(levels, "levels", minimum=1)
    check_choice(variant, "variant", VARIANTS)
    first = {"ronneberger": 64, "circuit": 128}[variant] if width is None else check_integer(width, "width", minimum=1)
    joined_from = 0 if variant == "ronneberger" else 1
    widths = [first * 2**level for level in range(levels + 1)]
    if space is not None:
        layers = [*_level_recipe(space, widths, 0, joined_from), fields_conv({"trivial": classes}, 1)]
        return equivariant_network(space, {"trivial": channels}, layers, seed, dtype)
    return with_initial_weights(lambda: UNet(channels, classes, widths, joined_from), seed, dtype, "width")


def _double_conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()
    )


class UNet(nn.Module):
    """The module of `unet()`: `down`, `bottom` and `up` contain the levels of the U-Net, from the top."""

    def __init__(self, channels: int, classes: int, widths: list[int], joined_from: int) -> None:
        super().__init__()
        self.levels = len(widths) - 1
        self.joined_from = joined_from
        self.down = nn.ModuleList(
            _double_conv(before, after) for before, after in zip([channels, *widths], widths[:-1], strict=False)
        )
        self.shrink = nn.MaxPool2d(2)
        self.bottom = _double_conv(widths[-2], widths[-1])
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, 2) for level in reversed(range(self.levels))
        )
        self.up = nn.ModuleList(
            _double_conv(2 * widths[level], widths[level]) for level in reversed(range(joined_from, self.levels))
        )
        self.out = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if any(length % 2**self.levels for length in x.shape[-2:]):
            raise ShapeError(
                "`{argument}` must have rows and columns divisible by 2^levels = {divisor}; got {size}.",
                "x", divisor=2**self.levels, size=tuple(x.shape[-2:]),
            )  # fmt: skip
        saved = []
        for down in self.down:
            x = down(x)
            saved.append(x)
            x = self.shrink(x)
        x = self.bottom(x)
        for level, enlarge in zip(reversed(range(self.levels)), self.enlarge, strict=True):
            x = enlarge(x)
            if level >= self.joined_from:
                x = self.up[self.levels - 1 - level](torch.cat([x, saved[level]], dim=1))
        return self.out(x)


def _level_recipe(space: GSpace, widths: list[int], level: int, joined_from: int) -> Layers:
    """Return the recipe of a level, whose skip layer contains all lower levels."""
    double: Layers = [regular_conv(space, widths[level], 3, "width", padding=1), {"layer": "relu"}] * 2
    if level == len(widths) - 1:
        return double
    below: Layers = [
        {"layer": "max_pool", "kernel_size": 2},
        *_level_recipe(space, widths, level + 1, joined_from),
        {"layer": "upsample", "scale_factor": 2},
        regular_conv(space, widths[level], 3, "width", padding=1),
    ]
    return [*double, {"layer": "skip", "layers": below}, *double] if level >= joined_from else [*double, *below]
