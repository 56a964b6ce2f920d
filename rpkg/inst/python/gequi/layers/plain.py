"""Plain forms of layers: torch modules on plain tensors that compute the same as the layers in evaluation mode.

Each kind of layer defines its plain form in `Step.plain`. Most plain forms are modules of torch. This module contains
the others, and converts a list of layers to plain layers, where each batch normalization is merged into the preceding
convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn.utils import fusion

from .._escnn import GeometricTensor
from ..geometry.linalg import vector_norm

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def plain_layers(steps: Iterable[Any], layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Return the plain forms of built layers, except those that do nothing in evaluation mode."""
    parts: list[nn.Module] = []
    for step, layer in zip(steps, layers, strict=True):
        form = step.plain(layer)
        for part in form if isinstance(form, nn.Sequential) else [form]:
            part.eval()
            if isinstance(part, NORMS) and parts and isinstance(parts[-1], (*CONVOLUTIONS, *TRANSPOSED)):
                transposed = isinstance(parts[-1], TRANSPOSED)
                parts[-1] = fusion.fuse_conv_bn_eval(parts[-1], part, transposed)
            elif isinstance(part, nn.BatchNorm1d) and parts and isinstance(parts[-1], nn.Linear):
                parts[-1] = fusion.fuse_linear_bn_eval(parts[-1], part)
            elif not isinstance(part, nn.Identity):
                parts.append(part)
    return parts


# ---- plain forms of one layer ---------------------------------------------------------------------------


def no_change(layer: nn.Module) -> nn.Module:
    """Return the plain form of a layer that does nothing in evaluation mode."""
    return nn.Identity()


