"""The public function that plots group means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from .result import GroupMean

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_group_mean(mean: GroupMean, type: str = "template", slice: int | None = None, axis: int = 0) -> Figure:
    """Plot the template of several images, or the variability of their shapes.

    The values of the template are stretched to the range of grays. `mean.plot()` draws the same figure.

    Args:
        mean: GroupMean: the result of `group_mean()`.
        type: str: "template" or "variability".
        slice: int: for a volume, the slice to show, from 0. None is the middle slice.
        axis: int: for a volume, the axis perpendicular to the slice: 0 (depth), 1 (row) or 2 (column).

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a value that is not a group mean, an unknown type, or a slice that does not exist.
        SetupError: matplotlib is not installed.

    Source:
        none: the values are shown as they are. In R, `plot()` of a group mean.

    Example:
        >>> from gequi import group_mean, sample_image
        >>> image = sample_image("cat")[50:114, 150:214]
        >>> figure = plot_group_mean(group_mean([image, image.T[::-1]], transform="rigid"))
        >>> figure.axes[0].get_title()
        'template of 2 images'
    """
    if not isinstance(mean, GroupMean):
        raise InputError("`{argument}` must be a group mean, from group_mean(); got {value!r:.80}.", "mean", value=mean)
    return mean.plot(type, slice, axis)
