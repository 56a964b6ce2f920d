"""Fast forms of plain layers: the same operations, arranged for the kernels of torch on this machine.

- Images and volumes have the channels-last memory format, which oneDNN's convolutions use.
- A convolution stores its weights in oneDNN's order and includes a following ReLU. Otherwise torch reorders the weights
  at every call, and at batch size 1 it uses slower kernels of its own (slow_conv3d).
- A wide map of regular fields at each point is computed in the Fourier basis of the group (fourier.py).
- Values that are not used again are overwritten.

torch.compile does the same to a graph, but it needs a C++ compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .fourier import PointMap, has_bands
from .plain import CONVOLUTIONS, NORMS, Branch, FieldPool, Gate, Joined, Sum, Unwrapped

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
# Layers whose output shares no memory with their input.
_NEW = (*CONVOLUTIONS, *NORMS, nn.Linear, PointMap, Sum, Joined)
_SHAPES = 4  # number of input shapes for which a convolution stores reordered weights
_TYPES = (torch.float32, torch.bfloat16)
# A channels-last convolution reads all its weights for each row of its output. If a row is short and the weights are
# many, torch's own convolution, in its blocked format, is faster (tests/benchmarks/convolutions.py).
WEIGHTS_PER_COLUMN = 180_000
# A oneDNN convolution takes 50 microseconds to begin. For one small image and kernels up to 3 x 3, where torch's own
# convolution does not use oneDNN, products of fewer numbers are done by then (same script).
PRODUCTS_OF_ONE = 400_000


class Fast(nn.Module):
    """Plain layers on a batch. The output is a new tensor of the type of the input."""

    def __init__(self, branch: Branch, dtype: torch.dtype) -> None:
        super().__init__()
        self.branch, self.dtype = branch, dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = x.dtype
        x = x.to(self.dtype)
        if x.ndim in _FORMATS and self.dtype in _TYPES:
            x = x.contiguous(memory_format=_FORMATS[x.ndim])
        return self.branch(x).to(before)


def fast(branch: Branch, dtype: torch.dtype) -> Fast:
    """Arrange plain layers to run fast in a floating-point type. `branch` is modified and cannot be used afterwards."""
    return Fast(_faster(branch, dtype), dtype)


def _faster(branch: Branch, dtype: torch.dtype) -> Branch:
    parts: list[nn.Module] = []
    for each in branch.parts:
        part: Any = each if isinstance(each, Unwrapped | Sum | Joined) else each.to(dtype)
        last = parts[-1] if parts else None
        if isinstance(part, Sum):
            parts.append(_FastSum(_faster(part.main, dtype), _faster(part.shortcut, dtype)))
        elif isinstance(part, Joined):
            parts.append(Joined(_faster(part.main, dtype)))
        elif isinstance(part, nn.ReLU) and isinstance(last, _Packed | PointMap):
            last.attribute = "relu"
        elif isinstance(part, nn.ReLU | nn.ELU | nn.LeakyReLU) and isinstance(last, (*_NEW, _FastSum, _Packed)):
            part.inplace = True
            parts.append(part)
        elif isinstance(part, Gate):
            parts.append(_FastGate(part))
        elif isinstance(part, FieldPool) and part.reduction != "max":
            parts.append(_FastPool(part, dtype))
        elif has_bands(part):
            parts.append(PointMap(part, _Packed(part) if isinstance(part, CONVOLUTIONS) and _can_pack(part) else part))
        elif isinstance(part, CONVOLUTIONS) and part.padding_mode == "zeros" and _can_pack(part):
            parts.append(_Packed(part))
        else:
            parts.append(part)
    return Branch(parts)


class _FastSum(nn.Module):
    def __init__(self, main: Branch, shortcut: Branch) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut
        self.new = len(main.parts) > 0 and isinstance(main.parts[-1], (*_NEW, _FastSum, _Packed))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        main, shortcut = self.main(x), self.shortcut(x)
        return main.add_(shortcut) if self.new else main + shortcut


# ---- fields ---------------------------------------------------------------------------------------------

# Where channels are last, sums over the short runs of channels of a field, and products with one number for each field,
# take less time as products with a matrix of 0 and 1.


def _members(runs: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Return the matrix (channel, field) that is 1 where a channel belongs to a field, and 0 elsewhere."""
    return torch.block_diag(*(torch.ones(size, 1, dtype=torch.float64) for count, size in runs for _ in range(count)))


class _FastGate(nn.Module):
    """`Gate` with channels last."""

    bias: torch.Tensor
    spread: torch.Tensor

    def __init__(self, part: Gate) -> None:
        super().__init__()
        self.gates = part.gates
        spread = torch.empty_like(_members(part.runs).T)
        spread[part.order.cpu()] = _members(part.runs).T
        self.register_buffer("bias", part.bias)
        self.register_buffer("spread", spread.to(part.bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates, gated = x.movedim(1, -1).split([self.gates, x.shape[1] - self.gates], -1)
        return (gated * (torch.sigmoid(gates - self.bias) @ self.spread)).movedim(-1, 1)


class _FastPool(nn.Module):
    """`FieldPool` with channels last, for means and norms."""

    matrix: torch.Tensor

    def __init__(self, part: FieldPool, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm = part.reduction == "norm"
        members = _members(part.runs)
        self.register_buffer("matrix", (members if self.norm else members / members.sum(0)).to(dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.movedim(1, -1)
        return ((x.square() @ self.matrix).sqrt_() if self.norm else x @ self.matrix).movedim(-1, 1)


# ---- convolutions ---------------------------------------------------------------------------------------


def _can_pack(part: Any) -> bool:
    """Return whether this machine's torch has oneDNN convolutions with reordered weights."""
    weight = part.weight
    return bool(
        weight.device.type == "cpu"
        and weight.dtype in _TYPES
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and (weight.dtype == torch.float32 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


class _Packed(nn.Module):
    """A convolution with weights in oneDNN's order. `attribute` is the following operation, "none" or "relu"."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.options = (part.padding, part.stride, part.dilation, part.groups)
        self.attribute = "none"
        self.bias = part.bias
        self.weight = part.weight
        # oneDNN's order depends on the shape of the input. None stands for torch's own convolution.
        self.packed: dict[tuple[int, ...], torch.Tensor | None] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = tuple(x.shape)
        if shape not in self.packed:
            self._pack(shape)
        weight = self.packed[shape]
        if weight is None:
            convolve = torch.conv2d if x.ndim == 4 else torch.conv3d
            padding, stride, dilation, groups = self.options
            found = convolve(x.contiguous(), self.weight, self.bias, stride, padding, dilation, groups)
            return found.relu_() if self.attribute == "relu" else found
        x = x.contiguous(memory_format=_FORMATS[x.ndim])
        return torch.ops.mkldnn._convolution_pointwise(x, weight, self.bias, *self.options, self.attribute, [], "")

    def _pack(self, shape: tuple[int, ...]) -> None:
        if len(self.packed) >= _SHAPES:
            self.packed.clear()
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        plain = plain_is_faster(self.weight, shape)
        self.packed[shape] = None if plain else reorder(self.weight, *self.options, list(shape))


def plain_is_faster(weight: torch.Tensor, shape: Sequence[int]) -> bool:
    """Return whether torch's own convolution is faster than a channels-last one for inputs of this shape."""
    if shape[0] > 1:
        return weight.numel() >= WEIGHTS_PER_COLUMN * shape[-1]
    small = weight.numel() * math.prod(shape[2:]) <= PRODUCTS_OF_ONE
    return small and len(shape) == 4 and max(weight.shape[2:]) <= 3 and weight.dtype == torch.float32
