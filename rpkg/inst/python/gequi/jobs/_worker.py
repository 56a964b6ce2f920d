"""What a worker knows: its place in the group, its part of the data, and where it reports to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._files import write_file
from .._progress import Progress

DEVICES = ("auto", "cpu", "cuda")


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
