"""Attention between the windows of two images."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .._recipes import factory
from ..arrays import check_dtype, check_flag, check_integer
from ..errors import ShapeError
from .multi_head import HeadMaps, check_heads, generator_of


@factory
def visual_attention(
    channels: int,
    key_dim: int | None = None,
    heads: int = 1,
    kernel_size: int = 1,
    stride: int = 1,
    bias: bool = False,
    seed: int | None = None,
    dtype: str = "float32",
) -> nn.Module:
    """Create a module that computes multi-head attention between windows of two images.

    Query, key and value are convolutions. Each window of the query image attends to all windows of the context image. A
    transposed convolution maps the result to the pixels of the query image. With `kernel_size` 1, this is multi-head
    attention on pixels. Apply the module with `predict(module, query, context)`, or with `predict(module, query)` for
    self-attention, where the context is the query.

    Args:
        channels: integer, the number of channels of both images and of the output.
        key_dim: integer, the number of features per head. None is channels / heads.
        heads: integer, the number of attention heads.
        kernel_size: integer, the side of a window in pixels.
        stride: integer, the distance between windows in pixels. Pixels that no window covers receive only the output
            bias.
        bias: logical, whether the four convolutions have a bias.
        seed: integer, the seed of the initial weights. None draws a seed.
        dtype: "float32" or "float64".

    Returns:
        a torch module on `query` (batch, channel, row, column) and `context` (batch, channel, row, column), the two
        of any sizes not below `kernel_size`, giving an image of the size of `query`. Its weights: `query`, `key`,
        `value` (heads * key_dim, channels, kernel_size, kernel_size) and `output` (channels, heads * key_dim,
        kernel_size, kernel_size); biases as in `multi_head_attention()`.

    Raises:
        InputError: sizes that are not whole numbers of at least 1, or `channels` not divisible by `heads`.

    Source:
        Abbott 2024 (arXiv 2402.05424), figure 28.

    Example:
        >>> module = visual_attention(3, key_dim=4, heads=2, kernel_size=3, stride=3, seed=1)
        >>> module(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 9, 12)).shape
        torch.Size([1, 3, 16, 16])
    """
    channels = check_integer(channels, "channels", minimum=1)
    heads, key_dim = check_heads(channels, heads, key_dim, "channels")
    kernel_size = check_integer(kernel_size, "kernel_size", minimum=1)
    stride = check_integer(stride, "stride", minimum=1)
    return VisualAttention(
        channels, heads, key_dim, kernel_size, stride, check_flag(bias, "bias"), generator_of(seed), check_dtype(dtype)
    )


class VisualAttention(HeadMaps):
    """The module of `visual_attention()`."""

    def __init__(
        self, channels: int, heads: int, key_dim: int, kernel_size: int, stride: int, bias: bool,
        generator: torch.Generator, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        super().__init__(channels, heads, key_dim, (kernel_size, kernel_size), bias, generator, dtype)
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, query: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        context = query if context is None else context
        self.check(query, context, 4, f"(batch, channel = {self.dim}, row, column)", 1)
        for image, name in ((query, "query"), (context, "context")):
            if min(image.shape[2:]) < self.kernel_size:
                template = "`{argument}` must be at least as large as the window, {window} pixels; got {size}."
                raise ShapeError(template, name, window=self.kernel_size, size=tuple(image.shape[2:]))
        queries = functional.conv2d(query, self.query, self.query_bias, self.stride)
        keys = functional.conv2d(context, self.key, self.key_bias, self.stride)
        values = functional.conv2d(context, self.value, self.value_bias, self.stride)
        inner = self.attend(*(each.flatten(2).mT for each in (queries, keys, values)))
        windows = inner.mT.unflatten(-1, tuple(queries.shape[2:]))
        out = functional.conv_transpose2d(windows, self.output.transpose(0, 1), None, self.stride)
        # Add the pixels beyond the last window, which a transposed convolution omits (16 -> 15 for 3 by 3). They are
        # added afterwards, because output_padding cannot depend on the size in ONNX.
        rows, columns = ((length - self.kernel_size) % self.stride for length in query.shape[2:])
        out = functional.pad(out, (0, columns, 0, rows))
        return out if self.output_bias is None else out + self.output_bias[:, None, None]

    def extra_repr(self) -> str:
        return (
            f"channels={self.dim}, heads={self.heads}, key_dim={self.key_dim}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, bias={self.query_bias is not None}"
        )
