"""What all tests share: the laws in both floating-point types."""

import numpy as np
import pytest


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
