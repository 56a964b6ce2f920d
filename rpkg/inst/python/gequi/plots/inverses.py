"""Plots of inverse problems: attention weights of an inverse function, and an input that was found by descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import as_array, check_choice, check_index
from ..errors import InputError, ShapeError
from ._figures import RED, facets, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TYPES = ("weights", "curve")
WHITE_TO_BLUE = ("white", "#16324f")
PANEL = 2.8  # inches


def plot_inverse_function(found: Any, type: str = "weights") -> Figure:
    """Plot the attention weights of an inverse function, or its results.

    Args:
        found: dict: the result of `invert_function()` or `register_curves()` with `weights=True`, or any attention
            weights in a dict of `output` and `weights`, such as those of `scaled_dot_product_attention()`.
        type: str: "weights" for the attention matrix, with one row per query and one column per sample, darker for
            larger weights, or "curve" for the results in the order of the queries.

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a result without weights, or an unknown type.
        ShapeError: weights that are not a matrix.
        SetupError: matplotlib is not installed.

    Source:
        Greer 2023 (hgreer.com/Reports/Sep142023). In R, `plot()` of the result.

    Example:
        >>> import gequi, numpy as np
        >>> x = np.linspace(0, 1, 21)
        >>> figure = plot_inverse_function(gequi.invert_function(x, x**2, x, weights=True))
        >>> figure.axes[0].get_xlabel(), figure.axes[0].images[0].get_array().shape
        ('sample (key and value)', (21, 21))
    """
    kind = check_choice(type, "type", TYPES)
    if not isinstance(found, Mapping) or not {"output", "weights"} <= set(found):
        raise InputError(
            "`{argument}` must be a result with `output` and `weights`, as invert_function(..., weights = True) returns "
            "it; got {found!r:.80}.", "found", found=found,
        )  # fmt: skip
    if kind == "curve":
        return _plot_curve(as_array(found["output"], "found", ndim=(1, 2), axes="(query) or (query, axis)"))
    weights = as_array(found["weights"], "found", ndim=2, axes="(query, sample)")
    from matplotlib.colors import LinearSegmentedColormap

    figure = new_figure(5.4, 4.6)
    axes = figure.subplots()
    shades = LinearSegmentedColormap.from_list("weights", WHITE_TO_BLUE)
    shown = axes.imshow(weights, cmap=shades, vmin=0, vmax=max(float(weights.max()), 1e-300), interpolation="nearest")
    axes.set(xlabel="sample (key and value)", ylabel="query")
    style(axes)
    axes.grid(False)
    bar = figure.colorbar(shown, ax=axes, label="weight")
    bar.outline.set_visible(False)
    return figure


def _plot_curve(output: np.ndarray) -> Figure:
    """Plot the results in the order of the queries, with one panel per axis."""
    answers = output.reshape(len(output), -1)
    down, across = facets(answers.shape[1])
    figure = new_figure(PANEL * across + 1.2, PANEL * down + 0.4)
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for number, (each, values) in enumerate(zip(axes, answers.T, strict=False)):
        each.plot(values, color="black", linewidth=1)
        if answers.shape[1] > 1:
            each.set_title(f"axis {number}", fontsize="medium")
        style(each)
    for each in axes[answers.shape[1] :]:
        each.set_axis_off()
    figure.supxlabel("query", fontsize="medium")
    figure.supylabel("answer", fontsize="medium")
    return figure


def plot_inverted_input(found: Any, start: Any, target: Any) -> Figure:
    """Plot the result of `invert_input()`: the start, the solution, the target, and the loss per step.

    Start and solution share one gray scale. The red point marks the solution. Of an array (batch, channel, row,
    column), the first channel is shown; other arrays are shown as bars.

    Args:
        found: dict: the result of `invert_input()`.
        start: array: the start that was given to `invert_input()`.
        target: array: the target that was given to `invert_input()`.

    Returns:
        a matplotlib Figure with four panels. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a result without "solution", "loss" and "best_step", or values that are not finite numbers.
        ShapeError: a start of another shape than the solution.
        SetupError: matplotlib is not installed.

    Source:
        none: the values are plotted as they are. In R, `plot()` of the result.

    Example:
        >>> import gequi
        >>> target = gequi.gram_image(gequi.sample_image("volcano"))
        >>> start = 0.8 * gequi.sample_image("volcano")[::-1, ::-1]
        >>> found = gequi.invert_input("gram_image", target, start, steps=3, learning_rate=0.01)
        >>> [axes.get_title() for axes in plot_inverted_input(found, start, target).axes]
        ['start', 'solution, step 3', 'target', 'loss']
    """
    if not isinstance(found, Mapping) or not {"solution", "loss", "best_step"} <= set(found):
        raise InputError("`{argument}` must be the result of invert_input(); got {found!r:.80}.", "found", found=found)
    before, after = as_array(start, "start"), as_array(found["solution"], "found")
    aim, losses = as_array(target, "target"), as_array(found["loss"], "found", ndim=1)
    best = check_index(found["best_step"], "found", len(losses))
    if before.shape != after.shape:
        raise ShapeError(
            "`{argument}` must have the shape of the solution, {shape}; got {given}.",
            "start", shape=after.shape, given=before.shape,
        )  # fmt: skip
    shades = (min(before.min(), after.min()), max(before.max(), after.max()))
    figure = new_figure(4 * PANEL, PANEL + 0.9)
    axes = figure.subplots(1, 4)
    _draw_values(axes[0], before, "start", shades)
    _draw_values(axes[1], after, f"solution, step {best}", shades)
    _draw_values(axes[2], aim, "target", (aim.min(), aim.max()))
    _draw_losses(axes[3], losses, best)
    return figure


def _draw_losses(axes: Axes, losses: np.ndarray, best: int) -> None:
    """Draw the losses on a logarithmic axis, and a point at the step with the smallest one."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    steps = np.flatnonzero(losses > 0)  # those that a logarithmic axis shows
    axes.plot(steps, losses[steps], color="black", linewidth=1)
    if best in steps:
        axes.plot(best, losses[best], color=RED, marker="o", markersize=4)
    axes.set(yscale="log", xlabel="step", box_aspect=1)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if len(steps) and losses[steps].max() < 10 * losses[steps].min():  # the ticks of a logarithmic axis are too few
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter("{x:.4g}")
    axes.set_title("loss", fontsize="medium")
    style(axes)


def _draw_values(axes: Axes, x: np.ndarray, title: str, shades: tuple[float, float]) -> None:
    """Draw an image; of an array (batch, channel, row, column) its first channel; of other arrays the values as bars."""
    if x.ndim > 2 and x.shape[0] * x.shape[1] > 1:
        title = f"{title}, channel 0 of {x.shape[1]}"
    axes.set_title(title, fontsize="medium")
    image = x.reshape(-1, *x.shape[2:])[0] if x.ndim > 2 else x
    if image.ndim != 2 or 1 in image.shape:
        axes.bar(range(image.size), image.ravel(), width=0.8, color="#595959")
        axes.set_box_aspect(1)
        style(axes)
        return
    low, high = map(float, shades)
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-300), interpolation="nearest")
    axes.set_axis_off()
