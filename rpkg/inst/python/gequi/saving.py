"""Model files: one file with the recipe as JSON and the weights as safetensors. Opening it does not execute code.

A model file is a safetensors file whose metadata has one entry, "gequi". This entry is JSON with the checksum, the
format number, the version of gequi that wrote the file, the recipe, a fingerprint of the filter bases and, under
"metadata", the metadata given by the user. The checksum is the SHA-256 of the whole file with 64 zeros in place of the
checksum. This envelope remains the same in later formats, so that an old version of gequi can distinguish a newer file
from a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from torch import nn

from ._escnn import bases_as_found, basis_samples, converted_weights
from ._files import as_json, check_metadata, read_file, shown, write_file
from ._version import __version__
from .errors import GequiError, InputError, ModelFileError
from .networks import EquivariantNetwork, check_model, get_weights, network_from_recipe, set_weights

FORMAT = 1
EXTRA = "training/"  # prefix of the state of training in a checkpoint
_CHECKSUM = re.compile(rb'checksum\\": \\"([0-9a-f]{64})\\"')
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")  # torch.save() writes a zipped pickle
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
# Rounding on another machine changes the fingerprint by 1e-12, another basis of the same space by about 1.
_SAME_BASIS = 1e-6


# ---- saving and loading ---------------------------------------------------------------------------------


def save_model(model: nn.Module, path: Any, metadata: Mapping[str, Any] | None = None) -> str:
    """Save the recipe and the weights of a network or module to one file.

    The file is written under a temporary name and then renamed, so that `path` never contains an incomplete model.

    Args:
        model: torch.nn.Module: a module with a `recipe`, created by `equivariant_network()`, `gsa_network()`,
            `equivariant_vit()`, `image_classifier_mlp()`, `identity_resnet()`, `unet()`, `multi_head_attention()` or
            `visual_attention()`.
        path: str or Path: the file. An existing file is replaced.
        metadata: dict, optional: plain data (that JSON can represent) to store with the model, such as the names of
            classes.

    Returns:
        str: the path.

    Raises:
        InputError: if the model has no recipe or its weights are not finite, if JSON cannot represent `metadata`, or if
            the path cannot be written.

    Source:
        safetensors, Hugging Face (2022), for the layout of the file.

    Example:
        >>> import tempfile, gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = gequi.load_model(gequi.save_model(net, folder + "/net.gequi"))
        >>> bool((gequi.predict(net, np.eye(5)) == gequi.predict(again, np.eye(5))).all())
        True
    """
    return str(write_file(path, model_to_bytes(model, metadata)))


def load_model(path: Any) -> nn.Module:
    """Load a model from a file written by `save_model()` or from a checkpoint of `fit()`.

    Loading does not execute code from the file. The model is the same on every machine. Files of early versions of
    gequi have filter bases that depend on the machine on which they were saved; there they are converted.

    Args:
        path: str or Path: the file.

    Returns:
        torch.nn.Module: the model, in the type in which it was saved. Its predictions are identical to those of the
        saved model.

    Raises:
        ModelFileError: if the file does not exist, is damaged, is a pickle or not a model file, was written by a newer
            version of gequi, or contains weights that do not match its recipe or the filter bases of this machine. Each
            case has its own message.

    Example:
        >>> import gequi, numpy as np, tempfile
        >>> network = gequi.equivariant_network(
        ...     gequi.gspace("rot2dOnR2", N=4), "trivial", layers=[{"layer": "conv", "fields": "regular", "kernel_size": 3}]
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = gequi.save_model(network, f"{folder}/network.gequi")
        ...     loaded = gequi.load_model(path)
        >>> x = np.ones((1, 1, 7, 7))
        >>> bool(np.array_equal(gequi.predict(loaded, x), gequi.predict(network, x)))
        True
    """
    return model_from_bytes(read_file(path), shown(path))


def describe_model_file(path: Any) -> dict[str, Any]:
    """Describe a model file without building the model.

    Returns:
        dict: `format`, `version` (of the gequi that wrote the file), `recipe`, `metadata` and `weights` (the number of
        values).

    Raises:
        ModelFileError: as in `load_model()`.
    """
    return describe_model_bytes(read_file(path), shown(path))


def describe_model_bytes(data: bytes, name: str = "the model") -> dict[str, Any]:
    """Describe the bytes of a model file, as `describe_model_file()` does. `name` is used in error messages."""
    description, tensors = unpack(bytes(data), name)
    count = sum(int(value.size) for name, value in tensors.items() if not name.startswith(EXTRA))
    return {**{key: description.get(key) for key in ("format", "version", "recipe", "metadata")}, "weights": count}


def model_to_bytes(model: nn.Module, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Return the contents of a model file as bytes."""
    check_saveable(model)
    return pack(get_weights(model), {**describe_model(model), "metadata": check_metadata(metadata)})


def model_from_bytes(data: bytes, name: str = "the model") -> nn.Module:
    """Load a model from the result of `model_to_bytes()`. `name` is used in error messages."""
    description, tensors = unpack(bytes(data), name)
    return build_model(description, tensors, name)


def check_saveable(model: object) -> nn.Module:
    """Return `model` if it can be rebuilt: it has a recipe and finite weights. Otherwise raise an InputError."""
    module = check_model(model, "model")
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, dict) or not ("factory" in recipe or isinstance(module, EquivariantNetwork)):
        raise InputError(
            "`{argument}` must have a recipe, as networks from equivariant_network() and the other modules of gequi have; "
            "a {type} has none. get_weights() returns its weights as plain arrays.",
            "model", type=type(model).__name__,
        )  # fmt: skip
    for name, weight in get_weights(module).items():
        if not np.isfinite(weight).all():
            template = "`{argument}` has weights that are not finite ({weight}): its training has diverged."
            raise InputError(template, "model", weight=name)
    return module


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Return the description of a model that a file stores in addition to the weights."""
    return {"recipe": model.recipe, "basis": basis_fingerprint(model)}


def build_model(
    description: Mapping[str, Any], tensors: Mapping[str, np.ndarray], name: str, convert: bool = True
) -> nn.Module:
    """Build the model of an unpacked file.

    `convert` allows weights of the bases that gequi had before they were canonical, and converts them.
    """
    try:
        network = network_from_recipe(description["recipe"])
    except Exception as error:  # an invalid recipe can raise any exception
        other = GequiError("{kind}: {reason}.", kind=type(error).__name__, reason=str(error))
        reason = error if isinstance(error, GequiError) else other
        refusal = ModelFileError("{file} holds a recipe that this gequi cannot build: ", "path", file=name)
        raise refusal.because(reason) from error
    weights = {key: value for key, value in tensors.items() if not key.startswith(EXTRA)}
    expected = get_weights(network)
    missing, unknown = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or unknown:
        what = "{weight!r} is missing." if missing else "there is no place for {weight!r}."
        template = "{file} holds weights that do not fit its recipe: " + what
        raise ModelFileError(template, "path", file=name, weight=(missing or unknown)[0])
    for key, value in weights.items():
        if value.shape != expected[key].shape or value.dtype != expected[key].dtype:
            raise ModelFileError(
                "{file} holds weights that do not fit its recipe: {weight!r} must be {wanted} of shape {wanted_shape}; "
                "got {dtype} of shape {shape}.",
                "path", file=name, weight=key, wanted=str(expected[key].dtype), wanted_shape=expected[key].shape,
                dtype=str(value.dtype), shape=value.shape,
            )  # fmt: skip
    weights = _on_canonical_bases(weights, description, network, name, convert)
    try:
        set_weights(network, weights)
    except InputError as error:
        refusal = ModelFileError("{file} holds weights that are not numbers: ", "path", file=name)
        raise refusal.because(error) from error
    return network


# ---- filter bases ---------------------------------------------------------------------------------------


def basis_fingerprint(network: nn.Module) -> list[float]:
    """Compute one number for each sampled filter basis of a network.

    Weights are coefficients of a basis. With another basis of the same space, the same weights define another network.
    The number, a fixed projection of the basis divided by its norm, detects this.
    """
    found = []
    for basis in basis_samples(network):
        flat = basis.numpy().ravel()
        direction = np.cos(1.0 + np.arange(flat.size) * np.sqrt(2.0))
        found.append(round(float(flat @ direction) / max(float(np.linalg.norm(flat)), 1e-300), 9))
    return found


def _on_canonical_bases(
    weights: dict[str, np.ndarray], description: Mapping[str, Any], network: nn.Module, name: str, convert: bool
) -> dict[str, np.ndarray]:
    """Return the weights of a file for the bases of a network.

    Files from before bases were canonical have those that escnn found on their machine. Where this machine finds the
    same ones, the weights are converted.

    Raises:
        ModelFileError: if the file has other bases than this machine finds, or is not to be converted.
    """
    saved = description.get("basis")
    if _same_basis(saved, network):
        return weights
    with bases_as_found():
        before = network_from_recipe(description["recipe"])
    try:
        converted = converted_weights(before, network, weights) if _same_basis(saved, before) else None
    except ArithmeticError:
        converted = None
    if converted is None:
        raise ModelFileError(
            "{file} was saved with other filter bases than those that this machine computes, so its weights would make "
            "another network here. The bases of older versions of gequi depended on the machine: load the file there "
            "with this version and save it again, which converts it for all machines, or train the network again.",
            "path", file=name,
        )  # fmt: skip
    if not convert:
        raise ModelFileError(
            "{file} is of an older version of gequi with other filter bases, so its training cannot be resumed. Train "
            "the network that load_model() makes of it, with another `checkpoint`.",
            "path", file=name,
        )  # fmt: skip
    return converted


def _same_basis(saved: Any, network: nn.Module) -> bool:
    """Compare a fingerprint with that of a network, in any order: that of escnn's modules differs between processes."""
    own = basis_fingerprint(network)
    try:
        return len(saved) == len(own) and np.allclose(sorted(saved), sorted(own), rtol=0, atol=_SAME_BASIS)
    except (TypeError, ValueError):
        return False


