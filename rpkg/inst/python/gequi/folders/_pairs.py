"""The table of pairs of images to register: reading and checking it."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._files import check_path, read_file, shown
from ..arrays import check_integer, scalar
from ..errors import GequiError, InputError, ShapeError
from ..maps import check_spacing
from ..registration import register_images
from ._files import list_images

FILES = ("moving", "fixed")
SPACINGS = ("spacing", "moving_spacing")
OPTIONS = (*SPACINGS, "transform", "contrast", "mirror", "mask", "min_probability")
COLUMNS = ("pair", *FILES, *OPTIONS)
FLAGS = {"true": True, "false": False}
_NAME = re.compile(r"[^/\\\0]{1,100}")

Pair = dict[str, Any]


def check_pairs(images: Any, fixed: Any, options: Mapping[str, Any], dimension: int) -> list[Pair]:
    """Return one dict per pair: `pair`, its name, `moving` and `fixed`, absolute paths, and its `options`.

    A file that does not exist is found when its pair is registered.
    """
    common = _check_options(options, dimension)
    other = None if fixed is None else check_path(fixed, "fixed")
    rows = _rows(images, other)
    pairs = []
    for number, row in enumerate(rows):
        try:
            pairs.append(_check_row(row, other, common, dimension))
        except GequiError as error:
            raise error.about("images").within(
                "Pair {pair:index} of {total}: ", pair=number, total=len(rows)
            ) from error
    _name(pairs)
    return pairs


def _rows(images: Any, fixed: Path | None) -> list[Any]:
    """Return a mapping for each pair: of the rows of a table, or of the files of a folder, except the fixed image."""
    if hasattr(images, "to_dict") and hasattr(images, "columns"):  # a data frame of pandas
        return _rows({str(name): list(images[name]) for name in images.columns}, fixed)
    if isinstance(images, Mapping):
        columns = {str(name): column for name, column in images.items()}
        lengths = {len(column) if _is_column(column) else -1 for column in columns.values()}
        if len(lengths) != 1 or min(lengths) < 1:
            raise ShapeError("`{argument}` must have columns of one length; got {value!r:.80}.", "images", value=images)
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if isinstance(images, str | os.PathLike) and str(images).lower().endswith(".csv"):
        return _read_csv(check_path(images, "images"))
    if isinstance(images, list | tuple) and images and all(isinstance(each, Mapping) for each in images):
        return list(images)
    if fixed is None:
        raise InputError(
            "`{argument}` must be a table with the columns moving and fixed, or `fixed` must be an image; got {value!r:.80}.",
            "images", value=images,
        )  # fmt: skip
    files = list_images(images)
    return [{"moving": file} for file in files if file.absolute() != fixed.absolute()] or [{"moving": files[0]}]


def _is_column(column: Any) -> bool:
    return not isinstance(column, str | bytes | Mapping) and isinstance(column, Sequence)


def _read_csv(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a table in a file. Paths in it are relative to its folder."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_file(file).decode("utf-8-sig")), strict=True))
    except (GequiError, UnicodeError, csv.Error) as error:
        raise InputError(
            "`{argument}`: {file} cannot be read ({reason}).", "images", file=shown(file), reason=str(error)
        ) from None
    if not rows:
        raise InputError("`{argument}`: {file} has no rows.", "images", file=shown(file))
    return [{str(name): _parsed(str(name), text, file.parent) for name, text in row.items()} for row in rows]


def _parsed(name: str, text: Any, folder: Path) -> Any:
    """Return a cell of a file as its value. Sizes of pixels along several axes are separated by spaces."""
    if not isinstance(text, str) or not text.strip():
        return None
    if name in FILES:
        return str(folder / Path(text).expanduser())
    if name == "mirror":
        return FLAGS.get(text.lower(), text)
    if name in (*SPACINGS, "min_probability"):
        try:
            numbers = [float(each) for each in text.split()]
        except ValueError:
            return text
        return numbers[0] if len(numbers) == 1 else numbers
    return text


def _check_row(row: Any, fixed: Path | None, common: Mapping[str, Any], dimension: int) -> Pair:
    given = {str(name): scalar(value) for name, value in row.items()}
    given = {name: value for name, value in given.items() if not _is_missing(value)}
    unknown = [name for name in given if name not in COLUMNS]
    if unknown:
        raise InputError(
            "`{argument}` has an unknown column {name!r}; the columns are {known:list}.",
            "images", name=unknown[0], known=list(COLUMNS),
        )  # fmt: skip
    paths = {"fixed": fixed, **{name: check_path(given[name], name) for name in FILES if name in given}}
    for name in FILES:
        if paths.get(name) is None:
            raise InputError("`{argument}` has no {name} image.", "images", name=name)
    label = given.get("pair")
    if label is not None and (not isinstance(label, str | int | float) or not _NAME.fullmatch(str(label))):
        raise InputError("`{argument}`: {label!r} cannot be the name of a file.", "images", label=label)
    options = _check_options({**common, **{name: given[name] for name in OPTIONS if name in given}}, dimension)
    files = {name: str(Path(str(paths[name])).absolute()) for name in FILES}
    return {"pair": None if label is None else str(label), **files, "options": options}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def _check_options(options: Mapping[str, Any], dimension: int) -> dict[str, Any]:
    """Return the options if they are valid. `register_images()` checks them before it looks at the images."""
    checked = dict(options)
    for name in SPACINGS:
        if checked[name] is not None:
            checked[name] = check_spacing(checked[name], dimension, name).tolist()
    try:
        register_images(None, None, **checked)
    except GequiError as error:
        if error.argument not in FILES:
            raise
    return {name: scalar(value) for name, value in checked.items()}


def _name(pairs: list[Pair]) -> None:
    """Name the pairs that have no name after their moving image, and number equal names."""
    given = [pair["pair"] for pair in pairs if pair["pair"] is not None]
    if len({name.lower() for name in given}) < len(given):  # file systems may ignore case
        twice = next(name for name in given if [each.lower() for each in given].count(name.lower()) > 1)
        raise InputError("`{argument}`: two pairs have the name {name!r}.", "images", name=twice)
    taken = {name.lower() for name in given}
    for pair in pairs:
        if pair["pair"] is None:
            stem, number = Path(pair["moving"]).stem[:90], 1
            name = stem
            while name.lower() in taken:
                number += 1
                name = f"{stem}-{number}"
            taken.add(name.lower())
            pair["pair"] = name


def check_dimension(dimension: Any) -> int:
    """Return the number of axes of the images."""
    return check_integer(dimension, "dimension", minimum=2, maximum=3)
