"""The kernels and layers of escnn as gequi uses them: copies (copies.py) with four changes.

1.  escnn uses float32 explicitly where it samples its filters and in some layers. In the copies, `torch.float32` means
    float64 (kernels) or the default type (layers), so a float64 network is exact to 1e-10.
2.  A gspace of escnn builds and keeps the kernels of escnn. Here each layer builds its kernels from the copies.
3.  In escnn, layers with the same types share one module with the sampled basis. `layer.double()` of one layer then
    breaks the others, and the basis is saved with every layer. Here each layer has its own module. The modules share
    tensors, which are constants and not part of the state.
4.  Some layers store the ends of a range of channels in a tensor and read it at every call. Exporters cannot trace
    this, and a GPU must synchronize. Here the ends are plain numbers.

`solutions.py` makes the bases the same on every machine.
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
    """`torch` with another floating-point type in place of `float` and `float32`."""

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
    """Set the default floating-point type of torch, which the layers of escnn use, inside the context."""
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
    """The bases that were built for a gspace, as long as it exists. Not every gspace is hashable."""
    if id(space) not in _built:
        _built[id(space)] = {}
        weakref.finalize(space, _built.pop, id(space), None)
    return _built[id(space)]


def _kernel_basis(layer: Any, source: Representation, target: Representation) -> Any:
    """Return the basis of a convolution, as `GSpace.build_kernel_basis()` does, from the copies."""
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
    """Return the basis of a linear layer, as `GSpace.build_fiber_intertwiner_basis()` does, from the copies."""
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
    """One block of a filter, with a basis that was sampled once in float64."""

    def __init__(self, sampled: Any) -> None:
        torch.nn.Module.__init__(self)
        object.__setattr__(self, "basis", sampled.basis)  # not a submodule, as in escnn
        object.__setattr__(self, "_sampled", sampled)
        self._mask = sampled._mask
        dtype = torch.get_default_dtype()
        if dtype not in sampled.tensors:
            sampled.tensors[dtype] = sampled.sampled_basis.to(dtype)
        self.register_buffer("sampled_basis", sampled.tensors[dtype], persistent=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BlockBasis) and self._sampled is other._sampled

    def __hash__(self) -> int:  # torch hashes modules often; the hash of escnn reads the whole basis
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
            if isinstance(space, GSpace):  # a linear layer passes a method of its gspace
                return _matrix_basis(space, source, target)
            return basis_generator(source, target)

    _init_blocks(self, in_reprs, out_reprs, generate, *arguments, **options)


_blocks.BlocksBasisExpansion.__init__ = _init_blocks_in_double
_single.torch = _always_double
_blocks.block_basisexpansion = _block_basis


# ---- 4. ranges of channels as plain numbers -------------------------------------------------------------


def _register_indices(self: torch.nn.Module, name: str, tensor: torch.Tensor, persistent: bool = True) -> None:
    """Register a tensor as torch does, but store the two ends of contiguous fields as numbers."""
    contiguous: Any = self._contiguous
    label = "gate" if name == "gates_indices" else name.rpartition("indices_")[2]
    if contiguous.get(int(label) if label.isdigit() else label):
        setattr(self, name, tuple(tensor.tolist()))
    else:
        torch.nn.Module.register_buffer(self, name, tensor, persistent)


for _layer in ("InnerBatchNorm", "NormNonLinearity", "GatedNonLinearity1", "FieldDropout"):
    getattr(escnn.nn, _layer).register_buffer = _register_indices


def expansions(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Return the layers of a network with filter bases: their names, and the module of escnn with the bases."""
    for name, module in model.named_modules():
        if isinstance(module, _blocks.BlocksBasisExpansion):
            yield name.rpartition(".")[0], module


def identity_rows(layer: Any, identity: int) -> torch.Tensor:
    """Return the rows (basis kernel, channel) of the number `identity` in the kernels of a layer between regular fields."""
    (pair,) = layer.basisexpansion._representations_pairs
    block = getattr(layer.basisexpansion, f"block_expansion_{layer.basisexpansion._escape_pair(pair)}")
    return torch.as_tensor(block._sampled.sampled_basis[:, identity, :, 0])


def basis_samples(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Return the sampled filter bases of the layers of a network, in float64 and in the order of the layers."""
    for module in model.modules():
        if isinstance(module, _BlockBasis):
            yield module._sampled.sampled_basis


def he_standard_deviations(expansion: Any) -> torch.Tensor:
    """Return the standard deviations of He initialization for the weights of a steerable layer.

    A weight of a basis element from irrep psi to the output irrep o has the variance 1 / (number of different irreps
    with a map to o * number of basis elements from psi to o) (Weiler & Cesa 2019, appendix). The result equals that of
    `escnn.nn.init.generalized_he_init`. It is computed once per pair of representations instead of once per pair of
    fields, which takes milliseconds instead of seconds.
    """
    pairs = expansion._representations_pairs
    blocks = {pair: getattr(expansion, f"block_expansion_{expansion._escape_pair(pair)}") for pair in pairs}
    elements = {pair: list(block.get_basis_info()) for pair, block in blocks.items()}
    reaching: Counter[Any] = Counter()  # (output representation, position of its irrep, input irrep) -> elements
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
