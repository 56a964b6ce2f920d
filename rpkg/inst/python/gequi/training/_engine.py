"""The engine: lightning's Trainer turns a run. This module alone imports lightning, when `fit()` is first called."""

from __future__ import annotations

import contextlib
import signal
import warnings
from collections.abc import Iterator
from typing import Any

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.strategies import DDPStrategy

from .._interrupts import listens_to_interrupts
from .._quiet import quiet
from ..jobs import Part
from ._run import Row, Run

_SPEAKERS = ("lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero",
             "lightning.fabric.utilities.rank_zero", "pytorch_lightning")  # fmt: skip


def train(run: Run) -> list[Row]:
    """Turns a run to its end, or to a stop, and returns its history."""
    options = run.options
    many = options.processes > 1
    accelerator = _accelerator(options.device)
    was_training = run.model.training
    run.model.train()
    if run.step < run.steps and not run.stop:
        with (
            quiet(_SPEAKERS, "lightning|torch|torchmetrics"),
            _interrupts(run),
            torch.random.fork_rng(_gpus(accelerator)),
        ):
            trainer = Trainer(
                accelerator=accelerator,
                devices=options.devices,
                num_nodes=options.nodes,
                # The statistics of batch normalisation are averaged by the run, and bases are constants.
                strategy=DDPStrategy(broadcast_buffers=False) if many else "auto",
                precision="bf16-mixed" if options.precision == "bfloat16" else "32-true",  # "32": as the network is
                max_epochs=1,  # to lightning, all epochs are one: a resumed run begins within it
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            # It would put every handler of a signal back as Python sees it, and so cut R off from Ctrl-C for good.
            for name in ("register_signal_handlers", "teardown"):
                setattr(trainer._signal_connector, name, lambda: None)
            run.part = Part(trainer.global_rank, trainer.world_size)
            try:
                trainer.fit(_Lesson(run), train_dataloaders=_Batches(run))
            except (KeyboardInterrupt, SystemExit):  # lightning makes the first into the second
                run.stop = run.stop or "interrupt"
    run.model.train()
    if not was_training:
        run.model.eval()
    return run.finish()


def _accelerator(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _gpus(accelerator: str) -> list[int]:
    """The GPUs whose random numbers a run draws on, which are the user's again after it."""
    return list(range(torch.cuda.device_count())) if accelerator == "cuda" else []


class _Batches:
    """The batches from the run's next one to its last."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __len__(self) -> int:
        return self.run.steps - self.run.step

    def __iter__(self) -> Iterator[Any]:
        for step in range(self.run.step, self.run.steps):
            if self.run.stop:
                return
            yield self.run.batch(step)


class _Lesson(LightningModule):
    """A run in the form that lightning turns."""

    run: Run

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.model = run.model
        object.__setattr__(self, "run", run)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.run.optimizer

    def on_train_start(self) -> None:
        self.run.begin()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.run.begin_batch()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.run.loss(batch)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.run.end_batch()
        if self.trainer.world_size > 1:
            self.run.stop = self.trainer.strategy.broadcast(self.run.stop)
        if self.run.stop:
            self.trainer.should_stop = True


@contextlib.contextmanager
def _interrupts(run: Run) -> Iterator[None]:
    """Ctrl-C ends the run after the batch; a second one at once. Left alone where another program (R) listens."""
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