def with_weights(module: Callable[..., nn.Module], weights: torch.Tensor, bias: torch.Tensor | None, *sizes: int,
                 **options: Any) -> nn.Module:  # fmt: skip
    """Create a torch module with these sizes, options and weights."""
    with torch.device("meta"):  # avoids drawing of weights by torch
        made = module(*sizes, bias=bias is not None, **options)
    made.weight = nn.Parameter(weights.detach().clone(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return made


def depthwise(weights: torch.Tensor, stride: Any, padding: Any) -> nn.Module:
    """Create a convolution of each channel with its own kernel, (channel, 1, *kernel)."""
    count, size = len(weights), tuple(weights.shape[2:])
    return with_weights(
        CONVOLUTIONS[len(size) - 2], weights, None, count, count, kernel_size=size, stride=stride, padding=padding,
        groups=count,
    )  # fmt: skip


class Unwrapped(nn.Module):
    """A copy of a layer on plain tensors, in the type of the network, for layers whose operations are plain already."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        types = [getattr(part, name) for part in layer.modules() for name in ("in_type", "out_type")
                 if hasattr(part, name)]  # fmt: skip
        self.layer = deepcopy(layer, {id(each): each for each in types}).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kind = torch.promote_types(x.dtype, torch.float32)  # bfloat16 has too few digits for coordinates
        return self.layer(GeometricTensor(x.to(kind).contiguous(), self.layer.in_type)).tensor.to(x.dtype)


class Apply(nn.Module):
    """A function of a tensor, without weights."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


# ---- fields ---------------------------------------------------------------------------------------------


def runs_of(sizes: Iterable[int]) -> list[tuple[int, int]]:
    """Return the runs of consecutive fields of equal size as (number, size), in the order of the channels."""
    return [(len(list(same)), size) for size, same in itertools.groupby(sizes)]


class _OnFields(nn.Module):
    """Base class of modules that depend on the sizes of fields."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.runs = runs_of(sizes)

    def fields_of(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Split channels (batch, channel, ...) into fields (batch, field, size, ...).

        There is one tensor for each run of fields of equal size.
        """
        parts = x.split([count * size for count, size in self.runs], 1) if len(self.runs) > 1 else [x]
        return [part.unflatten(1, run) for part, run in zip(parts, self.runs, strict=True)]

    def scaled(self, fields: list[torch.Tensor], scales: torch.Tensor) -> torch.Tensor:
        """Multiply each field by one number (batch, field, ...) and return the channels."""
        parts = scales.split([count for count, _ in self.runs], 1) if len(self.runs) > 1 else [scales]
        return _joined([(part * scale.unsqueeze(2)).flatten(1, 2) for part, scale in zip(fields, parts, strict=True)])


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class FieldPool(_OnFields):
    """The maximum, mean or norm of the channels of each field."""

    def __init__(self, sizes: Sequence[int], reduction: str) -> None:
        super().__init__(sizes)
        self.reduction = reduction

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _joined([self._pool(fields) for fields in self.fields_of(x)])

    def _pool(self, fields: torch.Tensor) -> torch.Tensor:
        if self.reduction == "max":
            return fields.amax(2)
        return fields.mean(2) if self.reduction == "mean" else vector_norm(fields, 2)


class NormScale(_OnFields):
    """f -> function(|f| - bias) f / |f| for each field, and 0 if |f| is at most `eps`.

    `bias` has one number per field, in the order of the channels, or is None.
    """

    bias: torch.Tensor | None
    eps: torch.Tensor

    def __init__(self, sizes: Sequence[int], function: Callable[[torch.Tensor], torch.Tensor],
                 bias: torch.Tensor | None, eps: torch.Tensor) -> None:  # fmt: skip
        super().__init__(sizes)
        self.function = function
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.register_buffer("eps", eps.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fields = self.fields_of(x)
        norms = _joined([vector_norm(each, 2) for each in fields])
        shifted = norms if self.bias is None else norms - self.bias.view(-1, *[1] * (x.ndim - 2)).to(x.dtype)
        eps = self.eps.to(x.dtype)
        scales = self.function(shifted) / norms.clamp_min(eps) * (norms > eps)
        return self.scaled(fields, scales)


class Gate(_OnFields):
    """Multiplies fields by the sigmoids of the preceding gates, after subtracting one bias per gate.

    `order` contains the gate of each field.
    """

    bias: torch.Tensor
    order: torch.Tensor

    def __init__(self, sizes: Sequence[int], bias: torch.Tensor, order: Sequence[int]) -> None:
        super().__init__(sizes)
        self.gates = len(sizes)
        self.register_buffer("bias", bias.detach().clone().flatten())
        self.ordered = list(order) == list(range(len(sizes)))
        self.register_buffer("order", torch.tensor(order))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates, gated = x.split([self.gates, x.shape[1] - self.gates], 1)
        scales = torch.sigmoid(gates - self.bias.view(-1, *[1] * (x.ndim - 2)).to(x.dtype))
        scales = scales if self.ordered else scales.index_select(1, self.order)
        return self.scaled(self.fields_of(gated), scales)


class Sampled(nn.Module):
    """Applies a function to the values of fields at group elements: x -> back @ function(there @ x) for each field."""

    there: torch.Tensor
    back: torch.Tensor

    def __init__(
        self, there: torch.Tensor, back: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("there", there.detach().clone())
        self.register_buffer("back", back.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        there, back = self.there.to(x.dtype), self.back.to(x.dtype)
        fields = x.movedim(1, -1).unflatten(-1, (-1, there.shape[1]))  # no copy if the channels are last already
        values = self.function(fields @ there.mT)
        return (values @ back.mT).flatten(-2).movedim(-1, 1)


# ---- layers made of layers ------------------------------------------------------------------------------


class Branch(nn.Module):
    """A sequence of plain layers."""

    def __init__(self, parts: Iterable[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = part(x)
        return x


class Sum(nn.Module):
    """The sum of two branches."""

    def __init__(self, main: Branch, shortcut: Branch) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x) + self.shortcut(x)


class Joined(nn.Module):
    """Concatenates the output of a branch and its input."""

    def __init__(self, main: Branch) -> None:
        super().__init__()
        self.main = main

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.main(x), x], 1)
