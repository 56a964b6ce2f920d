"""Checkpoints: model files that also store the state of training. `load_model()` reads them as models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._files import read_file, shown, write_file
from ..errors import GequiError, InputError
from ..networks import get_weights, set_weights
from ..saving import EXTRA, build_model, check_saveable, describe_model, pack, unpack


@dataclass
class Checkpoint:
    """The contents of a checkpoint file."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, np.ndarray]

    @property
    def identity(self) -> dict[str, Any]:
        """Return the identity of the run that wrote the checkpoint."""
        return dict(self.metadata["training"]["identity"])

    @property
    def plain(self) -> dict[str, Any]:
        return dict(self.metadata["training"])

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {key.removeprefix(EXTRA): value for key, value in self.tensors.items() if key.startswith(EXTRA)}


def save_checkpoint(
    path: Path, model: torch.nn.Module, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write the weights of a model and the state of its run. The file is written completely or not at all."""
    tensors = {**get_weights(check_saveable(model)), **{EXTRA + name: value for name, value in arrays.items()}}
    try:
        write_file(path, pack(tensors, {**describe_model(model), "training": dict(plain)}))
    except GequiError as error:
        raise error.about("checkpoint") from None


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None if the file does not exist."""
    if not path.exists():
        if not path.parent.is_dir():
            raise InputError("`{argument}`: there is no folder {folder}.", "checkpoint", folder=shown(path.parent))
        return None
    try:
        metadata, tensors = unpack(read_file(path), shown(path))
    except GequiError as error:
        raise error.about("checkpoint") from None
    if "training" not in metadata:
        raise InputError(
            "`{argument}`: {path} is a model file, not a checkpoint; use another name.",
            "checkpoint",
            path=shown(path),
        )
    return Checkpoint(path, metadata, tensors)


def take_weights(checkpoint: Checkpoint, model: torch.nn.Module, identity: Mapping[str, Any]) -> None:
    """Copy the weights of a checkpoint to a model. The network, data and options of the run must be the same."""
    for name, value in identity.items():
        before = checkpoint.identity.get(name)
        if before != value:
            raise InputError(
                "`{argument}`: {path} belongs to another run: its {name} was {before!r:.80}, now it is {now!r:.80}. Use "
                "another name, or remove the file to start again.",
                "checkpoint", path=shown(checkpoint.path), name=name, before=before, now=value,
            )  # fmt: skip
    built = build_model(checkpoint.metadata, checkpoint.tensors, shown(checkpoint.path), convert=False)
    set_weights(model, get_weights(built))
