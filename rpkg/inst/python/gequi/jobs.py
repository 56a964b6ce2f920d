"""Jobs: work that several processes do together, and the folder that tells them what to do.

A job folder holds `job.json` and the other files that the work needs. Workers are started as torchrun starts them, each
with the folder as its argument. They may write `progress.json` while they work. A file `stop` asks them to end. The
subjects that use this module, training and folders, define the work.
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
_RANDOM = 8  # letters that tempfile.mkdtemp() adds
MARKER = ".gequi-job"  # a file in the folders that gequi made for itself, and so may remove

# ---- the folder -----------------------------------------------------------------------------------------


def empty_folder(folder: Any) -> Path:
    """The path of a folder for a job, which must be empty or not exist yet."""
    path = check_path(folder, "folder")
    if path.exists() and not path.is_dir():
        raise InputError("`{argument}`: {folder} is a file, not a folder.", "folder", folder=shown(path))
    if path.exists() and any(path.iterdir()):
        raise InputError("`{argument}`: {folder} is not empty.", "folder", folder=shown(folder))
    return path


@contextlib.contextmanager
def temporary_folder(checkpoint: Any = None) -> Iterator[Path]:
    """A new folder for a job on this machine: beside a checkpoint, or in the temporary directory.

    It is removed when the work is done. After a failure the logs of the workers stay, and nothing else; they go at the
    next job there, when this process has ended.
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
            "`{argument}`: no folder can be made beside {path} ({reason}).",
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
    """Removes the folders of jobs whose process has ended."""
    for folder in place.glob(glob.escape(prefix) + "?" * _RANDOM):
        with contextlib.suppress(OSError, ValueError):
            marker = folder / MARKER
            writer, process = (marker.read_text() or "- 0").split()
            mine = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
            if mine and is_left_behind(writer, int(process), marker.stat().st_mtime):
                _remove(folder)


def _remove(folder: Path, keep: str | None = None) -> None:
    """Removes a folder that gequi made, or all of it but the files of a pattern. Any other folder is left alone."""
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
    """A job folder that is written whole or not at all: after an error, what was written of it is removed again.

    An error about a file in it is one about `argument`.
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
    """Writes `job.json`, which `read_job()` reads, with the checksums of the files that the job needs. It comes last."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    sums = {path.name: file_checksum(path) for path in files if path.name != "job.json"}
    write_plain(folder / "job.json", {**job, "checksums": sums} if sums else job)


def read_job(folder: Any) -> dict[str, Any] | None:
    """The contents of `job.json`; None where there is no such file, or it does not hold a dict.

    Raises:
        InputError: a checksum that does not agree, of it or of a file that the job needs.
    """
    place = check_path(folder, "folder")
    job = read_plain(place / "job.json")
    sums = (job or {}).get("checksums", {})
    if not isinstance(sums, dict):
        raise _damaged(place / "job.json")
    for name, expected in sums.items():
        file = place / Path(name).name  # of this folder, whatever a file that others wrote may name
        try:
            same = file.is_file() and file_checksum(file) == expected  # one would wait for a pipe
        except OSError:
            same = False
        if not same:
            raise _damaged(file)
    return job


def write_plain(path: Path, data: Mapping[str, Any]) -> None:
    """Writes plain data with a checksum."""
    try:
        text = as_json(data)
    except (TypeError, ValueError, RecursionError) as error:
        template = "`{argument}` must be plain data that JSON holds: {reason}."
        raise InputError(template, "metadata", reason=str(error)) from None
    plain = json.loads(text)
    write_file(path, json.dumps({**plain, "checksum": _checksum(plain)}).encode())


def read_plain(path: Path) -> dict[str, Any] | None:
    """What `write_plain()` wrote; None where there is no such file, or it does not hold a dict."""
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
    """What tells a job from others: its results say which they are of."""
    return file_checksum(folder / "job.json")


def _checksum(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def file_checksum(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path) -> InputError:
    return InputError(
        "`{argument}`: {file} is damaged: its checksum does not agree with its contents.", "folder", file=shown(path)
    )


def command_lines(folder: Path, module: str, nodes: int, devices: int) -> dict[str, str]:
    """The lines that start the workers of a job, with this Python: on each machine, or once in a batch script of SLURM."""
    end = f"{shlex.quote(sys.executable)} -m {module} {shlex.quote(str(folder.absolute()))}"
    return {
        "torchrun": f"torchrun --nnodes {nodes} --nproc-per-node {devices} --rdzv-backend c10d "
        f"--rdzv-endpoint FIRST_MACHINE:29500 --no-python {end}",
        "srun": f"srun --nodes {nodes} --ntasks-per-node {devices} {end}",
    }


# ---- the worker -----------------------------------------------------------------------------------------


def place_in_group() -> tuple[int, int]:
    """The number of this process, from 0, and how many there are: as torchrun or SLURM tell each of them."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0
    return int(rank), int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)


class Part:
    """The part of each batch that one of several processes takes."""

    def __init__(self, rank: int = 0, processes: int = 1) -> None:
        self.rank, self.processes = rank, processes

    def of(self, indexes: np.ndarray) -> tuple[np.ndarray, bool]:
        """This process's indexes, and whether they count: a process that is left none takes the first, uncounted."""
        own = self.slice(indexes)
        return (own, True) if len(own) else (indexes[:1], False)

    def slice(self, values: Any) -> Any:
        """This process's part of anything with one entry an example."""
        ends = [len(values) * i // self.processes for i in range(self.processes + 1)]
        return values[ends[self.rank] : ends[self.rank + 1]]

    def total(self, values: list[float], device: torch.device) -> list[float]:
        """Sums over all processes; on their device, since those of GPUs add up nothing elsewhere."""
        if self.processes == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(tensor)
        return list(tensor.tolist())


def report_to(folder: Path) -> Progress:
    """The progress function of a worker: it writes `progress.json`, and returns False if the worker is to stop."""

    def report(info: dict[str, Any]) -> bool:
        write_file(folder / "progress.json", json.dumps(info).encode())
        return not (folder / "stop").exists()

    return report


def leave_group() -> None:
    """Ends the group of processes: torch's threads would abort an interpreter that ends before them."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


# ---- the process that waits -----------------------------------------------------------------------------


def run_workers(
    folder: Path, module: str, devices: int, progress: Progress | None = None, advice: str = "", stops: bool = False
) -> None:
    """Starts the workers of a job on this machine and waits for them; none outlives a failure.

    Args:
        folder: of the job.
        module: what each worker runs, with the folder as its argument.
        devices: how many workers.
        progress: called with what the workers report; where it returns False, they are asked to stop.
        advice: what an error says may be done.
        stops: whether the workers heed a wish to stop, so that Ctrl-C becomes one.

    Raises:
        TrainingError: a worker that failed or was killed.
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
    """Whether a progress function or a callback has returned False."""
    return isinstance(answer, bool | np.bool_) and not answer


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _start(folder: Path, rank: int, devices: int, port: int, module: str) -> subprocess.Popen[bytes]:
    """One worker, with the environment that torchrun gives; what it says goes to a log in the folder."""
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
    """Waits for the workers, passing on what they report; fails as soon as one of them does."""
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
    """Orders workers that ended: one that is killed takes the others with it, which fail, or abort, a moment later."""
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
    """Ctrl-C asks the workers to stop after the batch; a second one ends the wait."""
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
