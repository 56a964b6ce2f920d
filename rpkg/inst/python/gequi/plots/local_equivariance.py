"""Plots of local equivariance errors: one bar for each motion, or for each layer and motion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._figures import GREEN, check_table, check_value, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_local_equivariance_error(errors: Any) -> Figure:
    """Plot a table of local equivariance errors as horizontal bars, with one panel per motion if it is by layer.

    The longest bar of a panel is the layer at which most of the equivariance is lost. Lines mark the 95 % interval of
    the mean over the images.

    Args:
        errors: list of dict: the result of `local_equivariance_error()`.

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a table without the columns "motion", "unit" and "error", or with errors that are not numbers.
        SetupError: matplotlib is not installed.

    Source:
        the measure: see `local_equivariance_error()`. In R, `plot()` of its result.

    Example:
        >>> import gequi, numpy as np
        >>> errors = gequi.local_equivariance_error(np.square, gequi.sample_image("volcano")[None, None])
        >>> figure = plot_local_equivariance_error(errors)
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()][:2]
        ['rotation, per radian', 'scale, per log']
    """
    rows = check_table(errors, "errors", ["motion", "unit", "error"], "local_equivariance_error()")
    titles = [f"{row['motion']}, per {row['unit']}" for row in rows]
    by_layer = all("name" in row for row in rows)
    panels: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for row, title in zip(rows, titles, strict=True):
        panels.setdefault(title if by_layer else "", []).append((str(row["name"]) if by_layer else title, row))
    longest = max(map(len, panels.values()))
    figure = new_figure(max(4.5, 2.7 * len(panels) + 1), min(1.1 + 0.24 * longest, 12))
    drawn = figure.subplots(1, len(panels), sharey=by_layer, squeeze=False)[0]
    for axes, (title, bars) in zip(drawn, panels.items(), strict=True):
        places = list(range(len(bars)))
        values = [check_value(row["error"], "errors", "error") for _, row in bars]
        axes.barh(places, values, height=0.76, color=GREEN)
        for place, (_, row) in enumerate(bars):
            if row.get("error_low") is not None:
                ends = [check_value(row[key], "errors", key) for key in ("error_low", "error_high")]
                axes.plot(ends, [place, place], color="black", linewidth=1)
        axes.set_yticks(places, labels=[name for name, _ in bars])
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("local equivariance error")
        style(axes, "x")
    drawn[0].invert_yaxis()
    return figure
