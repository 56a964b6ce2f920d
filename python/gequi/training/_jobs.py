"""Jobs: a folder that says all of a training run, so that several processes can do it together.

A job folder holds `job.json` (the options), `model.gequi` (recipe and weights) and the data, or the paths of the files
that they are in. Workers are started as torchrun starts them, one for each part of a batch; each reads the folder. The
first writes `progress.json` while it works, and at the end `result.gequi` and `history.json`. A file `stop` ends the
run after the batch.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError, TrainingError
from ..interrupts import listens_to_interrupts
from ..networks import get_weights, set_weights
from ..saving import check_path, check_saveable, load_model, save_model, shown, write_file

POLL_SECONDS = 0.1

# ---- the folder -----------------------------------------------------------------------------------------


def write_job(folder: Path, network: torch.nn.Module, options: Mapping[str, Any]) -> None:
    """Writes a job folder; `options` are the arguments of `fit()`."""
    plain = dict(options)
    for name in ("x", "loss"):
        if callable(plain[name]):
            raise InputError(f"`{name}` cannot be a function where several processes train.", name)
    check_saveable(network)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(network, folder / "model.gequi")
    plain["x"], plain["y"] = (_by_reference(folder, name, plain[name]) for name in ("x", "y"))
    if isinstance(plain["validation"], tuple | list):
        names = ("validation_x", "validation_y")
        plain["validation"] = [
            _by_reference(folder, name, value) for name, value in zip(names, plain["validation"], strict=True)
        ]
    if plain["checkpoint"] is not None:
        plain["checkpoint"] = str(Path(plain["checkpoint"]).expanduser().absolute())
    if plain["class_weights"] is not None and not isinstance(plain["class_weights"], str):
        plain["class_weights"] = np.asarray(plain["class_weights"], dtype=float).tolist()
    if isinstance(plain["optimizer"], Mapping):
        plain["optimizer"] = {key: getattr(value, "item", lambda v=value: v)() for key, value in plain["optimizer"].items()}
    write_file(folder / "job.json", json.dumps(plain).encode())


def _by_reference(folder: Path, name: str, value: Any) -> str:
    """The path of a .npy file with the values: their own, where they are in one."""
    if isinstance(value, str | os.PathLike):
        return str(Path(value).expanduser().absolute())
    path = folder / f"{name}.npy"
    np.save(path, value)
    return str(path.absolute())


def read_result(folder: Path, network: torch.nn.Module) -> list[dict[str, Any]]:
    """The history of a job that is done; its weights go into the network."""
    set_weights(network, get_weights(load_model(folder / "result.gequi")))
    return list(json.loads((folder / "history.json").read_text()))


def about_job(folder: Path) -> dict[str, Any]:
    """What the writer of a job wanted to be kept with it: R keeps the classes."""
    return dict(json.loads((Path(folder) / "job.json").read_text()).get("about") or {})


def empty_folder(folder: Any) -> Path:
    """The path of a folder for a job, which has nothing in it yet."""
    place = check_path(folder, "folder")
    if place.exists() and any(place.iterdir()):
        raise InputError(f"`folder`: {shown(folder)} is not empty.", "folder")
    return place


def command_lines(folder: Path, module: str, nodes: int, devices: int) -> dict[str, str]:
    """The lines that start the workers of a job: on each machine, or once in a batch script of SLURM."""
    end = f"python -m {module} {shlex.quote(str(folder.absolute()))}"
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


def work(folder: Path, train: Callable[..., list[dict[str, Any]]]) -> None:
    """What each process does: reads the folder and trains its part. `train` is `fit()` inside a worker."""
    options = json.loads((folder / "job.json").read_text())
    options.pop("about", None)
    network = load_model(folder / "model.gequi")

    def report(told: dict[str, Any]) -> bool:
        write_file(folder / "progress.json", json.dumps(told).encode())
        return not (folder / "stop").exists()

    history = train(network, **options, progress=report)
    if torch.distributed.is_initialized():  # its threads would abort an interpreter that ends before them
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
    if place_in_group()[0] == 0:
        save_model(network, folder / "result.gequi")
        write_file(folder / "history.json", json.dumps(history).encode())


# ---- the process that waits -----------------------------------------------------------------------------


def run_here(
    network: torch.nn.Module, options: Mapping[str, Any], devices: int, progress: Callable[[dict[str, Any]], Any] | None
) -> list[dict[str, Any]]:
    """Trains with several processes on this machine, and waits for them."""
    checkpoint = options["checkpoint"]
    folder = Path(f"{checkpoint}.job").absolute() if checkpoint else Path(tempfile.mkdtemp(prefix="gequi-job-"))
    if folder.exists():
        shutil.rmtree(folder)  # what a run left that failed
    write_job(folder, network, options)
    advice = " With `checkpoint`, the same call of fit() goes on from the last epoch."
    with _interrupts(folder):
        run_workers(folder, "gequi.training", devices, progress, advice)
    history = read_result(folder, network)
    shutil.rmtree(folder)
    return history


def run_workers(folder: Path, module: str, devices: int, progress: Callable[..., Any] | None, advice: str) -> None:
    """Starts the workers of a job on this machine and waits for them; none outlives a failure.

    `module` is what each runs with the folder as its argument; `advice` is what an error says may be done.
    """
    workers = [_start(folder, rank, devices, port, module) for port in [_free_port()] for rank in range(devices)]
    try:
        _wait(folder, workers, progress, advice)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _start(folder: Path, rank: int, devices: int, port: int, module: str) -> subprocess.Popen[bytes]:
    """One worker, with the environment that torchrun gives; what it says goes to a log in the folder."""
    package = str(Path(__file__).parents[2])
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // devices))
    environment = {
        **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": folder.name, "OMP_NUM_THREADS": threads,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
    }  # fmt: skip
    with open(folder / f"worker-{rank}.log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
        )  # fmt: skip


def _wait(
    folder: Path, workers: list[subprocess.Popen[bytes]], progress: Callable[..., Any] | None, advice: str
) -> None:
    """Waits for the workers, passing on what they report; fails as soon as one of them does."""
    seen = 0
    while True:
        states = [worker.poll() for worker in workers]
        ended = [(rank, state) for rank, state in enumerate(states) if state]
        if ended:
            rank, state = min(ended, key=_likely_a_consequence)
            raise TrainingError(_why(folder, rank, len(workers), state, advice))
        if all(state == 0 for state in states):
            return
        report = folder / "progress.json"
        with contextlib.suppress(FileNotFoundError):
            written = report.stat().st_mtime_ns
            if progress is not None and written != seen:
                seen = written
                answer = progress(json.loads(report.read_text()))
                if answer is not None and answer is not True and not answer:
                    (folder / "stop").touch()
        time.sleep(POLL_SECONDS)


def _likely_a_consequence(worker: tuple[int, int]) -> int:
    """Orders workers that ended: one that is killed takes the others with it, which fail, or abort, a moment later."""
    _, state = worker
    return 2 if state == -signal.SIGABRT else int(state > 0)


def _why(folder: Path, rank: int, count: int, state: int, advice: str) -> str:
    log = folder / f"worker-{rank}.log"
    lines = log.read_text(errors="replace").strip().splitlines()
    ended = f"was killed by {signal.Signals(-state).name}" if state < 0 else f"ended with status {state}"
    said = f" Its last words: {lines[-1]}" if lines and state > 0 else ""
    return f"worker {rank + 1} of {count} {ended}; its log is {str(log)!r}.{advice}{said}"


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
