"""Plots of images: one, several, the channels of a batch, or image files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..arrays import LazyArray, as_array, entries, opened, scalar
from ..errors import InputError, ShapeError
from ..pictures import LUMINANCE, MOST_CHANNELS
from ._figures import MISSING, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 2.1  # inches along the longer side of each of several images
SINGLE = 4.5  # of one image
MOST_ACROSS = 5  # images in a row
AXES = "(row, column), (row, column, channel), (image, row, column) or (image, channel, row, column)"


def plot_image(x: Any, titles: Any = None, limits: Any = None) -> Figure:
    """Plot one or several images with square pixels and row 0 at the top.

    Colors are interpreted as values from 0 to 1, or from 0 to 255 if a value exceeds 1; `limits` overrides this.
    Grayscale images share one scale. NaN is a missing pixel, which is gray.

    Args:
        x: one of: an array (row, column), grayscale; an array (row, column, channel) with 1 to 4 channels: gray, gray
            and alpha, RGB, or RGB and alpha; an array (image, row, column) with more than 4 columns, such as the slices
            of a volume; an array (image, channel, row, column), as used by networks, of which 3 channels are shown as
            colors and otherwise each channel as an image; the path of an image file or of a folder of image files; or a
            list of arrays or paths, or a dict of these with their titles as keys.
        titles: str or list of str, optional: one title per image. None uses the names of the files or keys, or numbers.
        limits: tuple of float, optional: the values shown as black and as white. None uses the minimum and maximum.

    Returns:
        a matplotlib Figure with one Axes per image. `figure.savefig(path)` writes it to a file.

    Raises:
        ShapeError: an array with other axes, or another number of titles than of images.
        InputError: values that are not numbers, or a file that cannot be read.
        SetupError: matplotlib is not installed.

    Source:
        none: pixels are shown as they are. The function of the same name in R draws the same figure.

    Example:
        >>> import gequi
        >>> volcano = gequi.sample_image("volcano")
        >>> figure = plot_image({"upright": volcano, "transposed": volcano.T})
        >>> [(axes.get_title(), axes.images[0].get_array().shape) for axes in figure.axes]
        [('upright', (87, 61)), ('transposed', (61, 87))]
    """
    panels = _panels_of(x)
    names = [name for name, _ in panels] if titles is None else _check_titles(titles, len(panels))
    ends = _check_limits(limits)
    images = [image for _, image in panels]
    of_gray = ends or _range([image for image in images if image.ndim == 2])
    of_colors = ends or _limits_of_colors([image for image in images if image.ndim == 3])
    rows = math.ceil(len(images) / MOST_ACROSS)
    columns = math.ceil(len(images) / rows)
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    longest = SINGLE if len(images) == 1 else PANEL
    scale = longest / max(height, width)
    figure = new_figure(max(width * scale, 0.8) * columns + 0.2, (max(height * scale, 0.4) + 0.35) * rows + 0.1)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for each, image in zip(axes, images, strict=False):
        _draw(each, image, of_gray if image.ndim == 2 else of_colors, (height, width))
    for each, name in zip(axes, _made_unique(names), strict=False):
        if len(images) > 1 or titles is not None:
            each.set_title(name, fontsize="medium")
    for each in axes[len(images) :]:
        each.remove()
    return figure


def _draw(axes: Axes, image: np.ndarray, limits: tuple[float, float], size: tuple[int, int]) -> None:
    """Draw an image, centered in a panel of a size in pixels, so that all images of a figure have one scale."""
    import matplotlib

    low, high = limits
    if image.ndim == 3:
        colors = np.clip((np.nan_to_num(image, nan=low) - low) / max(high - low, np.finfo(float).eps), 0, 1)
        axes.imshow(colors, interpolation="nearest")
    else:
        shades = matplotlib.colormaps["gray"].with_extremes(bad=MISSING)
        axes.imshow(image, cmap=shades, vmin=low, vmax=high, interpolation="nearest")
    middle = [(length - 1) / 2 for length in image.shape[:2]]
    axes.set(
        xlim=(middle[1] - size[1] / 2, middle[1] + size[1] / 2), ylim=(middle[0] + size[0] / 2, middle[0] - size[0] / 2)
    )
    axes.set_axis_off()


# ---- the images in an argument --------------------------------------------------------------------------

Panels = list[tuple[str, np.ndarray]]  # titles, with matrices or arrays (row, column, channel)


def _panels_of(x: Any) -> Panels:
    """Return the images in `x` with their titles."""
    if isinstance(x, str | os.PathLike):
        return _panels_of_files(x)
    if isinstance(x, LazyArray):
        return _panels_of_files(x)
    if isinstance(x, Mapping):
        return _of_several(x.items())
    if isinstance(x, list | tuple) and all(
        isinstance(each, np.ndarray | torch.Tensor | str | os.PathLike) for each in x
    ):
        return _of_several(enumerate(x)) if all(np.ndim(each) != 0 or _is_path(each) for each in x) else _of_array(x)
    return _of_array(x)


def _is_path(x: Any) -> bool:
    return isinstance(x, str | os.PathLike)


def _of_several(named: Iterable[tuple[Any, Any]]) -> Panels:
    panels: Panels = []
    for name, each in named:
        own = _panels_of(each)
        if _is_path(each) and isinstance(name, int):
            panels += own
        else:
            panels += [(str(name) if len(own) == 1 else f"{name} {part}", image) for part, image in own]
    if not panels:
        raise ShapeError("`{argument}` is empty: at least one image is needed.", "x")
    return panels


def _panels_of_files(x: Any) -> Panels:
    """Return the images of files, which may differ in size, with their names as titles."""
    files = x if isinstance(x, LazyArray) else opened(x)
    paths = getattr(files, "files", None)
    if paths is None:
        raise InputError("`{argument}` must be images; {x!r:.80} is neither a folder nor an image file.", "x", x=x)
    panels = []
    for path in paths:
        image = np.asarray(opened([path])[0][0], np.float64)
        panels.append((path.name, image[0] if len(image) < len(LUMINANCE) else np.moveaxis(image, 0, -1)))
    return panels


def _of_array(x: Any) -> Panels:
    array = as_array(x, "x", ndim=(2, 3, 4), axes=AXES, finite=False)
    values = array.astype(np.float64)
    if np.isinf(values).any():
        raise InputError("`{argument}` must be finite or NaN; it has infinite values.", "x")
    if values.ndim == 2:
        return [("0", values)]
    if values.ndim == 3 and values.shape[2] <= MOST_CHANNELS:
        return [("0", values[..., 0] if values.shape[2] < len(LUMINANCE) else values)]
    if values.ndim == 3:
        return [(str(number), image) for number, image in enumerate(values)]
    if values.shape[1] == len(LUMINANCE):
        return [(str(number), np.moveaxis(image, 0, -1)) for number, image in enumerate(values)]
    panels = []
    for number, image in enumerate(values):
        for channel, part in enumerate(image):
            of_channel = f"channel {channel}"
            title = of_channel if len(values) == 1 else str(number) if len(image) == 1 else f"{number} {of_channel}"
            panels.append((title, part))
    return panels


# ---- titles and scales ----------------------------------------------------------------------------------


def _check_titles(titles: Any, count: int) -> list[str]:
    given = [scalar(each) for each in entries(titles)]
    if not all(isinstance(each, str | int | float) for each in given):
        raise InputError("`{argument}` must be text, one per image; got {titles!r:.80}.", "titles", titles=titles)
    if len(given) != count:
        raise ShapeError(
            "`{argument}` must have one title per image, {count}; got {given}.",
            "titles", count=count, given=len(given),
        )  # fmt: skip
    return [str(each).replace("$", r"\$") for each in given]  # dollars would be read as formulas


def _made_unique(names: list[str]) -> list[str]:
    """Append numbers to names that occur again."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        count = seen[name] = seen.get(name, -1) + 1
        unique.append(f"{name} {count}" if count else name)
    return unique


def _check_limits(limits: Any) -> tuple[float, float] | None:
    if limits is None:
        return None
    given = [scalar(each) for each in entries(limits)]
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in given)
    if len(given) != 2 or not numbers or not -1e300 < given[0] < given[1] < 1e300:
        raise InputError(
            "`{argument}` must be None or two finite numbers, the value of black and the larger value of white; got "
            "{limits!r:.80}.", "limits", limits=limits,
        )  # fmt: skip
    return float(given[0]), float(given[1])


def _range(images: list[np.ndarray]) -> tuple[float, float]:
    """Return the smallest and the largest value of images; NaN does not count."""
    known = [image[np.isfinite(image)] for image in images]
    values = np.concatenate([[], *known])
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _limits_of_colors(images: list[np.ndarray]) -> tuple[float, float]:
    low, high = _range(images)
    if low < 0 or high > 255:
        return low, high
    return (0.0, 1.0) if high <= 1 else (0.0, 255.0)
