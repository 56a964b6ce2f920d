"""Plots of trainings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._figures import GREEN, LILAC, check_table, check_value, facets, legend_above, new_figure, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLORS = {"training": LILAC, "validation": GREEN}
NOT_MEASURED = ("epoch", "learning_rate", "seconds", "stopped")


def plot_history(history: Any) -> Figure:
    """Plot the history of a training: the loss and each metric per epoch, with one panel per metric.

    Curves of the training examples are lilac, curves of the validation examples are green.

    Args:
        history: list of dict: the result of `fit()`, with one dict per epoch.

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a history that is not a table with the column "epoch", or has no numbers to plot.
        SetupError: matplotlib is not installed.

    Source:
        none: the values of the table are plotted as they are. In R, `plot()` of a history.

    Example:
        >>> history = [{"epoch": 1, "loss": 0.7, "val_loss": 0.8}, {"epoch": 2, "loss": 0.4, "val_loss": 0.6}]
        >>> figure = plot_history(history)
        >>> [line.get_ydata().tolist() for line in figure.axes[0].lines]
        [[0.7, 0.4], [0.8, 0.6]]
    """
    rows = check_table(history, "history", ["epoch"], "fit()")
    columns = list(dict.fromkeys(str(name) for row in rows for name in row if name not in NOT_MEASURED))
    panels: dict[str, list[tuple[str, list[float], list[float]]]] = {}
    for column in columns:
        known = [row for row in rows if row.get(column) is not None]  # an interrupted epoch has fewer columns
        values = [check_value(row[column], "history", column) for row in known]
        epochs = [check_value(row["epoch"], "history", "epoch") for row in known]
        examples = "validation" if column.startswith("val_") else "training"
        panels.setdefault(column.removeprefix("val_").replace("_", " "), []).append((examples, epochs, values))
    if not panels:
        check_table(rows, "history", ["epoch", "loss"], "fit()")
    return _draw(panels)


def _draw(panels: dict[str, list[tuple[str, list[float], list[float]]]]) -> Figure:
    """Draw the curves (examples, epochs, values) of each panel."""
    down, across = facets(len(panels))
    figure = new_figure(2.8 * across + 0.6, 2.5 * down + 0.7)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    from matplotlib.ticker import MaxNLocator

    handles: dict[str, Any] = {}
    for each, (metric, curves) in zip(axes, panels.items(), strict=False):
        for examples, epochs, values in curves:
            line = each.plot(epochs, values, color=COLORS[examples], marker="o", markersize=3, label=examples)[0]
            handles.setdefault(examples, line)
        each.set_title(metric, fontsize="medium")
        each.xaxis.set_major_locator(MaxNLocator(integer=True))
        style(each)
    for each in axes[len(panels) :]:
        each.set_axis_off()
    figure.supxlabel("epoch", fontsize="medium")
    legend_above(figure, [handles[examples] for examples in COLORS if examples in handles])
    return figure
