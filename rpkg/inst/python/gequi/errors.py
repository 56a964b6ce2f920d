"""Errors and warnings. A message is one sentence that names the argument, the given value and what is required.

A message is a template with fields, not formatted text, because R writes values and indexes differently:

    raise InputError("`{argument}` must be one of {choices:list}; got {value!r}.", "type", choices=names, value=type)
    raise InputError("`{argument}` must be from {low:index} to {high:index}.", "element", low=0, high=3)

In a template, `{field}` is text and `{field!r}` is a value in the notation of the language (None or NULL, 'a' or "a").
`{field:index}` is a number that counts from 0 in Python and from 1 in R, `{field:list}` is a list of values, and
`{field:name}` is the name of an argument. `{argument}` is the name of the invalid argument. A message without fields is
used as it is. A tuple in a `{field}` is a shape: (3, 4). Values are cut after 200 characters, and arrays are described
by their type and shape. `about()`, `within()` and `because()` derive messages from other messages.
"""

from __future__ import annotations

import difflib
import importlib.util
import string
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

_Self = TypeVar("_Self", bound="Message")
_MOST_ITEMS = 20  # of a value that is written in full
_MOST_DEPTH = 4
_MOST_CHARACTERS = 200
_OTHER_NAMES = {"gpu": "cuda"}  # names of choices in other packages


def _code(value: Any, depth: int = 0) -> str:
    """Format a value as code. Arrays are described by their type and shape, and long or deep values are cut."""
    if depth > _MOST_DEPTH:
        return "..."
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and (len(shape) > 1 or np.prod(shape) > _MOST_ITEMS):
        kind = "an array" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        return f"{kind} of shape ({', '.join(map(str, shape))})"
    if isinstance(value, list | tuple):
        brackets = "[]" if isinstance(value, list) else "()"
        items = [_code(each, depth + 1) for each in value[:_MOST_ITEMS]] + ["..."] * (len(value) > _MOST_ITEMS)
        text = f"{brackets[0]}{', '.join(items)}{',' * (isinstance(value, tuple) and len(value) == 1)}{brackets[1]}"
    elif isinstance(value, Mapping):
        text = f"{{{', '.join(f'{key!r}: {_code(each, depth + 1)}' for key, each in value.items())}}}"
    else:
        text = _own_text(value)
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 3] + "..."


def _own_text(value: Any) -> str:
    """Return the repr of an object, or its type if the repr fails."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


class _Renderer(string.Formatter):
    """Formatter of templates for Python."""

    def convert_field(self, value: Any, conversion: Any) -> Any:
        return _code(value) if conversion == "r" else super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "name":
            return str(value)
        if format_spec == "index":
            return repr(value.item() if isinstance(value, np.generic) else value)
        if format_spec == "extra":
            return f"gequi[{value}]"
        if format_spec == "list":
            return ", ".join(_code(each) for each in value)
        return str(super().format_field(value, format_spec))


class Message(Exception):
    """A message as a template and its fields."""

    def __init__(self, template: str, argument: str | None = None, **fields: Any) -> None:
        self.template, self.argument, self.fields = template, argument, fields
        super().__init__("".join(_as_text(piece) for piece in self._parsed()))

    def _parsed(self) -> list[Any]:
        """Split the template into literal text and fields, which are tuples (value, conversion, format)."""
        fields = {"argument": self.argument, **self.fields}
        if not self.fields and "{argument" not in self.template:
            return [self.template]
        parsed: list[Any] = []
        for literal, name, form, conversion in _Renderer().parse(self.template):
            parsed += [literal] if literal else []
            if name is not None:
                parsed.append((fields[name], conversion, "name" if name == "argument" else form or ""))
        return parsed

    def _format(self) -> str:
        """Return the template. Braces are escaped if the message is literal text."""
        literal = not self.fields and "{argument" not in self.template
        return self.template.replace("{", "{{").replace("}", "}}") if literal else self.template

    def pieces(self) -> list[dict[str, Any]]:
        """Return the message as plain data, for a caller that formats values in its own way.

        Returns:
            list of dict: either `{"text": ...}`, or a `kind` ("code", "index", "list", "name" or "extra") with its
            `value`. "code" also has a `limit`, the number of characters after which it is cut, or None.
        """
        return [_as_piece(piece) for piece in self._parsed()]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the error for another process. Fields that cannot be pickled, such as functions, become text."""
        fields = {key: _portable(value) for key, value in self.fields.items()}
        return _restore, (type(self), self.template, self.argument, fields)

    def within(self: _Self, prefix: str, **fields: Any) -> _Self:
        """Return the message with a prefix, such as the name of the layer or file in which the error occurred."""
        names = {key: _free_name(key, self.fields) for key in fields}  # a layer may have added a prefix already
        fields = {names[key]: value for key, value in fields.items()}
        return type(self)(_renamed(prefix, names) + self._format(), self.argument, **self.fields, **fields)

    def because(self: _Self, reason: Message) -> _Self:
        """Return the message followed by another one that gives the reason. Both keep their fields."""
        names = {key: _free_name(key, self.fields) for key in ("argument_", *reason.fields)}
        fields = {names[key]: value for key, value in {"argument_": reason.argument, **reason.fields}.items()}
        why = _renamed(reason._format(), {**names, "argument": names["argument_"]})
        return type(self)(self._format() + why, self.argument, **self.fields, **fields)

    def about(self: _Self, argument: str) -> _Self:
        """Return the message with the name of another argument, which the user passed."""
        return type(self)(self.template, argument, **self.fields)


