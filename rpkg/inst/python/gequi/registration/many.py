"""The registrations of several pairs: a list with names, which keeps errors and prints as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from .. import plots
from ..arrays import axes_of, check_choice
from ..errors import GequiError, ShapeError
from .result import Registration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12  # rows of the table that repr() shows

COLUMNS = (
    "probability", "similarity_before", "similarity_after", "uncertainty", "folds", "overlap", "others", "seconds",
)  # fmt: skip


class Registrations(list[Any]):
    """The result of `register_images()` for several pairs: a list with one `Registration` per pair, in their order.

    With `on_error="keep"`, the entry of a pair that failed is its error, a `GequiError`. The class behaves like a list:
    a slice is also a `Registrations`, and a pair can be selected by its name.

    Attributes:
        names: list of str: the name of each pair if the images were given as mappings, otherwise None.

    Example:
        >>> from gequi import register_images, sample_image
        >>> image = sample_image("cat")[50:130, 150:230]
        >>> found = register_images({"turned": image.T[::-1]}, {"turned": image})
        >>> found.names, found["turned"].metrics["folds"]
        (['turned'], 0)
        >>> [carried.shape for carried in found.warp([image.T[::-1]])]
        [(80, 80)]
    """

    def __init__(self, found: Iterable[Registration | GequiError] = (), names: Sequence[str] | None = None) -> None:
        super().__init__(found)
        self.names = None if names is None else list(names)

    def __getitem__(self, which: SupportsIndex | slice | str) -> Any:
        if isinstance(which, slice):
            return Registrations(super().__getitem__(which), None if self.names is None else self.names[which])
        if isinstance(which, str):
            names = self.names or []
            return super().__getitem__(names.index(check_choice(which, "name", names)))
        return super().__getitem__(which)

    def __repr__(self) -> str:
        title = f"<Registrations: {len(self)} pair{'' if len(self) == 1 else 's'}>"
        rows = self.summary()
        more = [f"... and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
        failures = [f"{row['pair']}: {row['error']}" for row in rows[:SHOWN] if row["error"] is not None]
        return "\n".join([title, *_as_text(rows[:SHOWN]), *more, *failures])

    def summary(self) -> list[dict[str, Any]]:
        """Return a table with one row per pair.

        Returns:
            a list of dicts: `pair`, the name or number; `probability`, `similarity_before`, `similarity_after`,
            `uncertainty` (the median), `folds`, `overlap`, `others` (the number of other maps that fit almost as well)
            and `seconds`, which are None if the pair failed; and `error`, the error message, or None.
        """
        return [_row(self.label(number), each) for number, each in enumerate(self)]

    def label(self, number: int) -> str | int:
        """Return the name of a pair, or its number if the pairs have no names."""
        return number if self.names is None else self.names[number]

    def warp(self, images: Any, **options: Any) -> list[np.ndarray | None]:
        """Transform an image with each registration, see `Registration.warp()`.

        Args:
            images: one image for all pairs, or a list (or mapping) with one image per pair.
            **options: the options of `Registration.warp()`.

        Returns:
            a list, with None for each pair that failed.
        """
        return self._carry(images, "images", 2, lambda each, image: each.warp(image, **options))

    def transform_points(self, points: Any, **options: Any) -> list[Any]:
        """Transform points with each registration, see `Registration.transform_points()`.

        Args:
            points: one array (point, axis) for all pairs, or a list (or mapping) with one array per pair.
            **options: the options of `Registration.transform_points()`.

        Returns:
            a list, with None for each pair that failed.
        """
        return self._carry(points, "points", 2, lambda each, at: each.transform_points(at, **options))

    def plot(
        self, type: str = "overlay", slice: int | None = None, axis: int = 0, squares: int | None = None
    ) -> Figure:
        """Plot each pair after registration, or the reason for its failure, in one panel per pair, with matplotlib.

        Args:
            type, slice, axis, squares: as in `Registration.plot()`. All pairs share one color scale for "jacobian" and
                "uncertainty".

        Returns:
            a matplotlib Figure.

        Raises:
            InputError: an unknown type, a slice that does not exist, or an empty list.
            SetupError: matplotlib is not installed.
        """
        labels = [str(self.label(number)) for number in range(len(self))]
        return plots.plot_registrations(self, labels, type, slice, axis, squares)

    def _carry(self, given: Any, argument: str, axes: int, carry: Callable[[Registration, Any], Any]) -> list[Any]:
        if isinstance(given, Mapping):
            given = list(given.values())
        several = isinstance(given, list | tuple) and any(axes_of(each) >= axes for each in given)
        if several and len(given) != len(self):
            raise ShapeError(
                "`{argument}` must be one for all {pairs} pairs, or as many; got {given}.",
                argument, pairs=len(self), given=len(given),
            )  # fmt: skip
        of_each = given if several else [given] * len(self)
        return [
            None if isinstance(each, GequiError) else carry(each, one) for each, one in zip(self, of_each, strict=True)
        ]


def _row(label: str | int, found: Registration | GequiError) -> dict[str, Any]:
    if isinstance(found, GequiError):
        return {"pair": label, **dict.fromkeys(COLUMNS), "error": str(found)}
    metrics = found.metrics
    return {
        "pair": label,
        "probability": found.probability,
        "similarity_before": metrics["similarity_before"],
        "similarity_after": metrics["similarity_after"],
        "uncertainty": float(np.median(found.uncertainty)),
        "folds": metrics["folds"],
        "overlap": metrics["overlap"],
        "others": len(found.alternatives),
        "seconds": metrics["seconds"],
        "error": None,
    }


def _as_text(rows: list[dict[str, Any]]) -> list[str]:
    """Format the rows as lines of aligned columns, without the errors."""
    if not rows:
        return []
    names = ("pair", *COLUMNS)
    cells = [[name.replace("_", " ") for name in names]]
    cells += [[_cell(row[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in cells]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
