"""escnn's kernels and layers as gequi uses them: copies (copies.py), put right in four ways.

1.  escnn writes float32 out where it samples its filters and in some layers. Here those modules see a `torch`
    whose float32 is float64 (kernels) or the default type (layers), so a float64 network is exact to 1e-10.
2.  A gspace of escnn builds escnn's kernels, and keeps them. Here a layer builds its own from the copies.
3.  Layers with the same types share one sampled basis *module* in escnn, so `layer.double()` of one breaks
    the others, and its tensors would be saved with every layer. Here each layer has a module of its own over
    shared tensors, which are constants and no part of the state.
4.  Some layers keep the ends of a range of channels in a tensor, from which they must be fetched at every call; no
    exporter can follow that, and a GPU has to wait for it. Here they are plain numbers.

The bases themselves are made the same on every machine in `solutions.py`.
"""

from __future__ import annotations

import contextlib
import math
import types
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .copies import own
from .solutions import are_bases_as_found

if TYPE_CHECKING:
    import escnn
    import escnn.nn
else:
    escnn = own("")

from escnn.group import Representation
from escnn.gspaces import GSpace

# ---- 1. float64 -----------------------------------------------------------------------------------------


class _TorchWithFloat:
    """`torch`, but for the floating-point type that its `float` and `float32` stand for."""

    def __init__(self, float_type: Callable[[], torch.dtype]) -> None:
        self._float_type = float_type

    def __getattr__(self, name: str) -> Any:
        return self._float_type() if name in ("float", "float32") else getattr(torch, name)


_always_double = _TorchWithFloat(lambda: torch.float64)
_default_float = _TorchWithFloat(torch.get_default_dtype)
for _name in (
    "basis",
    "steerable_basis",
    "wignereckart_solver",
    "polar_basis",
    "sparse_basis",
    "harmonic_polynomial_r3",
):
    own(f"kernels.{_name}").torch = _always_double
for _name in (
    "batchnormalization.gnorm", "batchnormalization.iid", "batchnormalization.norm", "dropout.field",
    "invariantmaps.gpool", "invariantmaps.norm", "nonlinearities.gated1", "nonlinearities.gated2",
    "nonlinearities.norm",
):  # fmt: skip
    own(f"nn.modules.{_name}").torch = _default_float


@contextlib.contextmanager
def float_type(dtype: torch.dtype) -> Iterator[None]:
    """Within it, `dtype` is torch's default floating-point type, and so the one that escnn's layers use."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


# ---- 2. kernels from the copies -------------------------------------------------------------------------

_kernels = own("kernels")
_built: dict[int, dict[Any, Any]] = {}


def _built_for(space: GSpace) -> dict[Any, Any]:
    """The bases that were built for a gspace, until it is gone. Not every gspace can be hashed."""
    if id(space) not in _built:
        _built[id(space)] = {}
        weakref.finalize(space, _built.pop, id(space), None)
    return _built[id(space)]


def _kernel_basis(layer: Any, source: Representation, target: Representation) -> Any:
    """The basis of a convolution's kernels, as `GSpace.build_kernel_basis()` makes it, from the copies."""
    space, frequency = layer.space, layer._maximum_frequency
    sigma = [layer._sigma] * len(layer._rings) if isinstance(layer._sigma, float) else layer._sigma
    built, key = (
        _built_for(space),
        (source.name, target.name, tuple(sigma), tuple(layer._rings), frequency, are_bases_as_found()),
    )
    if key not in built:
        original = type(space)._basis_generator
        generate = types.FunctionType(original.__code__, {**original.__globals__, "kernels": _kernels})
        built[key] = generate(space, source, target, layer._rings, sigma, maximum_frequency=frequency)
    return built[key]


def _matrix_basis(space: GSpace, source: Representation, target: Representation) -> Any:
    """The basis of a linear layer, as `GSpace.build_fiber_intertwiner_basis()` makes it, from the copies."""
    built, key = _built_for(space), (source.name, target.name, are_bases_as_found())
    if key not in built:
        built[key] = _kernels.kernels_on_point(source, target)
    return built[key]


for _layer in ("R2Conv", "R3Conv", "R2ConvTransposed", "R3ConvTransposed"):
    getattr(escnn.nn, _layer)._build_kernel_basis = _kernel_basis


# ---- 3. a basis module for each layer, over shared tensors ----------------------------------------------

_blocks = own("nn.modules.basismanager.basisexpansion_blocks")
_single = own("nn.modules.basismanager.basisexpansion_singleblock")
_sampled: dict[Any, Any] = {}


