"""Pictures of results, by matplotlib: figures that no window and no global state belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch

from .arrays import as_numpy, check_choice, check_index, check_integer, own_tensor
from .errors import InputError, need_packages
from .geometry.filters import quantile_stretch
from .maps import warp_image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TYPES = ("overlay", "grid", "jacobian", "uncertainty", "checkerboard")
ROWS, COLUMNS = "#ff7f0e", "#35b6ff"  # of a grid
SHRUNK_TO_ENLARGED = ("#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2182b")
PANEL, LEAST_WIDTH = 3.6, 2.8  # inches along the longer side, and across


class Aligned(Protocol):
    """Two images and the map between them: what a picture of a registration needs."""

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
    def unmoved_map(self) -> np.ndarray: ...


class Cut(NamedTuple):
    """The part of an image that is shown: a slice across one axis of a volume, or all of an image."""

    slice: int | None
    axis: int
    along: list[int]  # the axes that are shown, downwards and to the right

    def of(self, image: np.ndarray, slice: int | None = None) -> np.ndarray:
        """The matrix that is shown of an image or volume; `slice` is another one than the cut's."""
        return image if self.slice is None else image.take(self.slice if slice is None else slice, self.axis)

    def map(self, map: np.ndarray) -> np.ndarray:
        """The part of a map (axis, *size) on the pixels that are shown, with as many axes as before."""
        return map if self.slice is None else map.take([self.slice], self.axis + 1)


def plot_registration(
    registration: Aligned, type: str = "overlay", slice: int | None = None, axis: int = 0, squares: int | None = None
) -> Figure:
    """A picture of a registration; see `Registration.plot()`."""
    need_packages(["matplotlib"], "A plot", "plot")
    from matplotlib.figure import Figure

    kind = check_choice(type, "type", TYPES)
    cut = _cut(registration.fixed.shape, slice, axis)
    count = check_integer({"grid": 16}.get(kind, 8) if squares is None else squares, "squares", minimum=1)
    panels = 1 if kind in ("jacobian", "uncertainty") else 2
    rows, columns = (registration.fixed.shape[i] * registration.spacing[i] for i in cut.along)
    scale = PANEL / max(rows, columns)
    width = max(columns * scale + (1.3 if panels == 1 else 0), LEAST_WIDTH)  # room for the scale of colours, and titles
    figure = Figure(figsize=(panels * width + 0.1, rows * scale + 0.6), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    if kind == "grid":
        _plot_grid(axes, registration, cut, count)
    elif kind == "jacobian":
        _plot_jacobian(axes[0], registration, cut)
    elif kind == "uncertainty":
        _plot_uncertainty(axes[0], registration, cut)
    else:
        _plot_before_and_after(axes, registration, cut, count if kind == "checkerboard" else None)
    for each in axes:
        each.set_axis_off()
    return figure


def _cut(size: tuple[int, ...], slice: int | None, axis: int) -> Cut:
    if len(size) == 2:
        if slice is not None:
            raise InputError("`{argument}` is for volumes; this is a registration of images.", "slice")
        return Cut(None, 0, [0, 1])
    across = check_index(axis, "axis", 3)
    number = (size[across] - 1) // 2 if slice is None else check_index(slice, "slice", size[across])
    return Cut(number, across, [other for other in range(3) if other != across])


def stretched(image: np.ndarray) -> np.ndarray:
    """The image between 0 and 1, with the darkest and the brightest half percent cut off."""
    whole = own_tensor(image, torch.float64)[None, None]
    return as_numpy(quantile_stretch(whole)[0, 0].clamp(0, 1))


def _show(axes: Axes, image: np.ndarray, spacing: np.ndarray, cut: Cut, **options: Any) -> Any:
    """A matrix, or colours, with pixels of their length."""
    rows, columns = (spacing[i] for i in cut.along)
    return axes.imshow(image, aspect=float(rows / columns), interpolation="nearest", **options)


# ---- two images -----------------------------------------------------------------------------------------


def _plot_before_and_after(axes: np.ndarray, registration: Aligned, cut: Cut, squares: int | None) -> None:
    """The fixed image and the moving one on its pixels, in two colours or in squares."""
    fixed, moving = cut.of(stretched(registration.fixed)), stretched(registration.moving)
    maps = {"before": registration.unmoved_map(), "after": registration.map}
    for each, (title, map) in zip(axes, maps.items(), strict=True):
        there = warp_image(moving, cut.map(map), fill=0).reshape(fixed.shape)
        if squares is None:
            picture = np.stack([fixed, there, fixed], 2)
        else:
            picture = np.where(_chessboard(fixed.shape, registration.spacing[cut.along], squares), fixed, there)
        _show(each, picture, registration.spacing, cut, cmap="gray", vmin=0, vmax=1)
        each.set_title(title)
    caption = "fixed in magenta, moving in green, grey where they agree"
    if squares is not None:
        caption = "squares of the fixed and of the moving image in turn"
    axes[0].figure.supxlabel(caption, fontsize="medium")


def _chessboard(size: tuple[int, ...], spacing: np.ndarray, squares: int) -> np.ndarray:
    """Where the fixed image is shown: every other square, so many along the longer side."""
    side = max(n * length for n, length in zip(size, spacing, strict=True)) / squares
    number = [((np.arange(n) + 0.5) * length / side).astype(int) for n, length in zip(size, spacing, strict=True)]
    return np.add.outer(*number) % 2 == 0


# ---- the map --------------------------------------------------------------------------------------------


def _plot_grid(axes: np.ndarray, registration: Aligned, cut: Cut, squares: int) -> None:
    """A straight grid on the fixed image, and where the map takes it; of a volume, seen along the axis."""
    fixed, moving = registration.fixed, registration.moving
    carried = [cut.of(registration.map[i]) for i in cut.along]
    slice = None
    if cut.slice is not None:  # the slice of the moving volume that the middle of the grid lies in
        through = float(np.median(cut.of(registration.map[cut.axis])))
        slice = int(np.clip(round(through), 0, moving.shape[cut.axis] - 1))
    straight: list[np.ndarray] = [*np.indices(carried[0].shape)]
    panels = (
        ("fixed, with a grid", cut.of(stretched(fixed)), registration.spacing, straight),
        ("moving, with the grid carried over", cut.of(stretched(moving), slice), registration.moving_spacing, carried),
    )
    for each, (title, image, spacing, map) in zip(axes, panels, strict=True):
        _show(each, image, spacing, cut, cmap="gray", vmin=0, vmax=1)
        _draw_lines(each, map, squares)
        each.set_title(title)
    names = (("rows", ROWS), ("columns", COLUMNS))
    handles = [axes[0].plot([], [], color=colour, label=name)[0] for name, colour in names]
    axes[0].figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)


