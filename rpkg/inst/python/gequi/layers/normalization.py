"""Normalization and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from .._escnn import FieldType, escnn
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
