"""Points in place of pixels: what `predict_points()` tells the layers beside the features."""

from __future__ import annotations

from contextvars import ContextVar

import torch

# The coordinates (batch or 1, point, axis) of the points.
points_in_place_of_pixels: ContextVar[torch.Tensor | None] = ContextVar("points", default=None)
# Which points exist, (batch, point), for examples with different numbers of points. None is all of them.
existing_points: ContextVar[torch.Tensor | None] = ContextVar("existing", default=None)


def mean_of_points(x: torch.Tensor) -> torch.Tensor:
    """Compute the mean (batch, channel, 1, ...) over the pixels, or over the points that exist."""
    exists = existing_points.get()
    axes = tuple(range(2, x.ndim))
    if exists is None or exists.shape[1] != x.shape[2]:
        return x.mean(dim=axes, keepdim=True)
    exists = exists.view(len(exists), 1, -1, *[1] * (x.ndim - 3))
    total = torch.where(exists, x, 0).sum(dim=axes, keepdim=True)
    return total / exists.sum(dim=axes, keepdim=True)
