"""Derivatives along motions through a module and its layers, by forward-mode differentiation.

For the layers f_1, ..., f_n of a module, h_i = f_i(...f_1(x)), let a_i be the derivative of the output if h_i moves:
a_i = J L h_i, where J is the Jacobian of the layers after i. Then L f(x) = a_0 - a_n is the derivative of the whole, and
layer i contributes a_(i-1) - a_i. This requires that the output depends on the input through the layer alone, which holds
for a block with a shortcut but for no layer inside it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad

from .._escnn import FieldType
from .generators import generate

Hook = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Stage:
    """A layer: its name, its module, the fields of its output (None: scalars) and the stride there."""

    name: str
    module: nn.Module
    fields: FieldType | None = None
    stride: float = 1.0


def derivative(
    module: nn.Module, x: torch.Tensor, tangent: torch.Tensor, hooks: dict[nn.Module, Hook] | None = None
) -> torch.Tensor:
    """Return the derivative of the output of a module along a tangent of its input.

    `hooks` replace the outputs of parts of the module.
    """
    with torch.no_grad(), forward_ad.dual_level(), _hooked(hooks or {}):
        found = forward_ad.unpack_dual(module(forward_ad.make_dual(x, tangent)))
    return torch.zeros_like(found.primal) if found.tangent is None else found.tangent.detach()


@contextlib.contextmanager
def _hooked(hooks: dict[nn.Module, Hook]) -> Iterator[None]:
    handles = [
        module.register_forward_hook(lambda _module, _given, output, hook=hook: hook(output))
        for module, hook in hooks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def without_tangent(features: torch.Tensor) -> torch.Tensor:
    """Return features that do not depend on the input."""
    return forward_ad.unpack_dual(features).primal.clone()


def moving(motion: str, stage: Stage) -> Hook:
    """Return a hook that lets the features after a layer move."""

    def hook(features: torch.Tensor) -> torch.Tensor:
        primal = without_tangent(features)
        return forward_ad.make_dual(primal, generate(primal, motion, stage.fields, stage.stride))

    return hook


def contributions(
    module: nn.Module, x: torch.Tensor, motion: str, start: torch.Tensor, stages: list[Stage], end: torch.Tensor
) -> list[torch.Tensor]:
    """Return the contribution of each layer to the derivative of the output, and that of what follows the last one.

    Args:
        start: tensor: L x, the tangent of the input.
        end: tensor: L f(x), the generator applied to the output.
    """
    passed = [derivative(module, x, start)]
    passed += [derivative(module, x, torch.zeros_like(x), {each.module: moving(motion, each)}) for each in stages]
    passed.append(end)
    return [before - after for before, after in itertools.pairwise(passed)]


def stages_of(module: nn.Module, x: torch.Tensor, fields: dict[nn.Module, FieldType]) -> list[Stage]:
    """Return the layers of a module through which all of the input passes, in the order of their calls.

    Args:
        x: tensor: an input, with which the module is run.
        fields: dict: the fields of the outputs of some layers.
    """
    called = _called(module, x)
    tangent = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x)
    return [
        stage for stage in _with_strides(called, x, fields)
        if not derivative(module, x, tangent, {stage.module: without_tangent}).any()
    ]  # fmt: skip


def _called(module: nn.Module, x: torch.Tensor) -> list[tuple[str, nn.Module, Any, Any]]:
    """Return name, module, shape of the input and shape of the output of all parts that are called once, in order."""
    names = {part: name for name, part in module.named_modules() if part is not module}
    seen: list[tuple[str, nn.Module, Any, Any]] = []
    outputs: list[Any] = []
    calls: dict[nn.Module, int] = {}

    def note(part: nn.Module, given: Any, output: Any) -> None:
        calls[part] = calls.get(part, 0) + 1
        tensors = [each for each in given if isinstance(each, torch.Tensor)]
        plain = isinstance(output, torch.Tensor) and output.ndim in (2, 4) and output.is_floating_point()
        # A container returns the output of its last part, and a layer without effect its input.
        if not plain or not tensors or any(output is each for each in (*outputs, *tensors)):
            return
        outputs.append(output)
        seen.append((names[part], part, tuple(tensors[0].shape[2:]), tuple(output.shape[2:])))

    handles = [part.register_forward_hook(note) for part in names]
    try:
        with torch.no_grad():
            module(x)
    finally:
        for handle in handles:
            handle.remove()
    return [each for each in seen if calls[each[1]] == 1]


def _with_strides(
    called: list[tuple[str, nn.Module, Any, Any]], x: torch.Tensor, fields: dict[nn.Module, FieldType]
) -> list[Stage]:
    """Return the layers with the number of pixels of the input per pixel of their output."""
    strides: dict[tuple[int, ...], float] = {tuple(x.shape[2:]): 1.0}
    stages = []
    for name, part, given, found in called:
        if found and found not in strides:
            own = getattr(part, "stride", None)
            own = own[0] if isinstance(own, tuple) else own
            ratio = own if isinstance(own, int) and own > 0 else _ratio(given or x.shape[2:], found)
            strides[found] = strides.get(given, 1.0) * ratio
        kind = type(part).__name__
        label = f"{name} {kind}" if part not in fields else name
        stages.append(Stage(label, part, fields.get(part), strides.get(found, 1.0)))
    return stages


def _ratio(given: Any, found: tuple[int, ...]) -> float:
    """Return the stride of a resampling; layers that only lose the border have stride 1."""
    ratio = given[0] / found[0]
    return round(ratio) if ratio >= 1 else 1 / round(1 / ratio)
