"""Three architectures as their diagrams draw them: plain torch modules, or, given a gspace, equivariant recipes.

Given a gspace, each becomes an `equivariant_network()` of the same shape: n channels become n / |G| regular fields
(|G| the order of the group), so that features are as wide, and a head that does not change under the group replaces
flattening. What works on an equivariant network works on it.

Source: Abbott 2024 (arXiv 2402.05424), figures 19, 26 and 27.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ._escnn import GSpace
from ._makers import choose_seed, maker
from .arrays import check_choice, check_dtype, check_integer
from .errors import InputError, ShapeError
from .groups import check_gspace
from .networks import equivariant_network

OUTPUTS = ("logits", "probabilities")
VARIANTS = ("ronneberger", "circuit")
Layers = list[dict[str, Any]]


# ---- the three ------------------------------------------------------------------------------------------


@maker
def image_classifier_mlp(
    input_shape: Sequence[int] = (1, 28, 28),
    hidden: Sequence[int] = (512, 512),
    classes: int = 10,
    output: str = "logits",
    space: GSpace | None = None,
    seed: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """A classifier of linear layers with ReLU between them on all pixels at once.

    Args:
        input_shape: (channel, row, column) of the images.
        hidden: widths of the layers between pixels and classes.
        classes: number of classes.
        output: "logits" (for training), or "probabilities", which sum to 1.
        space: None, or a gspace on the plane with a finite group. Then the first layer is a steerable convolution
            whose window is the whole image (one pixel less where a side is even, since a kernel needs a centre), and
            the last acts on the maximum over each regular field, so that classes do not change with the group.
        seed: of the initial weights; None is fresh.
        dtype: "float32" or "float64".

    Returns:
        a torch module from (batch, channel, row, column) to (batch, class): 669,706 parameters at its defaults.
        With `space`, an equivariant network.

    Raises:
        InputError: sizes that are not whole numbers of at least 1; with `space`, images that are not square, or
            widths that the order of the group does not divide.

    Source:
        Abbott 2024 (arXiv 2402.05424), figure 19.

    Example:
        >>> model = image_classifier_mlp(seed=1)
        >>> sum(parameter.numel() for parameter in model.parameters())
        669706
    """
    channels, rows, columns = _integers(input_shape, "input_shape", 3)
    widths = _integers(hidden, "hidden")
    classes = check_integer(classes, "classes", minimum=1)
    check_choice(output, "output", OUTPUTS)
    if space is not None:
        if rows != columns:
            raise InputError(f"`input_shape` must be square for an equivariant network; got {rows} x {columns}.", "input_shape")
        sizes = [rows - 1 + rows % 2] + [1] * (len(widths) - 1)
        layers: Layers = []
        for width, size in zip(widths, sizes, strict=True):
            layers += [_conv(space, width, size, "hidden"), {"layer": "relu"}]
        return equivariant_network(space, {"trivial": channels}, layers + _head(classes, output), seed, dtype)
    return _finish(lambda: _mlp([channels * rows * columns, *widths, classes], output), seed, dtype)


@maker
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
    """A residual network with identity mappings: normalisation and ReLU come before each convolution.

    A convolution to the first width; then a block for each further width, of which the second and later ones halve
    the image; then the mean over the image and a linear layer. A block is `components` residual connections: the
    first changes the width, through a convolution in its shortcut as well; the others, each with weights of its own,
    add to their input.

    Args:
        channels: channels of the images.
        classes: number of classes.
        components: residual connections of a block (N in the figure).
        widths: channels after the first convolution and after each block; those of blocks divisible by 4.
        output: "logits" (for training), or "probabilities", which sum to 1.
        space: None, or a gspace on the plane with a finite group. Strides keep exactness where each image that a
            block halves has an odd size: 33 -> 17 -> 9, say.
        seed: of the initial weights; None is fresh.
        dtype: "float32" or "float64".

    Returns:
        a torch module from (batch, channel, row, column), any size, to (batch, class): 314,698 parameters at its
        defaults. With `space`, an equivariant network.

    Raises:
        InputError: sizes that are not whole numbers of at least 1, or widths that 4 (with `space`, 4 times the order
            of the group) does not divide.

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
    numbers = _integers(widths, "widths")
    check_choice(output, "output", OUTPUTS)
    for width in numbers[1:]:
        if width % 4:
            raise InputError(f"`widths` of blocks must be divisible by 4, for the bottleneck; got {width}.", "widths")
    strides = ([1] + [2] * (len(numbers) - 2))[: len(numbers) - 1]
    if space is not None:
        layers = [_conv(space, numbers[0], 3, "widths", padding=1)]
        for stride, after in zip(strides, numbers[1:], strict=True):
            layers += _block_recipe(space, components, after, stride)
        layers += [{"layer": "batch_norm"}, {"layer": "relu"}, *_head(classes, output)]
        return equivariant_network(space, {"trivial": channels}, layers, seed, dtype)
    return _finish(lambda: _resnet(channels, numbers, strides, components, classes, output), seed, dtype)


