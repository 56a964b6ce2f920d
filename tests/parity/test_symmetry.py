"""symmetry: the results of R and Python are equal."""

import numpy as np
import pytest

import gequi


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equivariance_error_of_a_network(r, both, same, counted_from_one, random, dtype):
    theirs, ours = both()
    x = random.normal(size=(2, 1, 9, 9))
    table = gequi.equivariance_error(ours, x, dtype=dtype)
    same(r.value(r.equivariance_error(theirs, x, dtype=dtype)), counted_from_one(table))
    some = gequi.equivariance_error(ours, x, elements=[1, 3], dtype=dtype)
    same(r.value(r.equivariance_error(theirs, x, elements=[2, 4], dtype=dtype)), counted_from_one(some))


def test_equivariance_error_of_a_function_in_either_language(r, same, counted_from_one, random):
    x = random.normal(size=(2, 1, 5, 6))
    fields = {"input": {"trivial": 1}, "output": {"trivial": 1}}
    space = gequi.gspace("rot2dOnR2", N=8)
    table = gequi.equivariance_error(lambda x: x * np.flip(x, 3), x, space, **fields)
    mirrored = r.code("function(x) x * x[, , , rev(seq_len(dim(x)[4])), drop = FALSE]")
    same(r.value(r.equivariance_error(mirrored, x, r.gspace("rot2dOnR2", N=8), **fields)), counted_from_one(table))


@pytest.mark.parametrize("tolerance", [None, 0, 1e-12])
def test_is_equivariant(r, both, random, tolerance):
    theirs, ours = both()
    x = random.normal(size=(1, 1, 9, 9))
    expected = gequi.is_equivariant(ours, x, dtype="float64", tolerance=tolerance)
    assert r.value(r.is_equivariant(theirs, x, dtype="float64", tolerance=tolerance)) is expected


def test_permutation_error(r, same, counted_from_one, random):
    x = random.uniform(size=(6, 5))
    for axis, carried in ((0, None), (1, (0, 1)), (1, 0)):
        table = gequi.permutation_error(gequi.image_value, x, axis, carried, permutations=4, seed=7)
        in_r = None if carried is None else [place + 1 for place in np.atleast_1d(carried).tolist()]
        theirs = r.permutation_error(r.code("image_value"), x, axis + 1, in_r, permutations=4, seed=7)
        same(r.value(theirs), counted_from_one(table))


def test_symmetrize_over_frames(r, same, random):
    fields = {"input": {"trivial": 1}, "output": {"trivial": 1}}
    x = random.normal(size=(2, 1, 7, 7))
    theirs = r.symmetrize(r.code("function(x) x * x[, , , rev(seq_len(dim(x)[4])), drop = FALSE]"),
                          r.gspace("flipRot2dOnR2"), **fields)  # fmt: skip
    ours = gequi.symmetrize(lambda x: x * np.flip(x, 3), gequi.gspace("flipRot2dOnR2"), **fields)
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))


def test_symmetrize(r, same, both, random):
    x = random.normal(size=(2, 1, 5, 6))
    fields = {"input": {"trivial": 1}, "output": {"trivial": 1}}
    theirs = r.symmetrize(r.code("function(x) x * x[, , , rev(seq_len(dim(x)[4])), drop = FALSE]"),
                          r.gspace("rot2dOnR2", N=8), **fields)  # fmt: skip
    ours = gequi.symmetrize(lambda x: x * np.flip(x, 3), gequi.gspace("rot2dOnR2", N=8), **fields)
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))
    theirs, ours = both()
    theirs, ours = r.symmetrize(theirs, r.gspace("flip2dOnR2")), gequi.symmetrize(ours, gequi.gspace("flip2dOnR2"))
    x = random.normal(size=(2, 1, 9, 9))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))


def test_conformal_sets(r, same, both, random):
    x, y = random.normal(size=(30, 1, 9, 9)), np.arange(30) % 2
    scores = "function(x) cbind(apply(x, 1, mean), x[, 1, 1, 1])"
    for method in ("lac", "aps"):
        theirs = r.conformal_sets(r.code(scores), x, y, r.gspace("rot2dOnR2", N=8), 0.8, method, seed=3)
        ours = gequi.conformal_sets(lambda x: np.stack([x.mean((1, 2, 3)), x[:, 0, 0, 0]], 1), x, y,
                                    gequi.gspace("rot2dOnR2", N=8), 0.8, method, seed=3)  # fmt: skip
        assert r.value(r.code("x$threshold", x=theirs)) == ours.threshold
        same(r.value(r.code("1 * unname(x)", x=r.predict(theirs, x))), 1.0 * gequi.predict(ours, x))


@pytest.mark.parametrize("by", ["model", "layer"])
def test_local_equivariance_error(r, same, both, random, by):
    x = random.normal(size=(3, 1, 9, 9))
    theirs, ours = both()
    found = r.value(r.local_equivariance_error(theirs, x, by=by, dtype="float64"))
    wanted = gequi.local_equivariance_error(ours, x, by=by, dtype="float64")
    same(found, [{**row, "layer": row["layer"] + 1} if by == "layer" else row for row in wanted])


POSE = [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}, {"layer": "global_avg_pool"}]


def test_canonicalize(r, same, random):
    x = random.normal(size=(3, 1, 9, 9))
    theirs = r.piped(r.gspace("rot2dOnR2", N=8), POSE, seed=4, dtype="float64")
    ours = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=8), {"trivial": 1}, POSE, seed=4, dtype="float64")
    for refine in (None, False):
        model = r.canonicalize(r.code("function(x) x[, , , rev(seq_len(dim(x)[4])), drop = FALSE]"), theirs,
                               output={"trivial": 1}, refine=refine)  # fmt: skip
        own = gequi.canonicalize(lambda x: np.flip(x, 3), ours, output={"trivial": 1}, refine=refine)
        same(r.value(r.predict(model, x)), gequi.predict(own, x))


def test_fit_canonicalizer(r, same, random):
    x = random.normal(size=(8, 1, 9, 9))
    space = {"epochs": 2, "batch_size": 4, "seed": 5, "device": "cpu"}
    theirs = r.fit_canonicalizer(x, r.gspace("rot2dOnR2", N=8), **space)
    ours = gequi.fit_canonicalizer(x, gequi.gspace("rot2dOnR2", N=8), **space)
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))


def test_symmetry_report(r, same, both, random):
    x = random.normal(size=(4, 1, 9, 9))
    theirs, ours = both()
    same(r.value(r.symmetry_report(theirs, x, dtype="float64")), gequi.symmetry_report(ours, x, dtype="float64"))
    volumes = random.normal(size=(2, 1, 4, 4, 4))
    found = r.symmetry_report(
        r.code("function(x) x^2"), volumes, r.code("list(gequiR::gspace('octaOnR3'), gequiR::gspace('invOnR3'))")
    )
    same(
        r.value(found),
        gequi.symmetry_report(np.square, volumes, [gequi.gspace(name) for name in ("octaOnR3", "invOnR3")]),
    )
