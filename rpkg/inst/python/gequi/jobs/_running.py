"""Starting the workers of a job on this machine, and waiting for them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .._files import shown
from .._interrupts import listens_to_interrupts
from .._progress import Progress
from ..errors import TrainingError

POLL_SECONDS = 0.1


def command_lines(folder: Path, module: str, nodes: int, devices: int) -> dict[str, str]:
    """Return the commands that start the workers with this Python: on each machine, or once in a SLURM batch script."""
    end = f"{shlex.quote(sys.executable)} -m {module} {shlex.quote(str(folder.absolute()))}"
    return {
        "torchrun": f"torchrun --nnodes {nodes} --nproc-per-node {devices} --rdzv-backend c10d "
        f"--rdzv-endpoint FIRST_MACHINE:29500 --no-python {end}",
        "srun": f"srun --nodes {nodes} --ntasks-per-node {devices} {end}",
    }


def run_workers(
    folder: Path, module: str, devices: int, progress: Progress | None = None, advice: str = "", stops: bool = False
) -> None:
    """Start the workers of a job on this machine and wait for them. If one fails, the others are ended.

    Args:
        folder: str or Path: the folder of the job.
        module: str: the Python module that each worker runs, with the folder as its argument.
        devices: int: the number of workers.
        progress: callable, optional: a function that is called with the reports of the workers. If it returns False,
            the workers are asked to stop.
        advice: str: advice that is added to error messages.
        stops: bool: whether the workers can be asked to stop. If True, Ctrl-C asks them to stop.

    Raises:
        TrainingError: if a worker fails or is killed.
    """
    port = _free_port()
    with _interrupts(folder) if stops else contextlib.nullcontext():
        workers: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(devices):
                workers.append(_start(folder, rank, devices, port, module))
            _wait(folder, workers, progress, advice)
        finally:
            for worker in workers:
                if worker.poll() is None:
                    worker.kill()
                worker.wait()


def environment_of_workers(count: int) -> dict[str, str]:
    """Return what the environment of each of several workers needs: its share of the threads, and its own libpython.

    R and rpy2 put the system's libraries first in LD_LIBRARY_PATH. A Python that is not the system's would then load
    the libpython of the system, which may be of another version.
    """
    variables = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // count))}
    libraries, own = os.environ.get("LD_LIBRARY_PATH"), sysconfig.get_config_var("LIBDIR")
    if libraries and own and sysconfig.get_config_var("Py_ENABLE_SHARED"):
        variables["LD_LIBRARY_PATH"] = os.pathsep.join([own, libraries])
    return variables


def says_stop(answer: Any) -> bool:
    """Return whether a progress function or a callback has returned False."""
    return isinstance(answer, bool | np.bool_) and not answer


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _start(folder: Path, rank: int, devices: int, port: int, module: str) -> subprocess.Popen[bytes]:
    """Start one worker with the environment that torchrun sets. Its output is written to a log in the folder."""
    package = str(Path(__file__).parents[2])
    environment = {
        **os.environ, **environment_of_workers(devices), "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": folder.name,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
    }  # fmt: skip
    try:
        with open(folder / f"worker-{rank}.log", "wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, str(folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        template = "worker {number} cannot be started in {folder} ({reason})."
        raise TrainingError(template, number=rank + 1, folder=shown(folder), reason=str(error.strerror)) from None


def _wait(folder: Path, workers: list[subprocess.Popen[bytes]], progress: Progress | None, advice: str) -> None:
    """Wait for the workers and pass on their reports. Raise an error as soon as one of them fails."""
    report, seen = folder / "progress.json", (0, 0)
    while True:
        states = [worker.poll() for worker in workers]
        with contextlib.suppress(FileNotFoundError):  # read after the states, so that the last report is passed on
            found = report.stat()  # each report is a new file; two may have the same time
            if progress is not None and (found.st_ino, found.st_mtime_ns) != seen:
                seen = found.st_ino, found.st_mtime_ns
                if says_stop(progress(json.loads(report.read_text()))):
                    (folder / "stop").touch()
        ended = [(rank, state) for rank, state in enumerate(states) if state]
        if ended:
            rank, state = min(ended, key=_likely_a_consequence)
            raise _failure(folder, rank, len(workers), state, advice)
        if all(state == 0 for state in states):
            return
        time.sleep(POLL_SECONDS)


def _likely_a_consequence(worker: tuple[int, int]) -> int:
    """Order ended workers by likely cause. A killed worker makes the others fail or abort shortly after."""
    _, state = worker
    return 2 if state == -signal.SIGABRT else int(state > 0)


def _failure(folder: Path, rank: int, count: int, state: int, advice: str) -> TrainingError:
    log = folder / f"worker-{rank}.log"
    lines = log.read_text(errors="replace").strip().splitlines()
    return TrainingError(
        "worker {number} of {count} {ended}; its log is {log}.{advice}{said}",
        number=rank + 1, count=count, log=shown(log), advice=advice,
        ended=f"was killed by {signal.Signals(-state).name}" if state < 0 else f"ended with status {state}",
        said=f" Its last words: {lines[-1]}" if lines and state > 0 else "",
    )  # fmt: skip


@contextlib.contextmanager
def _interrupts(folder: Path) -> Iterator[None]:
    """Ask the workers to stop after the current batch at Ctrl-C. A second Ctrl-C ends the wait."""
    if not listens_to_interrupts():
        yield
        return

    def on_interrupt(number: int, frame: Any) -> None:
        if (folder / "stop").exists():
            raise KeyboardInterrupt
        (folder / "stop").touch()

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
