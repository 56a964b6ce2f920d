"""axes: the results of R and Python are equal."""

import numpy as np
import pytest

import gequi


@pytest.mark.parametrize(("spec", "shapes"), [
    ("y k h, x k h -> y x h", [(3, 4, 2), (5, 4, 2)]), ("i i -> i", [(3, 3)]), ("... k -> k ...", [(2, 3, 4)]),
    ("i j ->", [(3, 2)]),
])  # fmt: skip
def test_einsum(r, same, random, spec, shapes):
    arrays = [random.normal(size=shape) for shape in shapes]
    theirs, ours = r.value(r.einsum(spec, *arrays)), gequi.einsum(spec, *arrays)
    same(np.asarray(theirs), ours)


def test_rearrange(r, same, random):
    x = random.normal(size=(2, 6, 3))
    same(r.value(r.rearrange(x, "n (h k) x -> x n k h", h=2)), gequi.rearrange(x, "n (h k) x -> x n k h", h=2))


def test_broadcast_over(r, same, random):
    x, y = random.normal(size=(4, 3)), random.normal(size=5)
    theirs = r.code('broadcast_over(function(row, y) sum(row) * y, "c", "c a, d -> c d")(x, y)', x=x, y=y)
    ours = gequi.broadcast_over(lambda row, y: row.sum() * y, "c", "c a, d -> c d")(x, y)
    np.testing.assert_allclose(r.value(theirs), ours, rtol=1e-14)  # R's sum() adds in long double
    product = r.broadcast_over(r.code("function(row) row * 2"), "c", "c a -> a c")
    same(r.value(product(r.make(x))), 2 * x.T)
