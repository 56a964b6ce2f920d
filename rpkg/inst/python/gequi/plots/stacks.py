"""Plots of stacks of sections: a montage of the aligned sections, and a cut across them before and after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..arrays import check_choice, check_index
from ._figures import MISSING, RED, new_figure
from .registrations import stretched

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STACK_TYPES = ("montage", "side")
TILE, LEAST_TILE = 1.1, 0.6  # inches, of a section in a montage
WIDEST = 10.0  # inches, of a montage
CUT = 4.0  # inches along a cut across the sections


class Aligned(Protocol):
    """A stack of aligned sections, the data for its plots."""

    @property
    def volume(self) -> np.ndarray: ...
    @property
    def table(self) -> list[dict[str, Any]]: ...
    def unaligned(self) -> np.ndarray: ...


def plot_stack(stack: Aligned, type: str = "montage", axis: int = 1, position: int | None = None) -> Figure:
    """Plot a stack of sections; see `Stack.plot()`."""
    kind = check_choice(type, "type", STACK_TYPES)
    if kind == "montage":
        return _montage(stack)
    across = check_index(axis, "axis", 2)
    size = stack.volume.shape[1 + across]
    at = size // 2 if position is None else check_index(position, "position", size)
    figure = new_figure(2 * CUT + 0.4, _height_of_cuts(len(stack.volume)) + 0.7)
    panels = figure.subplots(1, 2)
    for panel, title, sections in zip(panels, ("before", "after"), (stack.unaligned(), stack.volume), strict=True):
        cut = stretched_sections(sections).take(at, 1 + across)
        _show(panel, cut, title, aspect="auto")
        panel.set_ylabel("section", fontsize="small")
    return figure


def stretched_sections(sections: np.ndarray) -> np.ndarray:
    """Stretch the values of each section to 0 to 1, with NaN where it shows nothing."""
    shown = np.full(sections.shape, np.nan)
    for to, section in zip(shown, sections, strict=True):
        seen = np.isfinite(section)
        if seen.any():
            to[seen] = stretched(section[seen][None])[0]
    return shown


def _height_of_cuts(sections: int) -> float:
    return min(CUT, max(1.0, CUT * sections / 60))


def _montage(stack: Aligned) -> Figure:
    count = len(stack.volume)
    height, width = stack.volume.shape[1:]
    columns = math.ceil(math.sqrt(count * height / width * 1.5))  # wider than high, as a page is
    rows = math.ceil(count / columns)
    tile = max(LEAST_TILE, min(TILE, WIDEST / columns))
    figure = new_figure(columns * tile + 0.1, rows * (tile * height / width + 0.2) + 0.1)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, section, row in zip(panels, stretched_sections(stack.volume), stack.table, strict=False):
        _show(panel, section, str(row["section"]))
        panel.set_axis_off()
        if row["status"] != "aligned":
            panel.set_title(f"{row['section']} {row['status']}", fontsize=6, color=RED, pad=2)
    for panel in panels[count:]:
        panel.remove()
    return figure


def _show(panel: Axes, pixels: np.ndarray, title: str, aspect: str = "equal") -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    colors = colormaps["gray"].with_extremes(bad=MISSING)
    panel.imshow(np.ma.masked_invalid(pixels), cmap=colors, vmin=0, vmax=1, aspect=aspect, interpolation="nearest")  # type: ignore[arg-type]
    panel.set_title(title, fontsize=6 if aspect == "equal" else "medium", pad=2)
    panel.set_xticks([])
    panel.tick_params(length=0, labelsize="small")
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
