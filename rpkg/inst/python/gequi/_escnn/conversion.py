"""Weights of a network whose filter bases are as escnn found them, for the canonical bases of the same spaces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from .layers import expansions

_SAME_FILTER = 1e-6  # relative: rounding leaves 1e-12, and a filter outside the space about 1


def converted_weights(
    before: torch.nn.Module, after: torch.nn.Module, weights: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Weights with which `after` computes what `before` computes with `weights`.

    With B the old basis of a block and C the new one, B = M C and w B = (w M) C.

    Args:
        before, after: networks of one recipe, the second with other bases of the same spaces.
        weights: those of `before`, by name.

    Raises:
        ArithmeticError: a basis of another space.
    """
    found, new = dict(weights), dict(expansions(after))
    for name, old in expansions(before):
        key = f"{name}.weights"
        values = weights[key].astype(np.float64)
        for pair in old._representations_pairs:
            label = f"block_expansion_{old._escape_pair(pair)}"
            b, c = (getattr(each, label)._sampled.sampled_basis.flatten(1).numpy() for each in (old, new[name]))
            matrix = np.linalg.lstsq(c.T, b.T, rcond=1e-10)[0].T
            if np.abs(matrix @ c - b).max(initial=0) > _SAME_FILTER * np.abs(b).max(initial=0):
                raise ArithmeticError("the bases span different spaces")
            of_block = slice(*old._weights_ranges[pair])
            values[of_block] = (values[of_block].reshape(-1, len(b)) @ matrix).ravel()
        found[key] = values.astype(weights[key].dtype)
    return found
