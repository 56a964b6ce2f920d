"""The door to escnn: every other module imports escnn from here, put right in six ways.

1.  escnn imports lie_learn for one function, `wigner_D_matrix`. lie_learn has wheels for two versions of
    Python and wants numpy < 2; where it is absent, the function is supplied here from the textbook formula.
2.  escnn's cache on disk goes to the user's cache folder (or $GEQUI_CACHE), not into site-packages.
3.  With scikit-learn installed, escnn uses a routine of it that fails on numpy matrices (escnn issue 112).
4.  escnn writes float32 out where it samples its filters and in some layers. Here those modules see a `torch`
    whose float32 is float64 (kernels) or the default type (layers), so a float64 network is exact to 1e-10.
5.  Layers with the same types share one sampled basis *module* in escnn, so `layer.double()` of one breaks
    the others, and its tensors would be saved with every layer. Here each layer has a module of its own over
    shared tensors, which are constants and no part of the state.
6.  Some layers keep the ends of a range of channels in a tensor, from which they must be fetched at every call; no
    exporter can follow that, and a GPU has to wait for it. Here they are plain numbers.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import os
import sys
import tempfile
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import platformdirs
import torch

# ---- 1. Wigner matrices ---------------------------------------------------------------------------------


def wigner_d_matrix(l: int, alpha: float, beta: float, gamma: float, **_: object) -> np.ndarray:  # noqa: E741
    """Real Wigner D matrix of degree l for the Euler angles (z, y, z), as lie_learn's `wigner_D_matrix`.

    D = U exp(i alpha Jz) exp(i beta Jy)* exp(i gamma Jz) U^H, with U the change from complex to real spherical
    harmonics (Condon-Shortley phase, centred order m = -l..l). exp(-i beta Jy) comes from the eigenvectors of
    Jy, which is stable for every degree (Sakurai, Modern Quantum Mechanics, section 3.5).

    Returns:
        orthogonal matrix (2 l + 1, 2 l + 1).
    """
    m = np.arange(-l, l + 1)
    raising = np.diag(np.sqrt(l * (l + 1) - m[:-1] * (m[:-1] + 1)), -1)
    eigenvalues, vectors = np.linalg.eigh((raising - raising.T) / 2j)
    d = (vectors * np.exp(-1j * beta * eigenvalues)) @ vectors.conj().T
    complex_d = np.exp(1j * m * alpha)[:, None] * d.conj() * np.exp(1j * m * gamma)
    real = np.zeros((2 * l + 1, 2 * l + 1), complex)
    real[l, l] = 1
    for k in range(1, l + 1):
        sign = (-1) ** k
        real[l + k, [l + k, l - k]] = sign / math.sqrt(2), 1 / math.sqrt(2)
        real[l - k, [l + k, l - k]] = -1j * sign / math.sqrt(2), 1j / math.sqrt(2)
    return np.ascontiguousarray((real @ complex_d @ real.conj().T).real)


def _supply_lie_learn() -> None:
    if importlib.util.find_spec("lie_learn") is not None:
        return
    names = ["lie_learn", "lie_learn.representations", "lie_learn.representations.SO3"]
    for name in [*names, "lie_learn.representations.SO3.wigner_d"]:
        sys.modules[name] = types.ModuleType(name)
    sys.modules["lie_learn.representations.SO3.wigner_d"].wigner_D_matrix = wigner_d_matrix  # type: ignore[attr-defined]


# ---- 2. the cache on disk -------------------------------------------------------------------------------


def cache_folder() -> Path:
    """The folder of escnn's cache: $GEQUI_CACHE, or the platform's folder for user caches."""
    wanted = Path(os.environ.get("GEQUI_CACHE") or platformdirs.user_cache_path("gequi")) / "escnn"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written to: recompute in each process rather than fail
        wanted = Path(tempfile.mkdtemp(prefix="gequi-"))
    return wanted


@contextlib.contextmanager
def _own_cache() -> Iterator[None]:
    """While escnn is imported, its caches are made in our folder, and silent."""
    folder, memory = cache_folder(), joblib.Memory
    joblib.Memory = lambda location=None, **options: memory(folder, verbose=0)
    try:
        yield
    finally:
        joblib.Memory = memory


# ---- 3. scikit-learn ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """While escnn is imported, scikit-learn cannot be: escnn then does without the routine that fails.

    The import of scikit-learn would take longer than that of escnn. Where it is imported already it stays.
    """
    if "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["sklearn"]


@contextlib.contextmanager
def _scipy_stats_later() -> Iterator[None]:
    """While escnn is imported, it gets a module in place of scipy.stats that loads the real one when it is used.

    escnn needs scipy.stats for one kind of initialization, and its import takes as long as that of escnn itself.
    """
    if "scipy.stats" in sys.modules:
        yield
        return
    later = types.ModuleType("scipy.stats")
    later.__getattr__ = lambda name: getattr(importlib.import_module("scipy.stats"), name)  # type: ignore[method-assign]
    sys.modules["scipy.stats"] = later
    try:
        yield
    finally:
        del sys.modules["scipy.stats"]


# torch's compiler, which its optimisers import, makes a folder for a cache of its own as it is imported; without this,
# among the temporary files, where R CMD check takes it for litter.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder().parent / "torchinductor"))


# ---- the import -----------------------------------------------------------------------------------------

_supply_lie_learn()
with _own_cache(), _without_scikit_learn(), _scipy_stats_later(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # py3nj is absent on purpose; torch.jit is deprecated: neither is news
    import escnn
    import escnn.group
    import escnn.gspaces
    import escnn.nn

from escnn.group import Group, GroupElement, Representation  # noqa: E402
from escnn.gspaces import GSpace  # noqa: E402
from escnn.nn import EquivariantModule, FieldType, GeometricTensor  # noqa: E402

__all__ = [
    "EquivariantModule",
    "FieldType",
    "GSpace",
    "GeometricTensor",
    "Group",
    "GroupElement",
    "Representation",
    "basis_samples",
    "cache_folder",
    "escnn",
    "float_type",
    "he_standard_deviations",
    "wigner_d_matrix",
]

# Where scikit-learn was imported first, escnn has found it.
importlib.import_module("escnn.group._numerical").randomized_svd = None  # type: ignore[attr-defined]

# ---- 4. float64 -----------------------------------------------------------------------------------------


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
    importlib.import_module(f"escnn.kernels.{_name}").torch = _always_double  # type: ignore[attr-defined]
for _name in (
    "batchnormalization.gnorm", "batchnormalization.iid", "batchnormalization.norm", "dropout.field",
    "invariantmaps.gpool", "invariantmaps.norm", "nonlinearities.gated1", "nonlinearities.gated2",
    "nonlinearities.norm",
):  # fmt: skip
    importlib.import_module(f"escnn.nn.modules.{_name}").torch = _default_float  # type: ignore[attr-defined]


@contextlib.contextmanager
def float_type(dtype: torch.dtype) -> Iterator[None]:
    """Within it, `dtype` is torch's default floating-point type, and so the one that escnn's layers use."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


# ---- 5. a basis module for each layer, over shared tensors ----------------------------------------------

_blocks = importlib.import_module("escnn.nn.modules.basismanager.basisexpansion_blocks")
_single = importlib.import_module("escnn.nn.modules.basismanager.basisexpansion_singleblock")
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
    key = (basis, mask.tobytes(), points.tobytes())
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
        with float_type(torch.float64):
            return basis_generator(source, target)

    _init_blocks(self, in_reprs, out_reprs, generate, *arguments, **options)


_blocks.BlocksBasisExpansion.__init__ = _init_blocks_in_double
_single.torch = _always_double  # type: ignore[attr-defined]
_blocks.block_basisexpansion = _block_basis  # type: ignore[attr-defined]


# ---- 6. ranges of channels as plain numbers -------------------------------------------------------------


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
