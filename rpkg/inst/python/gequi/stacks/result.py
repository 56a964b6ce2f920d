"""The result of aligning a stack: a volume, a map per section, and what is known of each section."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import plots
from ..arrays import as_array, check_choice, check_index, freeze_arrays
from ..errors import GequiError, ShapeError
from ..registration.warping import KINDS, carry_pixels, choose_interpolation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STATUSES = ("aligned", "poor", "failed")
SHOWN = 12  # sections that do not fit, which repr() names
LOST = ("mirrored", "rotation", "shift_row", "shift_column", "bend", "similarity")  # of a failed section


@dataclass(frozen=True, eq=False, repr=False)
class Stack:
    """Serial sections that are aligned to a volume: images[k](maps[k](x)) = volume[k](x).

    Returned by `register_stack()`. All arrays are read-only. Positions are in pixels from 0, with the axes (row,
    column). `size` is the size of the reference section.

    Attributes:
        volume: array (section, *size): the aligned sections, with NaN (or `fill`) outside and for failed sections.
        maps: float64 array (section, axis, *size): the position in each section for each pixel of the volume. NaN for a
            failed section.
        table: list of dicts, one per section: `section`, its number or name; `status`: "aligned", "poor" (does
            not fit its neighbors, as a torn section; the others are aligned without it) or "failed" (not connected with
            the reference by any pair); `pairs`, how many pairs of it were registered; `mirrored`, whether it shows the
            other side than the reference; `rotation`, in degrees, counter-clockwise as displayed (after the
            reflection); `shift_row` and `shift_column`, of the center of the reference from the center of the section,
            in pixels; `bend`, the root mean square of its deformation in pixels; and `similarity`, the local
            correlation with the neighbor that it fits best. Of a failed section, these are None.
        pairs: list of dicts, one per pair: `first` and `second`, the numbers of the sections; `probability` that their
            map is correct; `deviation`, its claimed standard deviation, and `residual`, the root mean square of its
            disagreement with the stack, in pixels; `mirrored`; and `error`, the error message or None.
        reference: int: the number of the reference: of the largest connected part, the section from which the others
            are reached with the smallest variance. It determines the pose and the size of the volume.
        spread: float: the estimated standard deviation of the deformations, in pixels.
        drift: float: the estimated standard deviation of the error that each step along the stack adds, in pixels.
        images: list of arrays: the sections, as given.
        names: list of str: the names of the sections if they were given as a mapping, otherwise None.
        transform, contrast, interpolation, fill: the options, as given.

    Example:
        >>> from gequi import register_stack, sample_image
        >>> image = sample_image("cat")[50:114, 150:214]
        >>> stack = register_stack({"a": image, "b": image.T[::-1], "c": image}, transform="rigid")
        >>> stack.volume.shape, stack.maps.shape, stack.reference
        ((3, 64, 64), (3, 2, 64, 64), 1)
        >>> bool(abs(stack.volume[0] - stack.volume[1]).max() < 0.05)
        True
    """

    volume: np.ndarray
    maps: np.ndarray
    table: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    reference: int
    spread: float
    drift: float
    images: list[np.ndarray]
    names: list[str] | None
    transform: str
    contrast: str
    interpolation: str
    fill: float | None

    def __post_init__(self) -> None:
        freeze_arrays(self)

    def __repr__(self) -> str:
        told = self.summary()
        size = " x ".join(map(str, self.volume.shape[1:]))
        lines = [
            f"<Stack: {told['sections']} sections of {size}, {self.transform}, contrast {self.contrast!r}>",
            f"{told['aligned']} aligned, {told['poor']} poor, {told['failed']} failed, {told['mirrored']} mirrored; "
            f"reference {self.table[self.reference]['section']}",
            f"similarity of neighbors {told['similarity']:.2f} (median); {told['pairs']} pairs; deformation "
            f"{self.spread:.2f} pixels",
        ]
        named = [f"{row['section']} ({row['status']})" for row in self.table if row["status"] != "aligned"]
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        return "\n".join([*lines, *([f"not aligned: {', '.join(named[:SHOWN])}{more}"] if named else [])])

    def summary(self) -> dict[str, Any]:
        """Summarize the stack as plain data.

        Returns:
            a dict: `sections`, their number; how many are `aligned`, `poor` and `failed`, and `mirrored`; `reference`;
            `pairs`, the number of registered pairs; `similarity`, the median; `spread` and `drift`.
        """
        count = {status: sum(row["status"] == status for row in self.table) for status in STATUSES}
        known = [row["similarity"] for row in self.table if row["similarity"] is not None]
        return {
            "sections": len(self.table),
            **count,
            "mirrored": sum(bool(row["mirrored"]) for row in self.table),
            "reference": self.reference,
            "pairs": sum(row["error"] is None for row in self.pairs),
            "similarity": float(np.median(known)) if known else math.nan,
            "spread": self.spread,
            "drift": self.drift,
        }

    def warp(
        self, images: Any, interpolation: str | None = None, fill: float | None = math.nan, type: str | None = None
    ) -> np.ndarray:
        """Carry other images of the sections into the volume, such as other channels or labels.

        Args:
            images: list of arrays, or an array with the sections along its first axis: an image for each section, with
                the size of the section, or (channel, row, column).
            interpolation: str: "cubic", "linear" or "nearest". None is "cubic" for images and "nearest" for labels.
            fill: float: the value outside a section. None uses the nearest pixel. For labels, NaN means 0.
            type: str: "image" or "labels", as in `Registration.warp()`.

        Returns:
            an array (section, *size), with the channels after the section.

        Raises:
            ShapeError: another number of images, or an image of another size than its section.
            InputError: an unknown option, or values that are not finite.
        """
        given = list(images.values()) if isinstance(images, Mapping) else list(images)
        if len(given) != len(self.images):
            raise ShapeError(
                "`{argument}` must have one image for each of the {sections} sections; got {given}.",
                "images", sections=len(self.images), given=len(given),
            )  # fmt: skip
        ready = []
        for number, (image, section) in enumerate(zip(given, self.images, strict=True)):
            try:
                ready.append(_like(image, section))
            except GequiError as error:
                raise error.within("Section {section} of {total}: ", section=number + 1, total=len(given)) from None
        kinds = {KINDS[image.dtype.kind] for image in ready}
        how = choose_interpolation(kinds.pop() if len(kinds) == 1 else "number", type, interpolation, "images")
        if how != "nearest":
            ready = [image.astype(np.float64) if image.dtype.kind == "b" else image for image in ready]
        return carried(ready, self.maps, how, fill)

    def unaligned(self) -> np.ndarray:
        """Return the sections as given, centered on the pixels of the volume: an array (section, *size)."""
        size = self.volume.shape[1:]
        pixels = np.indices(size).astype(np.float64)
        maps = [pixels + (np.array(image.shape) // 2 - np.array(size) // 2)[:, None, None] for image in self.images]
        return carried(self.images, np.stack(maps), "linear", math.nan)

    def plot(self, type: str = "montage", axis: int = 1, position: int | None = None) -> Figure:
        """Plot the stack with matplotlib, see `plot_stack()`.

        Args:
            type: str: "montage" or "side".
            axis: int: for "side", the axis along which the stack is cut: 0 (row) or 1 (column).
            position: int: for "side", the row or the column of the cut. None is the middle.

        Returns:
            a matplotlib Figure.
        """
        return plots.plot_stack(self, type, axis, position)

    def to_dict(self) -> dict[str, Any]:
        """Return the stack as plain data: a dict of its attributes that `from_dict()` accepts."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Stack:
        """Create a stack from the dict of `to_dict()`. The arrays are copied."""
        given = {each.name: plain[each.name] for each in fields(cls)}
        arrays = {name: np.array(given[name], order="C") for name in ("volume", "maps")}
        images = [np.array(image, order="C") for image in given["images"]]
        return cls(**{**given, **arrays, "images": images})


