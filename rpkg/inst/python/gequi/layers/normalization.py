"""Normalization and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .._escnn import EquivariantModule, FieldType, GeometricTensor, escnn
from ..arrays import check_flag, check_number
from .plain import NORMS, no_change
from .plan import Step, kind, need_pointwise


@kind
def plan_batch_norm(before: FieldType, *, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> Step:
    """Batch normalization with one mean and one variance per field.

    Fields whose channels the group permutes use escnn's InnerBatchNorm. Other fields, and vectors without a base space,
    use IIDBatchNorm, which uses only the mean of the invariant part.
    """
    options = {
        "eps": check_number(eps, "eps", minimum=0),
        "momentum": check_number(momentum, "momentum", 0, 1),
        "affine": check_flag(affine, "affine"),
    }
    dimension = before.gspace.dimensionality
    if dimension and all("pointwise" in r.supported_nonlinearities for r in before.representations):
        return Step(before, lambda: escnn.nn.InnerBatchNorm(before, **options), _plain_norm)
    by_dimension = {0: escnn.nn.IIDBatchNorm1d, 2: escnn.nn.IIDBatchNorm2d, 3: escnn.nn.IIDBatchNorm3d}
    layer = by_dimension[dimension]
    return Step(before, lambda: layer(before, **options), _plain_norm)


def _plain_norm(layer: Any) -> nn.Module:
    """Return torch's batch normalization with the statistics and weights of each field for all of its channels."""
    dimension, size = layer.in_type.gspace.dimensionality, layer.in_type.size
    first = next(each for name, each in layer.named_buffers() if name.endswith("running_var"))
    module = NORMS[max(dimension, 1) - 1](size, layer.eps, device=first.device, dtype=first.dtype)
    inner = isinstance(layer, escnn.nn.InnerBatchNorm)
    with torch.no_grad():
        for channels, values in _inner_values(layer) if inner else _iid_values(layer):
            for name, value in values.items():
                getattr(module, name)[channels] = value
    return module.requires_grad_(False)


Values = Iterator[tuple[Any, dict[str, torch.Tensor]]]


def _inner_values(layer: Any) -> Values:
    """Yield channels and their values of torch's batch normalization."""
    for size, contiguous in layer._contiguous.items():
        norm, indices = getattr(layer, f"batch_norm_[{size}]"), getattr(layer, f"indices_{size}")
        values = {name: getattr(norm, name) for name in ("running_mean", "running_var", "weight", "bias")}
        yield (
            slice(*indices) if contiguous else indices,
            {name: value.repeat_interleave(size) for name, value in values.items() if value is not None},
        )


def _iid_values(layer: Any) -> Values:
    for name, size in layer._sizes:
        known: dict[str, Any] = {
            key: getattr(layer, f"{layer._escape_name(name)}_{key}", None)
            for key in ("indices", "running_mean", "running_var", "weight", "bias", "change_of_basis")
        }
        values = {"running_var": known["running_var"].flatten().repeat_interleave(size)}
        if known["running_mean"] is not None:
            values["running_mean"] = known["running_mean"].flatten()
        if known["weight"] is not None:
            values["weight"] = known["weight"].flatten().repeat_interleave(size)
        if known["bias"] is not None:
            values["bias"] = (known["bias"] @ known["change_of_basis"].mT).flatten()
        yield slice(*known["indices"]) if layer._contiguous[name] else known["indices"], values


@kind
def plan_token_norm(before: FieldType, *, eps: float = 1e-5) -> Step:
    """Layer normalization over all channels at each position, with one weight and one bias per field."""
    need_pointwise(before)
    eps = check_number(eps, "eps", minimum=0)
    return Step(before, lambda: TokenNorm(before, eps), lambda layer: deepcopy(layer.norm))


class TokenNorm(EquivariantModule):
    """Layer normalization of the channels of a token. The group permutes them, so mean and variance do not change."""

    def __init__(self, in_type: FieldType, eps: float) -> None:
        super().__init__()
        self.in_type = self.out_type = in_type
        self.norm = _Normalized([int(field.size) for field in in_type.representations], eps)

    def forward(self, x: GeometricTensor) -> GeometricTensor:
        return GeometricTensor(self.norm(x.tensor), self.out_type)

    def evaluate_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape


class _Normalized(nn.Module):
    """Layer normalization over axis 1 of (batch, channel, ...), with the weight and bias of the field of a channel."""

    field: torch.Tensor  # (channel): the number of its field

    def __init__(self, sizes: list[int], eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(len(sizes))), nn.Parameter(torch.zeros(len(sizes)))
        field = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        self.register_buffer("field", field, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.weight[self.field], self.bias[self.field]
        return functional.layer_norm(x.movedim(1, -1), weight.shape, weight, bias, self.eps).movedim(-1, 1)


@kind
def plan_dropout(before: FieldType, *, p: float = 0.5) -> Step:
    """Sets each value to 0 with probability `p` during training."""
    need_pointwise(before)
    p = check_number(p, "p", 0, 1)
    return Step(before, lambda: escnn.nn.PointwiseDropout(before, p=p), no_change)


@kind
def plan_field_dropout(before: FieldType, *, p: float = 0.5) -> Step:
    """Sets each field, with all its channels, to 0 with probability `p` during training."""
    p = check_number(p, "p", 0, 1)
    return Step(before, lambda: escnn.nn.FieldDropout(before, p=p), no_change)
