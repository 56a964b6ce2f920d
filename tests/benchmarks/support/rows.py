"""Rows of the table of benchmarks, and the measurement of their ratios.

A program of the table has a function `rows(full)` that yields rows; tests/benchmarks/table.py runs it in a process of its
own. Times are CPU times of this process. Works that are compared run in turn, and a ratio is the median of the ratios of
all turns, so that a busy machine slows both.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Row:
    """A measured value and its target: at most `target`, or None where there is none."""

    name: str
    peer: str  # what it is compared with
    value: float
    target: float | None = None
    unit: str = "x"  # "x" for a ratio to the peer, otherwise "MB", "s" or "ms"
    milliseconds: float | None = None  # of gequi, for a ratio

    @property
    def passed(self) -> bool | None:
        return None if self.target is None else self.value <= self.target


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turn(
    works: Mapping[str, Callable[[], object]], budget: float = 2.0, least: int = 5, most: int = 101
) -> dict[str, list[float]]:
    """Return the CPU seconds of each task in as many turns as the budget (seconds) allows, without the first turn."""
    first = sum(cpu_seconds(work) for work in works.values())
    timed: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(max(least, min(most, int(budget / max(first, 1e-9))))):
        for name, work in works.items():
            timed[name].append(cpu_seconds(work))
    return timed


def compared(name: str, peer: str, timed: Mapping[str, list[float]], ours: str, other: str, target: float | None = None,
             times: float = 1.0) -> Row:  # fmt: skip
    """Make the row of the ratio of one task to `times` another one."""
    ratio = statistics.median(a / (times * b) for a, b in zip(timed[ours], timed[other], strict=True))
    return Row(name, peer, ratio, target, milliseconds=1000 * statistics.median(timed[ours]))