# ---- the envelope ---------------------------------------------------------------------------------------


def pack(tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> bytes:
    """Convert arrays and plain data to the bytes of a file."""
    try:
        text = as_json({"checksum": "0" * 64, "format": FORMAT, "version": __version__, **description}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        template = "`{argument}` must be plain data that JSON holds: {reason}."
        raise InputError(template, "metadata", reason=str(error)) from None
    data = bytearray(safetensors.numpy.save(dict(tensors), {"gequi": text}))
    found = _CHECKSUM.search(data)
    assert found is not None  # the checksum is the first item of the only entry
    data[found.start(1) : found.end(1)] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def unpack(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the plain data and the arrays of a file. `name` is used in error messages.

    Raises:
        ModelFileError: if the data are not an undamaged file of this format.
    """
    header = _header(data, name)
    metadata = header.get("__metadata__")
    if not (isinstance(metadata, dict) and "gequi" in metadata):
        template = "{file} is a safetensors file of another program: it holds no gequi model."
        raise ModelFileError(template, "path", file=name)
    found = _CHECKSUM.search(data)
    if found is None or _checksum(data, found) != found.group(1):
        template = "{file} is damaged: its checksum does not agree with its contents."
        raise ModelFileError(template, "path", file=name)
    try:
        content = json.loads(metadata["gequi"], object_pairs_hook=_without_duplicates)
        number = content["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        template = "{file} is not a gequi model: its description cannot be read."
        raise ModelFileError(template, "path", file=name) from None
    if type(number) is not int or number < 1:
        template = "{file} is not a gequi model: its format must be a whole number from 1; got {format!r:.40}."
        raise ModelFileError(template, "path", file=name, format=number)
    if number > FORMAT:
        raise ModelFileError(
            "{file} has format {format}, written by gequi {writer}; this is gequi {version}, which reads formats up "
            "to {newest}. Install a newer gequi.",
            "path", file=name, format=number, writer=str(content.get("version")), version=__version__, newest=FORMAT,
        )  # fmt: skip
    try:
        return content, safetensors.numpy.load(data)
    except Exception as error:  # any error of safetensors
        template = "{file} is not a gequi model: {reason}."
        raise ModelFileError(template, "path", file=name, reason=str(error)) from error


def _checksum(data: bytes, found: re.Match[bytes]) -> bytes:
    """Compute the checksum of a file. `found` is the match of the checksum that the file states."""
    blank = bytearray(data)
    blank[found.start(1) : found.end(1)] = b"0" * 64
    return hashlib.sha256(blank).hexdigest().encode()


def _header(data: bytes, name: str) -> dict[str, Any]:
    """Read the header of a safetensors file, which describes all bytes that follow."""
    length = int.from_bytes(data[:8], "little")
    if data[8:9] != b"{" or length >= 2**40:
        raise ModelFileError(_foreign(data), "path", file=name, size=len(data))
    if 8 + length > len(data):
        template = "{file} is cut off: it has {size} bytes of at least {wanted}."
        raise ModelFileError(template, "path", file=name, size=len(data), wanted=8 + length)
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=_without_duplicates)
        ends = [int(entry["data_offsets"][1]) for key, entry in header.items() if key != "__metadata__"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError):
        raise ModelFileError("{file} is damaged: its header cannot be read.", "path", file=name) from None
    wanted = 8 + length + max(ends, default=0)
    if len(data) < wanted:
        template = "{file} is cut off: it has {size} of {wanted} bytes."
        raise ModelFileError(template, "path", file=name, size=len(data), wanted=wanted)
    if len(data) > wanted:
        template = "{file} is damaged: it has {size} bytes where its header describes {wanted}."
        raise ModelFileError(template, "path", file=name, size=len(data), wanted=wanted)
    return dict(header)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Convert the pairs of a JSON object to a dict. A duplicate name, which would hide a value, raises a ValueError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _foreign(data: bytes) -> str:
    """Return the error message for a file that does not begin like a safetensors file."""
    if data.startswith(_PICKLES):
        return "{file} is a pickle, as torch.save() writes it; opening one can run any code, so gequi never does."
    if data.startswith(_COMPRESSED):
        return "{file} is a compressed file: in R, readRDS() may read it."
    if len(data) < 9:
        return "{file} is cut off: it has {size} bytes."
    return "{file} is no gequi model file."


__all__ = [
    "describe_model_file",
    "load_model",
    "model_from_bytes",
    "model_to_bytes",
    "save_model",
]
