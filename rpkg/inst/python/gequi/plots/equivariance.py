"""Plots of equivariance: errors per group element, and the maps of a network before and after a transformation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._escnn import GSpace
from ..errors import InputError
from ..networks import EquivariantNetwork
from ..symmetry import equivariance_maps
from ._figures import GREEN, LILAC, RED, check_table, check_value, legend_above, new_figure, patch, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Marks beside the bars of elements that interpolate: column, label, and the shape in matplotlib.
MARKS = (("rms", "rms inside the disc", "o"), ("floor", "floor: interpolation alone", "x"))
KINDS = {True: ("moves pixels only", GREEN), False: ("has to interpolate", LILAC)}
SMALLEST = 1e-7  # no axis of errors begins above this
MOST_UPRIGHT, LONGEST_UPRIGHT = 12, 12  # bars, and letters of a name, that fit below upright bars
MOST_NAMES = 60  # beside horizontal bars
PANEL = 1.15  # inches


def plot_equivariance_error(errors: Any) -> Figure:
    """Plot a table of equivariance errors as a bar chart on a logarithmic scale, with one bar per group element.

    Elements that move the pixel grid without interpolation are green, the others are lilac. An error of 0 has no bar,
    and is marked with "0". For elements that interpolate, a dot is the error `rms` inside the disc, and a cross is
    `floor`, the error that interpolation alone makes. The bars are horizontal for more than 12 elements and for long
    names.

    Args:
        errors: list of dict: the result of `equivariance_error()` or `permutation_error()`.

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: a table without the columns "name", "exact" and "error", or with errors that are not numbers.
        SetupError: matplotlib is not installed.

    Source:
        the measure: see `equivariance_error()`. In R, `plot()` of its result.

    Example:
        >>> import gequi
        >>> space = gequi.gspace("rot2dOnR2", N=4)
        >>> errors = gequi.equivariance_error(lambda x: x**2, gequi.sample_image("volcano")[None, None], space,
        ...                                   input={"trivial": 1}, output={"trivial": 1})
        >>> figure = plot_equivariance_error(errors)
        >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
        ['0°', '90°', '180°', '270°']
    """
    rows = check_table(errors, "errors", ["name", "exact", "error"], "equivariance_error()")
    values = [check_value(row["error"], "errors", "error") for row in rows]
    if not all(0 <= value < math.inf for value in values):
        raise InputError(
            "`{argument}` must have finite errors of at least 0; got {values:list}.",
            "errors", values=[value for value in values if not 0 <= value < math.inf][:3],
        )  # fmt: skip
    names = [str(row["name"]) for row in rows]
    exact = [bool(row["exact"]) for row in rows]
    flat = len(rows) > MOST_UPRIGHT or max(map(len, names)) > LONGEST_UPRIGHT
    size = (6, min(0.9 + 0.24 * len(rows), 12)) if flat else (max(4.5, 0.65 * len(rows) + 1), 3.6)
    figure = new_figure(*size)
    axes = figure.subplots()
    floor = 10 ** (math.floor(math.log10(min([value for value in values if value > 0] + [SMALLEST]))) - 1)
    _draw_bars(axes, names, np.array(values), [KINDS[each][1] for each in exact], floor, flat)
    handles = [patch(color, label) for kind, (label, color) in KINDS.items() if kind in exact]
    legend_above(figure, handles + _draw_marks(axes, rows, floor, flat))
    return figure


def _draw_marks(axes: Axes, rows: list[dict[str, Any]], least: float, flat: bool) -> list[Any]:
    """Mark `rms` and `floor` of the elements that interpolate, where the table has them; return their legend."""
    handles = []
    for column, label, shape in MARKS:
        marked = [(place, row.get(column)) for place, row in enumerate(rows) if not row["exact"]]
        known = [
            (place, max(check_value(value, "errors", column), least)) for place, value in marked if value is not None
        ]
        if known:
            places, values = zip(*known, strict=True)
            at = (values, places) if flat else (places, values)
            handles += axes.plot(*at, shape, color="black", markersize=4.5, label=label)
    return handles


def _draw_bars(axes: Axes, names: list[str], values: np.ndarray, colors: list[str], floor: float, flat: bool) -> None:
    """Draw bars from `floor`, which is smaller than all errors."""
    places = np.arange(len(names))
    lengths = np.maximum(values - floor, 0)
    if flat:
        axes.barh(places, lengths, height=0.76, left=floor, color=colors)
    else:
        axes.bar(places, lengths, width=0.76, bottom=floor, color=colors)
    for place in places[values == 0]:
        at, shift = ((floor, place), (5, 0)) if flat else ((place, floor), (0, 5))
        axes.annotate("0", at, shift, textcoords="offset points", fontsize="small", ha="center", va="center")
    value_axis, name_axis = (axes.xaxis, axes.yaxis) if flat else (axes.yaxis, axes.xaxis)
    most = max(float(values.max()), 10 * floor)
    (axes.set_xscale if flat else axes.set_yscale)("log")
    (axes.set_xlim if flat else axes.set_ylim)(floor, most * (most / floor) ** 0.05)
    ticks = decades(floor, most)
    value_axis.set_ticks([10.0**power for power in ticks], labels=[f"$10^{{{power}}}$" for power in ticks])
    value_axis.minorticks_off()
    value_axis.set_label_text("equivariance error, relative")
    step = math.ceil(len(names) / MOST_NAMES)
    name_axis.set_ticks(places[::step].tolist(), labels=names[::step])
    if flat:
        axes.invert_yaxis()
    style(axes, "x" if flat else "y")


def decades(low: float, high: float) -> list[int]:
    """Return the exponents of whole powers of ten within the limits of a logarithmic axis, at most about 8."""
    first, last = math.ceil(math.log10(low) - 0.01), math.floor(math.log10(high) + 0.01)
    return list(range(first, max(first, last) + 1, math.ceil((last - first + 1) / 8) or 1))


def plot_equivariance(
    network: EquivariantNetwork | Callable[[np.ndarray], Any],
    x: Any,
    element: int = 1,
    field: int = 0,
    space: GSpace | None = None,
    input: Any = None,
    output: Any = None,
    dtype: str | None = None,
) -> Figure:
    """Plot an image, the features of the image, and the features of the transformed image.

    First row: the image and the channels of one output field. Second row: the transformed image and its features;
    arrows connect each channel with the channel to which the group element moves it. Third row: the difference
    g^-1 f(g x) - f(x), on the same scale, which is uniformly gray for an equivariant map.

    Args:
        network: EquivariantNetwork or callable: a network from images to images, or a function with `space`, `input`
            and `output`, as in `equivariance_error()`.
        x: array (row, column) or (batch, channel, row, column): the image. Only the first image of a batch is used.
        element: int: the number of the group element g. In a rotation group, 1 is the smallest rotation.
        field: int: the number of the output field.
        space: GSpace, optional: the gspace of a function. A network declares its own.
        input: dict, list or FieldType, optional: the fields of `x`, for a function.
        output: dict, list or FieldType, optional: the fields of the output, for a function.
        dtype: str, optional: "float32" or "float64", as in `equivariance_error()`.

    Returns:
        a matplotlib Figure. `figure.savefig(path)` writes it to a file.

    Raises:
        InputError: an output that is not an image or contains only zeros, or an element or field that does not exist.
        FieldError, ShapeError: the errors of `equivariance_error()`.
        SetupError: matplotlib is not installed.

    Source:
        Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv 1911.08251.

    Example:
        >>> import gequi
        >>> layers = [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 5}]
        >>> network = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, layers, seed=1)
        >>> figure = plot_equivariance(network, gequi.sample_image("cat")[::5, ::5])
        >>> [text.get_text() for text in figure.axes[0].texts][:5]
        ['image', '0°', '90°', '180°', '270°']
    """
    if not isinstance(network, EquivariantNetwork) and not callable(network):
        raise InputError("`{argument}` must be a network or a function; got {f!r:.80}.", "network", f=network)
    shown = equivariance_maps(network, x, element, field, space, input, output, dtype)
    channels = len(shown["maps"])
    figure = new_figure(PANEL * (channels + 1.25) + 0.2, PANEL * 3.25 + 0.2)
    axes = figure.subplots()
    both = np.concatenate([shown["maps"].ravel(), shown["maps_of_moved"].ravel()])
    limits, images = (both.min(), both.max()), (shown["input"].min(), shown["input"].max())
    scale = abs(both).max()
    step = math.ceil(1.3 * max(*shown["input"].shape, *shown["maps"].shape[1:]) + 4)  # of two panels
    for row, (image, key) in enumerate((("input", "maps"), ("moved", "maps_of_moved"), (None, "difference"))):
        if image is not None:
            _draw_panel(axes, shown[image], images, row, 0, step)
        for number, channel in enumerate(shown[key], start=1):
            _draw_panel(axes, channel, limits if image is not None else (-scale, scale), row, number, step)
    _write_names(axes, shown, step)
    edge = max(*shown["maps"].shape[1:], *shown["maps_of_moved"].shape[1:]) / 2 + 0.5
    for number, target in enumerate(shown["moves_to"] or []):
        ends = ((target + 1) * step, -step + edge + 1), ((number + 1) * step, -edge - 1)
        axes.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": RED, "shrinkA": 0, "shrinkB": 0})
    axes.set(xlim=(-0.7 * step, (channels + 0.55) * step), ylim=(-2.55 * step, 0.7 * step), aspect="equal")
    axes.set_axis_off()
    return figure


def _draw_panel(axes: Axes, image: np.ndarray, limits: tuple[float, float], row: int, column: int, step: int) -> None:
    """Draw a gray image at its place in the figure."""
    height, width = image.shape
    x, y = column * step, -row * step
    extent = (x - width / 2, x + width / 2, y - height / 2, y + height / 2)
    low, high = map(float, limits)
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-300), extent=extent, interpolation="nearest")


def _write_names(axes: Axes, shown: dict[str, Any], step: int) -> None:
    """Write the names of the channels and of the rows, and the largest error."""
    center: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": "small"}
    for column, name in enumerate(["image", *shown["names"]]):
        axes.text(column * step, 0.62 * step, name, **center)
    for row, name in enumerate(["f(x)", f"f(g x)\n{shown['name']}", "difference"]):
        axes.text(-0.62 * step, -row * step, name, rotation=90, **center)
    axes.text(0, -2 * step, f"largest\n{shown['error']:.1e}", **center)
