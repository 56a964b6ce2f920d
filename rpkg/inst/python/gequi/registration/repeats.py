"""Repetition in an image: the shifts at which it is most similar to itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..geometry.filters import local_normalize
from .presets import Preset

MAX_POOLS = {2: functional.max_pool2d, 3: functional.max_pool3d}


def repeat_shifts(
    image: torch.Tensor, mask: torch.Tensor, steps: Sequence[float], least: float, preset: Preset
) -> list[torch.Tensor]:
    """Return the few shifts (axis) in pixels, longer than `least`, at which an image is most similar to itself.

    Args:
        image, mask: (1, 1, *size).
        steps: the number of pixels per cell of the image along each axis.
    """
    alike = _autocorrelation(image, mask, steps, preset)
    peaks = (alike == MAX_POOLS[alike.ndim](alike[None], 3, 1, 1)[0]) & (alike > preset.repeat_correlation)
    positions = [
        (torch.arange(n, device=image.device) - n // 2).to(image.dtype) * step
        for n, step in zip(alike.shape, steps, strict=True)
    ]
    shifts = torch.cartesian_prod(*positions)
    kept = (peaks.flatten() & (shifts.norm(dim=1) > least)).nonzero()[:, 0]
    best = kept[alike.flatten()[kept].argsort(descending=True)][: preset.most_repeats]
    return [shifts[i] for i in best.tolist()]


def _autocorrelation(image: torch.Tensor, mask: torch.Tensor, steps: Sequence[float], preset: Preset) -> torch.Tensor:
    """Return the correlation of an image with itself at every shift: (*2 size - 1), with shift 0 in the middle.

    It is 0 where too little of the image overlaps with itself.
    """
    windows = [max(preset.repeat_window / step, preset.least_window) for step in steps]
    normal = (mask * local_normalize(image, mask, windows, preset.repeat_floor)[0])[0, 0]
    size = [2 * n - 1 for n in normal.shape]
    spectra = [torch.fft.rfftn(x, size) for x in (normal, normal**2, mask[0, 0])]

    def correlate(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.fft.fftshift(torch.fft.irfftn(a.conj() * b, size))

    energy = correlate(spectra[1], spectra[2]) * correlate(spectra[2], spectra[1])
    alike = correlate(spectra[0], spectra[0]) / energy.clamp_min(1e-6).sqrt()
    return alike * (correlate(spectra[2], spectra[2]) >= preset.repeat_overlap * float(mask.sum()))
