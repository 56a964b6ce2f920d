"""The door for callers from another language: one call, whose value, warnings and error come back as data."""

from __future__ import annotations

import importlib
import traceback
import warnings
from typing import Any

from .errors import GequiError, GequiWarning


def call(function: str, /, *arguments: Any, **options: Any) -> dict[str, Any]:
    """Calls a function of gequi; what gequi says on purpose is returned, not raised, so that no text is parsed.

    Args:
        function: its name below gequi: "gspace", "networks.describe_plan".
        *arguments, **options: what it takes.

    Returns:
        `value` (None after an error); `warnings`, a list of dicts `kinds`, `message`; `error`, None or a dict
        `kinds`, `message`, `argument`, `traceback`. `kinds` are the names of the classes, the nearest first.

    Raises:
        Exception: every error that is not a GequiError, as it is. Other warnings are passed on as they are.

    Example:
        >>> call("gspace", "rot2dOnR3", N=0)["error"]["kinds"]
        ['InputError', 'GequiError']
    """
    module, _, name = function.rpartition(".")
    target = getattr(importlib.import_module(f"gequi.{module}".rstrip(".")), name)
    value, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GequiWarning)
        try:
            value = target(*arguments, **options)
        except GequiError as raised:
            error = {
                "kinds": _kinds(type(raised), GequiError),
                "message": str(raised),
                "argument": raised.argument,
                "traceback": "".join(traceback.format_exception(raised)),
            }
    ours = []
    for warning in caught:
        if issubclass(warning.category, GequiWarning):
            ours.append({"kinds": _kinds(warning.category, GequiWarning), "message": str(warning.message)})
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return {"value": value, "warnings": ours, "error": error}


def _kinds(kind: type, root: type) -> list[str]:
    return [each.__name__ for each in kind.__mro__ if issubclass(each, root)]
