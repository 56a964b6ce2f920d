"""Checkpoints: a model file that holds the state of its training too. `load_model()` reads it as any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..networks import get_weights, set_weights
from ..saving import EXTRA, build_model, check_saveable, describe_model, pack, read_file, shown, unpack, write_file

if TYPE_CHECKING:
    from ._run import Run


def save_checkpoint(path: Path, run: Run) -> None:
    """Writes the state of a run, whole or not at all."""
    network = check_saveable(run.network)
    plain, arrays = run.state()
    tensors = {**get_weights(network), **{EXTRA + name: value for name, value in arrays.items()}}
    write_file(path, pack(tensors, {**describe_model(network), "training": {**plain, "identity": run.identity}}))


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Any] | None:
    """The plain data and the arrays of a checkpoint; None where there is no file yet."""
    if not path.exists():
        return None
    metadata, tensors = unpack(read_file(path), shown(path))
    if "training" not in metadata:
        raise InputError(f"`checkpoint`: {shown(path)} is a model file, but no checkpoint; take another name.", "checkpoint")
    return metadata, tensors


def resume(run: Run, path: Path, found: tuple[dict[str, Any], Any]) -> None:
    """Puts the state of a checkpoint into a run of the same network, data and options."""
    metadata, tensors = found
    saved = metadata["training"]
    for name, value in run.identity.items():
        if saved["identity"].get(name) != value:
            raise InputError(
                f"`checkpoint`: {shown(path)} is of another run: its {name} was {saved['identity'].get(name)!r:.80}, "
                f"now it is {value!r:.80}. Take another name, or remove the file to begin anew.",
                "checkpoint",
            )
    set_weights(run.network, get_weights(build_model(metadata, tensors, shown(path))))
    run.restore(saved, {key.removeprefix(EXTRA): value for key, value in tensors.items() if key.startswith(EXTRA)})
