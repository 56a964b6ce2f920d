"""The result of a group mean: a template, its variability, and a map per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..arrays import freeze_arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARRAYS = ("template", "variability", "maps", "spacing")
SHOWN = 12  # images that failed, which repr() names


@dataclass(frozen=True, eq=False, repr=False)
class GroupMean:
    """An unbiased template of several images: images[k](maps[k](x)) = template(x), and the mean of the maps is x.

    Returned by `group_mean()`. All arrays are read-only. Positions are in pixels from 0, with the axes (row, column) or
    (depth, row, column). `size` is the size of the template.

    Attributes:
        template: array (*size): the mean of the images that are seen at each pixel. NaN where none is.
        variability: array (*size): how much the images differ in shape: the root mean square, over the images, of the
            displacements that remain after the linear parts of the maps, in units of `spacing` (pixels).
        maps: float64 array (image, axis, *size): the position in each image for each pixel of the template. NaN for a
            failed image.
        table: list of dicts, one per image: `image`, its number or name; `status`: "aligned" or "failed" (could not be
            registered; the template does not contain it); `error`, the error message or None; `probability`, that its
            map is correct; `rotation` and `scale` of the image relative to the template, in degrees (for volumes from 0
            to 180) and as a factor; `shift`, the distance of the centers, and `bend`, the root mean square of the
            remaining displacements, in units of `spacing`; and `similarity`, the correlation with the template. Of a
            failed image, these are None.
        changes: list of float: for each round, how much the maps differ from those of the round before, in pixels: nine
            tenths of the pixels that the images show differ by less. NaN for the first round.
        converged: bool: whether the last change is below the `tolerance`.
        start: int: the number of the image with which the template began.
        turned_as: int: the number of the image that determines the rotation of the template, if the rotations of the
            images have no mean; otherwise None.
        spacing: array (axis): the pixel size.
        images: list of arrays: the images, as given.
        names: list of str: the names of the images if they were given as a mapping, otherwise None.
        transform, interpolation: the options, as given.

    Example:
        >>> from gequi import group_mean, sample_image
        >>> image = sample_image("cat")[50:114, 150:214]
        >>> found = group_mean({"a": image, "b": image.T[::-1]}, transform="rigid")
        >>> found.template.shape, found.maps.shape, found.converged
        ((64, 64), (2, 2, 64, 64), True)
        >>> sorted(round(row["rotation"]) for row in found.table)
        [-45, 45]
    """

    template: np.ndarray
    variability: np.ndarray
    maps: np.ndarray
    table: list[dict[str, Any]]
    changes: list[float]
    converged: bool
    start: int
    turned_as: int | None
    spacing: np.ndarray
    images: list[np.ndarray]
    names: list[str] | None
    transform: str
    interpolation: str

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def __repr__(self) -> str:
        told = self.summary()
        size, pixels = " x ".join(map(str, self.template.shape)), "voxels" if self.template.ndim == 3 else "pixels"
        state = "converged" if self.converged else "not converged"
        lines = [
            f"<GroupMean: {told['images']} images, template of {size}, {self.transform}>",
            f"{told['aligned']} aligned, {told['failed']} failed; {told['rounds']} rounds, {state} (last change "
            f"{told['change']:.2f} {pixels})",
            f"variability {told['variability']:.2f} (median), {told['most']:.2f} at most; similarity "
            f"{told['similarity']:.2f} (median)",
        ]
        named = [str(row["image"]) for row in self.table if row["status"] == "failed"]
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        return "\n".join([*lines, *([f"failed: {', '.join(named[:SHOWN])}{more}"] if named else [])])

    def summary(self) -> dict[str, Any]:
        """Summarize the template as plain data.

        Returns:
            a dict: `images`, their number; how many are `aligned` and `failed`; `rounds` and `converged`; `change`, the
            last one; `variability`, its median over the pixels, and `most`, its maximum; and `similarity`, the median.
        """
        known = [row["similarity"] for row in self.table if row["similarity"] is not None]
        failed = sum(row["status"] == "failed" for row in self.table)
        return {
            "images": len(self.table),
            "aligned": len(self.table) - failed,
            "failed": failed,
            "rounds": len(self.changes),
            "converged": self.converged,
            "change": self.changes[-1],
            "variability": float(np.median(self.variability)),
            "most": float(self.variability.max()),
            "similarity": float(np.median(known)) if known else float("nan"),
        }

    def plot(self, type: str = "template", slice: int | None = None, axis: int = 0) -> Figure:
        """Plot the template or its variability with matplotlib, see `plot_group_mean()`.

        Args:
            type: str: "template" or "variability".
            slice: int: for a volume, the slice to show, from 0. None is the middle slice.
            axis: int: for a volume, the axis perpendicular to the slice: 0 (depth), 1 (row) or 2 (column).

        Returns:
            a matplotlib Figure.
        """
        return plots.plot_group_mean(self, type, slice, axis)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data: a dict of its attributes that `from_dict()` accepts."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> GroupMean:
        """Create a result from the dict of `to_dict()`. The arrays are copied."""
        given = {each.name: plain[each.name] for each in fields(cls)}
        arrays = {name: np.array(given[name], dtype=np.float64, order="C") for name in ARRAYS}
        images = [np.array(image, order="C") for image in given["images"]]
        return cls(**{**given, **arrays, "images": images})


# ---- for R ----------------------------------------------------------------------------------------------


def describe_group_mean(mean: GroupMean) -> dict[str, Any]:
    """Return the data that R stores, from which `make_group_mean()` makes the result."""
    return mean.to_dict()


def make_group_mean(plain: Mapping[str, Any]) -> GroupMean:
    """Create a result from the plain data that R stores, where images without names have an empty list of them."""
    return GroupMean.from_dict(
        {**plain, "names": plain["names"] or None, "changes": np.atleast_1d(plain["changes"]).tolist()}
    )
