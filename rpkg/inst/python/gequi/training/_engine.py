"""Training with lightning's Trainer: on GPUs, in several processes, in mixed precision.

Only this module imports lightning, at the first `fit()` that needs it. `_loop.py` trains on one CPU device.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.strategies import DDPStrategy

from .._quiet import quiet
from ..jobs import Part
from ._loop import accelerator_for, session
from ._run import Row, Run

_SPEAKERS = ("lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero",
             "lightning.fabric.utilities.rank_zero", "pytorch_lightning")  # fmt: skip


def train(run: Run) -> list[Row]:
    """Train a run until its end or a stop, and return its history."""
    options = run.options
    many = options.processes > 1
    accelerator = accelerator_for(options.device)
    with session(run, _gpus(accelerator)), quiet(_SPEAKERS, "lightning|torch|torchmetrics"):
        if run.step < run.steps and not run.stop:
            trainer = Trainer(
                accelerator=accelerator,
                devices=options.devices,
                num_nodes=options.nodes,
                # The statistics of batch normalization are averaged by the run, and bases are constants.
                strategy=DDPStrategy(broadcast_buffers=False) if many else "auto",
                precision="bf16-mixed" if options.precision == "bfloat16" else "32-true",  # "32": the network's type
                max_epochs=1,  # all epochs are one epoch for lightning; a resumed run begins within it
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            # lightning would restore signal handlers as Python knows them, after which R would never receive Ctrl-C.
            for name in ("register_signal_handlers", "teardown"):
                setattr(trainer._signal_connector, name, lambda: None)
            run.part = Part(trainer.global_rank, trainer.world_size)
            trainer.fit(_Lesson(run), train_dataloaders=_Batches(run))
    return run.finish()


def _gpus(accelerator: str) -> list[int]:
    """Return the GPUs whose random number generators a run uses. Their state is restored after the run."""
    return list(range(torch.cuda.device_count())) if accelerator == "cuda" else []


class _Batches:
    """The batches from the next one of the run to the last one."""

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
    """A run as a LightningModule."""

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
