"""Common parts of the architectures: checks, parts of recipes, and the initial weights of plain modules."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .._escnn import GSpace
from .._limits import check_memory
from .._recipes import choose_seed
from ..arrays import check_dtype, check_integer, entries
from ..errors import InputError
from ..groups import check_gspace

OUTPUTS = ("logits", "probabilities")
Layers = list[dict[str, Any]]


def check_integers(values: Any, argument: str, length: int | None = None) -> list[int]:
    given = entries(values)
    numbers = [check_integer(value, argument, minimum=1) for value in given]
    if not numbers or (length is not None and len(numbers) != length):
        wanted = "at least one number" if length is None else f"{length} numbers"
        raise InputError("`{argument}` must have {wanted}; got {given!r}.", argument, wanted=wanted, given=given)
    return numbers


def chain(parts: list[tuple[str, nn.Module]], output: str) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts + ([("softmax", nn.Softmax(-1))] if output == "probabilities" else [])))


def with_initial_weights(
    build: Callable[[], nn.Module], seed: int | None, dtype: str, argument: str = "widths"
) -> nn.Module:
    """Draw the initial weights of a module from the seed, with the distribution of torch, in float64."""
    kind = check_dtype(dtype)
    generator = torch.Generator().manual_seed(choose_seed(seed))
    with torch.device("meta"):  # without memory, torch draws no weights of its own
        module = build()
    check_memory(8 * sum(parameter.numel() for parameter in module.parameters()), argument)  # drawn in float64
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


# ---- recipes --------------------------------------------------------------------------------------------


def fields_conv(fields: dict[str, int], size: int, **options: Any) -> dict[str, Any]:
    return {"layer": "conv", "fields": fields, "kernel_size": size, **options}


def regular_conv(space: GSpace, width: int, size: int, argument: str, **options: Any) -> dict[str, Any]:
    """Return a steerable convolution to `width` channels in regular fields."""
    order = check_gspace(space).fibergroup.order()
    if space.dimensionality != 2 or order < 1:
        raise InputError(
            "`{argument}` must be a gspace on the plane with a finite group; got {space}.", "space", space=str(space)
        )
    if width % order:
        raise InputError(
            "`{argument}` must give layers whose width is divisible by the order of the group, {order}; one is {width} "
            "wide.",
            argument, order=order, width=width,
        )  # fmt: skip
    return fields_conv({"regular": width // order}, size, **options)


def head(classes: int, output: str) -> Layers:
    layers: Layers = [{"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": classes}]
    return layers + ([{"layer": "softmax"}] if output == "probabilities" else [])