class _BlockBasis(_single.SingleBlockBasisExpansion):  # type: ignore[name-defined]
    """One block of a filter: a module of its own over a basis that was sampled once, in float64."""

    def __init__(self, sampled: Any) -> None:
        torch.nn.Module.__init__(self)
        object.__setattr__(self, "basis", sampled.basis)  # no submodule: escnn keeps it out the same way
        object.__setattr__(self, "_sampled", sampled)
        self._mask = sampled._mask
        dtype = torch.get_default_dtype()
        if dtype not in sampled.tensors:
            sampled.tensors[dtype] = sampled.sampled_basis.to(dtype)
        self.register_buffer("sampled_basis", sampled.tensors[dtype], persistent=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BlockBasis) and self._sampled is other._sampled

    def __hash__(self) -> int:  # torch hashes modules at every turn; escnn's goes through the whole basis
        return id(self._sampled)


def _block_basis(
    basis: Any, points: np.ndarray, basis_filter: Callable[[dict], bool] | None = None, recompute: bool = False
) -> _BlockBasis:
    mask = np.array([basis_filter is None or basis_filter(attributes) for attributes in basis], dtype=bool)
    key = (basis, mask.tobytes(), points.tobytes(), are_bases_as_found())
    if key not in _sampled or recompute:
        with float_type(torch.float64):
            _sampled[key] = _single.SingleBlockBasisExpansion(basis, points, mask)
        _sampled[key].tensors = {}
    return _BlockBasis(_sampled[key])


_init_blocks = _blocks.BlocksBasisExpansion.__init__


def _init_blocks_in_double(
    self: Any, in_reprs: Any, out_reprs: Any, basis_generator: Callable[..., Any], *arguments: Any, **options: Any
) -> None:
    def generate(source: Representation, target: Representation) -> Any:
        space = getattr(basis_generator, "__self__", None)
        with float_type(torch.float64):
            if isinstance(space, GSpace):  # a linear layer hands over its gspace's method
                return _matrix_basis(space, source, target)
            return basis_generator(source, target)

    _init_blocks(self, in_reprs, out_reprs, generate, *arguments, **options)


_blocks.BlocksBasisExpansion.__init__ = _init_blocks_in_double
_single.torch = _always_double
_blocks.block_basisexpansion = _block_basis


# ---- 4. ranges of channels as plain numbers -------------------------------------------------------------


def _register_indices(self: torch.nn.Module, name: str, tensor: torch.Tensor, persistent: bool = True) -> None:
    """Keeps a tensor as torch does, but the two ends of contiguous fields as numbers."""
    contiguous: Any = self._contiguous
    label = "gate" if name == "gates_indices" else name.rpartition("indices_")[2]
    if contiguous.get(int(label) if label.isdigit() else label):
        setattr(self, name, tuple(tensor.tolist()))
    else:
        torch.nn.Module.register_buffer(self, name, tensor, persistent)


for _layer in ("InnerBatchNorm", "NormNonLinearity", "GatedNonLinearity1", "FieldDropout"):
    getattr(escnn.nn, _layer).register_buffer = _register_indices


def expansions(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers of a network that have filter bases: their names, and escnn's module with the bases."""
    for name, module in model.named_modules():
        if isinstance(module, _blocks.BlocksBasisExpansion):
            yield name.rpartition(".")[0], module


def basis_samples(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """The sampled filter bases of a network's layers, in float64, in the order of the layers."""
    for module in model.modules():
        if isinstance(module, _BlockBasis):
            yield module._sampled.sampled_basis


def he_standard_deviations(expansion: Any) -> torch.Tensor:
    """The standard deviations of He initialisation for the weights of a steerable layer.

    A weight of a basis element from irrep psi to the output irrep o has the variance 1 / (number of different
    irreps that reach o * number of basis elements from psi to o) (Weiler & Cesa 2019, appendix). The numbers
    are those of `escnn.nn.init.generalized_he_init`; they are counted once for each pair of representations
    instead of once for each pair of fields, which takes milliseconds where that takes seconds.
    """
    pairs = expansion._representations_pairs
    blocks = {pair: getattr(expansion, f"block_expansion_{expansion._escape_pair(pair)}") for pair in pairs}
    elements = {pair: list(block.get_basis_info()) for pair, block in blocks.items()}
    reaching: Counter[Any] = Counter()  # (output representation, its irrep's position, input irrep) -> elements
    for (source, target), rows in elements.items():
        for row in rows:
            reaching[target, row["out_irrep_idx"], row["in_irrep"]] += expansion._in_count[source]
    irreps: Counter[Any] = Counter((target, position) for target, position, _ in reaching)
    deviations = []
    for source, target in pairs:
        of_a_block = [
            1 / math.sqrt(irreps[target, row["out_irrep_idx"]]
                          * reaching[target, row["out_irrep_idx"], row["in_irrep"]])
            for row in elements[source, target]
        ]  # fmt: skip
        deviations += of_a_block * (expansion._in_count[source] * expansion._out_count[target])
    return torch.tensor(deviations, dtype=torch.float64)
