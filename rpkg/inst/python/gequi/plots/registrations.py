"""Plots of registrations: overlays, checkerboards, grids and maps of values."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from ..arrays import as_numpy, check_choice, check_index, check_integer, own_tensor
from ..errors import InputError
from ..geometry.filters import quantile_stretch
from ..maps import warp_image
from ._figures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TYPES = ("overlay", "grid", "jacobian", "uncertainty", "checkerboard")
ROWS, COLUMNS = "#ff7f0e", "#35b6ff"  # of a grid
SHRUNK_TO_ENLARGED = ("#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2182b")
PANEL, LEAST_WIDTH = 3.6, 2.8  # inches along the longer side, and across
SMALL_PANEL = 2.4  # inches along the longer side of each of several pictures
LEGENDS = {  # the title of a scale of colors, for images and for volumes
    "jacobian": ("area, moving / fixed", "volume, moving / fixed"),
    "uncertainty": ("standard deviation, pixels", "standard deviation, voxels"),
}
TITLES = {"jacobian": "determinant of the map", "uncertainty": "uncertainty of the map"}
CAPTIONS = {
    "overlay": "fixed in magenta, moving in green, gray where they agree, dark outside the moving image",
    "checkerboard": "alternating squares of the fixed and the moving image",
    "grid": "the grid of the fixed image, mapped to the moving image",
}


class Aligned(Protocol):
    """Two images and the map between them, the data for plots of a registration."""

    @property
    def map(self) -> np.ndarray: ...
    @property
    def jacobian(self) -> np.ndarray: ...
    @property
    def uncertainty(self) -> np.ndarray: ...
    @property
    def moving(self) -> np.ndarray: ...
    @property
    def fixed(self) -> np.ndarray: ...
    @property
    def moving_spacing(self) -> np.ndarray: ...
    @property
    def spacing(self) -> np.ndarray: ...
    @property
    def contrast(self) -> str: ...
    def unmoved_map(self) -> np.ndarray: ...


class Cut(NamedTuple):
    """The part of an image that is shown: a slice of a volume perpendicular to an axis, or all of an image."""

    slice: int | None
    axis: int
    along: list[int]  # the axes that are shown, downwards and to the right

    def of(self, image: np.ndarray, slice: int | None = None) -> np.ndarray:
        """Return the displayed matrix of an image or volume; `slice` replaces the slice of the cut."""
        return image if self.slice is None else image.take(self.slice if slice is None else slice, self.axis)

    def map(self, map: np.ndarray) -> np.ndarray:
        """Return the part of a map (axis, *size) on the displayed pixels, with all its axes."""
        return map if self.slice is None else map.take([self.slice], self.axis + 1)


def plot_registration(
    registration: Aligned, type: str = "overlay", slice: int | None = None, axis: int = 0, squares: int | None = None
) -> Figure:
    """Plot a registration; see `Registration.plot()`."""
    kind = check_choice(type, "type", TYPES)
    cut = _cut(registration.fixed.shape, slice, axis)
    count = check_integer({"grid": 16}.get(kind, 8) if squares is None else squares, "squares", minimum=1)
    panels = 1 if kind in LEGENDS else 2
    rows, columns = (registration.fixed.shape[i] * registration.spacing[i] for i in cut.along)
    scale = PANEL / max(rows, columns)
    width = max(columns * scale + (1.3 if panels == 1 else 0), LEAST_WIDTH)  # room for the scale of colors, and titles
    figure = new_figure(panels * width + 0.1, rows * scale + 1.0)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    if kind == "grid":
        _plot_grid(axes, registration, cut, count)
    elif kind in LEGENDS:
        values = _values(registration, cut, kind)
        shown = _show(axes[0], values, registration.spacing, cut, **_colours(kind, [values]))
        axes[0].set_title(TITLES[kind])
        _add_bar(axes, shown, LEGENDS[kind][cut.slice is not None])
    else:
        _plot_before_and_after(axes, registration, cut, count if kind == "checkerboard" else None)
    for each in axes:
        each.set_axis_off()
    return figure


def plot_registrations(
    registrations: Sequence[Aligned | Exception],
    labels: Sequence[str],
    type: str = "overlay",
    slice: int | None = None,
    axis: int = 0,
    squares: int | None = None,
) -> Figure:
    """Plot several registrations in one panel per pair; see `Registrations.plot()`."""
    kind = check_choice(type, "type", TYPES)
    count = check_integer({"grid": 16}.get(kind, 8) if squares is None else squares, "squares", minimum=1)
    if not registrations:
        raise InputError("There is no pair to show.")
    cuts = [None if isinstance(each, Exception) else _cut(each.fixed.shape, slice, axis) for each in registrations]
    columns = math.ceil(math.sqrt(len(labels)))
    size = columns, math.ceil(len(labels) / columns)
    figure = new_figure(size[0] * SMALL_PANEL + 1, size[1] * (SMALL_PANEL + 0.3) + 0.5)
    axes = figure.subplots(size[1], size[0], squeeze=False).ravel()
    pairs = [
        (each, cut)
        for each, cut in zip(registrations, cuts, strict=True)
        if not isinstance(each, Exception) and cut is not None
    ]
    options = {}
    if kind in LEGENDS and pairs:
        options = _colours(kind, [_values(each, cut, kind) for each, cut in pairs])
    shown = None
    for each, one, cut, label in zip(axes, registrations, cuts, labels, strict=False):
        each.set_title(label, fontsize="medium")
        each.set_anchor("N")
        if isinstance(one, Exception) or cut is None:
            each.text(0.5, 0.5, textwrap.fill(str(one), 30), ha="center", va="center", fontsize="x-small", wrap=True)
        elif kind in LEGENDS:
            shown = _show(each, _values(one, cut, kind), one.spacing, cut, **options)
        elif kind == "grid":
            _draw_grid(each, one, cut, count)
        else:
            _draw_pair(each, one, cut, "after", count if kind == "checkerboard" else None)
    for each in axes:
        each.set_axis_off()
    if shown is not None:
        _add_bar(axes, shown, LEGENDS[kind][pairs[0][1].slice is not None])
    elif pairs:
        figure.supxlabel(CAPTIONS[kind], fontsize="medium")
    return figure


def _cut(size: tuple[int, ...], slice: int | None, axis: int, shown: str = "a registration of images") -> Cut:
    if len(size) == 2:
        if slice is not None:
            raise InputError("`{argument}` is for volumes; this is {shown}.", "slice", shown=shown)
        return Cut(None, 0, [0, 1])
    across = check_index(axis, "axis", 3)
    number = (size[across] - 1) // 2 if slice is None else check_index(slice, "slice", size[across])
    return Cut(number, across, [other for other in range(3) if other != across])


def stretched(image: np.ndarray) -> np.ndarray:
    """Scale the image to [0, 1], with the darkest and the brightest half percent clipped."""
    whole = own_tensor(image, torch.float64)[None, None]
    return as_numpy(quantile_stretch(whole)[0, 0].clamp(0, 1))


def _show(axes: Axes, image: np.ndarray, spacing: np.ndarray, cut: Cut, **options: Any) -> Any:
    """Draw a matrix, or colors, with pixels of their physical size."""
    rows, columns = (spacing[i] for i in cut.along)
    return axes.imshow(image, aspect=float(rows / columns), interpolation="nearest", **options)


# ---- two images -----------------------------------------------------------------------------------------


def laid_over(
    registration: Aligned, slice: int | None = None, axis: int = 0, squares: int = 8
) -> dict[str, np.ndarray]:
    """Return the two images with matched gray levels, on the pixels of the fixed image.

    The gray levels of the moving image are replaced by those of the fixed image at the same rank, over the pixels where
    both are visible after registration. For contrast "any" the order is reversed if the intensities of the two images
    are inverted. Images that agree up to brightness and contrast therefore look alike.

    Returns:
        `fixed`; the moving image `before` (aligned by the centers) and `after` registration, with NaN outside it; and
        `board`, whether a checkerboard with `squares` squares along the longer side shows the fixed image.
    """
    cut = _cut(registration.fixed.shape, slice, axis)
    fixed, moving = cut.of(stretched(registration.fixed)), stretched(registration.moving)
    there = {
        name: warp_image(moving, cut.map(map), fill=-1).reshape(fixed.shape)
        for name, map in (("before", registration.unmoved_map()), ("after", registration.map))
    }
    seen = there["after"] >= 0
    alike = _greys(there["after"][seen], fixed[seen], registration.contrast == "any")
    moved = {name: np.where(x < 0, np.nan, alike(x)) for name, x in there.items()}
    return {"fixed": fixed, **moved, "board": _chessboard(fixed.shape, registration.spacing[cut.along], squares)}


def _greys(moving: np.ndarray, fixed: np.ndarray, any_contrast: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from gray levels of the moving image to those of the fixed image at the same rank."""
    if len(moving) < 2:
        return lambda x: x
    ranks = np.linspace(0, 1, 257)
    low, high = np.quantile(moving, ranks), np.quantile(fixed, ranks)
    if any_contrast and np.mean((moving - moving.mean()) * (fixed - fixed.mean())) < 0:
        high = high[::-1]
    greys, number = np.unique(low, return_inverse=True)
    means = np.bincount(number, high) / np.bincount(number)  # of ranks that share a gray level
    return lambda x: np.interp(x, greys, means)


