"""The import of escnn, with three changes.

1.  escnn imports lie_learn for one function, `wigner_D_matrix`. lie_learn has wheels for two versions of Python and
    requires numpy < 2. If it is not installed, this module provides the function from the textbook formula.
2.  The cache of escnn on disk is placed in the user's cache folder (or $GEQUI_CACHE) instead of site-packages.
3.  If scikit-learn is installed, escnn uses a function of it that fails on numpy matrices (escnn issue 112).
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

    D = U exp(i alpha Jz) exp(i beta Jy)* exp(i gamma Jz) U^H, where U changes from complex to real spherical harmonics
    (Condon-Shortley phase, order m = -l..l). exp(-i beta Jy) is computed from the eigenvectors of Jy, which is stable
    for every degree (Sakurai, Modern Quantum Mechanics, section 3.5).

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
    """Provide a lie_learn with the one function that escnn imports from it, while escnn is imported."""
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
    """Return the folder of the cache of escnn: $GEQUI_CACHE, or the platform's folder for user caches."""
    wanted = Path(os.environ.get("GEQUI_CACHE") or platformdirs.user_cache_path("gequi")) / "escnn"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError:  # the home folder cannot be written to: each process computes the values again
        wanted = Path(tempfile.mkdtemp(prefix="gequi-"))
    return wanted


@contextlib.contextmanager
def _own_cache() -> Iterator[None]:
    """Place the caches that escnn creates in the folder of gequi, without output, while escnn is imported."""
    folder, memory = cache_folder(), joblib.Memory
    joblib.Memory = lambda location=None, **options: memory(folder, verbose=0)
    try:
        yield
    finally:
        joblib.Memory = memory


# ---- 3. scikit-learn ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _without_scikit_learn() -> Iterator[None]:
    """Hide scikit-learn while escnn is imported, so that escnn does not use the function that fails.

    Importing scikit-learn would also take longer than importing escnn. If it is already imported, it is not hidden.
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
    """Replace scipy.stats by a module that loads it at the first use, while escnn is imported.

    escnn uses scipy.stats for one kind of initialization only, and importing it takes as long as importing escnn.
    """
    if "scipy.stats" in sys.modules:
        yield
        return
    later = types.ModuleType("scipy.stats")

    def load(name: str) -> object:
        if name.startswith("__"):  # what looks at every loaded module, as torch does, does not use it
            raise AttributeError(name)
        if sys.modules.get("scipy.stats") is later:
            del sys.modules["scipy.stats"]
        return getattr(importlib.import_module("scipy.stats"), name)

    later.__getattr__ = load  # type: ignore[method-assign]
    sys.modules["scipy.stats"] = later
    try:
        yield
    finally:
        if sys.modules.get("scipy.stats") is later:
            del sys.modules["scipy.stats"]


# The compiler of torch, which its optimizers import, creates a cache folder at import. Without this setting the folder
# is created among the temporary files, and R CMD check reports it.
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder().parent / "torchinductor"))


# ---- the import -----------------------------------------------------------------------------------------

with _lie_learn(), _own_cache(), _without_scikit_learn(), _scipy_stats_later(), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # py3nj is not installed, and escnn uses torch.jit, which is deprecated
    importlib.import_module("escnn.nn")

# If scikit-learn was imported before, escnn has imported its function.
importlib.import_module("escnn.group._numerical").randomized_svd = None  # type: ignore[attr-defined]