def _draw_lines(axes: Axes, map: list[np.ndarray], squares: int) -> None:
    """Every so many rows and columns of a map, as lines in the image that it leads to."""
    rows, columns = map
    step = max(1, round((max(rows.shape) - 1) / squares))
    for colour, x, y in ((ROWS, columns, rows), (COLUMNS, columns.T, rows.T)):
        last = len(x) - 1
        for i in sorted({*range(0, last, step), last}):
            axes.plot(x[i], y[i], color=colour, linewidth=0.9)


def _plot_jacobian(axes: Axes, registration: Aligned, cut: Cut) -> None:
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    jacobian = cut.of(registration.jacobian)
    grows = np.ma.masked_less_equal(jacobian, 0)
    most = max(1.1, float(np.exp(np.abs(np.log(grows.compressed())).max(initial=0))))
    colours = LinearSegmentedColormap.from_list("jacobian", SHRUNK_TO_ENLARGED).with_extremes(bad="black")
    shown = _show(axes, grows, registration.spacing, cut, cmap=colours, norm=LogNorm(1 / most, most))
    ticks = [most**power for power in (-0.95, -0.5, 0, 0.5, 0.95)]
    _add_bar(axes, shown, ticks, "area" if cut.slice is None else "volume")


def _plot_uncertainty(axes: Axes, registration: Aligned, cut: Cut) -> None:
    from matplotlib.colors import LogNorm

    uncertainty = cut.of(registration.uncertainty)
    low, high = float(uncertainty.min()), float(uncertainty.max())
    high = max(high, 1.001 * low)
    shown = _show(axes, uncertainty, registration.spacing, cut, cmap="magma", norm=LogNorm(low, high))
    _add_bar(axes, shown, np.geomspace(low, high, 5).tolist(), "pixels" if cut.slice is None else "voxels")


def _add_bar(axes: Axes, shown: Any, ticks: list[float], label: str) -> None:
    bar = axes.figure.colorbar(shown, ax=axes, label=label)
    bar.set_ticks(ticks, labels=[f"{tick:.2g}" if label in ("pixels", "voxels") else f"{tick:.2f}" for tick in ticks])
    bar.minorticks_off()
