"""What all tests share: the laws in both floating-point types, and workers that need no time to start."""

import sys
from pathlib import Path

import numpy as np
import pytest

from gequi import jobs

sys.path.insert(0, str(Path(__file__).parent))
import forked_workers as forks


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Every law holds in both types, each to its own precision."""
    return request.param


@pytest.fixture
def exactness(dtype):
    """How small the relative error of an exact law must be."""
    return {"float32": 1e-5, "float64": 1e-10}[dtype]


@pytest.fixture
def random():
    return np.random.default_rng(20240607)


@pytest.fixture
def forked_workers(monkeypatch):
    """Workers of jobs are forked, not started: see tests/forked_workers.py."""
    monkeypatch.setattr(jobs, "subprocess", forks)
