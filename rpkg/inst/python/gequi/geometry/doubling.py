"""Grids of half the spacing: images with 2 n - 1 pixels for n, and back, with a Kaiser-windowed sinc filter.

The pixels of the image stay pixels of the finer grid, so both maps commute exactly with quarter turns and reflections.
Outside, the image is 0. Each axis is multiplied by a matrix, so the time grows faster than the number of pixels.
"""

from __future__ import annotations

import torch

from .grids import apply_separable

# Pixels on each side that a new pixel is computed from, and the parameter of the Kaiser window. Of the six pairs (2, 2),
# (3, 3), (4, 3), (4, 5), (6, 4) and (6, 6), this one is the best: tests/benchmarks/resnet.py filters.
REACH = 4
BETA = 5.0


def half_band_filter() -> torch.Tensor:
    """Return the filter at the offsets -2 REACH + 1, ..., 2 REACH - 1 of the finer grid, in float64.

    It is 1 at 0 and 0 at the other even offsets; its values at odd offsets sum to 1.
    """
    offsets = torch.arange(-2 * REACH + 1, 2 * REACH, dtype=torch.float64, device="cpu")
    inside = (1 - (offsets / (2 * REACH)) ** 2).clamp_min(0).sqrt()
    values = torch.sinc(offsets / 2) * torch.special.i0(BETA * inside)
    odd = offsets % 2 == 1
    return torch.where(odd, values / values[odd].sum(), (offsets == 0).to(values.dtype))


FILTER = half_band_filter()


def doubled(x: torch.Tensor) -> torch.Tensor:
    """Interpolate x (batch, channel, *size) at half the spacing: n pixels of an axis become 2 n - 1."""
    return apply_separable(x, [_spread(n, FILTER.to(x)) for n in x.shape[2:]])


def halved(x: torch.Tensor) -> torch.Tensor:
    """Remove the frequencies that the coarser grid cannot represent, and take every second pixel: 2 n - 1 become n."""
    return apply_separable(x, [_spread((n + 1) // 2, FILTER.to(x)).mT / 2 for n in x.shape[2:]])


def _spread(n: int, taps: torch.Tensor) -> torch.Tensor:
    """Return the matrix (2 n - 1, n) whose columns are the filter about every second pixel."""
    fine = torch.arange(2 * n - 1, device=taps.device)[:, None]
    place = fine - 2 * torch.arange(n, device=taps.device) + len(taps) // 2
    within = (place >= 0) & (place < len(taps))
    return torch.where(within, taps[place.clamp(0, len(taps) - 1)], torch.zeros_like(taps[:1]))
