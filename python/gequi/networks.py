"""Equivariant networks: a recipe becomes a torch module; arrays go through it.

A network is plain data (gspace, input fields, a list of layers, a seed) from which a torch module is built. The
recipe is checked before anything is built, is the same in both languages, and is what is saved beside the weights.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ._escnn import (
    EquivariantModule,
    FieldType,
    GeometricTensor,
    GroupElement,
    GSpace,
    float_type,
    he_standard_deviations,
)
from ._makers import choose_seed, make, plain
from .arrays import as_array, as_numpy, check_dtype, check_integer, own_tensor
from .errors import ExactnessWarning, InputError, ShapeError, listing, nearest
from .fields import AXES, check_features, describe_fields, field_pairs, field_type, show_fields
from .groups import check_gspace, describe_gspace, gspace
from .layers import Step, plan

# ---- the recipe -----------------------------------------------------------------------------------------


def equivariant_network(
    space: GSpace,
    input: Any,
    layers: Sequence[Mapping[str, Any]],
    seed: int | None = None,
    dtype: str = "float32",
) -> EquivariantNetwork:
    """A network of layers that commute with the group of a gspace.

    Args:
        space: a gspace, from `gspace()`.
        input: the fields of the input, such as `{"trivial": 1}` for a grey image, `{"trivial": 3}` for colour,
            `{"irrep_1": 1}` for a vector at each pixel.
        layers: a list of `{"layer": kind, option: value, ...}`; `layer_kinds()` lists kinds and options.
        seed: of the initial weights; the same seed gives the same weights in R and in Python. None draws one, which
            the recipe then keeps.
        dtype: "float32", or "float64" to check laws to 1e-10.

    Returns:
        a torch module on (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel),
        with `recipe` (plain data), `in_type` and `out_type` (escnn field types).

    Raises:
        FieldError: a layer that does not fit the fields before it.
        InputError: an unknown layer or option, or a value an option cannot take. Both name the layer.

    Source:
        escnn (Cesa, Lang & Weiler 2022); the recipe is gequi's.

    Example:
        >>> space = gspace("rot2dOnR2", N=4)
        >>> net = equivariant_network(space, {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3}, {"layer": "relu"},
        ...     {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 10}])
        >>> predict(net, np.zeros((2, 1, 9, 9))).shape
        (2, 10)
    """
    recipe = {
        "space": describe_gspace(space),
        "input": field_pairs(input, "input"),
        "layers": _plain_layers(layers),
        "seed": choose_seed(seed),
        "dtype": str(check_dtype(dtype)).removeprefix("torch."),
    }
    return EquivariantNetwork(space, recipe)


def network_from_recipe(recipe: Mapping[str, Any]) -> nn.Module:
    """The network, or the module of another maker, that a recipe describes, with its initial weights."""
    if "maker" in recipe:
        return make(recipe)
    options = dict(recipe["space"])
    return equivariant_network(
        gspace(options.pop("name"), **options), recipe["input"], recipe["layers"], recipe["seed"], recipe["dtype"]
    )


def _plain_layers(layers: Any) -> Any:
    """Layers as plain data in one form: fields as pairs, lists (R sends arrays), whole numbers as int (4.0 for 4)."""
    if isinstance(layers, np.ndarray):
        layers = layers.tolist()
    if isinstance(layers, Mapping):
        return {
            key: field_pairs(value) if key == "fields" else _plain_layers(value)
            for key, value in layers.items()
            if value is not None
        }
    if isinstance(layers, list | tuple):
        return [_plain_layers(each) for each in layers]
    return plain(layers)


def plan_network(space: GSpace, input: Any, layers: Any) -> tuple[FieldType, list[Step]]:
    """The type of the input and the steps of a recipe, checked and not built."""
    check_gspace(space)
    try:
        in_type = field_type(space, field_pairs(input, "input"))
    except InputError as error:
        raise type(error)(str(error).replace("`fields`", "`input`", 1), "input") from None
    return in_type, plan(in_type, layers)


def describe_plan(space: GSpace, input: Any, layers: Any) -> list[dict[str, Any]]:
    """A table of a recipe's layers, without building them: `layer`, `kind`, `fields`, `channels` after each."""
    in_type, steps = plan_network(space, input, layers)
    rows = [{"layer": "input", "kind": "", "fields": show_fields(in_type), "channels": in_type.size}]
    for number, step in enumerate(steps, start=1):
        fields = show_fields(step.out_type)
        rows.append({"layer": str(number), "kind": step.kind, "fields": fields, "channels": step.out_type.size})
    return rows


