"""The public function that plots registrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import GequiError, InputError
from .evaluation import check_registration
from .many import Registrations
from .result import Registration

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_registration(
    found: Registration | Registrations,
    type: str = "overlay",
    slice: int | None = None,
    axis: int = 0,
    squares: int | None = None,
) -> Figure:
    """Plot a registration as an overlay, a checkerboard, a grid, or a map of its determinant or uncertainty.

    For several pairs, one panel per pair shows the registration, or the reason for its failure. `found.plot()` draws
    the same figure.

    Args:
        found: Registration or Registrations: the result of `register_images()`, for one pair or several pairs.
        type: str: "overlay" (fixed image in magenta, moving image in green, before and after registration),
            "checkerboard" (alternating squares of the two images), "grid" (a regular grid on the fixed image, and its
            position on the moving image under the map), "jacobian" (the determinant of the Jacobian of the map: blue
            below 1, red above 1, black where the map folds) or "uncertainty" (the standard deviation of the map, in
            pixels of the moving image).
        slice: int, optional: for a volume: the slice of the fixed image to show. None is the middle slice.
        axis: int: for a volume: the axis perpendicular to the slice, 0 (depth), 1 (row) or 2 (column).
        squares: int, optional: the number of squares along the longer side, for checkerboard (8) and grid (16).

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a value that is not a registration, an unknown type, or a slice that does not exist.
        SetupError: matplotlib is not installed.

    Source:
        none: the images and the map are shown as they are. In R, `plot()` of a registration.

    Example:
        >>> from gequi import register_images, sample_image
        >>> image = sample_image("cat")[50:130, 150:230]
        >>> figure = plot_registration(register_images(moving=image.T[::-1], fixed=image), "uncertainty")
        >>> [axes.get_title() for axes in figure.axes][0], figure.axes[1].get_ylabel()
        ('uncertainty of the map', 'standard deviation, pixels')
    """
    if not isinstance(found, list | tuple):
        return check_registration(found).plot(type, slice, axis, squares)
    pairs = found if isinstance(found, Registrations) else Registrations(found)
    if not pairs:
        raise InputError("`{argument}` is an empty list: there is no pair to plot.", "found")
    for each in pairs:
        if not isinstance(each, GequiError):
            check_registration(each)
    return pairs.plot(type, slice, axis, squares)
