"""Networks from recipes, and tables that describe networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from .._escnn import GSpace
from .._recipes import MOST_DEPTH, choose_seed, make, plain, unknown_option
from ..arrays import check_dtype
from ..fields import field_pairs
from ..groups import describe_gspace, gspace
from .module import EquivariantNetwork
from .shapes import check_input_shape
from .weights import get_weights, set_weights


def equivariant_network(
    space: GSpace,
    input: Any,
    layers: Sequence[Mapping[str, Any]],
    seed: int | None = None,
    dtype: str = "float32",
) -> EquivariantNetwork:
    """Create an equivariant network, whose layers commute with the group of a gspace.

    Args:
        space: GSpace: a gspace, created by `gspace()`.
        input: dict, list or str: the fields of the input, as in `field_type()`: `{"trivial": 1}` for a grayscale image,
            `{"trivial": 3}` for a color image, `{"irrep_1": 1}` for a vector field.
        layers: list of dict: the layers, each `{"layer": kind, option: value, ...}`. `layer_kinds()` lists the kinds
            and their options.
        seed: int, optional: the seed of the initial weights. The same seed gives the same weights in R and in Python.
            None draws a seed, which is stored in the recipe.
        dtype: str: "float32", or "float64" for checks of equivariance to 1e-10.

    Returns:
        EquivariantNetwork: a torch module on tensors (batch, channel, row, column), (batch, channel, depth, row,
        column) or (batch, channel). It has the attributes `recipe` (plain data), `in_type` and `out_type` (escnn field
        types).

    Raises:
        FieldError: if a layer does not accept the fields of the previous layer. The message names the layer.
        InputError: for an unknown layer, option or value. The message names the layer.

    Source:
        Cesa, Lang and Weiler (2022), A program to build E(N)-equivariant steerable CNNs, ICLR. The recipe is part of
        gequi.

    Example:
        >>> import gequi, numpy
        >>> space = gequi.gspace("rot2dOnR2", N=4)
        >>> net = equivariant_network(space, {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3}, {"layer": "relu"},
        ...     {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 10}])
        >>> gequi.predict(net, numpy.zeros((2, 1, 9, 9))).shape
        (2, 10)
    """
    return EquivariantNetwork(space, make_recipe(space, input, layers, seed, dtype))


def make_recipe(space: GSpace, input: Any, layers: Any, seed: int | None, dtype: str) -> dict[str, Any]:
    """Create the recipe of a network as plain data. The arguments are those of `equivariant_network()`."""
    return {
        "space": describe_gspace(space),
        "input": field_pairs(input, "input"),
        "layers": _plain_layers(layers),
        "seed": choose_seed(seed),
        "dtype": str(check_dtype(dtype)).removeprefix("torch."),
    }


def network_from_recipe(recipe: Mapping[str, Any]) -> nn.Module:
    """Create the network, or the module of another factory, that a recipe describes, with its initial weights."""
    known = {"factory", "arguments"} if "factory" in recipe else {"space", "input", "layers", "seed", "dtype"}
    if recipe.keys() - known:
        name = sorted(map(str, recipe.keys() - known))[0]
        raise unknown_option(name, "a recipe", sorted(known))
    if "factory" in recipe:
        return make(recipe)
    options = dict(recipe["space"])
    return equivariant_network(
        gspace(options.pop("name"), **options), recipe["input"], recipe["layers"], recipe["seed"], recipe["dtype"]
    )


def _plain_layers(layers: Any, depth: int = 0) -> Any:
    """Convert layers to plain data in one form.

    Fields become pairs, arrays (from R) become lists, and whole numbers become int (4.0 becomes 4).
    """
    layers = plain(layers) if isinstance(layers, np.ndarray) else layers
    if isinstance(layers, Mapping) and depth < MOST_DEPTH:
        return {
            key: field_pairs(value) if key == "fields" else _plain_layers(value, depth + 1)
            for key, value in layers.items()
            if value is not None
        }
    if isinstance(layers, list | tuple) and depth < MOST_DEPTH:
        return [_plain_layers(each, depth + 1) for each in layers]
    return plain(layers, depth)


def describe_network(network: EquivariantNetwork, input_shape: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Describe a network as `describe_plan()` does, with the number of `parameters` of each layer.

    With an `input_shape`, the column `size` contains the spatial size after each layer, and `flops` the multiplications
    and additions of a layer for one input. It counts products of matrices, convolutions and attention, with expanded
    filters, as torch.utils.flop_counter does. It is 0 for other layers, and None where it is not known.
    """
    rows = network.plan.rows()
    counts = [0] + [sum(p.numel() for p in layer.parameters() if p.requires_grad) for layer in network.layers]
    for row, count in zip(rows, counts, strict=True):
        row["parameters"] = count
    if input_shape is not None:
        size = check_input_shape(network, input_shape)[2:]
        rows[0] |= {"size": " x ".join(map(str, size)), "flops": 0}
        for row, step in zip(rows[1:], network.steps, strict=True):
            flops = step.count_flops(size)
            size = step.after(size)
            row |= {"size": " x ".join(map(str, size)), "flops": flops}
    return rows


def with_dtype(network: EquivariantNetwork, dtype: object) -> EquivariantNetwork:
    """Return a network with the same weights in another floating-point type, or `network` if it has this type."""
    wanted = check_dtype(dtype)
    if wanted == network.dtype:
        return network
    recipe = {**network.recipe, "dtype": str(wanted).removeprefix("torch.")}
    twin = EquivariantNetwork(network.space, recipe, network.plan)
    set_weights(twin, get_weights(network))
    twin._warned = network._warned
    return twin


def copy_network(network: EquivariantNetwork) -> EquivariantNetwork:
    """Copy a network. The copy has the same recipe and weights and shares no data with the original."""
    twin = EquivariantNetwork(network.space, copy.deepcopy(network.recipe), network.plan)
    set_weights(twin, get_weights(network))
    twin.train(network.training)
    return twin
