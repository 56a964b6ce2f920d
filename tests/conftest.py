"""Fixtures of all tests: floating-point types, tolerances, forked workers; and the option for a random order."""

import collections
import os
import random as randomness
import sys
from pathlib import Path

import numpy as np
import pytest

from gequi.jobs import _running

sys.path.insert(0, str(Path(__file__).parent))
import forked_workers as forks


def pytest_addoption(parser):
    parser.addoption(
        "--order-seed",
        type=int,
        default=os.environ.get("GEQUI_ORDER_SEED") or None,
        help="run the test files, and the tests of each file, in the random order of this seed (GEQUI_ORDER_SEED)",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Shuffle the files, and the tests of each file. Every process of pytest-xdist computes the same order."""
    seed = config.getoption("order_seed")
    if seed is None:
        return
    files = {}
    for item in items:
        files.setdefault(item.nodeid.split("::")[0], []).append(item)
    order = randomness.Random(seed)
    names = list(files)
    order.shuffle(names)
    for name in names:
        order.shuffle(files[name])
    items[:] = [item for name in names for item in files[name]]


def pytest_terminal_summary(terminalreporter, config):
    found = [
        dict(each.user_properties)["guards"]
        for reports in terminalreporter.stats.values()
        for each in reports
        if getattr(each, "when", "") == "call" and "guards" in dict(each.user_properties)
    ]
    if found:  # what the calls of tests/test_guards.py came to, in whichever process
        counts = sum(map(collections.Counter, found), collections.Counter())
        fates = ", ".join(f"{fate} {count}" for fate, count in counts.most_common())
        terminalreporter.write_line(f"The guards: {counts.total()} calls of {len(found)} exports: {fates}")
    if config.getoption("order_seed") is not None:
        terminalreporter.write_line(f"The order of the tests: --order-seed {config.getoption('order_seed')}")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Both floating-point types. Every law holds to the precision of each."""
    return request.param


@pytest.fixture
def exactness(dtype):
    """Return the largest relative error of an exact law in this type."""
    return {"float32": 1e-5, "float64": 1e-10}[dtype]


@pytest.fixture
def random():
    return np.random.default_rng(20240607)


@pytest.fixture
def forked_workers(monkeypatch):
    """Fork the workers of jobs instead of starting them; see tests/forked_workers.py."""
    monkeypatch.setattr(_running, "subprocess", forks)
