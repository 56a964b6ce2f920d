"""Model files: the recipe as JSON and the weights as safetensors, in one file that runs no code when it is opened.

A file is a safetensors file whose metadata holds one entry, "gequi": JSON with the checksum, the format's number, the
version of gequi that wrote it, the recipe, a fingerprint of the filter bases and, under "metadata", what else the
writer wants to keep. The checksum is the SHA-256 of the whole file with 64 zeros in its place. This envelope stays the same
in every later format, so that an old gequi can tell a newer file from a damaged one.
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

from ._escnn import basis_samples
from ._files import as_json, check_metadata, read_file, shown, write_file
from ._version import __version__
from .errors import GequiError, InputError, ModelFileError
from .networks import EquivariantNetwork, check_model, get_weights, network_from_recipe, set_weights

FORMAT = 1
EXTRA = "training/"  # what a checkpoint keeps beside the weights: not the model's
_CHECKSUM = re.compile(rb'checksum\\": \\"([0-9a-f]{64})\\"')
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")  # torch.save() zips its pickle
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
# Rounding on another machine changes a basis by 1e-12; another basis of the same space changes it by about 1.
_SAME_BASIS = 1e-6


# ---- saving and loading ---------------------------------------------------------------------------------


def save_model(model: nn.Module, path: Any, metadata: Mapping[str, Any] | None = None) -> str:
    """Saves a network, or another module that gequi made: its recipe and its weights, in one file.

    The file is written under another name and then renamed, so `path` never holds half a model, whatever happens.

    Args:
        model: a module with a `recipe`, from `equivariant_network()`, `gsa_network()`, `image_classifier_mlp()`,
            `identity_resnet()`, `unet()`, `multi_head_attention()` or `visual_attention()`.
        path: the file; one that exists is replaced.
        metadata: plain data (anything JSON holds) that is kept beside the model, such as the names of classes.

    Returns:
        the path, as text.

    Raises:
        InputError: a model without a recipe, weights that are not finite, `metadata` that JSON cannot hold, or a
            path that cannot be written to.

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
    """Load a model from a file of `save_model()` or a checkpoint of `fit()`.

    Args:
        path: the file.

    Returns:
        the model, in the type it was saved in: its predictions are those of the saved one to the bit.

    Raises:
        ModelFileError: a file that is not there, damaged, foreign, a pickle, from a newer gequi, or whose weights do
            not fit its recipe or the filter bases of this machine; each in a sentence of its own. No code that a
            file may carry is ever run.

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
    """Describes a model file without building the model.

    Returns:
        a dict: `format`, `version` (of the gequi that wrote it), `recipe`, `metadata`, `weights` (how many numbers).

    Raises:
        ModelFileError: as `load_model()`.
    """
    return describe_model_bytes(read_file(path), shown(path))


def describe_model_bytes(data: bytes, name: str = "the model") -> dict[str, Any]:
    """`describe_model_file()` of bytes; `name` is what messages call them."""
    description, tensors = unpack(bytes(data), name)
    count = sum(int(value.size) for name, value in tensors.items() if not name.startswith(EXTRA))
    return {**{key: description.get(key) for key in ("format", "version", "recipe", "metadata")}, "weights": count}


def model_to_bytes(model: nn.Module, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The contents of a model file."""
    check_saveable(model)
    return pack(get_weights(model), {**describe_model(model), "metadata": check_metadata(metadata)})


def model_from_bytes(data: bytes, name: str = "the model") -> nn.Module:
    """The model that `model_to_bytes()` put into bytes; `name` is what messages call them."""
    description, tensors = unpack(bytes(data), name)
    return build_model(description, tensors, name)


def check_saveable(model: object) -> nn.Module:
    """`model`, where it has a recipe from which it can be built again, and finite weights."""
    module = check_model(model, "model")
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, dict) or not ("factory" in recipe or isinstance(module, EquivariantNetwork)):
        raise InputError(
            "`{argument}` must carry a recipe, as networks from equivariant_network() and the modules of gequi's other "
            "factories do; a {type} does not. get_weights() gives its weights as plain arrays.",
            "model", type=type(model).__name__,
        )  # fmt: skip
    for name, weight in get_weights(module).items():
        if not np.isfinite(weight).all():
            template = "`{argument}` has weights that are not finite ({weight}): its training has diverged."
            raise InputError(template, "model", weight=name)
    return module