def _like(image: Any, section: np.ndarray) -> np.ndarray:
    pixels = as_array(image, "images", ndim=(2, 3), axes="(row, column), with or without channels", flags=True)
    if pixels.shape[-2:] != section.shape:
        raise ShapeError(
            "`{argument}` must have the size of the section, {wanted}; got {given}.",
            "images", wanted=section.shape, given=pixels.shape[-2:],
        )  # fmt: skip
    return pixels


def carried(images: Sequence[np.ndarray], maps: np.ndarray, interpolation: str, fill: float | None) -> np.ndarray:
    """Resample each image through its map; an image without a map is filled with `fill`, and with NaN for None."""
    lost = math.nan if fill is None else fill
    planes = []
    for image, map in zip(images, maps, strict=True):
        found = bool(np.isfinite(map).all())
        anywhere = map if found else np.full_like(map, -2.0)  # more than half a pixel outside
        planes.append(carry_pixels(image, anywhere, interpolation, fill if found else lost))
    return np.stack(planes)


# ---- for R ----------------------------------------------------------------------------------------------


def describe_stack(stack: Stack) -> dict[str, Any]:
    """Return the data that R stores, from which `make_stack()` makes the stack."""
    return stack.to_dict()


def shown_stack(stack: Stack, type: str, axis: int, position: int | None) -> list[dict[str, Any]]:
    """Return the pictures of a plot of a stack: for each, its `title` and its `pixels` from 0 to 1."""
    kind = check_choice(type, "type", plots.STACK_TYPES)
    after = plots.stretched_sections(stack.volume)
    if kind == "montage":
        return [
            {"title": str(row["section"]), "status": row["status"], "pixels": pixels}
            for row, pixels in zip(stack.table, after, strict=True)
        ]
    across = check_index(axis, "axis", 2)
    size = stack.volume.shape[1 + across]
    at = size // 2 if position is None else check_index(position, "position", size)
    before = plots.stretched_sections(stack.unaligned())
    return [
        {"title": title, "pixels": pixels.take(at, 1 + across)}
        for title, pixels in (("before", before), ("after", after))
    ]


def make_stack(plain: Mapping[str, Any]) -> Stack:
    """Create a stack from the plain data that R stores, where a stack without names has an empty list of them."""
    return Stack.from_dict({**plain, "names": plain["names"] or None})


def warp_stack(stack: Stack, newdata: Any, **options: Any) -> np.ndarray:
    """Call `stack.warp()` with `newdata`, the name in R."""
    try:
        return stack.warp(newdata, **options)
    except GequiError as error:
        if error.argument == "images":
            raise error.about("newdata") from error
        raise
