"""What a training run is told: plain data, checked once, the same in a call, a checkpoint and a job folder."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch

from ..arrays import check_choice, check_integer, check_number
from ..errors import InputError, listing, nearest
from ..networks import choose_seed
from ._tasks import LOSSES

AUGMENTATIONS = ("group", "rotation")
DEVICES = ("auto", "cpu", "cuda")

# ---- optimisers and schedules ---------------------------------------------------------------------------

# Their options, with the defaults of torch but for sgd's momentum.
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, float]]] = {
    "adam": (torch.optim.Adam, {"weight_decay": 0.0, "beta_1": 0.9, "beta_2": 0.999, "eps": 1e-8}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.01, "beta_1": 0.9, "beta_2": 0.999, "eps": 1e-8}),
    "sgd": (torch.optim.SGD, {"weight_decay": 0.0, "momentum": 0.9}),
}


def _one_cycle(progress: float) -> float:
    """Up from 1/25 in the first 30 %, then down to almost nothing (Smith & Topin 2018), by half cosines."""
    if progress < 0.3:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / 0.3)) / 2
    return 1e-5 + (1 - 1e-5) * (1 + math.cos(math.pi * (progress - 0.3) / 0.7)) / 2


# The learning rate, relative to its peak, as a function of the part of the run that is done. A function of nothing
# else: a run that is resumed needs no memory of it.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1.0 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "one_cycle": _one_cycle,
}


def make_optimizer(network: torch.nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The optimiser of a run over the weights of a network."""
    options = dict(settings.optimizer)
    make, _ = OPTIMIZERS[options.pop("optimizer")]
    if "beta_1" in options:
        options["betas"] = (options.pop("beta_1"), options.pop("beta_2"))
    return make([p for p in network.parameters() if p.requires_grad], lr=settings.learning_rate, **options)


# ---- the settings ---------------------------------------------------------------------------------------


@dataclass
class Settings:
    """The options of a run, as `check_settings()` makes them."""

    epochs: int
    batch_size: int
    learning_rate: float
    optimizer: dict[str, Any]
    schedule: str
    augment: str | None
    precision: str | None
    device: str
    seed: int
    patience: int | None
    devices: int
    nodes: int
    batches: int | None

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.learning_rate * SCHEDULES[self.schedule](step / steps)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


SETTINGS = [each.name for each in fields(Settings) if each.name != "seed"]


def check_settings(seed: Any, **given: Any) -> Settings:
    """The options of `fit()`, checked; the messages name the option."""

    def optional(check: Callable[..., Any], name: str, *limits: Any) -> Any:
        return None if given[name] is None else check(given[name], name, *limits)

    devices, nodes = (check_integer(given[name], name, minimum=1) for name in ("devices", "nodes"))
    return Settings(
        epochs=check_integer(given["epochs"], "epochs", minimum=1),
        batch_size=check_integer(given["batch_size"], "batch_size", minimum=devices * nodes),
        learning_rate=check_number(given["learning_rate"], "learning_rate", minimum=0),
        optimizer=_check_optimizer(given["optimizer"]),
        schedule=check_choice(given["schedule"], "schedule", SCHEDULES),
        augment=optional(check_choice, "augment", AUGMENTATIONS),
        precision=optional(check_choice, "precision", ("bfloat16",)),
        device=check_choice(given["device"], "device", DEVICES),
        seed=choose_seed(seed),
        patience=optional(check_integer, "patience", 1),
        devices=devices,
        nodes=nodes,
        batches=optional(check_integer, "batches", 1),
    )


def _check_optimizer(given: Any) -> dict[str, Any]:
    """{"optimizer": name, option: value, ...} with every option of that optimiser."""
    options = dict(given) if isinstance(given, Mapping) else {"optimizer": given}
    name = check_choice(options.pop("optimizer", None), "optimizer", OPTIMIZERS)
    defaults = OPTIMIZERS[name][1]
    for key in options:
        if key not in defaults:
            raise InputError(
                f"`optimizer`: {name} has no option {key!r}; it has {listing(defaults)}.{nearest(key, defaults)}",
                "optimizer",
            )
    return {
        "optimizer": name,
        **{key: check_number(options.get(key, default), f"optimizer${key}", 0) for key, default in defaults.items()},
    }


def check_loss(loss: Any) -> Any:
    """The name of a loss, a function, or None for the one that suits the targets."""
    return loss if loss is None or callable(loss) else check_choice(loss, "loss", LOSSES)


# ---- randomness -----------------------------------------------------------------------------------------


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


def fingerprint(*arrays: Any) -> str:
    """A short sum of data: shapes, and 16 examples spread over each array."""
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is None or callable(array):
            continue
        places = np.unique(np.linspace(0, len(array) - 1, 16).astype(int))
        total.update(str((tuple(array.shape), str(array.dtype))).encode())
        total.update(np.ascontiguousarray(array[places]).tobytes())
    return total.hexdigest()