def describe_model(model: nn.Module) -> dict[str, Any]:
    """What a file must say of a model besides its weights."""
    return {"recipe": model.recipe, "basis": basis_fingerprint(model)}


def build_model(description: Mapping[str, Any], tensors: Mapping[str, np.ndarray], name: str) -> nn.Module:
    """The model of an unpacked file."""
    try:
        network = network_from_recipe(description["recipe"])
    except Exception as error:  # whatever a foreign recipe makes the builders stumble over
        other = GequiError("{kind}: {reason}.", kind=type(error).__name__, reason=str(error))
        reason = error if isinstance(error, GequiError) else other
        refusal = ModelFileError("{file} holds a recipe that this gequi cannot build: ", "path", file=name)
        raise refusal.because(reason) from error
    _check_basis(description.get("basis"), network, name)
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
    try:
        set_weights(network, weights)
    except InputError as error:
        refusal = ModelFileError("{file} holds weights that are not numbers: ", "path", file=name)
        raise refusal.because(error) from error
    return network


# ---- filter bases ---------------------------------------------------------------------------------------


def basis_fingerprint(network: nn.Module) -> list[float]:
    """One number for each sampled filter basis of a network.

    Weights are coefficients of a basis. Where a machine's linear algebra finds another basis of the same space, the
    same weights are another network; the number (a fixed projection of the basis, relative to its norm) tells.
    """
    found = []
    for basis in basis_samples(network):
        flat = basis.numpy().ravel()
        direction = np.cos(1.0 + np.arange(flat.size) * np.sqrt(2.0))
        found.append(round(float(flat @ direction) / max(float(np.linalg.norm(flat)), 1e-300), 9))
    return found


def _check_basis(saved: Any, network: nn.Module, name: str) -> None:
    own = basis_fingerprint(network)  # in the order of escnn's modules, which differs between processes
    try:
        same = len(saved) == len(own) and np.allclose(sorted(saved), sorted(own), rtol=0, atol=_SAME_BASIS)
    except (TypeError, ValueError):
        same = False
    if not same:
        raise ModelFileError(
            "{file} was saved with other filter bases than those that this machine computes, so its weights would make "
            "another network here; save its predictions, or train it again, on this machine.",
            "path", file=name,
        )  # fmt: skip


# ---- the envelope ---------------------------------------------------------------------------------------


def pack(tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> bytes:
    """Arrays and plain data as the bytes of a file."""
    try:
        text = as_json({"checksum": "0" * 64, "format": FORMAT, "version": __version__, **description}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        template = "`{argument}` must be plain data that JSON holds: {reason}."
        raise InputError(template, "metadata", reason=str(error)) from None
    data = bytearray(safetensors.numpy.save(dict(tensors), {"gequi": text}))
    found = _CHECKSUM.search(data)
    assert found is not None  # it is the first entry of the only entry
    data[found.start(1) : found.end(1)] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def unpack(data: bytes, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The plain data and the arrays of a file; `name` is what messages call it.

    Raises:
        ModelFileError: anything but an undamaged file of this format.
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
        template = "{file} is no gequi model: its description cannot be read."
        raise ModelFileError(template, "path", file=name) from None
    if type(number) is not int or number < 1:
        template = "{file} is no gequi model: its format must be a whole number from 1; got {format!r:.40}."
        raise ModelFileError(template, "path", file=name, format=number)
    if number > FORMAT:
        raise ModelFileError(
            "{file} has format {format}, written by gequi {writer}; this is gequi {version}, which reads formats up "
            "to {newest}. Install a newer gequi.",
            "path", file=name, format=number, writer=str(content.get("version")), version=__version__, newest=FORMAT,
        )  # fmt: skip
    try:
        return content, safetensors.numpy.load(data)
    except Exception as error:  # safetensors' own refusals
        template = "{file} is no gequi model: {reason}."
        raise ModelFileError(template, "path", file=name, reason=str(error)) from error


def _checksum(data: bytes, found: re.Match[bytes]) -> bytes:
    """The checksum of a file in which `found` is the checksum that it states."""
    blank = bytearray(data)
    blank[found.start(1) : found.end(1)] = b"0" * 64
    return hashlib.sha256(blank).hexdigest().encode()


def _header(data: bytes, name: str) -> dict[str, Any]:
    """The header of a safetensors file, which describes every byte that follows it."""
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
    """An object of JSON, in which a name that comes twice would hide what the first one says."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _foreign(data: bytes) -> str:
    """What is said of a file that does not begin as a safetensors file does."""
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