@maker
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
    """A U-Net: an image is taken down through levels of half the size and twice the channels, and up again.

    On the way up each level joins what the same level had on the way down. All convolutions are padded, so the
    output has the size of the input.

    Args:
        channels: channels of the images.
        classes: channels of the output, one a class.
        levels: how often the image is halved.
        width: channels of the first level; None is 64 ("ronneberger") or 128 ("circuit").
        variant: "ronneberger", the network of 2015, or "circuit", the diagram of the source, which saves the
            features of the first level and never joins them.
        space: None, or a gspace on the plane with a finite group. Then an enlargement is bilinear and followed by a
            convolution, since a steerable kernel needs a centre and a transposed convolution of size 2 has none.
        seed: of the initial weights; None is fresh.
        dtype: "float32" or "float64".

    Returns:
        a torch module from (batch, channel, row, column), both sizes divisible by 2^levels, to (batch, class, row,
        column), logits: 31,030,658 parameters at its defaults, 123,664,898 for "circuit". With `space`, an
        equivariant network whose output turns with the image.

    Raises:
        InputError: sizes that are not whole numbers of at least 1, or with `space` a width that the order of the group
            does not divide.

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
        layers = [*_level_recipe(space, widths, 0, joined_from), _fields_conv({"trivial": classes}, 1)]
        return equivariant_network(space, {"trivial": channels}, layers, seed, dtype)
    return _finish(lambda: UNet(channels, classes, widths, joined_from), seed, dtype)


# ---- plain modules --------------------------------------------------------------------------------------


def _chain(parts: list[tuple[str, nn.Module]], output: str) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts + ([("softmax", nn.Softmax(-1))] if output == "probabilities" else [])))


def _mlp(widths: list[int], output: str) -> nn.Sequential:
    parts: list[tuple[str, nn.Module]] = [("flatten", nn.Flatten())]
    for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        parts += [(f"linear_{number}", nn.Linear(before, after)), (f"relu_{number}", nn.ReLU())]
    return _chain(parts[:-1], output)  # no ReLU after the last


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
    return _chain(parts, output)


class Residual(nn.Module):
    """The sum of what two modules make of the input; the shortcut is the identity where there is none."""

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
    # A list built anew for each: one module repeated would share its weights.
    others = [
        Residual(nn.Sequential(*_norm_relu(after), *bottleneck(after))) for _ in range(components - 1)
    ]
    return nn.Sequential(*_norm_relu(before), first, *others)


def _double_conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()
    )


class UNet(nn.Module):
    """The module of `unet()`: `down`, `bottom` and `up` hold the levels from the top, the middle and the bottom."""

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
                f"`x` must have rows and columns divisible by 2^levels = {2**self.levels}; got {tuple(x.shape[-2:])}.", "x"
            )
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


def _finish(build: Callable[[], nn.Module], seed: int | None, dtype: str) -> nn.Module:
    """The module with initial weights from the seed: torch's own distribution, drawn in float64."""
    kind = check_dtype(dtype)
    generator = torch.Generator().manual_seed(choose_seed(seed))
    with torch.device("meta"):  # without memory, torch draws no weights of its own
        module = build()
    module.to_empty(device="cpu")
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            bound = 1 / math.sqrt(math.prod(layer.weight.shape[1:]))
            for parameter in layer.parameters(recurse=False):
                drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.data = (bound * (2 * drawn - 1)).to(kind)
    return module.to(kind)


def _integers(values: Any, argument: str, length: int | None = None) -> list[int]:
    given = [values] if isinstance(values, int | float) else list(values)
    numbers = [check_integer(value, argument, minimum=1) for value in given]
    if not numbers or (length is not None and len(numbers) != length):
        wanted = "at least one number" if length is None else f"{length} numbers"
        raise InputError(f"`{argument}` must have {wanted}; got {given!r}.", argument)
    return numbers


# ---- recipes --------------------------------------------------------------------------------------------


def _fields_conv(fields: dict[str, int], size: int, **options: Any) -> dict[str, Any]:
    return {"layer": "conv", "fields": fields, "kernel_size": size, **options}


def _conv(space: GSpace, width: int, size: int, argument: str, **options: Any) -> dict[str, Any]:
    """A steerable convolution to `width` channels in regular fields."""
    order = check_gspace(space).fibergroup.order()
    if space.dimensionality != 2 or order < 1:
        raise InputError(f"`space` must be a gspace on the plane with a finite group; got {space}.", "space")
    if width % order:
        raise InputError(
            f"`{argument}` must give layers whose width the order of the group, {order}, divides; one is {width} wide.",
            argument,
        )
    return _fields_conv({"regular": width // order}, size, **options)


def _head(classes: int, output: str) -> Layers:
    layers: Layers = [{"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": classes}]
    return layers + ([{"layer": "softmax"}] if output == "probabilities" else [])


def _block_recipe(space: GSpace, components: int, after: int, stride: int) -> Layers:
    norm_relu: Layers = [{"layer": "batch_norm"}, {"layer": "relu"}]

    def bottleneck(stride: int) -> Layers:
        return [
            _conv(space, after // 4, 1, "widths", stride=stride), *norm_relu,
            _conv(space, after // 4, 3, "widths", padding=1), *norm_relu, _conv(space, after, 1, "widths"),
        ]  # fmt: skip

    shortcut = [_conv(space, after, 1, "widths", stride=stride)]
    first = {"layer": "residual", "layers": bottleneck(stride), "shortcut": shortcut}
    others: Layers = [{"layer": "residual", "layers": norm_relu + bottleneck(1)} for _ in range(components - 1)]
    return [*norm_relu, first, *others]


def _level_recipe(space: GSpace, widths: list[int], level: int, joined_from: int) -> Layers:
    """A level with all levels below it inside its skip layer."""
    double: Layers = [_conv(space, widths[level], 3, "width", padding=1), {"layer": "relu"}] * 2
    if level == len(widths) - 1:
        return double
    below: Layers = [
        {"layer": "max_pool", "kernel_size": 2},
        *_level_recipe(space, widths, level + 1, joined_from),
        {"layer": "upsample", "scale_factor": 2},
        _conv(space, widths[level], 3, "width", padding=1),
    ]
    return [*double, {"layer": "skip", "layers": below}, *double] if level >= joined_from else [*double, *below]
