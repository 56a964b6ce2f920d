"""Registration of large images: reading them at a lower resolution, and warping them tile by tile."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._files import check_path, replaced_file, shown
from .._progress import check_progress, counted
from ..arrays import as_array, check_choice, check_integer, check_number
from ..errors import GequiError, InputError, ShapeError
from ..geometry.sampling import INTERPOLATIONS
from ..maps import storable, warp_image, warp_points
from ..registration import Registration
from ..registration.result import DIRECTIONS
from ..registration.warping import check_fill, filled
from ._reduced import reduced
from ._source import Source, opened

TILE = 512  # pixels along a side of the tiles that are computed and written
MARGIN = 32  # pixels around the part of the moving image that a tile shows: what the spline of a pixel depends on
ENDINGS = (".tif", ".tiff")
LARGEST_CLASSIC = 2**31  # bytes of pixels; more, even if compressed, are written as BigTIFF


def read_slide(path: Any, size: int = 2048, step: float | None = None) -> np.ndarray:
    """Read a large TIFF image, such as a whole-slide image, at a lower resolution and in grayscale.

    The pixels are means over equal rectangular cells of the image. The file is read in bands of rows, from the level of
    its pyramid with the lowest sufficient resolution, so that memory does not depend on the size of the image. Register
    two such images with `register_images()`, and apply the map at full resolution with `warp_slide()` and
    `transform_slide_points()`.

    Args:
        path: str: a TIFF file with or without tiles and a pyramid (OME-TIFF, SVS, NDPI, SCN and others that tifffile
            reads). Files with LZW or JPEG compression are decoded as a whole, unless the Python package imagecodecs is
            installed. The file holds one image (row, column), with channels or without. 3 or 4 channels are RGB and alpha; of other numbers of channels, the first is used.
        size: int: the number of pixels along the longer side of the result, at most that of the image.
        step: float: the number of pixels of the image per pixel of the result, at least 1, in place of `size`. Use the
            same value for two images with the same pixel size.

    Returns:
        a float64 array (row, column), with integers scaled to [0, 1].

    Raises:
        InputError: a file that does not exist or cannot be read, values that are not finite, a size below 16 or a step
            below 1.
        ShapeError: a file of other axes.
        SetupError: tifffile or pillow is not installed.

    Source:
        the formats: the documentation of tifffile (Gohlke). Grayscale: see `to_grayscale()`.

    Example:
        >>> import tempfile
        >>> import tifffile
        >>> from gequi import sample_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tifffile.imwrite(f"{folder}/cat.tif", sample_image("cat"), tile=(64, 64))
        ...     read_slide(f"{folder}/cat.tif", size=100).shape
        (67, 100)
    """
    longest = check_integer(size, "size", minimum=16)
    wide = None if step is None else check_number(step, "step", 1, math.inf)
    with opened(path, "path") as source:
        return reduced(source, _reduced_size(source.size, longest, wide))


def _reduced_size(size: tuple[int, int], longest: int, step: float | None) -> tuple[int, int]:
    """Return the size of an image whose pixels have a size of `step`, or whose longer side is at most `longest`."""
    step = max(max(size) / longest, 1.0) if step is None else step
    rows, columns = (max(round(n / step), 1) for n in size)
    return rows, columns


def warp_slide(
    found: Registration,
    moving: Any,
    fixed: Any,
    path: Any,
    interpolation: str = "cubic",
    fill: float | None = math.nan,
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> str:
    """Resample a large image onto the pixels of another one, tile by tile, and write it to a tiled TIFF file.

    Args:
        found: Registration: the registration of the two images as `read_slide()` reads them.
        moving, fixed: str: the files of the two images. Of `fixed`, only the size is used.
        path: str: the file to write, ending in .tif or .tiff. It has the type and the channels of `moving`, tiles of
            512 pixels and lossless compression. It is written completely or not at all.
        interpolation: str: "cubic" (spline), "linear" or "nearest". Interpolated integers are clipped to the range of
            their type.
        fill: float: the value of pixels outside the moving image. NaN is 0 for integers. None uses the nearest pixel.
        progress: callable: called after each tile with a dict of `done`, `total` and `seconds_left`.

    Returns:
        str: the path.

    Raises:
        ShapeError: a file whose size does not match that of its image in `found`, or a file of other axes.
        InputError: a file that cannot be read or written, an unknown interpolation, or a `fill` that the type of the
            image cannot store.
        SetupError: tifffile or pillow is not installed.

    Source:
        see `read_slide()` and `warp_image()`. The map is interpolated linearly between the pixels of `found`.

    Example:
        >>> import tempfile
        >>> import tifffile
        >>> from gequi import read_slide, register_images, sample_image
        >>> image = sample_image("cat")[:160, 100:292]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = [f"{folder}/{name}.tif" for name in ("moving", "fixed", "warped")]
        ...     tifffile.imwrite(files[0], image.T[::-1])
        ...     tifffile.imwrite(files[1], image)
        ...     found = register_images(read_slide(files[0], step=1.5), read_slide(files[1], step=1.5))
        ...     warped = tifffile.imread(warp_slide(found, *files))
        >>> bool(np.nanmedian(abs(warped - image)) < 0.01)
        True
    """
    _check_registration(found)
    how = check_choice(interpolation, "interpolation", INTERPOLATIONS)
    value = check_fill(fill)
    tell = check_progress(progress)
    target = check_path(path, "path")
    if target.suffix.lower() not in ENDINGS:
        raise InputError(
            "`{argument}` must end with one of {endings}; got {file}.",
            "path", endings=" ".join(ENDINGS), file=shown(target),
        )  # fmt: skip
    with opened(moving, "moving") as source, opened(fixed, "fixed") as onto:
        steps = _steps(source, found.moving.shape), _steps(onto, found.fixed.shape)
        if source.levels[0].dtype.kind in "ui" and value is not None:
            value = 0 if math.isnan(value) else float(storable(value, source.levels[0].dtype))
        corners = [(row, column) for row in range(0, onto.size[0], TILE) for column in range(0, onto.size[1], TILE)]
        done = counted(tell, len(corners))

        def tiles() -> Iterator[np.ndarray]:
            for number, corner in enumerate(corners):
                tile = _tile(found, source, onto.size, corner, steps, how, value)
                done(number + 1)  # before the yield: tifffile does not ask for more than the last tile
                yield _padded(tile)

        _write(target, tiles(), source, onto.size)
    return str(target)


def transform_slide_points(
    found: Registration,
    points: Any,
    moving: Any,
    fixed: Any,
    direction: str = "moving_to_fixed",
    return_std: bool = False,
    extrapolate: bool = False,
) -> Any:
    """Transform points from one large image to the other, in pixels of the full resolution.

    Args:
        found: Registration: the registration of the two images as `read_slide()` reads them.
        points: array (point, axis), or (axis) for a single point: row and column in pixels from 0.
        moving, fixed: str: the files of the two images, of which only the sizes are used.
        direction, return_std, extrapolate: as in `Registration.transform_points()`.

    Returns:
        the points in the other image. With `return_std`, a tuple of these and their standard deviations (point), in
        pixels of the full resolution.

    Raises:
        ShapeError: points with another number of coordinates, or a file whose size does not match that of its image in
            `found`.
        InputError: a file that cannot be read, an unknown direction, or values that are not finite.
        SetupError: tifffile or pillow is not installed.

    Source:
        see `read_slide()`. A position p in pixels of the full resolution is (p + 0.5) / step - 0.5 in `found`.

    Example:
        >>> import tempfile
        >>> import tifffile
        >>> from gequi import read_slide, register_images, sample_image
        >>> image = sample_image("cat")[:160, 100:292]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = [f"{folder}/{name}.tif" for name in ("moving", "fixed")]
        ...     tifffile.imwrite(files[0], image.T[::-1])
        ...     tifffile.imwrite(files[1], image)
        ...     found = register_images(read_slide(files[0], step=1.5), read_slide(files[1], step=1.5))
        ...     abs(transform_slide_points(found, [[191, 0]], *files)).round().tolist()
        [[0.0, 0.0]]
    """
    _check_registration(found)
    onto_fixed = check_choice(direction, "direction", DIRECTIONS) == "moving_to_fixed"
    at = as_array(points, "points").astype(np.float64)
    with opened(moving, "moving") as source, opened(fixed, "fixed") as onto:
        steps = [_steps(source, found.moving.shape), _steps(onto, found.fixed.shape)]
    here, there = steps if onto_fixed else steps[::-1]
    scaled = (at + 0.5) / here - 0.5 if at.shape[-1:] == here.shape else at
    carried = found.transform_points(scaled, direction, return_std, extrapolate)
    if not return_std:
        return (carried + 0.5) * there - 0.5
    places, deviations = carried
    return (places + 0.5) * there - 0.5, deviations * math.sqrt(math.prod(there))


def _check_registration(found: Any) -> None:
    if not isinstance(found, Registration) or found.fixed.ndim != 2:
        raise InputError(
            "`{argument}` must be the registration of two images; got {value!r:.60}.", "found", value=found
        )


def _steps(source: Source, shape: tuple[int, ...]) -> np.ndarray:
    """Return the number of pixels of a file per pixel of its reduced image, along each axis."""
    least = max(n / (m + 0.5) for n, m in zip(source.size, shape, strict=True))
    most = min(n / (m - 0.5) for n, m in zip(source.size, shape, strict=True))
    if least > most or most < 1:  # no step rounds to this shape
        raise ShapeError(
            "`{argument}`: {file} has the size {size}, which does not match the registered image of the size {shape}.",
            source.argument, file=shown(source.path), size=source.size, shape=shape,
        )  # fmt: skip
    return np.array(source.size) / shape


def _tile(
    found: Registration,
    source: Source,
    size: tuple[int, int],
    corner: tuple[int, int],
    steps: tuple[np.ndarray, np.ndarray],
    interpolation: str,
    fill: float | None,
) -> np.ndarray:
    """Compute one tile of the warped image: (row, column, channel)."""
    along = [np.arange(start, min(start + TILE, stop)) for start, stop in zip(corner, size, strict=True)]
    pixels = np.stack(np.meshgrid(*along, indexing="ij"), -1)
    places = warp_points(((pixels + 0.5) / steps[1] - 0.5).reshape(-1, 2), found.map)
    map = np.moveaxis((places.reshape(pixels.shape) + 0.5) * steps[0] - 0.5, -1, 0)
    region = [_part(places, n) for places, n in zip(map, source.size, strict=True)]
    shown = source.levels[0].region(*region)
    origin = np.array([part.start for part in region])[:, None, None]
    kind = np.float32 if shown.dtype.itemsize <= 2 or shown.dtype == np.float32 else np.float64
    try:
        warped = warp_image(shown if interpolation == "nearest" else shown.astype(kind), map - origin, interpolation)
    except GequiError as error:  # values that are not finite
        raise error.about(source.argument) if error.argument == "image" else error from None
    warped = filled(warped, map - origin, shown.shape[1:], fill)
    if shown.dtype.kind in "ui" and warped.dtype.kind == "f":
        limits = np.iinfo(shown.dtype)
        warped = np.rint(np.clip(warped, limits.min, limits.max))
    return np.moveaxis(warped.astype(shown.dtype), 0, -1)


def _part(places: np.ndarray, size: int) -> slice:
    """Return the pixels along an axis on which the values at these places depend; at least one."""
    start = min(max(math.floor(places.min()) - MARGIN, 0), size - 1)
    return slice(start, max(min(math.ceil(places.max()) + MARGIN + 1, size), start + 1))


def _write(path: Path, tiles: Iterator[np.ndarray], source: Source, size: tuple[int, int]) -> None:
    """Write tiles (row, column, channel) of TILE pixels to a TIFF file."""
    from tifffile import TiffWriter

    level = source.levels[0]
    channels = level.channels
    options: dict[str, Any] = {"photometric": "rgb" if channels in (3, 4) else "minisblack"}
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    elif channels > 4:
        options["extrasamples"] = ["unspecified"] * (channels - 1)
    shape = size if channels == 1 else (*size, channels)
    large = math.prod(shape) * level.dtype.itemsize > LARGEST_CLASSIC
    with replaced_file(path) as draft, TiffWriter(draft, bigtiff=large) as writer:
        writer.write(
            tiles,
            shape=shape,
            dtype=level.dtype,
            tile=(TILE, TILE),
            compression="zlib",
            planarconfig="contig",
            **options,
        )


def _padded(tile: np.ndarray) -> np.ndarray:
    """Fill a tile at the border of the image up to the size of the others."""
    rows, columns, channels = tile.shape
    full = np.pad(tile, ((0, TILE - rows), (0, TILE - columns), (0, 0)))
    return full[..., 0] if channels == 1 else full
