"""Progress of long computations, reported to a function of the caller.

A computation calls `begin()` and `tick()`, which do nothing if there is no such function.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from .errors import InputError

Progress = Callable[[dict[str, Any]], Any]


def check_progress(progress: object) -> Any:
    """Return the function, or None.

    Raises:
        InputError: if the value is neither.
    """
    if progress is None or callable(progress):
        return progress
    raise InputError("`{argument}` must be a function; got {value!r:.80}.", "progress", value=progress)


def at_intervals(progress: Progress, seconds: float) -> Progress:
    """Limit `progress` to one call per so many seconds, for callers whose calls take long."""
    last = -math.inf

    def called(told: dict[str, Any]) -> Any:
        nonlocal last
        if time.monotonic() - last < seconds:
            return None
        value = progress(told)
        last = time.monotonic()
        return value

    return called


# ---- stages ---------------------------------------------------------------------------------------------


class _Stages:
    def __init__(self, progress: Progress) -> None:
        self.progress, self.start = progress, time.monotonic()
        self.begun: dict[str, int] = {}
        self.told: dict[str, Any] = {}

    def begin(self, stage: str, steps: int | None) -> None:
        self.begun[stage] = self.begun.get(stage, 0) + 1
        self.told = {"stage": stage, "step": self.begun[stage], "steps": steps}
        self.tell()

    def tell(self) -> None:
        self.progress({**self.told, "seconds": time.monotonic() - self.start})


_stages: ContextVar[_Stages | None] = ContextVar("stages", default=None)


@contextlib.contextmanager
def telling_stages(progress: Progress | None) -> Iterator[None]:
    """Report the stages of the computation inside the context.

    A report is a dict of `stage`, its name; `step`, the number of times it has begun; `steps`, the number of times it
    will begin, or None if unknown; and `seconds`, the time since the first report.
    """
    token = _stages.set(None if progress is None else _Stages(progress))
    try:
        yield
    finally:
        _stages.reset(token)


def begin(stage: str, steps: int | None = None) -> None:
    """Report that a stage, or its next step, begins."""
    stages = _stages.get()
    if stages is not None:
        stages.begin(stage, steps)


def tick() -> None:
    """Report that the stage continues."""
    stages = _stages.get()
    if stages is not None and stages.told:
        stages.tell()


# ---- a number of things ---------------------------------------------------------------------------------


def counted(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Return a function of a number of tasks that reports a dict of `done`, `total` and `seconds_left`."""
    start = time.monotonic()

    def tell(done: int) -> None:
        if progress is not None:
            left = (time.monotonic() - start) / max(done, 1) * (total - done)
            progress({"done": done, "total": total, "seconds_left": left})

    return tell
