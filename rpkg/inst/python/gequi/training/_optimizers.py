"""Optimizers of torch and learning rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

# The optimizers with their options. The defaults are those of torch, except the momentum of sgd.
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, float]]] = {
    "adam": (torch.optim.Adam, {"weight_decay": 0.0, "beta_1": 0.9, "beta_2": 0.999, "eps": 1e-8}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01, "beta_1": 0.9, "beta_2": 0.999, "eps": 1e-8}),
    "sgd": (torch.optim.SGD, {"weight_decay": 0.0, "momentum": 0.9}),
}


def _one_cycle(progress: float) -> float:
    """Increase from 1/25 in the first 30 %, then decay to almost 0 (Smith and Topin 2018), as half cosines."""
    if progress < 0.3:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.3)) / 2
    return 1e-5 + (1 - 1e-5) * (1 + math.cos(math.pi * (progress - 0.3) / 0.7)) / 2


# The learning rate, relative to its maximum, as a function of the completed fraction of the run. It depends on nothing
# else, so a resumed run needs no state for it.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "one_cycle": _one_cycle,
}


def make_optimizer(model: torch.nn.Module, optimizer: Mapping[str, Any], learning_rate: float) -> torch.optim.Optimizer:
    """Create an optimizer for the weights of a model. `optimizer` contains its name and all of its options."""
    options = dict(optimizer)
    make, _ = OPTIMIZERS[options.pop("optimizer")]
    if "beta_1" in options:
        options["betas"] = (options.pop("beta_1"), options.pop("beta_2"))
    return make([p for p in model.parameters() if p.requires_grad], lr=learning_rate, **options)
