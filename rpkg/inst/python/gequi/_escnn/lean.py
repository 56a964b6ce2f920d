"""Layers of escnn in training, with fewer copies: values and gradients are those of escnn, up to rounding.

The functions replace those of gequi's copies of escnn (copies.py).
"""

from __future__ import annotations

from typing import Any

import torch
from escnn.nn import GeometricTensor

from .copies import own


def _expand(self: Any, weights: torch.Tensor) -> torch.Tensor:
    """Expand filters (filter, output, input, point) by one matrix product: `SingleBlockBasisExpansion.forward`."""
    basis = self.sampled_basis
    return (weights @ basis.flatten(1)).view(-1, *basis.shape[1:])


def _normalize(self: Any, features: Any) -> Any:
    """Normalize fields. If all have one size, no tensor is filled with copies: `InnerBatchNorm.forward`."""
    (size, contiguous), *others = self._contiguous.items()
    if others or not contiguous:
        return _normalize_each(self, features)
    assert features.type == self.in_type
    x = features.tensor
    fields = x.view(len(x), -1, size, *x.shape[2:])
    normalized = getattr(self, f"batch_norm_[{size}]")(fields)
    return GeometricTensor(normalized.view(x.shape), self.out_type, features.coords)


_inner = own("nn.modules.batchnormalization.inner").InnerBatchNorm
_normalize_each = _inner.forward
_inner.forward = _normalize
own("nn.modules.basismanager.basisexpansion_singleblock").SingleBlockBasisExpansion.forward = _expand
