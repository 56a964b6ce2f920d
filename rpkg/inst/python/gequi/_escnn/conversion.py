"""Weights of a network on the bases that escnn finds, converted to the canonical bases of the same spaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from .layers import expansions

_SAME_SPACE = 1e-6  # relative: rounding leaves 1e-12, and a vector outside the space about 1


def converted_weights(
    before: torch.nn.Module, after: torch.nn.Module, weights: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the weights with which one network computes what another computes with given weights.

    With the rows B of an old basis and C of the new one, B = M C and w B = (w M) C.

    Args:
        before: the network of the weights.
        after: a network of the same recipe with other bases of the same spaces.
        weights: the weights of `before`, by name.

    Raises:
        ArithmeticError: if a basis of `after` does not span the space of that of `before`.
    """
    found, new = dict(weights), dict(expansions(after))
    for name, old in expansions(before):
        values = weights[f"{name}.weights"].astype(np.float64)
        for pair in old._representations_pairs:
            block = f"block_expansion_{old._escape_pair(pair)}"
            b, c = (getattr(each, block)._sampled.sampled_basis.flatten(1).numpy() for each in (old, new[name]))
            part = slice(*old._weights_ranges[pair])
            values[part] = (values[part].reshape(-1, len(b)) @ _coordinates(b, c)).ravel()
        found[f"{name}.weights"] = values.astype(weights[f"{name}.weights"].dtype)
    later = dict(_bias_bases(after))
    for name, basis in _bias_bases(before):
        if name in weights:
            values = weights[name].astype(np.float64) @ _coordinates(basis, later[name])
            found[name] = values.astype(weights[name].dtype)
    return found


def _bias_bases(model: torch.nn.Module) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the names of biases of invariant parts of fields, and the channels to which each of their values is added."""
    for path, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name == "bias_expansion":
                yield f"{path}.bias", buffer.double().numpy().T
            elif name.endswith("_change_of_basis"):
                yield f"{path}.{name.removesuffix('change_of_basis')}bias", buffer.double().numpy().T


def _coordinates(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return M with old = M new, for the rows of two bases of one space."""
    matrix = np.linalg.lstsq(new.T, old.T, rcond=1e-10)[0].T
    if np.abs(matrix @ new - old).max(initial=0) > _SAME_SPACE * np.abs(old).max(initial=0):
        raise ArithmeticError("the bases span different spaces")
    return np.asarray(matrix)
