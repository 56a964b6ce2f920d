"""Errors and warnings: one sentence that names the argument, what was given and what is needed.

A message is a template with fields, not finished text, because R writes values and indexes differently:

    raise InputError("`{argument}` must be one of {choices:list}; got {value!r}.", "type", choices=names, value=type)
    raise InputError("`{argument}` must be from {low:index} to {high:index}.", "element", low=0, high=3)

In a template, `{field}` is text, `{field!r}` a value as the language writes it (None or NULL, 'a' or "a"),
`{field:index}` a number that counts from 0 in Python and from 1 in R, `{field:list}` a list of values and `{field:name}`
the name of an argument. A message without fields is taken as it is. `{argument}` is the name of the argument at fault.
A tuple in a `{field}` is a shape: (3, 4). A value is cut after 200 characters, and of an array it is said what it is.
`about()`, `within()` and `because()` make other messages of one.
"""

from __future__ import annotations

import difflib
import importlib.util
import string
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

_Self = TypeVar("_Self", bound="Message")
_MOST_ITEMS = 20  # of a value that is written out
_MOST_DEPTH = 4
_MOST_CHARACTERS = 200
_OTHER_NAMES = {"gpu": "cuda"}  # what other packages call a choice


def _code(value: Any, depth: int = 0) -> str:
    """A value as code, however large or deep it is: of an array, what it is; anything else is cut."""
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
    """What an object says of itself; only what it is, where it cannot say."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


class _Renderer(string.Formatter):
    """Templates as Python writes them."""

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
    """A sentence as a template and its fields."""

    def __init__(self, template: str, argument: str | None = None, **fields: Any) -> None:
        self.template, self.argument, self.fields = template, argument, fields
        super().__init__("".join(_as_text(piece) for piece in self._parsed()))

    def _parsed(self) -> list[Any]:
        """The literal parts of the template as text, and its fields as (value, conversion, format)."""
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
        """The template, also where it is text as it stands."""
        literal = not self.fields and "{argument" not in self.template
        return self.template.replace("{", "{{").replace("}", "}}") if literal else self.template

    def pieces(self) -> list[dict[str, Any]]:
        """The message as plain data, for a caller that writes values in its own way.

        Returns:
            a list of dicts: `{"text": ...}`, or a `kind` ("code", "index", "list", "name" or "extra") with its `value`; "code"
            has a `limit` too, the number of characters after which it is cut, or None.
        """
        return [_as_piece(piece) for piece in self._parsed()]

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross processes: what cannot, such as a function that was given, goes as its text."""
        fields = {key: _portable(value) for key, value in self.fields.items()}
        return _restore, (type(self), self.template, self.argument, fields)

    def within(self: _Self, prefix: str, **fields: Any) -> _Self:
        """The same message with a prefix: the name of the layer or of the file in which it arose."""
        names = {key: _free_name(key, self.fields) for key in fields}  # a message may have passed a layer already
        fields = {names[key]: value for key, value in fields.items()}
        return type(self)(_renamed(prefix, names) + self._format(), self.argument, **self.fields, **fields)

    def because(self: _Self, reason: Message) -> _Self:
        """The same message with another one behind it, which says why; both keep their fields."""
        names = {key: _free_name(key, self.fields) for key in ("argument_", *reason.fields)}
        fields = {names[key]: value for key, value in {"argument_": reason.argument, **reason.fields}.items()}
        why = _renamed(reason._format(), {**names, "argument": names["argument_"]})
        return type(self)(self._format() + why, self.argument, **self.fields, **fields)

    def about(self: _Self, argument: str) -> _Self:
        """The same message about another argument, whose name the caller gave."""
        return type(self)(self.template, argument, **self.fields)


def _free_name(name: str, taken: Iterable[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _renamed(template: str, names: Mapping[str, str]) -> str:
    """A template whose fields have other names."""
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
    if conversion is None and isinstance(value, tuple):  # a shape; (3,) is Python's way alone
        return {"text": f"({', '.join(map(str, value))})"}
    return {"text": _as_text(piece)}


def _plain(value: Any) -> Any:
    """A value as numbers, text, lists and dicts; anything else, such as an object, as its text."""
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
    """What is left of an object in another process: its text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _portable(value: Any) -> Any:
    """A value that any process can read: plain data as it is, anything else as its text."""
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
    """Every error that gequi raises on purpose. `argument` names the argument at fault, where there is one."""


class InputError(GequiError, ValueError):
    """A value that the function cannot take."""


class ShapeError(InputError):
    """An array with the wrong number of axes or the wrong sizes."""


class FieldError(InputError):
    """Fields, representations or layers that do not fit together."""


class ModelFileError(GequiError):
    """A model file that is damaged, foreign or from a newer gequi."""


class TransformFileError(GequiError):
    """A file of a transform that is not there, damaged, or of a kind that is not read."""


class SetupError(GequiError):
    """Something gequi needs is not installed, or not in the version it needs."""


class UnrelatedImagesError(GequiError):
    """No map was found under which two images look alike."""


class TrainingError(GequiError):
    """A training run that could not be finished."""


class GequiWarning(Message, UserWarning):
    """Every warning that gequi gives on purpose."""


class GequiMessage(GequiWarning):
    """What gequi tells of a choice that it has made; in R a message, not a warning."""


class ExactnessWarning(GequiWarning):
    """A layer that breaks exact equivariance on images of the given size."""


class AmbiguousRegistrationWarning(GequiWarning):
    """A second map, far from the one returned, under which the images look almost as much alike."""


# Modules whose package has another name.
_PACKAGES = {"PIL": "PIL (pillow)"}


def need_packages(names: Iterable[str], purpose: str, extra: str) -> None:
    """Refuses to go on without packages that only a part of gequi needs: its extra has them."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(
            "{purpose} needs {packages}: install {extra:extra}.",
            purpose=purpose, packages=" and ".join(_PACKAGES.get(name, name) for name in missing), extra=extra,
        )  # fmt: skip


def nearest(name: object, choices: Iterable[str]) -> str:
    """ " Did you mean 'conv'?", or an empty string where nothing is near."""
    known = {choice.lower(): choice for choice in choices}
    other = _OTHER_NAMES.get(str(name).lower())
    if other in known:
        return f" Did you mean '{other}'?"
    close = difflib.get_close_matches(str(name).lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean '{known[close[0]]}'?" if close else ""
