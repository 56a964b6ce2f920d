"""Jobs: work that several processes do together, defined by the files of a folder.

A job folder contains `job.json` and other files that the work needs. Workers are started as torchrun starts them, each
with the folder as its argument. They can write `progress.json` while they work. A file `stop` asks them to end. The
work is defined by the subjects that use this module, training and folders.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ._files import as_json, check_path, is_left_behind, shown, this_writer, write_file
from ._interrupts import listens_to_interrupts
from ._progress import Progress
from .errors import InputError, TrainingError

DEVICES = ("auto", "cpu", "cuda")
POLL_SECONDS = 0.1
_RANDOM = 8  # number of characters that tempfile.mkdtemp() adds
MARKER = ".gequi-job"  # marks folders that gequi has created and may remove

# ---- the folder -----------------------------------------------------------------------------------------


def empty_folder(folder: Any) -> Path:
    """Return the path of a folder for a job, which must be empty or not exist."""
    path = check_path(folder, "folder")
    if path.exists() and not path.is_dir():
        raise InputError("`{argument}`: {folder} is a file, not a folder.", "folder", folder=shown(path))
    if path.exists() and any(path.iterdir()):
        raise InputError("`{argument}`: {folder} is not empty.", "folder", folder=shown(folder))
    return path


@contextlib.contextmanager
def temporary_folder(checkpoint: Any = None) -> Iterator[Path]:
    """Create a folder for a job on this machine, beside a checkpoint or in the temporary directory.

    The folder is removed when the work is done. After a failure, only the logs of the workers are kept. They are
    removed by the next job in the same place after this process has ended.
    """
    near = None if checkpoint is None else check_path(checkpoint, "checkpoint").absolute()
    place = None
    try:
        place = Path(tempfile.mkdtemp(prefix="gequi-job-") if near is None else tempfile.mkdtemp(
            prefix=f"{near.name}.job-", dir=near.parent
        ))  # fmt: skip
        _remove_left(place.parent, place.name[:-_RANDOM])
        (place / MARKER).write_text(" ".join(map(str, this_writer())))
    except OSError as error:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
        raise InputError(
            "`{argument}`: cannot create a folder next to {path} ({reason}).",
            "devices" if near is None else "checkpoint", path=shown(near or place or tempfile.gettempdir()),
            reason=error.strerror,
        ) from None  # fmt: skip
    try:
        yield place
    except BaseException:
        _remove(place, keep="*.log")
        raise
    _remove(place)


def _remove_left(place: Path, prefix: str) -> None:
    """Remove the folders of jobs whose process has ended."""
    for folder in place.glob(glob.escape(prefix) + "?" * _RANDOM):
        with contextlib.suppress(OSError, ValueError):
            marker = folder / MARKER
            writer, process = (marker.read_text() or "- 0").split()
            mine = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
            if mine and is_left_behind(writer, int(process), marker.stat().st_mtime):
                _remove(folder)


def _remove(folder: Path, keep: str | None = None) -> None:
    """Remove a folder created by gequi, except files that match `keep`. Other folders are not removed."""
    if not (folder / MARKER).is_file():
        return
    kept = set(folder.glob(keep)) if keep else set()
    if not kept:
        shutil.rmtree(folder)
        return
    for path in folder.iterdir():
        if path not in kept and path.name != MARKER:
            path.unlink()


@contextlib.contextmanager
def written_whole(folder: Path, argument: str = "folder") -> Iterator[None]:
    """Write a job folder completely or not at all: after an error, the written files are removed.

    Errors about a file in the folder become errors about `argument`.
    """
    made = not folder.exists()
    before = set() if made else set(folder.iterdir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):
            for path in set(folder.iterdir()) - before:
                path.unlink()
            if made:
                folder.rmdir()
        if isinstance(error, InputError) and error.argument == "path":
            raise error.about(argument) from None
        if not isinstance(error, OSError):
            raise
        template = "`{argument}`: {folder} cannot be written ({reason})."
        raise InputError(template, argument, folder=shown(folder), reason=str(error.strerror)) from None


def write_job(folder: Path, job: Mapping[str, Any]) -> None:
    """Write `job.json`, which `read_job()` reads, with the checksums of the other files of the job. Call this last."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    sums = {path.name: file_checksum(path) for path in files if path.name != "job.json"}
    write_plain(folder / "job.json", {**job, "checksums": sums} if sums else job)


