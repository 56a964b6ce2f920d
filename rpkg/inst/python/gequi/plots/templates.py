"""Plots of templates: the mean of several images, and the variability of their shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..arrays import check_choice
from ._figures import MISSING, new_figure
from .registrations import LEAST_WIDTH, PANEL, Cut, _cut, _show
from .stacks import stretched_sections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE_TYPES = ("template", "variability")


class Averaged(Protocol):
    """A template of several images, the data for its plots."""

    @property
    def template(self) -> np.ndarray: ...
    @property
    def variability(self) -> np.ndarray: ...
    @property
    def table(self) -> list[dict[str, Any]]: ...
    @property
    def spacing(self) -> np.ndarray: ...


def shown_group_mean(mean: Averaged, type: str, slice: int | None, axis: int) -> dict[str, Any]:
    """Return the picture of a plot of a group mean: its `pixels`, and their sizes as `spacing` (row, column)."""
    cut, pixels = _shown(mean, check_choice(type, "type", TEMPLATE_TYPES), slice, axis)
    return {"pixels": pixels, "spacing": [float(mean.spacing[i]) for i in cut.along]}


def _shown(mean: Averaged, kind: str, slice: int | None, axis: int) -> tuple[Cut, np.ndarray]:
    cut = _cut(mean.template.shape, slice, axis, "a mean of images")
    return cut, cut.of(mean.variability if kind == "variability" else stretched_sections(mean.template[None])[0])


def plot_group_mean(mean: Averaged, type: str = "template", slice: int | None = None, axis: int = 0) -> Figure:
    """Plot a group mean; see `GroupMean.plot()`."""
    kind = check_choice(type, "type", TEMPLATE_TYPES)
    cut, pixels = _shown(mean, kind, slice, axis)
    rows, columns = (mean.template.shape[i] * mean.spacing[i] for i in cut.along)
    scale = PANEL / max(rows, columns)
    bar = 1.3 if kind == "variability" else 0
    figure = new_figure(max(columns * scale + bar, LEAST_WIDTH) + 0.1, rows * scale + 0.5)
    axes = figure.subplots()
    aligned = sum(row["status"] == "aligned" for row in mean.table)
    if kind == "template":
        from matplotlib import colormaps

        colors = colormaps["gray"].with_extremes(bad=MISSING)
        _show(axes, np.ma.masked_invalid(pixels), mean.spacing, cut, cmap=colors, vmin=0, vmax=1)
        axes.set_title(f"template of {aligned} images")
    else:
        most = max(float(mean.variability.max()), 1e-9)
        shown = _show(axes, pixels, mean.spacing, cut, cmap="magma", vmin=0, vmax=most)
        axes.set_title(f"variability of {aligned} images")
        figure.colorbar(shown, ax=axes, label="displacement, root mean square")
    axes.set_axis_off()
    return figure
