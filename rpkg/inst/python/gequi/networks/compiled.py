"""The compiled copy of a network: plain torch modules with expanded filters, for inference.

An equivariant network expands the filters of its steerable layers from their weights. In the copy this is done once:
it is made when it is first needed, kept beside the network, and made anew when anything has changed from which it was
made.
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

_DERIVED = ("filter", "matrix", "expanded_bias")  # what escnn keeps in evaluation mode
_GATHERED = ("running_mean", "running_var")


def plain_network(network: EquivariantNetwork) -> Branch:
    """The network as plain torch modules, in evaluation mode and in its own type: it holds copies of the weights."""
    with torch.no_grad(), network._own_float_type():
        return Branch(plain_layers(network.steps, network.layers)).eval().requires_grad_(False)


@contextlib.contextmanager
def predicting(
    model: nn.Module, dtype: torch.dtype | None = None, precision: torch.dtype | None = None
) -> Iterator[Callable[..., torch.Tensor]]:
    """What computes a model's output from tensors of type `dtype`: the compiled copy, where the model has one.

    Another module is in evaluation mode meanwhile, and so is a network that has hooks, which the copy has not. Neither
    computes gradients.

    Args:
        dtype: of a network; None is its own.
        precision: of a network's convolutions and of what is between them; None is `dtype`.
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
    """The floating-point type of a network's weights."""
    return next((p.dtype for p in network.parameters() if p.is_floating_point()), network.dtype)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while. escnn expands its filters when it enters that mode and would keep them although
    the weights change, so the mode is entered anew each time, and left again, each part as it was."""
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
    """The compiled copies of a network, and all from which they were made."""

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
        # A change through `.data` leaves no mark, so the values are compared too: of what training changes, which is
        # small beside the filters. Bases and tables are constants.
        self.changing = [
            each for part in parts for name, each in (*part._parameters.items(), *part._buffers.items())
            if each is not None and (name in part._parameters or name.endswith(_GATHERED))
        ]  # fmt: skip
        self.values = _joined(self.changing)

    def _tensors(self) -> list[torch.Tensor]:
        return [
            each for table in self.tables for name, each in table.items() if each is not None and name not in _DERIVED
        ]

    def is_current(self) -> bool:
        """Whether all from which the copies were made is as it was then."""
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
    """What differs once a tensor is changed in place, or put elsewhere, or into another type."""
    return [(0 if each.is_inference() else each._version, each.data_ptr(), each.dtype) for each in tensors]


def _joined(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([each.detach().reshape(-1) for each in tensors]) if tensors else torch.empty(0)


_kept: WeakKeyDictionary[EquivariantNetwork, _Kept] = WeakKeyDictionary()
