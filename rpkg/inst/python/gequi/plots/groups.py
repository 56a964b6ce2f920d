"""Plots of groups: their representations, and their action on an image."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from .._escnn import GSpace
from ..arrays import check_index, entries
from ..errors import GequiError, InputError, ShapeError
from ..fields import field_type, transform_field
from ..groups import group_elements, representation_matrix, representations
from ._figures import BLUE_WHITE_RED, new_figure
from .images import plot_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ELEMENTS, MOST_CHANNELS = 8, 12  # that are shown if none are named
STEP = 1.12  # between matrices of the size 1
CELL_LINES = "#cccccc"


def plot_gspace(space: GSpace, representation: Any = None, elements: Any = None, image: Any = None) -> Figure:
    """Plot the representations of a group, or its action on an image.

    Without `image`, each row of the figure shows one representation and each column one group element, as a heat map of
    the representation matrix (blue: -1, white: 0, red: 1). With `image`, the figure shows the image transformed by each
    element, which is the orbit of the image if all elements are shown.

    Args:
        space: GSpace: a gspace, created by `gspace()`.
        representation: str or list of str, optional: the names of the representations to show. None shows those with at
            most 12 channels.
        elements: list of int, optional: the numbers of the group elements to show, from 0. None shows the first 8.
        image: array (row, column), optional: an image.

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a value that is not a gspace, or an element that does not exist.
        FieldError: an unknown representation.
        ShapeError: an image with other axes.
        SetupError: matplotlib is not installed.

    Source:
        Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv 1911.08251. In R, `plot()` of a gspace.

    Example:
        >>> import gequi
        >>> space = gequi.gspace("rot2dOnR2", N=4)
        >>> figure = plot_gspace(space, "regular")
        >>> figure.axes[0].collections[1].get_array().tolist()[0]  # first row of the quarter turn
        [0.0, 0.0, 0.0, 1.0]
        >>> [axes.get_title() for axes in plot_gspace(space, image=gequi.sample_image("volcano")).axes]
        ['0°', '90°', '180°', '270°']
    """
    names = [row["name"] for row in group_elements(space)]
    if elements is None:
        chosen = list(range(min(MOST_ELEMENTS, len(names))))
    else:
        chosen = [check_index(element, "elements", len(names)) for element in entries(elements)]
    if not chosen:
        raise InputError("`{argument}` is empty: at least one element is needed.", "elements")
    labels = [names[number] for number in chosen]
    if image is not None:
        gray = field_type(space, {"trivial": 1})
        return plot_image([_moved(image, gray, number) for number in chosen], titles=labels)
    if representation is None:
        known = [row["name"] for row in representations(space) if row["size"] <= MOST_CHANNELS]
        shown = [name for name in known if name != "trivial"]  # which is irrep_0
    else:
        shown = entries(representation)
    if not shown:
        raise InputError("`{argument}` is empty: at least one representation is needed.", "representation")
    return _draw_matrices(
        shown, labels, [[representation_matrix(space, name, number) for number in chosen] for name in shown]
    )


def _moved(image: Any, gray: Any, number: int) -> np.ndarray:
    """Return the image transformed by an element."""
    try:
        moved = transform_field(image, gray, number)
    except GequiError as error:
        raise error.about("image") from None
    if moved.ndim != 2:
        raise ShapeError("`{argument}` must be an image (row, column); got shape {shape}.", "image", shape=moved.shape)
    return moved


def _draw_matrices(rows: list[str], columns: list[str], matrices: list[list[np.ndarray]]) -> Figure:
    """Draw matrices of all sizes as squares of one size, with row 0 at the top."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    norm, shades = Normalize(-1, 1), LinearSegmentedColormap.from_list("signed", BLUE_WHITE_RED)
    labels = [textwrap.fill(name.replace(", ", ","), 9, break_long_words=False) for name in columns]
    beside, above = 0.08 * max(map(len, rows)), 0.18 * max(label.count("\n") for label in labels)
    figure = new_figure(0.75 * len(columns) + beside + 1.1, 0.75 * len(rows) + above + 0.7)
    axes = figure.subplots()
    for down, (name, line) in enumerate(zip(rows, matrices, strict=True)):
        axes.text(-0.1, (down + 0.45) * STEP, name, ha="right", va="center", fontsize="small")
        for across, matrix in enumerate(line):
            edges = np.linspace(0, 1, len(matrix) + 1)
            values = np.clip(matrix.round(12), -1, 1) + 0.0  # no -0
            axes.pcolormesh(
                across * STEP + edges, down * STEP + edges, values, cmap=shades, norm=norm,
                edgecolors=CELL_LINES, linewidth=0.4,
            )  # fmt: skip
    for across, label in enumerate(labels):
        axes.text(across * STEP + 0.5, -0.1, label, ha="center", va="bottom", fontsize="small")
    axes.set(xlim=(-0.03, len(columns) * STEP), ylim=(len(rows) * STEP, -0.03), aspect="equal")
    axes.set_axis_off()
    bar = figure.colorbar(
        ScalarMappable(norm, shades), ax=axes, ticks=[-1, 0, 1], shrink=min(1, 2.5 / (0.75 * len(rows)))
    )
    bar.outline.set_visible(False)
    return figure
