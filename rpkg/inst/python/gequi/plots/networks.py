"""Plots of networks: bar charts of channels, and diagrams of modules and their connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import InputError
from ..groups import describe_gspace
from ..networks import EquivariantNetwork, check_model, describe_network
from ..tracing import lay_out, trace_shapes
from ._figures import GREEN, LILAC, new_figure, patch, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROLES = {  # the color of a box, and what it says in the legend
    "learned": ("#f4c3a3", "learns weights"),
    "normalizes": ("#c9dff0", "normalizes"),
    "nonlinear": ("#d5e8cc", "is nonlinear"),
    "resizes": ("#e3d5ee", "resizes"),
    "join": ("#ffffff", "joins"),
    "holds": ("#f3eddd", "holds several"),
    "other": ("#e8e8e8", "other"),
}
WITH_WEIGHTS = {True: ("with weights", GREEN), False: ("without", LILAC)}
WIDEST = 12  # inches of a diagram
UNIT = 0.55  # inches of the unit of a diagram, if it is not too wide
MARGIN = 0.5  # around a diagram, in its units


def plot_network(model: nn.Module, input_shape: Any = None, depth: int | None = None) -> Figure:
    """Plot the number of channels after each layer as a bar chart, or the network as a diagram.

    The bar chart lists the fields and the number of parameters of each layer, from top to bottom. With `input_shape`,
    the diagram of `plot_trace()` is drawn, with all modules and connections.

    Args:
        model: a network, or any torch module.
        input_shape: tuple of int, optional: the shape of an input, such as (1, 1, 32, 32), for the diagram. Required for
            a module that is not an equivariant network.
        depth: int, optional: the option of `plot_trace()`, for the diagram.

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a module without `input_shape`, `depth` without `input_shape`, or the errors of `trace_shapes()`.
        SetupError: matplotlib is not installed.

    Source:
        none for the bar chart; for the diagram see `plot_trace()`. In R, `plot()` of a network.

    Example:
        >>> import gequi
        >>> layers = [{"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3}, {"layer": "relu"}]
        >>> network = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, layers, seed=1)
        >>> [int(bar.get_width()) for bar in plot_network(network).axes[0].patches]
        [1, 16, 16]
        >>> len(plot_network(network, input_shape=(1, 1, 9, 9)).axes[0].patches)  # the boxes of the diagram
        2
    """
    check_model(model)
    if input_shape is not None:
        return plot_trace(trace_shapes(model, input_shape), depth)
    if not isinstance(model, EquivariantNetwork):
        raise InputError(
            "`{argument}` is missing: a module has no shape of its own. {example} is one.",
            "input_shape", example=(1, 1, 32, 32),
        )  # fmt: skip
    if depth is not None:
        raise InputError("`{argument}` is for diagrams, which need `{other:name}`.", "depth", other="input_shape")
    rows = describe_network(model)
    figure = new_figure(6.5, 0.5 * len(rows) + 1.6)
    _draw_channels(figure.subplots(), rows)
    figure.suptitle(_name_of(model), fontsize="large")
    return figure


def _name_of(network: EquivariantNetwork) -> str:
    """Return the gspace of a network as text: rot2dOnR2(N = 4)."""
    options = describe_gspace(network.space)
    name = options.pop("name")
    return name + (f"({', '.join(f'{key} = {value}' for key, value in options.items())})" if options else "")


def _draw_channels(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw one bar per layer, with its description above it."""
    for place, row in enumerate(rows):
        count = row["parameters"]
        label = row["fields"] + (f", {count:,} parameters" if count else "")
        axes.barh(place, row["channels"], height=0.36, color=WITH_WEIGHTS[count > 0][1])
        axes.text(0, place - 0.36, label, va="center", fontsize="small")
    names = ["input", *(row["kind"].replace("_", " ") for row in rows[1:])]
    axes.set_yticks(range(len(rows)), labels=names)
    axes.set_ylim(len(rows) - 0.7, -0.6)
    axes.set_xlabel("channels")
    style(axes, "x")
    handles = [patch(color, label) for label, color in WITH_WEIGHTS.values()]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize="small")


