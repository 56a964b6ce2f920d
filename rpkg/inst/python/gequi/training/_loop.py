"""The training loop on one CPU device, in the type of the model.

Other devices, several processes and mixed precision are trained by lightning (`_engine.py`). The functions that it calls
at each step take longer than the step of a small network, and its import takes seconds. tests/benchmarks/training_speed.py
measures the loop.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from .._interrupts import listens_to_interrupts
from ._run import Row, Run
from .options import FitOptions


def accelerator_for(device: str) -> str:
    """Return "cpu" or "cuda" for a device, which may be "auto"."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def is_plain(options: FitOptions) -> bool:
    """Return whether a run needs nothing but this loop."""
    return options.processes == 1 and options.precision is None and accelerator_for(options.device) == "cpu"


def train(run: Run) -> list[Row]:
    """Train a run on the CPU until its end or a stop, and return its history."""
    with session(run), torch.inference_mode(False), torch.enable_grad():
        if any(each.device.type != "cpu" for each in run.model.parameters()):
            run.model.cpu()
        if run.step < run.steps and not run.stop:
            run.begin()
        for step in range(run.step, run.steps):
            if run.stop:
                break
            batch = run.batch(step)
            run.begin_batch()
            loss = run.loss(batch)
            run.optimizer.zero_grad()
            loss.backward()
            run.optimizer.step()
            run.end_batch()
    return run.finish()


@contextlib.contextmanager
def session(run: Run, gpus: Sequence[int] = ()) -> Iterator[None]:
    """Put the model into training mode, listen to Ctrl-C, and restore the mode and the random number generators.

    Args:
        gpus: list of int: the GPUs whose generators the run uses.
    """
    was_training = run.model.training
    run.model.train()
    try:
        with _interrupts(run), torch.random.fork_rng(gpus):
            yield
    except (KeyboardInterrupt, SystemExit):  # lightning converts KeyboardInterrupt to SystemExit
        run.stop = run.stop or "interrupt"
    run.model.train()
    if not was_training:
        run.model.eval()


@contextlib.contextmanager
def _interrupts(run: Run) -> Iterator[None]:
    """Stop the run after the current batch at Ctrl-C, and immediately at a second one.

    The handler is not installed if another program (R) handles Ctrl-C.
    """
    if not listens_to_interrupts():
        yield
        return

    def on_interrupt(number: int, frame: Any) -> None:
        if run.stop:
            raise KeyboardInterrupt
        run.stop = "interrupt"

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
