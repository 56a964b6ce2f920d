"""The public function that plots stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from .result import Stack

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_stack(stack: Stack, type: str = "montage", axis: int = 1, position: int | None = None) -> Figure:
    """Plot a stack of sections as a montage of the aligned sections, or as a cut across them before and after.

    The values of each section are stretched to the same range of grays. `stack.plot()` draws the same figure.

    Args:
        stack: Stack: the result of `register_stack()`.
        type: str: "montage" (the aligned sections in their order; sections that are poor or failed have a red title)
            or "side" (the same row or column of all sections, one below the other, as given and aligned).
        axis: int: for "side", the axis along which the stack is cut: 0 at a row, 1 at a column.
        position: int: for "side", the number of that row or column. None is the middle.

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a value that is not a stack, an unknown type, or a position outside the volume.
        SetupError: matplotlib is not installed.

    Source:
        none: the pixels are shown as they are. In R, `plot()` of a stack.

    Example:
        >>> from gequi import register_stack, sample_image
        >>> image = sample_image("cat")[50:114, 150:214]
        >>> figure = plot_stack(register_stack([image, image.T[::-1]], transform="rigid"), "side")
        >>> [axes.get_title() for axes in figure.axes]
        ['before', 'after']
    """
    if not isinstance(stack, Stack):
        raise InputError(
            "`{argument}` must be a stack, from register_stack(); got {value!r:.80}.", "stack", value=stack
        )
    return stack.plot(type, axis, position)