def plot_trace(trace: Any, depth: int | None = None) -> Figure:
    """Plot a network as a diagram of its modules and connections.

    Data flow from left to right. A wire has one line per axis of the tensor, without the batch axis, and is labeled
    where the shape changes: c channels, y rows, x columns, z slices, n tokens, f features. Smaller images are drawn at a
    lower level.

    Args:
        trace: list of dict: the result of `trace_shapes()`.
        depth: int, optional: the nesting depth at which containers are drawn as one box. None chooses the largest depth
            that needs at most 34 boxes.

    Returns:
        a matplotlib Figure. Its letters scale with the figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a table that is not a trace, or a depth below 1.
        SetupError: matplotlib is not installed.

    Source:
        after the neural circuit diagrams of Abbott 2024 (arXiv 2402.05424). In R, `plot()` of a trace.

    Example:
        >>> import gequi
        >>> figure = plot_trace(gequi.trace_shapes(gequi.unet(levels=2, width=2, seed=1), (1, 1, 8, 8)))
        >>> [text.get_text() for text in figure.axes[0].texts if text.get_rotation() == 90][:3]
        ['input', 'Conv2d', 'ReLU']
    """
    drawing = lay_out(trace, depth)
    spans = []
    for axis, low, high in (("x", "left", "right"), ("y", "bottom", "top")):
        half = "width" if axis == "x" else "height"
        ends = [box[axis] + sign * box[half] / 2 for box in drawing["boxes"] for sign in (-1, 1)]
        ends += [point[axis] for point in drawing["wires"]]
        ends += [frame[end] for frame in drawing["frames"] for end in (low, high)]
        spans.append((min(ends) - MARGIN, max(ends) + MARGIN))
    (left, right), (bottom, top) = spans
    unit = min(UNIT, WIDEST / (right - left))
    figure = new_figure(max((right - left) * unit, 4) + 0.1, (top - bottom) * unit + 0.5)
    axes = figure.subplots()
    axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    _draw_diagram(axes, drawing, min(1.2, max(0.35, 27 / (right - left))))
    axes.set_axis_off()
    roles = {box["role"] for box in drawing["boxes"]}
    handles = [patch(*ROLES[role]) for role in ROLES if role in roles]
    for handle in handles:
        handle.set_edgecolor("black")
        handle.set_linewidth(0.6)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles) or 1, frameon=False, fontsize="small")
    return figure


def _draw_diagram(axes: Axes, drawing: dict[str, list[dict[str, Any]]], thin: float) -> None:
    """Draw frames, wires, boxes and text. The lines of a wide diagram are thinner, like all else in it."""
    from matplotlib.patches import Rectangle

    from ._diagram_text import DiagramText

    for frame in drawing["frames"]:
        corner, size = (
            (frame["left"], frame["bottom"]),
            (frame["right"] - frame["left"], frame["top"] - frame["bottom"]),
        )
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="#8c8c8c", linestyle="--", linewidth=thin))
        place = frame["left"], frame["bottom"] - 0.08
        DiagramText(axes, *place, frame["label"], frame["letters"], ha="left", va="top", color="#737373")
    lines: dict[int, tuple[list[float], list[float]]] = {}
    for point in drawing["wires"]:
        xs, ys = lines.setdefault(point["line"], ([], []))
        xs.append(point["x"])
        ys.append(point["y"])
    for xs, ys in lines.values():
        axes.plot(xs, ys, color="black", linewidth=thin, solid_capstyle="round")
    for dot in drawing["dots"]:
        axes.plot(dot["x"], dot["y"], color="black", marker="o", markersize=3 * thin)
    for box in drawing["boxes"]:
        if box["role"] != "end":
            corner = box["x"] - box["width"] / 2, box["y"] - box["height"] / 2
            color = ROLES[box["role"]][0]
            size = box["width"], box["height"]
            axes.add_patch(Rectangle(corner, *size, facecolor=color, edgecolor="black", linewidth=thin, zorder=2.5))
        DiagramText(axes, box["x"], box["y"], box["label"], box["letters"], rotation=90)
    for label in drawing["labels"]:
        DiagramText(axes, label["x"], label["y"], label["text"], label["height"], ha="left", va="baseline")
