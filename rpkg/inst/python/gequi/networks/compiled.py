"""The compiled copy of a network for inference: plain torch modules with expanded filters.

An equivariant network expands the filters of its steerable layers from their weights. In the copy this is done once.
The copy is created when it is first needed and stored with the network. It is created again if the layers, parameters
or buffers of the network have changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .._escnn import EquivariantModule
from ..layers.fast import fast
from ..layers.plain import Branch, plain_layers
from .module import EquivariantNetwork
from .recipe import with_dtype

_DERIVED = ("filter", "matrix", "expanded_bias")  # what escnn stores in evaluation mode
_GATHERED = ("running_mean", "running_var")


def plain_network(network: EquivariantNetwork) -> Branch:
    """Convert a network to plain torch modules in evaluation mode, in its own type and with copies of its weights."""
    with torch.no_grad(), network._own_float_type():
        return Branch(plain_layers(network.steps, network.layers)).eval().requires_grad_(False)


@contextlib.contextmanager
def predicting(
    model: nn.Module, dtype: torch.dtype | None = None, precision: torch.dtype | None = None
) -> Iterator[Callable[..., torch.Tensor]]:
    """Provide a function that computes the output of a model from tensors of type `dtype`, without gradients.

    For an equivariant network the function is the compiled copy. Other modules, and networks with hooks (which the copy
    does not have), are in evaluation mode inside the context.

    Args:
        dtype: torch.dtype, optional: the type of a network. None uses the type of the network.
        precision: torch.dtype, optional: the type of the convolutions of a network and of the features between them.
            None uses `dtype`.
    """
    with torch.no_grad():
        if type(model) is EquivariantNetwork:
            kept = _kept.get(model)
            if kept is None or not kept.is_current():
                kept = _kept[model] = _Kept(model)
            if not any(kept.hooks):
                yield kept.copy(model, dtype or type_of(model), precision)
                return
            model = model if dtype is None else with_dtype(model, dtype)
        with evaluating(model):
            yield model


def type_of(network: EquivariantNetwork) -> torch.dtype:
    """Return the floating-point type of the weights of a network."""
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), network.dtype)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode inside the context and restore the mode of each part afterwards.

    escnn expands its filters when a module enters evaluation mode and would keep them when the weights change, so the
    mode is entered anew each time.
    """
    before = [(part, part.training) for part in model.modules()]
    model.train()
    model.eval()
    try:
        yield
    finally:
        model.train()
        for part, training in before:
            if part.training != training:
                part.train(training)


class _Kept:
    """The compiled copies of a network, and the tensors and layers from which they were created."""

    def __init__(self, network: EquivariantNetwork) -> None:
        parts = list(network.modules())
        self.copies: dict[tuple[torch.dtype, torch.dtype | None], nn.Module] = {}
        self.layers, self.built = network.layers._modules, list(network.layers)
        self.tables = [table for part in parts for table in (part._parameters, part._buffers) if table]
        self.hooks = [
            table
            for part in parts
            if isinstance(part, EquivariantModule | EquivariantNetwork)
            for table in (part._forward_hooks, part._forward_pre_hooks)
        ]
        self.tensors = self._tensors()
        self.marks = _marks(self.tensors)
        # A change through `.data` does not change the marks, so the values are compared too. This includes only the
        # weights and statistics, which are small compared to the filters. Bases and tables are constants.
        self.changing = [
            each for part in parts for name, each in (*part._parameters.items(), *part._buffers.items())
            if each is not None and (name in part._parameters or name.endswith(_GATHERED))
        ]  # fmt: skip
        self.changing = [each.detach() for each in self.changing]  # the same memory, as long as the marks are the same
        self.changing = [each.view(-1) if each.is_contiguous() else each for each in self.changing]
        self.values = _joined(self.changing)

    def _tensors(self) -> list[torch.Tensor]:
        return [
            each for table in self.tables for name, each in table.items() if each is not None and name not in _DERIVED
        ]

    def is_current(self) -> bool:
        """Return whether the network is the same as when the copies were created."""
        tensors = self._tensors()
        return (
            len(tensors) == len(self.tensors)
            and all(a is b for a, b in zip(tensors, self.tensors, strict=True))
            and _marks(tensors) == self.marks
            and all(a is b for a, b in zip(self.layers.values(), self.built, strict=False))
            and torch.equal(_joined(self.changing), self.values)
        )

    def copy(self, network: EquivariantNetwork, dtype: torch.dtype, precision: torch.dtype | None) -> nn.Module:
        if (dtype, precision) not in self.copies:
            source = network if dtype == type_of(network) else with_dtype(network, dtype)
            self.copies[dtype, precision] = fast(plain_network(source), precision or dtype)
        return self.copies[dtype, precision]


def _marks(tensors: list[torch.Tensor]) -> list[tuple[int, int, torch.dtype]]:
    """Return values that change when a tensor is modified in place, moved, or converted to another type."""
    return [(0 if each.is_inference() else each._version, each.data_ptr(), each.dtype) for each in tensors]


def _joined(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([each if each.ndim == 1 else each.reshape(-1) for each in tensors]) if tensors else torch.empty(0)


_kept: WeakKeyDictionary[EquivariantNetwork, _Kept] = WeakKeyDictionary()
