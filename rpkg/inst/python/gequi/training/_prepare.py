"""The inputs of a run: its examples, the task defined by the targets, and the identity of the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..arrays import check_dtype, opened
from ..errors import InputError, ShapeError, need_packages
from ..networks import EquivariantNetwork, predict
from ._data import Examples, Made, check_inputs, check_targets, open_array, split, targets_of
from ._targets import are_classes
from ._tasks import Task, find_task, set_class_weights
from .options import FitOptions


@dataclass
class Prepared:
    """The examples, task and identity of a run."""

    examples: Examples | Made
    validation: Examples | None
    task: Task
    identity: dict[str, Any]  # identity of the run, which its checkpoints store


def need_lightning() -> None:
    """Raise a SetupError if lightning or torchmetrics is missing."""
    need_packages(("lightning", "torchmetrics"), "training", "train")


def prepare(model: torch.nn.Module, x: Any, y: Any, options: FitOptions) -> Prepared:
    """Check and prepare the examples of `fit()`. The `options` have been checked before."""
    x = open_array(opened(x), "x")
    y = open_array(targets_of(x, y), "y")
    examples: Examples | Made
    arrays: list[np.ndarray] = []
    if callable(x) and not isinstance(x, np.ndarray):
        examples, task = _made(model, x, y, options)
    else:
        if options.batches is not None:
            raise InputError("`{argument}` is for an `x` that is a function; leave it out.", "batches")
        examples, task = examples_of(model, x, y, options.loss, ("x", "y"), options.ignore)
        arrays = [examples.x, examples.y]
    set_class_weights(task, options.class_weights, arrays[1] if arrays else None)
    held_out = None
    if isinstance(options.validation, tuple | list):
        held_out = _validation(model, options.validation, task)
    elif options.validation is not None:
        assert isinstance(examples, Examples)
        examples, held_out = split(examples, options.validation, options.seed)
    return Prepared(examples, held_out, task, _identity(model, options, task, fingerprint(*arrays)))


def _validation(model: torch.nn.Module, pair: Any, task: Task) -> Examples:
    x, y = pair
    x = open_array(opened(x), "validation")
    y = open_array(targets_of(x, y), "validation")
    held_out, other = examples_of(model, x, y, task.loss, ("validation$x", "validation$y"), task.ignore)
    if other.name != task.name:
        raise InputError(
            "`{argument}` is for {other}, the examples for {task}.", "validation", other=other.name, task=task.name
        )
    return held_out


def examples_of(
    model: Any, x: Any, y: Any, loss: Any, names: tuple[str, str], ignore: int | None = None
) -> tuple[Examples, Task]:
    """Convert arrays to examples and determine their task. `names` are the names of the arrays in error messages."""
    x = check_inputs(x, model, names[0])
    y = check_targets(y, len(x), names[1])
    task, y = find_task(loss, y, _output_shape(model, x), ignore)
    return Examples(x, y, _dtype(model), task.encode if task.loss == "cross_entropy" else None), task


def _made(model: Any, make: Callable[[int], Any], y: Any, options: FitOptions) -> tuple[Made, Task]:
    """Prepare batches that a function returns, and determine the task from the first batch."""
    if y is not None or not (options.validation is None or isinstance(options.validation, tuple | list)):
        raise InputError(
            "if `x` is a function, it also returns the targets, and `validation` must be a pair (x, y): leave out `y`.",
            "y" if y is not None else "validation",
        )
    if options.batches is None:
        raise InputError("`{argument}`, the number of batches in an epoch, is missing: `x` is a function.", "batches")

    def pair(value: Any) -> tuple[np.ndarray, np.ndarray]:
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise InputError(
                "`{argument}`, a function, must return a pair (x, y) for a batch; got {value!r:.60}.", "x", value=value
            )
        x = check_inputs(value[0], model, "x(batch)$x")
        return x, check_targets(value[1], len(x), "x(batch)$y")

    x, y = pair(make(0))
    task, _ = find_task(options.loss, y, _output_shape(model, x), options.ignore)

    def check(value: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = pair(value)
        if y.shape[1:] != task.target and y.ndim > 1:
            raise ShapeError(
                "`x(batch)$y` must have the shape {wanted} in each batch; got {shape}.",
                "x", wanted=("batch", *task.target), shape=y.shape,
            )  # fmt: skip
        return x, task.encode(y).reshape(len(y), *task.target)

    return Made(make, options.batches, check, _dtype(model), task.loss == "cross_entropy", x.ndim - 2), task


def _output_shape(model: Any, x: np.ndarray) -> tuple[int, ...]:
    """Return the shape of the output for one example. Shape errors are raised before any training."""
    if isinstance(model, EquivariantNetwork):
        model.warn_if_inexact(x.shape[2:], once=True)
    return predict(model, x[:1]).shape[1:]


def _dtype(model: torch.nn.Module) -> torch.dtype:
    if isinstance(model, EquivariantNetwork):
        return model.dtype
    return check_dtype(next((p.dtype for p in model.parameters()), torch.get_default_dtype()), "model")


def examine_targets(model: Any, x: Any, y: Any = None, loss: Any = None) -> dict[str, Any]:
    """Return the output shape of a model for one example, and whether the targets are classes."""
    shape = _output_shape(model, check_inputs(open_array(opened(x), "x"), model))
    return {"output": list(shape), "classes": y is not None and are_classes(np.asarray(y), loss, shape)}


# ---- what a run is --------------------------------------------------------------------------------------


def _identity(model: Any, options: FitOptions, task: Task, data: str) -> dict[str, Any]:
    """Return the identity of a run. A checkpoint is resumed only if its identity is the same."""
    return {
        **options.identity(),
        "loss": task.loss if isinstance(task.loss, str) else getattr(task.loss, "__name__", "function"),
        "class_weights": None if task.class_weights is None else task.class_weights.tolist(),
        "data": data,
        "recipe": json.loads(json.dumps(getattr(model, "recipe", None))),
    }


def fingerprint(*arrays: Any) -> str:
    """Compute a short hash of data: shapes, types, and 16 examples spread over each array."""
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        places = np.unique(np.linspace(0, len(array) - 1, 16).astype(int))
        total.update(str((tuple(array.shape), str(array.dtype))).encode())
        total.update(np.ascontiguousarray(array[places]).tobytes())
    return total.hexdigest()
