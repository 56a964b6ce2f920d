"""Makers of modules: what a module was made with stays with it, so that it can be saved and made again.

A module that a maker returns has a `recipe`: plain data, JSON as it stands. Of an equivariant network it lists the
layers (see `networks`); of any other module it is `{"maker": name, "arguments": {...}}`.
"""

from __future__ import annotations

import functools
import inspect
import secrets
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import numpy as np
from torch import nn

from .arrays import check_integer
from .errors import InputError, nearest

Arguments = ParamSpec("Arguments")

_makers: dict[str, Callable[..., nn.Module]] = {}


def maker(function: Callable[Arguments, nn.Module]) -> Callable[Arguments, nn.Module]:
    """Registers a function that makes modules, and has it attach its recipe to each of them.

    A seed of None is drawn here, so that the recipe knows it. A module that has a recipe already keeps that.
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
            module.recipe = {"maker": function.__name__, "arguments": kept}  # type: ignore[assignment]
        return module

    _makers[function.__name__] = make
    # doctest takes a wrapped function for one that was imported, and passes over its example.
    function.__globals__.setdefault("__test__", {})[function.__name__] = function
    return make


def make(recipe: Mapping[str, Any]) -> nn.Module:
    """The module that a maker's recipe describes, with its initial weights.

    Raises:
        InputError: a maker that is not known here, or arguments that it does not take.
    """
    name, arguments = recipe["maker"], recipe["arguments"]
    if name not in _makers:
        raise InputError(f"there is no maker {name!r}.{nearest(name, _makers)}", "recipe")
    try:
        inspect.signature(_makers[name]).bind(**arguments)
    except TypeError as error:
        raise InputError(f"{name}() has other arguments: {error}.", "recipe") from None
    return _makers[name](**arguments)


def choose_seed(seed: object) -> int:
    """A seed as it came, or a fresh one for None: 31 bits, which R's integers hold too."""
    return secrets.randbits(31) if seed is None else check_integer(seed, "seed", 0, 2**31 - 1)


def plain(value: Any) -> Any:
    """Plain data in one form: sequences as lists, whole numbers as int (R sends 4.0 for 4)."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in value]
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
