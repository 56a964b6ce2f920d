"""What all plots share: new figures, colors, the style of axes with numbers, and checks of tables.

The figures look like those of R, where ggplot2 draws them with `theme_minimal()`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..arrays import scalar
from ..errors import InputError, need_packages

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREEN, LILAC, RED = "#1b7837", "#c2a5cf", "#b2182b"
BLUE_WHITE_RED = ("#2166ac", "white", "#b2182b")
LINES = "#ebebeb"  # of the grid behind bars and curves
MISSING = "#7f7f7f"  # pixels without a value


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches. It belongs to no window, and pyplot does not know it.

    Raises:
        SetupError: matplotlib is not installed.
    """
    need_packages(["matplotlib"], "A plot", "plot")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def facets(count: int) -> tuple[int, int]:
    """Return the numbers of rows and columns of `count` panels, as `facet_wrap()` of ggplot2 chooses them."""
    rows = 1 if count <= 3 else 2 if count <= 6 else 3 if count <= 12 else math.ceil(math.sqrt(count))
    return rows, math.ceil(count / rows)


def style(axes: Axes, grid: str = "both") -> None:
    """Draw light grid lines behind the data of "x", "y" or "both" axes, without a frame and without ticks."""
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, which="both", labelsize="small", labelcolor="#4d4d4d")
    axes.grid(True, axis=grid, color=LINES, linewidth=0.9)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def legend_above(figure: Figure, handles: Sequence[Any]) -> None:
    columns = len(handles) if len(handles) <= 3 else 2
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False, fontsize="small")


def patch(color: str, label: str) -> Any:
    """Return a colored rectangle for a legend."""
    from matplotlib.patches import Patch

    return Patch(facecolor=color, label=label)


def check_table(rows: Any, argument: str, columns: Iterable[str], source: str) -> list[dict[str, Any]]:
    """Check that `rows` is a table with some columns: a list of dicts, as `source` returns it."""
    wanted = list(columns)
    if isinstance(rows, list | tuple) and rows and all(isinstance(row, dict) for row in rows):
        missing = [column for column in wanted if any(column not in row for row in rows)]
        if not missing:
            return list(rows)
        raise InputError(
            "`{argument}` must be a table from {source}, with the columns {columns:list}; it has no {missing:list}.",
            argument, source=source, columns=wanted, missing=missing,
        )  # fmt: skip
    raise InputError(
        "`{argument}` must be a table from {source}, with the columns {columns:list}; got {rows!r:.80}.",
        argument, source=source, columns=wanted, rows=rows,
    )  # fmt: skip


def check_value(value: Any, argument: str, column: str) -> float:
    """Return a number in a table, which may be NaN or infinite."""
    number = scalar(value)
    if isinstance(number, int | float) and not isinstance(number, bool):
        try:
            return float(number)
        except OverflowError:
            pass
    raise InputError(
        "`{argument}` must have numbers in the column {column!r}; got {value!r:.80}.",
        argument, column=column, value=value,
    )  # fmt: skip
