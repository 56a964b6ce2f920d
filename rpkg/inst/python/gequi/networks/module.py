"""The torch module of a recipe and its initial weights."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import torch
from torch import nn

from .._escnn import (
    EquivariantModule,
    GeometricTensor,
    GroupElement,
    GSpace,
    float_type,
    he_standard_deviations,
)
from ..arrays import check_dtype
from ..errors import ExactnessWarning, InputError
from ..fields import show_fields
from .plans import Plan, plan_network


class EquivariantNetwork(nn.Module):
    """The torch module of a recipe. `forward()` takes and returns plain tensors."""

    history: list[dict[str, Any]]  # of the training, if the function that created the network also trained it

    def __init__(self, space: GSpace, recipe: dict[str, Any], plan: Plan | None = None) -> None:
        """Build the network. `plan` is the plan of the recipe if it exists already; None plans the layers here."""
        super().__init__()
        self.recipe = recipe
        self.space = space
        self.dtype = check_dtype(recipe["dtype"])
        self.plan = plan_network(space, recipe["input"], recipe["layers"]) if plan is None else plan
        self.in_type, self.out_type, self.steps = self.plan.in_type, self.plan.out_type, list(self.plan.steps)
        with float_type(self.dtype), torch.random.fork_rng(devices=[]):  # keeps the user's generator state
            self.layers = nn.ModuleList(step.make() for step in self.steps)
        draw_weights(self, recipe["seed"])
        self.train()  # removes the buffers that escnn reserves for expanded filters, as leaving evaluation mode does
        self._warned: set[tuple[int, ...]] = set()
        self.largest_features: dict[tuple[int, ...], int] = {}  # of the shapes that have passed: see shapes.py

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self._own_float_type():
            features = GeometricTensor(x, self.in_type)
            for layer in self.layers:
                features = layer(features)
        return features.tensor

    def _own_float_type(self) -> contextlib.AbstractContextManager[None]:
        """Set the default type, in which escnn allocates, to the type of the network if it differs."""
        right = self.dtype == torch.get_default_dtype()
        return contextlib.nullcontext() if right else float_type(self.dtype)

    def to_output(self, element: GroupElement) -> GroupElement | None:
        """Return the element that acts on the output; None if a restriction layer has left it outside the subgroup."""
        for step in self.steps:
            if step.to_subgroup is not None and element is not None:
                element = step.to_subgroup(element)
        return element

    def inexact_layers(self, size: tuple[int, ...]) -> list[dict[str, Any]]:
        """Return the layers that are not exactly equivariant at this size, with the reason; see `Window.left_over`."""
        found: list[dict[str, Any]] = []
        if self.space.dimensionality == 0 or self.space.fibergroup.order() == 1:
            return found
        for step in self.steps:
            found += step.inexact(size)
            size = step.after(size)
        return found

    def warn_if_inexact(self, size: tuple[int, ...], *, once: bool = False) -> None:
        """Warn about `inexact_layers(size)`. With `once`, warn only for the first image of this size."""
        if once and size in self._warned:
            return
        self._warned.add(size)
        for layer in self.inexact_layers(size):
            advice = "; an image one pixel larger or smaller, or another padding, would keep them symmetrical"
            warning = ExactnessWarning(
                "{layer} breaks exact equivariance on features of size {size}: {reason}{advice}.",
                layer=layer["layer"], size=layer["size"], reason=layer["reason"],
                advice=advice if "windows" in layer["reason"] else "",
            )  # fmt: skip
            warnings.warn(warning, stacklevel=3)

    def extra_repr(self) -> str:
        return f"{show_fields(self.in_type)} -> {show_fields(self.out_type)} on {self.space}"


def draw_weights(model: nn.Module, seed: int) -> None:
    """Draw initial weights from a seed, in float64 on the CPU, so that all types and languages get the same weights."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if hasattr(module, "draw_weights"):
            module.draw_weights(generator)  # type: ignore[operator]
        elif isinstance(module, EquivariantModule) and hasattr(module, "basisexpansion"):
            deviations = he_standard_deviations(module.basisexpansion)
            drawn = torch.randn(deviations.shape, generator=generator, dtype=torch.float64)
            module.weights.data.copy_(deviations * drawn)


def check_model(model: object, argument: str = "model") -> nn.Module:
    """Return `model` if it is a torch module; otherwise raise an InputError."""
    if not isinstance(model, nn.Module):
        raise InputError("`{argument}` must be a network; got {model!r:.80}.", argument, model=model)
    return model


def check_network(network: object, argument: str = "network") -> EquivariantNetwork:
    """Return `network` if it is an equivariant network; otherwise raise an InputError."""
    if not isinstance(network, EquivariantNetwork):
        raise InputError(
            "`{argument}` must be a network, as equivariant_network() makes it; got {network!r:.80}.",
            argument, network=network,
        )  # fmt: skip
    return network