def read_job(folder: Any) -> dict[str, Any] | None:
    """Read `job.json`; None if the file does not exist or does not contain a dict.

    Raises:
        InputError: if the checksum of the file or of another file of the job does not match.
    """
    place = check_path(folder, "folder")
    job = read_plain(place / "job.json")
    sums = (job or {}).get("checksums", {})
    if not isinstance(sums, dict):
        raise _damaged(place / "job.json")
    for name, expected in sums.items():
        file = place / Path(name).name  # only files of this folder, even if job.json names others
        try:
            same = file.is_file() and file_checksum(file) == expected  # is_file(): reading a pipe would block
        except OSError:
            same = False
        if not same:
            raise _damaged(file)
    return job


def write_plain(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data with a checksum."""
    try:
        text = as_json(data)
    except (TypeError, ValueError, RecursionError) as error:
        template = "`{argument}` must be plain data that JSON holds: {reason}."
        raise InputError(template, "metadata", reason=str(error)) from None
    plain = json.loads(text)
    write_file(path, json.dumps({**plain, "checksum": _checksum(plain)}).encode())


def read_plain(path: Path) -> dict[str, Any] | None:
    """Read the data that `write_plain()` wrote; None if the file does not exist or does not contain a dict."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if found.pop("checksum", None) != _checksum(found):
        raise _damaged(path)
    return found


def identity(folder: Path) -> str:
    """Return the checksum that identifies a job. Results store it."""
    return file_checksum(folder / "job.json")


def _checksum(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_checksum(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path) -> InputError:
    return InputError(
        "`{argument}`: {file} is damaged: its checksum does not agree with its contents.", "folder", file=shown(path)
    )


def command_lines(folder: Path, module: str, nodes: int, devices: int) -> dict[str, str]:
    """Return the commands that start the workers with this Python: on each machine, or once in a SLURM batch script."""
    end = f"{shlex.quote(sys.executable)} -m {module} {shlex.quote(str(folder.absolute()))}"
    return {
        "torchrun": f"torchrun --nnodes {nodes} --nproc-per-node {devices} --rdzv-backend c10d "
        f"--rdzv-endpoint FIRST_MACHINE:29500 --no-python {end}",
        "srun": f"srun --nodes {nodes} --ntasks-per-node {devices} {end}",
    }


# ---- the worker -----------------------------------------------------------------------------------------


def place_in_group() -> tuple[int, int]:
    """Return the number of this process, from 0, and the number of processes, as set by torchrun or SLURM."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0
    return int(rank), int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


class Part:
    """The part of each batch that one of several processes takes."""

    def __init__(self, rank: int = 0, processes: int = 1) -> None:
        self.rank, self.processes = rank, processes

    def of(self, indexes: np.ndarray) -> tuple[np.ndarray, bool]:
        """Return the indexes of this process and whether they count.

        A process that receives no index takes the first one, which does not count.
        """
        own = self.slice(indexes)
        return (own, True) if len(own) else (indexes[:1], False)

    def slice(self, values: Any) -> Any:
        """Return the part of this process of a sequence with one item per example."""
        ends = [len(values) * i // self.processes for i in range(self.processes + 1)]
        return values[ends[self.rank] : ends[self.rank + 1]]

    def total(self, values: list[float], device: torch.device) -> list[float]:
        """Sum values over all processes, on their device, because the backend of GPUs can only sum on GPUs."""
        if self.processes == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(tensor)
        return list(tensor.tolist())


def report_to(folder: Path) -> Progress:
    """Create the progress function of a worker. It writes `progress.json` and returns False to stop the worker."""

    def report(info: dict[str, Any]) -> bool:
        write_file(folder / "progress.json", json.dumps(info).encode())
        return not (folder / "stop").exists()

    return report


def leave_group() -> None:
    """Leave the process group. Otherwise torch's threads would abort an interpreter that ends before them."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


# ---- the process that waits -----------------------------------------------------------------------------


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


def says_stop(answer: Any) -> bool:
    """Return whether a progress function or a callback has returned False."""
    return isinstance(answer, bool | np.bool_) and not answer


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _start(folder: Path, rank: int, devices: int, port: int, module: str) -> subprocess.Popen[bytes]:
    """Start one worker with the environment that torchrun sets. Its output is written to a log in the folder."""
    package = str(Path(__file__).parents[1])
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // devices))
    environment = {
        **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": folder.name, "OMP_NUM_THREADS": threads,
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
    seen = 0
    while True:
        states = [worker.poll() for worker in workers]
        ended = [(rank, state) for rank, state in enumerate(states) if state]
        if ended:
            rank, state = min(ended, key=_likely_a_consequence)
            raise _failure(folder, rank, len(workers), state, advice)
        if all(state == 0 for state in states):
            return
        report = folder / "progress.json"
        with contextlib.suppress(FileNotFoundError):
            written = report.stat().st_mtime_ns
            if progress is not None and written != seen:
                seen = written
                if says_stop(progress(json.loads(report.read_text()))):
                    (folder / "stop").touch()
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
