"""R in this process: both languages use the same core, so their results can be compared to the bit."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# R and reticulate read these when R starts, which is at the import of rpy2.
os.environ["RETICULATE_PYTHON"] = sys.executable
os.environ["R_LIBS"] = os.pathsep.join(filter(None, [str(ROOT / ".rlib"), os.environ.get("R_LIBS")]))
os.environ["GEQUI_REQUIRE_PYTHON"] = "true"

libraries = os.environ.get("LD_LIBRARY_PATH")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import rpy2.rinterface as ri  # noqa: E402
import rpy2.robjects as ro  # noqa: E402

import gequi  # noqa: E402  (before R looks for it: R uses the core that is loaded)

# rpy2 has put the system's libraries first, which would give later processes the libpython of another version.
os.environ.pop("LD_LIBRARY_PATH", None)
if libraries is not None:
    os.environ["LD_LIBRARY_PATH"] = libraries


class R:
    """gequiR, called from Python: `r.gspace("rot2dOnR2", N=4)`.

    R objects are passed unchanged; numpy arrays become R arrays with the same axes, mappings become named
    vectors or lists, and sequences become vectors. The result is an R object; `r.value()` converts it to Python.
    """

    def __init__(self):
        ro.r("suppressPackageStartupMessages(library(gequiR))")

    def __getattr__(self, name):
        function = ro.r(f"gequiR::{name}" if name != "predict" else "stats::predict")

        def call(*arguments, **options):
            return function(*map(self.make, arguments), **{key: self.make(value) for key, value in options.items()})

        return call

    def code(self, text, **variables):
        """Evaluate R code in which `variables` are defined."""
        environment = ro.Environment()
        for name, value in variables.items():
            environment[name] = self.make(value)
        return ro.r["eval"](ro.r["parse"](text=text), envir=environment)

    def piped(self, space, layers, **options):
        """Create a network with the layer_*() functions of R, one after the other."""
        network = self.equivariant_network(space, {"trivial": 1}, **options)
        for layer in layers:
            given = {key: value for key, value in layer.items() if key != "layer"}
            network = getattr(self, f"layer_{layer['layer']}")(network, **given)
        return network

    def make(self, value):
        """Convert a Python value to R."""
        if isinstance(value, ri.Sexp):
            return value
        if isinstance(value, np.ndarray):
            flat = ro.FloatVector(np.asarray(value, np.float64).ravel(order="F"))
            return ro.r["array"](flat, dim=ro.IntVector(value.shape))
        if isinstance(value, dict):
            return ro.ListVector({key: self.make(each) for key, each in value.items()})
        if isinstance(value, list | tuple):
            kinds = {type(each) for each in value}
            if kinds and kinds <= {int, float}:
                return ro.FloatVector(value)
            return ro.StrVector(value) if kinds == {str} else ro.r["list"](*map(self.make, value))
        return ro.NULL if value is None else ro.r["c"](value)

    def parts(self, registration):
        """What R keeps of a registration, or of several, as Python has it."""
        several = self.code("inherits(x, 'gequi_registrations')", x=registration)[0]
        kept = "function(x) unclass(x)[names(x) != 'handle']"
        return self.value(self.code(f"lapply(x, {kept})" if several else f"({kept})(x)", x=registration))

    def value(self, x):
        """An R value as Python has it: tables as lists of dicts, arrays as numpy, all axes and bits as they are."""
        if isinstance(x, type(ro.NULL)):
            return None
        names = self.value(ro.r["names"](x))
        if ro.r["is.list"](x)[0]:
            values = [self.value(x.rx2(i + 1)) for i in range(len(x))]
            if ro.r["is.data.frame"](x)[0]:
                columns = [each if isinstance(each, list) else [each] for each in values]
                return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
            if names is None:
                return values
            return dict(zip(names if isinstance(names, list) else [names], values, strict=True))
        missing = ro.r("function(x) is.na(x) & !(is.double(x) & is.nan(x))")(x)
        flat = [None if na else each for each, na in zip(x, missing, strict=True)]
        axes = ro.r["dim"](x)
        if isinstance(axes, type(ro.NULL)):
            return flat[0] if len(flat) == 1 else flat
        return np.array(flat).reshape(tuple(axes), order="F")


@pytest.fixture(scope="session")
def r():
    session = R()
    same = ro.r('reticulate::import("os")$getpid() == Sys.getpid()')[0]
    assert same, "reticulate must use the Python that runs these tests"
    loaded = ro.r('reticulate::py_id(reticulate::import("gequi", convert = FALSE))')[0]
    assert int(loaded, 16) == id(gequi) if loaded.startswith("0x") else int(loaded) == id(gequi)
    return session


CLASSIFIER = [
    {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3}, {"layer": "batch_norm"}, {"layer": "relu"},
    {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 10},
]  # fmt: skip


@pytest.fixture
def both(r):
    """The same network in R and in Python: by default a small classifier on C4, with the seed 1."""

    def make(layers=CLASSIFIER, **options):
        options = {"seed": 1, **options}
        ours = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, layers, **options)
        return r.piped(r.gspace("rot2dOnR2", N=4), layers, **options), ours

    return make


@pytest.fixture
def same():
    """Asserts that R's answer is Python's: the same keys, text and axes, and numbers equal to the bit."""

    def check(from_r, from_python):
        if isinstance(from_python, np.ndarray):
            assert isinstance(from_r, np.ndarray)
            assert from_r.shape == from_python.shape
            np.testing.assert_array_equal(from_r, from_python)
        elif isinstance(from_python, dict):
            assert list(from_r) == list(from_python)
            for key, value in from_python.items():
                check(from_r[key], value)
        elif isinstance(from_python, list | tuple):
            assert len(from_r) == len(from_python)
            for one, other in zip(from_r, from_python, strict=True):
                check(one, other)
        else:
            assert from_r == from_python or (from_r != from_r and from_python != from_python)

    return check


@pytest.fixture
def counted_from_one():
    """A table of the core with its elements numbered as R numbers them."""
    return lambda rows: [{**row, "element": row["element"] + 1} for row in rows]
