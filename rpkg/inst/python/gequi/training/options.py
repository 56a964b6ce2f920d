"""The options of `fit()`, with their checks. Calls, job folders, workers and checkpoints use the same object.

The options are plain data, except for a `loss` that is a function and arrays for `validation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, get_args, get_type_hints

from .._files import check_path
from ..arrays import check_choice, check_integer, check_number
from ..errors import InputError, nearest
from ..jobs import DEVICES
from ..networks import choose_seed
from ._optimizers import OPTIMIZERS, SCHEDULES
from ._tasks import LOSSES

LARGEST_RATE = 1e30  # below the maximum of float32, the type of the weights
AUGMENTATIONS = ("group", "rotation", "jitter")
# Options that do not affect the weights. They may differ if a checkpoint is resumed.
_ELSEWHERE = ("device", "devices", "nodes", "checkpoint", "validation")

Check = Callable[[Any, str], Any]


def _one_of(*choices: str) -> Check:
    return lambda value, name: check_choice(value, name, choices)


def _at_least(minimum: int) -> Check:
    return lambda value, name: check_integer(value, name, minimum=minimum)


def _or_none(check: Check) -> Check:
    return lambda value, name: None if value is None else check(value, name)


def check_loss(loss: Any, argument: str = "loss") -> Any:
    """Return the name of a loss, a function, or None for a loss that is chosen by the targets."""
    return loss if loss is None or callable(loss) else check_choice(loss, argument, LOSSES)


def _check_optimizer(given: Any, argument: str) -> dict[str, Any]:
    """Return {"optimizer": name, option: value, ...} with all options of the optimizer."""
    options = dict(given) if isinstance(given, Mapping) else {"optimizer": given}
    name = check_choice(options.pop("optimizer", None), argument, OPTIMIZERS)
    defaults = OPTIMIZERS[name][1]
    for key in options:
        if key not in defaults:
            raise InputError(
                "`{argument}`: {name} has no option {option!r}; it has {choices:list}.{hint}",
                argument, name=name, option=key, choices=list(defaults), hint=nearest(key, defaults),
            )  # fmt: skip
    checked = {key: check_number(options.get(key, value), f"{argument}${key}", 0) for key, value in defaults.items()}
    return {"optimizer": name, **checked}


def _check_validation(value: Any, argument: str) -> Any:
    """Check a fraction or a pair (x, y)."""
    if not isinstance(value, tuple | list):
        fraction = check_number(value, argument, minimum=0, maximum=1)
        if fraction == 0:
            template = "`{argument}` must be a fraction greater than 0, or {none!r} for no validation; got {value!r}."
            raise InputError(template, argument, none=None, value=value)
        return fraction
    if len(value) != 2:
        raise InputError(
            "`{argument}` must be a fraction or a pair (x, y); got {count} values.", argument, count=len(value)
        )
    return value


def _check_rate(value: Any, argument: str) -> float:
    return check_number(value, argument, minimum=0, maximum=LARGEST_RATE)


def _check_seed(value: Any, argument: str) -> int:
    """Return a seed; None draws one."""
    return choose_seed(value)


def _as_it_is(value: Any, argument: str) -> Any:
    return value


def _absolute(value: Any, argument: str) -> str:
    return str(check_path(value, argument).absolute())


@dataclass(frozen=True)
class FitOptions:
    """The options of `fit()` in the order of its arguments, each with its check and its default."""

    loss: Annotated[Any, check_loss] = None
    epochs: Annotated[int, _at_least(1)] = 10
    batch_size: Annotated[int, _at_least(1)] = 32
    learning_rate: Annotated[float, _check_rate] = 1e-3
    optimizer: Annotated[Any, _check_optimizer] = "adam"
    schedule: Annotated[str, _one_of(*SCHEDULES)] = "constant"
    validation: Annotated[Any, _or_none(_check_validation)] = None
    augment: Annotated[str | None, _or_none(_one_of(*AUGMENTATIONS))] = None
    class_weights: Annotated[Any, _as_it_is] = None  # checked when the classes of the data are known
    ignore: Annotated[int | None, _or_none(check_integer)] = None
    precision: Annotated[str | None, _or_none(_one_of("bfloat16"))] = None
    device: Annotated[str, _one_of(*DEVICES)] = "auto"
    seed: Annotated[Any, _check_seed] = None
    checkpoint: Annotated[Any, _or_none(_absolute)] = None
    patience: Annotated[int | None, _or_none(_at_least(1))] = None
    devices: Annotated[int, _at_least(1)] = 1
    nodes: Annotated[int, _at_least(1)] = 1
    batches: Annotated[int | None, _or_none(_at_least(1))] = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> FitOptions:
        """Select the options from a mapping of variables."""
        return cls(**{name: given[name] for name in OPTIONS})

    @property
    def processes(self) -> int:
        return self.devices * self.nodes

    def checked(self) -> FitOptions:
        """Return the options, each converted to its type and checked against its limits. Errors name the option."""
        checked = {name: check(getattr(self, name), name) for name, check in _CHECKS.items()}
        least = checked["devices"] * checked["nodes"]
        check_integer(checked["batch_size"], "batch_size", minimum=least)
        return replace(self, **checked)

    def plain(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in OPTIONS}

    def identity(self) -> dict[str, Any]:
        """Return the options that must be the same when a checkpoint is resumed."""
        left_out = (*_ELSEWHERE, *(["epochs"] if self.schedule == "constant" else []))  # a longer run begins equally
        return {name: value for name, value in self.plain().items() if name not in left_out}

    def learning_rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.learning_rate * SCHEDULES[self.schedule](step / steps)


OPTIONS = [each.name for each in fields(FitOptions)]
_CHECKS: dict[str, Check] = {
    name: get_args(hint)[1] for name, hint in get_type_hints(FitOptions, include_extras=True).items()
}