def _plot_before_and_after(axes: np.ndarray, registration: Aligned, cut: Cut, squares: int | None) -> None:
    """Plot the fixed image and the moving image on its pixels, in two colors or as a checkerboard."""
    for each, when in zip(axes, ("before", "after"), strict=True):
        _draw_pair(each, registration, cut, when, squares)
        each.set_title(when)
    caption = CAPTIONS["overlay" if squares is None else "checkerboard"]
    axes[0].figure.supxlabel(textwrap.fill(caption, 60), fontsize="medium")


def _draw_pair(axes: Axes, registration: Aligned, cut: Cut, when: str, squares: int | None) -> None:
    """Draw the two images before or after registration."""
    parts = laid_over(registration, cut.slice, cut.axis, squares or 1)
    fixed, there = parts["fixed"], parts[when]
    seen = ~np.isnan(there)
    if squares is None:
        green = np.where(seen, there, fixed / 2)
        magenta = np.where(seen, fixed, fixed / 2)
        picture = np.stack([magenta, green, magenta], 2)
    else:
        picture = np.where(parts["board"], fixed, np.where(seen, there, 0))
    _show(axes, picture, registration.spacing, cut, cmap="gray", vmin=0, vmax=1)


def _chessboard(size: tuple[int, ...], spacing: np.ndarray, squares: int) -> np.ndarray:
    """Return where the fixed image is shown: every other square, with `squares` squares along the longer side."""
    side = max(n * length for n, length in zip(size, spacing, strict=True)) / squares
    number = [((np.arange(n) + 0.5) * length / side).astype(int) for n, length in zip(size, spacing, strict=True)]
    return np.add.outer(*number) % 2 == 0


