"""The import of escnn, which leaves it as it is where scikit-learn is not installed.

1.  escnn imports lie_learn for one function, `wigner_D_matrix`. lie_learn has wheels for two versions of
    Python and wants numpy < 2; where it is absent, the function is supplied here from the textbook formula.
2.  escnn's cache on disk goes to the user's cache folder (or $GEQUI_CACHE), not into site-packages.
3.  With scikit-learn installed, escnn uses a routine of it that fails on numpy matrices (escnn issue 112).
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
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import platformdirs

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


@contextlib.contextmanager
def _lie_learn() -> Iterator[None]:
    """While escnn is imported, there is a lie_learn with the one function that escnn takes from it."""
    if "lie_learn" in sys.modules or importlib.util.find_spec("lie_learn") is not None:
        yield
        return
    last = "lie_learn.representations.SO3.wigner_d"
    names = ["lie_learn", "lie_learn.representations", "lie_learn.representations.SO3", last]
    sys.modules.update({name: types.ModuleType(name) for name in names})
    sys.modules[last].wigner_D_matrix = wigner_d_matrix  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


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

with _lie_learn(), _own_cache(), _without_scikit_learn(), _scipy_stats_later(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # py3nj is absent on purpose; torch.jit is deprecated: neither is news
    importlib.import_module("escnn.nn")

# Where scikit-learn was imported first, escnn has found it.
importlib.import_module("escnn.group._numerical").randomized_svd = None  # type: ignore[attr-defined]
