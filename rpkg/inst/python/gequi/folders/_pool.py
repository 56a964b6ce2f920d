"""Work in several processes of this machine, which survives the death of a process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor

from ..jobs import environment_of_workers

POLL_SECONDS = 0.1  # how long Ctrl-C may wait


def run_in_processes(
    function: Callable[[Any], Any], tasks: Iterable[Any], workers: int, done: Callable[[], object]
) -> list[Any]:
    """Call a function of a module for each task, in processes that are started, not forked, and `done()` after each.

    If a process dies, the pool is started again. The tasks that were being worked on are then repeated one by one, so
    that a task which ends its process does not disturb another.

    Args:
        function: a function with a name in its module.
        tasks: plain data for each call.
        workers: the number of processes.
        done: called after each task, in this process.

    Returns:
        the tasks whose process died again.
    """
    queue, alone, lost = deque(tasks), deque[Any](), []
    while queue or alone:
        if queue:
            alone.extend(_run(function, queue, workers, done))
        else:
            lost += _run(function, deque([alone.popleft()]), 1, done)
    return lost


def _run(function: Callable[[Any], Any], queue: deque[Any], workers: int, done: Callable[[], object]) -> list[Any]:
    """Work on the queue until it is empty or a process dies; return the tasks that were being worked on then."""
    pending: dict[Any, Any] = {}
    pool = ProcessPoolExecutor(max_workers=workers, env=environment_of_workers(workers))
    try:
        while queue or pending:
            while queue and len(pending) < workers:
                pending[pool.submit(function, queue[0])] = queue[0]
                queue.popleft()
            for each in wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED).done:
                each.result()
                del pending[each]
                done()
    except BrokenProcessPool:
        return list(pending.values())
    finally:
        pool.shutdown(wait=True, kill_workers=True)
    return []
