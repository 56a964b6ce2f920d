"""The weights of a network as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ..arrays import as_array, as_numpy, own_tensor
from ..errors import InputError, ShapeError, nearest
from .module import check_model


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters and the running statistics of a model.

    Filter bases and index tables are constants, not weights.
    """
    check_model(model)
    state: dict[str, torch.Tensor] = {
        name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
    }
    gathered = ("running_mean", "running_var", "num_batches_tracked")
    state.update({name: buffer for name, buffer in model.named_buffers() if name.endswith(gathered)})
    return state


def get_weights(model: nn.Module) -> dict[str, np.ndarray]:
    """Return the weights of a network, including the running statistics of batch normalization.

    Args:
        model: torch.nn.Module: a network, created by `equivariant_network()`, or any torch module.

    Returns:
        dict of str to array: the weights (copies). The names are those of torch, which counts layers from 0.

    Raises:
        InputError: if `model` is not a torch module.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, seed=1, layers=[
        ...     {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}])
        >>> {name: weight.shape for name, weight in get_weights(net).items()}
        {'layers.0.bias': (1,), 'layers.0.weights': (6,)}
    """
    return {name: as_numpy(tensor).copy() for name, tensor in _state(model).items()}


def set_weights(model: nn.Module, weights: Mapping[str, Any]) -> nn.Module:
    """Set weights of a network in place. Weights that are not in `weights` are kept.

    Args:
        model: torch.nn.Module: a network, created by `equivariant_network()`, or any torch module.
        weights: dict of str to array: the new weights, with the names and shapes that `get_weights()` returns.

    Returns:
        torch.nn.Module: the model.

    Raises:
        InputError: for an unknown name or values that are not finite. The model is not changed.
        ShapeError: for a weight of the wrong shape. The model is not changed.

    Example:
        >>> import gequi, numpy as np
        >>> network = gequi.equivariant_network(
        ...     gequi.gspace("rot2dOnR2", N=4), "trivial", layers=[{"layer": "conv", "fields": "regular", "kernel_size": 3}]
        ... )
        >>> name, weights = next(iter(gequi.get_weights(network).items()))
        >>> changed = gequi.set_weights(network, {name: 2 * weights})
        >>> bool(np.allclose(gequi.get_weights(changed)[name], 2 * weights))
        True
    """
    state = _state(model)
    if not isinstance(weights, Mapping):
        raise InputError(
            "`{argument}` must map names to arrays, as get_weights() gives them; got {weights!r:.60}.",
            "weights", weights=weights,
        )  # fmt: skip
    checked = {}
    for name, value in weights.items():
        if name not in state:
            raise InputError(
                "`{argument}` holds an unknown weight, {name!r}; the network's are {choices:list}.{hint}",
                "weights", name=name, choices=list(state), hint=nearest(name, state),
            )  # fmt: skip
        array = as_array(value, f"weights${name}")
        if array.size == 1 and state[name].numel() == 1:  # R sends a scalar as an array with one axis
            array = array.reshape(tuple(state[name].shape))
        if array.shape != tuple(state[name].shape):
            raise ShapeError(
                "`{argument}${name}` must have the shape {wanted}; got {shape}.",
                "weights", name=name, wanted=tuple(state[name].shape), shape=array.shape,
            )  # fmt: skip
        checked[name] = own_tensor(array, state[name].dtype, argument=f"weights${name}")
    with torch.no_grad():
        for name, tensor in checked.items():
            state[name].copy_(tensor)
    if not model.training:  # escnn has stored filters of the old weights
        model.train()
        model.eval()
    return model
