"""Random numbers of a run: each position in the run has its own seed."""

from __future__ import annotations

import hashlib

import torch


def generator_for(seed: int, *place: object) -> torch.Generator:
    """Create a generator for one position in a run, such as the order of an epoch or the augmentation of a batch.

    Each position has its own seed, so a resumed run draws the same numbers as an uninterrupted one.
    """
    return torch.Generator().manual_seed(seed_for(seed, *place))


def seed_for(seed: int, *place: object) -> int:
    """Compute the seed for one position in a run."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "little")


def seed_layers(seed: int, device: torch.device) -> None:
    """Seed the generators from which layers draw, as `torch.manual_seed()` does for the devices in use.

    `torch.manual_seed()` formats a traceback at each call for each type of device that has not been initialized. This
    took most of the time that `fit()` added to a small step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