def describe_network(network: EquivariantNetwork, input_shape: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """`describe_plan()` of a network, with `parameters`, and `size` (spatial, after each layer) for a given input."""
    rows = describe_plan(network.space, network.recipe["input"], network.recipe["layers"])
    counts = [0] + [sum(p.numel() for p in layer.parameters() if p.requires_grad) for layer in network.layers]
    for row, count in zip(rows, counts, strict=True):
        row["parameters"] = count
    if input_shape is not None:
        size = _check_shape(network, input_shape)[2:]
        rows[0]["size"] = " x ".join(map(str, size))
        for row, step in zip(rows[1:], network.steps, strict=True):
            size = step.after(size)
            row["size"] = " x ".join(map(str, size))
    return rows


# ---- the module -----------------------------------------------------------------------------------------


class EquivariantNetwork(nn.Module):
    """The torch module of a recipe. `forward()` takes and gives plain tensors."""

    history: list[dict[str, Any]]  # of its training, where the function that made it has trained it too

    def __init__(self, space: GSpace, recipe: dict[str, Any]) -> None:
        super().__init__()
        self.recipe = recipe
        self.space = space
        self.dtype = check_dtype(recipe["dtype"])
        self.in_type, self.steps = plan_network(space, recipe["input"], recipe["layers"])
        self.out_type = self.steps[-1].out_type if self.steps else self.in_type
        with float_type(self.dtype), torch.random.fork_rng(devices=[]):  # layers may draw; the user's draws stay put
            self.layers = nn.ModuleList(step.make() for step in self.steps)
        draw_weights(self, recipe["seed"])
        self._warned: set[tuple[int, ...]] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self._own_float_type():
            features = GeometricTensor(x, self.in_type)
            for layer in self.layers:
                features = layer(features)
        return features.tensor

    def _own_float_type(self) -> contextlib.AbstractContextManager[None]:
        """escnn's layers allocate in the default type; that is changed only where it is not right already."""
        right = self.dtype == torch.get_default_dtype()
        return contextlib.nullcontext() if right else float_type(self.dtype)

    def to_output(self, element: GroupElement) -> GroupElement | None:
        """The element by which the output transforms; None where a restriction has left it outside the subgroup."""
        for step in self.steps:
            if step.to_subgroup is not None and element is not None:
                element = step.to_subgroup(element)
        return element

    def inexact_layers(self, size: tuple[int, ...]) -> list[dict[str, Any]]:
        """The layers that break exact equivariance on images of this size, with the reason: see `Window.left_over`."""
        found: list[dict[str, Any]] = []
        if self.space.dimensionality == 0 or self.space.fibergroup.order() == 1:
            return found
        for step in self.steps:
            found += step.inexact(size)
            size = step.after(size)
        return found

    def warn_if_inexact(self, size: tuple[int, ...], *, once: bool = False) -> None:
        """Warns of `inexact_layers(size)`; with `once`, for the first image of that size only."""
        if once and size in self._warned:
            return
        self._warned.add(size)
        for layer in self.inexact_layers(size):
            advice = "; an image one pixel larger or smaller, or another padding, would keep them symmetrical"
            warnings.warn(
                f"{layer['layer']} breaks exact equivariance on features of size {layer['size']}: {layer['reason']}"
                f"{advice if 'windows' in layer['reason'] else ''}.",
                ExactnessWarning,
                stacklevel=3,
            )

    def extra_repr(self) -> str:
        return f"{show_fields(self.in_type)} -> {show_fields(self.out_type)} on {self.space}"


def draw_weights(network: nn.Module, seed: int) -> None:
    """Initial weights from a seed, drawn in float64 on the CPU, so that they agree between types and languages."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if hasattr(module, "draw_weights"):
            module.draw_weights(generator)  # type: ignore[operator]
        elif isinstance(module, EquivariantModule) and hasattr(module, "basisexpansion"):
            deviations = he_standard_deviations(module.basisexpansion)
            drawn = torch.randn(deviations.shape, generator=generator, dtype=torch.float64)
            module.weights.data.copy_(deviations * drawn)


def with_dtype(network: EquivariantNetwork, dtype: object) -> EquivariantNetwork:
    """The network itself, or one with the same weights in another floating-point type."""
    wanted = check_dtype(dtype)
    if wanted == network.dtype:
        return network
    twin = EquivariantNetwork(network.space, {**network.recipe, "dtype": str(wanted).removeprefix("torch.")})
    set_weights(twin, get_weights(network))
    twin._warned = network._warned
    return twin


def check_model(model: object, argument: str = "network") -> nn.Module:
    """`model`, where it is a torch module."""
    if not isinstance(model, nn.Module):
        raise InputError(f"`{argument}` must be a network; got {model!r:.80}.", argument)
    return model


# ---- shapes ---------------------------------------------------------------------------------------------


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
        >>> net = equivariant_network(gspace("rot2dOnR2", N=4), {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 3}, "kernel_size": 3}])
        >>> output_shape(net, (2, 1, 32, 32))
        (2, 12, 30, 30)
    """
    check_network(network)
    shape = _check_shape(network, input_shape)
    network.warn_if_inexact(shape[2:])
    return (shape[0], network.out_type.size, *output_size(network, shape))


def output_size(network: EquivariantNetwork, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The spatial size of the output; a shape that does not fit a layer is refused by the layer's name."""
    size = _check_shape(network, input_shape)[2:]
    for step in network.steps:
        size = step.after(size)
    return size


def _check_shape(network: EquivariantNetwork, input_shape: Sequence[int]) -> tuple[int, ...]:
    wanted = 2 + network.space.dimensionality
    values = np.asarray(input_shape).reshape(-1).tolist()
    shape = tuple(check_integer(n, "input_shape", minimum=1) for n in values)
    if len(shape) != wanted or shape[1] != network.in_type.size:
        axes = AXES[network.space.dimensionality].replace("channel", f"channel = {network.in_type.size}")
        raise ShapeError(f"`input_shape` must be {axes}; got {shape}.", "input_shape")
    return shape


def check_network(network: object, argument: str = "network") -> EquivariantNetwork:
    """`network`, where it is an equivariant network."""
    if not isinstance(network, EquivariantNetwork):
        raise InputError(
            f"`{argument}` must be a network, as equivariant_network() makes it; got {network!r:.80}.", argument
        )
    return network


# ---- prediction -----------------------------------------------------------------------------------------


def predict(network: nn.Module, x: Any, *more: Any, batch_size: int = 64, dtype: str | None = None) -> np.ndarray:
    """What a network makes of an array, in evaluation mode and without gradients.

    Args:
        network: from `equivariant_network()`, or any torch module that maps tensors to a tensor.
        x: (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel). A single image
            (row, column) counts as a batch of one where the input has one channel.
        *more: further arrays, for modules that take several (a query and its context); they are cut into the same
            batches.
        batch_size: how many go through at once.
        dtype: "float32" or "float64"; None is the network's own.

    Returns:
        a numpy array, batch first.

    Raises:
        ShapeError: axes or channels that do not fit the network, or an image too small for it.
        InputError: values that are not finite numbers.
    Warns:
        ExactnessWarning: at the first image of a size at which a layer breaks exact equivariance.

    Example:
        >>> net = equivariant_network(gspace("rot2dOnR2", N=4), {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}])
        >>> predict(net, np.eye(5)).shape
        (1, 4, 3, 3)
    """
    check_model(network)
    size = check_integer(batch_size, "batch_size", minimum=1)
    if isinstance(network, EquivariantNetwork):
        network = network if dtype is None else with_dtype(network, dtype)
        arrays = [check_features(x, network.in_type)]
        network.warn_if_inexact(arrays[0].shape[2:], once=True)
        for step, before in _sizes(network, arrays[0].shape[2:]):
            step.after(before)  # an image too small for a layer is refused by name, before any work
        kind = network.dtype
    else:
        arrays = [as_array(each, name) for each, name in zip((x, *more), ("x", *["more"] * len(more)), strict=True)]
        kind = next((p.dtype for p in network.parameters()), torch.get_default_dtype())
        if dtype is not None and check_dtype(dtype) != kind:
            raise InputError(f"`dtype` must be the module's own, {kind}, or None; got {dtype!r}.", "dtype")
    if any(len(each) != len(arrays[0]) for each in arrays):
        raise ShapeError(f"`x` and `more` must have the same batch axis; got {[len(each) for each in arrays]}.", "more")
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    pieces = []
    with evaluating(network), torch.no_grad():
        for start in range(0, len(arrays[0]), size):
            batch = [own_tensor(each[start : start + size], kind).to(device) for each in arrays]
            pieces.append(as_numpy(network(*batch)))
    return np.concatenate(pieces)


def _sizes(network: EquivariantNetwork, size: tuple[int, ...]) -> Iterator[tuple[Step, tuple[int, ...]]]:
    for step in network.steps:
        yield step, size
        size = step.after(size)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while. escnn expands its filters when it enters that mode and would keep them although
    the weights change, so the mode is entered anew each time, and left again, each part as it was."""
    before = [(part, part.training) for part in network.modules()]
    network.train()
    network.eval()
    try:
        yield
    finally:
        network.train()
        for part, training in before:
            if part.training != training:
                part.train(training)


# ---- weights --------------------------------------------------------------------------------------------


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters, and the statistics that training gathers. Bases and index tables are constants, not weights."""
    check_model(network)
    state: dict[str, torch.Tensor] = {
        name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad
    }
    gathered = ("running_mean", "running_var", "num_batches_tracked")
    state.update({name: buffer for name, buffer in network.named_buffers() if name.endswith(gathered)})
    return state


def get_weights(network: nn.Module) -> dict[str, np.ndarray]:
    """The weights of a network, with the statistics that batch normalisation has gathered.

    Args:
        network: a network, or any torch module.

    Returns:
        a dict of name -> numpy array (a copy).

    Example:
        >>> net = equivariant_network(gspace("rot2dOnR2", N=4), {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}])
        >>> {name: weight.shape for name, weight in get_weights(net).items()}
        {'layers.0.bias': (1,), 'layers.0.weights': (6,)}
    """
    return {name: as_numpy(tensor).copy() for name, tensor in _state(network).items()}


def set_weights(network: nn.Module, weights: Mapping[str, Any]) -> nn.Module:
    """Puts weights into a network, in place; weights that are not named stay as they are.

    Args:
        network: a network, or any torch module.
        weights: a mapping of names, as `get_weights()` gives them, to arrays of the same shapes.

    Returns:
        the network.

    Raises:
        InputError: an unknown name, or values that are not finite numbers; nothing is changed.
        ShapeError: a weight of the wrong shape; nothing is changed.
    """
    state = _state(network)
    if not isinstance(weights, Mapping):
        raise InputError(
            f"`weights` must map names to arrays, as get_weights() gives them; got {weights!r:.60}.", "weights"
        )
    checked = {}
    for name, value in weights.items():
        if name not in state:
            raise InputError(
                f"`weights` has no place for {name!r}; the network's are {listing(state)}.{nearest(name, state)}",
                "weights",
            )
        array = as_array(value, f"weights${name}")
        if array.size == 1 and state[name].numel() == 1:  # R has no scalars without an axis
            array = array.reshape(tuple(state[name].shape))
        if array.shape != tuple(state[name].shape):
            raise ShapeError(
                f"`weights${name}` must have the shape {tuple(state[name].shape)}; got {array.shape}.", "weights"
            )
        checked[name] = own_tensor(array, state[name].dtype)
    with torch.no_grad():
        for name, tensor in checked.items():
            state[name].copy_(tensor)
    if not network.training:  # escnn has filters of the old weights at hand
        network.train()
        network.eval()
    return network


def copy_network(network: EquivariantNetwork) -> EquivariantNetwork:
    """A network of its own with the same recipe and weights."""
    twin = EquivariantNetwork(network.space, copy.deepcopy(network.recipe))
    set_weights(twin, get_weights(network))
    twin.train(network.training)
    return twin


__all__ = [
    "EquivariantNetwork",
    "choose_seed",
    "describe_fields",
    "describe_network",
    "describe_plan",
    "equivariant_network",
    "get_weights",
    "network_from_recipe",
    "output_shape",
    "predict",
    "set_weights",
]
