"""Random numbers of a run: each place in it has a seed of its own."""

from __future__ import annotations

import hashlib

import torch


def generator_for(seed: int, *place: object) -> torch.Generator:
    """A generator for one place in a run: an epoch's order, a batch's augmentation.

    Each place has a seed of its own, so a run that is resumed draws what an unbroken one draws.
    """
    return torch.Generator().manual_seed(seed_for(seed, *place))


def seed_for(seed: int, *place: object) -> int:
    """A seed for one place in a run."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "little")


def seed_layers(seed: int, device: torch.device) -> None:
    """Seeds what layers draw from: `torch.manual_seed()` for the processors in use.

    That one formats a traceback at each call, for each make of processor that has not been started: most of what
    `fit()` added to a small step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