def _free_name(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _renamed(template: str, names: Mapping[str, str]) -> str:
    """Rename the fields of a template."""
    parts = []
    for literal, name, form, conversion in _Renderer().parse(template):
        parts.append(literal.replace("{", "{{").replace("}", "}}"))
        if name is not None:
            form = "name" if name == "argument" else form
            parts.append(
                "{"
                + names.get(name, name)
                + (f"!{conversion}" if conversion else "")
                + (f":{form}" if form else "")
                + "}"
            )
    return "".join(parts)


def _as_text(piece: Any) -> str:
    if isinstance(piece, str):
        return piece
    value, conversion, form = piece
    renderer = _Renderer()
    return renderer.format_field(renderer.convert_field(value, conversion), form)


def _as_piece(piece: Any) -> dict[str, Any]:
    if isinstance(piece, str):
        return {"text": piece}
    value, conversion, form = piece
    if form in ("index", "list", "name", "extra"):
        return {"kind": form, "value": [_plain(each) for each in value] if form == "list" else _plain(value)}
    if conversion == "r":
        limit = int(form[1:]) if form.startswith(".") else None
        return {"kind": "code", "value": _plain(value), "limit": limit}
    if conversion is None and isinstance(value, tuple):  # a shape; the notation (3,) is specific to Python
        return {"text": f"({', '.join(map(str, value))})"}
    return {"text": _as_text(piece)}


def _plain(value: Any) -> Any:
    """Convert a value to numbers, text, lists and dicts. Other objects become text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray) and value.size <= _MOST_ITEMS:
        value = value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and len(value) <= _MOST_ITEMS:
        return [_plain(each) for each in value]
    if isinstance(value, Mapping) and len(value) <= _MOST_ITEMS:
        return {str(key): _plain(each) for key, each in value.items()}
    return {"object": _code(value)}


class _Shown:
    """The text that represents an object in another process."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _portable(value: Any) -> Any:
    """Convert a value so that any process can read it: plain data is kept, other objects become text."""
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        return value
    if type(value) in (list, tuple):
        return type(value)(_portable(each) for each in value)
    if type(value) is dict:
        return {key: _portable(each) for key, each in value.items()}
    return _Shown(_code(value))


def _restore(kind: type[Message], template: str, argument: str | None, fields: dict[str, Any]) -> Message:
    return kind(template, argument, **fields)


class GequiError(Message):
    """Base class of the errors of gequi. `argument` is the name of the invalid argument, or None."""


class InputError(GequiError, ValueError):
    """An invalid value of an argument."""


class ShapeError(InputError):
    """An array with the wrong number of axes or the wrong sizes."""


class FieldError(InputError):
    """Fields, representations or layers that do not match."""


class ModelFileError(GequiError):
    """A model file that is damaged, not from gequi, or from a newer version of gequi."""


class TransformFileError(GequiError):
    """A transform file that does not exist, is damaged, or has an unsupported format."""


class SetupError(GequiError):
    """A required package that is not installed or has an unsupported version."""


class UnrelatedImagesError(GequiError):
    """Registration found no map under which the two images are similar."""


class TrainingError(GequiError):
    """A training that could not be completed."""


class GequiWarning(Message, UserWarning):
    """Base class of the warnings of gequi."""


class GequiMessage(GequiWarning):
    """Information about an automatic choice; in R a message, not a warning."""


class ExactnessWarning(GequiWarning):
    """A layer that breaks exact equivariance on images of the given size."""


class AmbiguousRegistrationWarning(GequiWarning):
    """A second map, far from the returned one, under which the images are almost as similar."""


# Modules whose package has a different name.
_PACKAGES = {"PIL": "PIL (pillow)"}


def need_packages(names: Iterable[str], purpose: str, extra: str) -> None:
    """Raise a SetupError if optional packages are missing. The message names the extra that installs them."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(
            "{purpose} needs {packages}: install {extra:extra}.",
            purpose=purpose, packages=" and ".join(_PACKAGES.get(name, name) for name in missing), extra=extra,
        )  # fmt: skip


def nearest(name: object, choices: Iterable[str]) -> str:
    """Return a suggestion such as " Did you mean 'conv'?", or an empty string if no choice is similar."""
    known = {choice.lower(): choice for choice in choices}
    other = _OTHER_NAMES.get(str(name).lower())
    if other in known:
        return f" Did you mean '{other}'?"
    close = difflib.get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean '{known[close[0]]}'?" if close else ""