# ---- the map --------------------------------------------------------------------------------------------


def _plot_grid(axes: np.ndarray, registration: Aligned, cut: Cut, squares: int) -> None:
    """Plot a regular grid on the fixed image and its position under the map; for a volume, projected along the axis."""
    fixed = cut.of(stretched(registration.fixed))
    _show(axes[0], fixed, registration.spacing, cut, cmap="gray", vmin=0, vmax=1)
    _draw_lines(axes[0], [*np.indices(fixed.shape)], squares)
    axes[0].set_title("fixed, with a grid")
    _draw_grid(axes[1], registration, cut, squares)
    axes[1].set_title("moving, with the grid carried over")
    names = (("rows", ROWS), ("columns", COLUMNS))
    handles = [axes[0].plot([], [], color=colour, label=name)[0] for name, colour in names]
    figure = axes[0].figure
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, title="lines of the fixed image")


def _draw_grid(axes: Axes, registration: Aligned, cut: Cut, squares: int) -> None:
    """Draw the grid at its position under the map, on the moving image."""
    moving, slice = registration.moving, None
    if cut.slice is not None:  # the slice of the moving volume that the middle of the grid lies in
        through = float(np.median(cut.of(registration.map[cut.axis])))
        slice = int(np.clip(round(through), 0, moving.shape[cut.axis] - 1))
    _show(axes, cut.of(stretched(moving), slice), registration.moving_spacing, cut, cmap="gray", vmin=0, vmax=1)
    _draw_lines(axes, [cut.of(registration.map[i]) for i in cut.along], squares)


def _draw_lines(axes: Axes, map: list[np.ndarray], squares: int) -> None:
    """Draw some rows and columns of a map at equal distances, as lines in the target image."""
    rows, columns = map
    step = max(1, round((max(rows.shape) - 1) / squares))
    for colour, x, y in ((ROWS, columns, rows), (COLUMNS, columns.T, rows.T)):
        last = len(x) - 1
        for i in sorted({*range(0, last, step), last}):
            axes.plot(x[i], y[i], color=colour, linewidth=0.9)


def _values(registration: Aligned, cut: Cut, kind: str) -> np.ndarray:
    """Return the values that are shown in color; folds have none."""
    values = cut.of(getattr(registration, kind))
    return np.ma.masked_less_equal(values, 0) if kind == "jacobian" else values


def _colours(kind: str, values: list[np.ndarray]) -> dict[str, Any]:
    """Return one color scale for all values: for the determinant about 1, with black folds, or for the uncertainty."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    every = np.concatenate([np.ma.getdata(each).ravel() for each in values])
    if kind == "jacobian":
        most = max(1.1, float(np.exp(np.abs(np.log(every[every > 0])).max(initial=0))))
        shades = LinearSegmentedColormap.from_list("jacobian", SHRUNK_TO_ENLARGED)
        return {"cmap": shades.with_extremes(bad="black"), "norm": LogNorm(1 / most, most)}
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    return {"cmap": "magma", "norm": LogNorm(low, max(high, 1.001 * low))}


def _add_bar(axes: np.ndarray, shown: Any, label: str) -> None:
    low, high = shown.norm.vmin, shown.norm.vmax
    if label in LEGENDS["jacobian"]:
        ticks, digits = [high**power for power in (-0.95, -0.5, 0, 0.5, 0.95)], ".2f"
    else:
        ticks, digits = np.geomspace(low, high, 5).tolist(), ".2g"
    bar = axes[0].figure.colorbar(shown, ax=axes, label=label)
    bar.set_ticks(ticks, labels=[f"{tick:{digits}}" for tick in ticks])
    bar.minorticks_off()
