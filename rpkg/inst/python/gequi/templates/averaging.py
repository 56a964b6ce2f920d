"""An unbiased template of many images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .._progress import check_progress, counted
from ..arrays import check_choice, check_device, check_dtype, check_index, check_integer, check_number
from ..geometry.sampling import INTERPOLATIONS
from ..maps import check_spacing
from ..registration.register import MASKS, TRANSFORMS
from ..registration.series import check_series
from ._group import Group
from .result import GroupMean


def group_mean(
    images: Any,
    transform: str = "deformable",
    spacing: Any = None,
    start: int | None = None,
    rounds: int = 6,
    tolerance: float = 0.05,
    mask: str = "auto",
    min_probability: float = 0.5,
    interpolation: str = "cubic",
    dtype: str = "float32",
    device: str = "auto",
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> GroupMean:
    """Compute an unbiased template of several images or volumes: the mean of their shapes and of their gray values.

    The template begins as one of the images. In each round, every image is registered with the present template by
    `register_images()`. The maps are then composed with the map of the template onto itself after which their mean is
    the identity, and the new template is the mean of the images, resampled through these maps. The result therefore
    depends neither on the order of the images nor on the one with which the template begins, up to the errors of the
    registrations.

    The mean of the maps is the identity in this sense: the rotations have the mean rotation 0, the logarithms of the
    stretches have the mean 0, the centers of the images lie about the center of the template, and the deformations that
    remain have the mean 0 at each pixel. The images may be turned by any angle. If their rotations have no mean (such
    as 0, 90, 180 and 270 degrees), the template is turned as the image with which it begins. The gray values of the
    images should differ by little, as they are averaged.

    Args:
        images: list of arrays (row, column) or (depth, row, column); or an array (image, *size); or a mapping whose
            keys name the images. At least 2 images, with at least 16 pixels along each side. The sizes may differ; the
            template has their mean size.
        transform: str: the kind of map between template and images: "deformable", "affine", "similarity", "rigid" or
            "translation".
        spacing: float or array (axis): the pixel size of all images. None is 1.
        start: int: the number of the image with which the template begins. None is the image with the median contrast
            (standard deviation). If fewer than half of the others can be registered with it, two more are tried.
        rounds: int: the maximum number of rounds.
        tolerance: float: in pixels. The rounds end when the maps change by less than this at nine tenths of the pixels
            that the images show.
        mask: str: "auto" or "none", as in `register_images()`.
        min_probability: float: the minimum probability of a registration. An image below it is not used.
        interpolation: str: the interpolation of the images: "cubic", "linear" or "nearest".
        dtype: str: "float32" or "float64", the precision of the registrations.
        device: str: "cpu", "cuda" or "auto".
        progress: callable: called after each registration with a dict of `done`, `total` and `seconds_left`.

    Returns:
        a `GroupMean`. Its attributes are `template`, `variability`, `maps`, `table`, `changes`, `converged` and
        `turned_as`; its methods are `summary()` and `plot()`.

    Raises:
        ShapeError: fewer than 2 images, an image and a volume, or a side of fewer than 16 pixels.
        InputError: values that are not finite, an unknown option, or deformations whose mean folds.
        UnrelatedImagesError: no 2 images can be registered with each other.

    Source:
        Guimond, Meunier and Thirion 2000, and Avants and Gee 2004 (templates of the mean shape). Moakher 2002 (mean
        rotations). Pennec, Fillard and Ayache 2006 (mean stretches).

    Example:
        >>> from gequi import group_mean, sample_image
        >>> image = sample_image("cat")[50:114, 150:214]
        >>> found = group_mean([image, image[::-1, ::-1], image], transform="rigid", start=0)
        >>> found.template.shape, [abs(round(row["rotation"])) for row in found.table]
        ((64, 64), [0, 180, 0])
    """
    check_choice(transform, "transform", TRANSFORMS)
    check_choice(interpolation, "interpolation", INTERPOLATIONS)
    check_choice(mask, "mask", MASKS)
    check_number(min_probability, "min_probability", 0, 1)
    check_dtype(dtype)
    check_device(device)
    listener = check_progress(progress)
    most, near = check_integer(rounds, "rounds", minimum=1), check_number(tolerance, "tolerance", 0)
    pictures, names = check_series(images, "image", (2, 3))
    length = check_spacing(spacing, pictures[0].ndim, "spacing")
    first = None if start is None else check_index(start, "start", len(pictures))
    options = {"transform": transform, "mask": mask, "min_probability": min_probability,
               "interpolation": "linear", "dtype": dtype, "device": device}  # fmt: skip
    group = Group(pictures, length, options, interpolation)
    tell = counted(listener, most * len(pictures))
    group.begin(first, tell)
    changes = [math.nan]
    while len(changes) < most and not changes[-1] < near:
        changes.append(group.improve(tell, len(changes)))
    tell(most * len(pictures))
    return group.result(names, changes, changes[-1] < near, transform)
