"""Recipes: a module stores how it was created, so that it can be saved and created again.

A *factory* is a function that creates modules. A module created by a factory has a `recipe`, which is plain data. The
recipe of an equivariant network lists its layers (see `networks`). The recipe of any other module is
`{"factory": name of the factory, "arguments": {...}}`.
"""

from __future__ import annotations

import functools
import inspect
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec

import numpy as np
from torch import nn

from .arrays import check_integer
from .errors import InputError, nearest

Arguments = ParamSpec("Arguments")

_MOST_VALUES, MOST_DEPTH = 1_000_000, 20  # values of an array in a recipe; depth of nested lists
_factories: dict[str, Callable[..., nn.Module]] = {}


def factory(function: Callable[Arguments, nn.Module]) -> Callable[Arguments, nn.Module]:
    """Register a function that creates modules. The recipe is attached to each module that it returns.

    A seed of None is drawn here, so that the recipe contains it. A module that already has a recipe keeps it.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def make(*arguments: Arguments.args, **options: Arguments.kwargs) -> nn.Module:
        given = signature.bind(*arguments, **options)
        given.apply_defaults()
        if "seed" in given.arguments:
            given.arguments["seed"] = choose_seed(given.arguments["seed"])
        module = function(*given.args, **given.kwargs)
        if not hasattr(module, "recipe"):
            kept = {name: plain(value) for name, value in given.arguments.items() if value is not None}
            module.recipe = {"factory": function.__name__, "arguments": kept}  # type: ignore[assignment]
        return module

    _factories[function.__name__] = make
    # doctest would treat a wrapped function as an imported one and skip its example.
    function.__globals__.setdefault("__test__", {})[function.__name__] = function
    return make


def make(recipe: Mapping[str, Any]) -> nn.Module:
    """Create the module of the recipe of a factory, with its initial weights.

    Raises:
        InputError: if the factory is unknown, or does not accept the arguments.
    """
    name, arguments = recipe["factory"], recipe["arguments"]
    if name not in _factories:
        raise InputError("unknown factory {name!r}.{hint}", "recipe", name=name, hint=nearest(name, _factories))
    try:
        inspect.signature(_factories[name]).bind(**arguments)
    except TypeError as error:
        raise InputError("{name}() has other arguments: {reason}.", "recipe", name=name, reason=str(error)) from None
    return _factories[name](**arguments)


def choose_seed(seed: object) -> int:
    """Return a seed, or draw one of 31 bits (the range of R's integers) if it is None."""
    return secrets.randbits(31) if seed is None else check_integer(seed, "seed", 0, 2**31 - 1)


def unknown_option(option: str, owner: str, options: Iterable[str]) -> InputError:
    """Return the error for an option that `owner`, a layer or a gspace, does not have."""
    choices = list(options)
    has = "the options of {owner} are {choices:list}" if choices else "{owner} has no options"
    return InputError(
        "unknown option `{argument}`; " + has + ".{hint}",
        option, owner=owner, choices=choices, hint=nearest(option, choices),
    )  # fmt: skip


def plain(value: Any, depth: int = 0) -> Any:
    """Convert plain data to one form: sequences become lists, and whole numbers become int (R passes 4.0 for 4).

    Values that are not plain data, or too large, are returned unchanged. The check of their option refuses them.
    """
    if (isinstance(value, np.ndarray) and value.size > _MOST_VALUES) or depth > MOST_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {key: plain(each, depth + 1) for key, each in value.items()}
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if isinstance(value, list | tuple):
        return [plain(each, depth + 1) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
