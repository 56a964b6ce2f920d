"""Axes by name: einsum, rearrange and broadcasting, against einops and torch; figures 8 to 18 of the source."""

from __future__ import annotations

import itertools

import einops
import numpy as np
import pytest
import torch

from gequi.axes import broadcast_call, broadcast_over, einsum, rearrange
from gequi.errors import InputError, ShapeError


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


# ---- einsum ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        ("row column -> column row", [(3, 4)]),
        ("i j, j k -> i k", [(3, 4), (4, 5)]),
        ("y k h, x k h -> y x h", [(3, 4, 2), (5, 4, 2)]),
        ("i, j -> i j", [(3,), (4,)]),
        ("k, k ->", [(3,), (3,)]),
        ("a b, b c, c -> a", [(2, 3), (3, 4), (4,)]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_einsum_is_einops(spec, shapes, dtype):
    arrays = [random(*shape, seed=number) for number, shape in enumerate(shapes)]
    result = einsum(spec, *arrays, dtype=dtype)
    assert result.dtype == dtype
    expected = einops.einsum(*(array.astype(dtype) for array in arrays), spec)
    np.testing.assert_allclose(result, expected, rtol={"float32": 1e-6, "float64": 1e-14}[dtype])


def test_diagonals_traces_and_axes_that_are_summed_over():
    x = random(4, 4)
    np.testing.assert_array_equal(einsum("i i -> i", x), np.diag(x))
    np.testing.assert_allclose(einsum("i i ->", x), np.trace(x), rtol=1e-15)
    np.testing.assert_allclose(einsum("i j -> j", x), x.sum(axis=0), rtol=1e-15)


def test_the_dots_stand_for_axes_that_broadcast():
    x, y = random(2, 3, 4), random(1, 3, 4, seed=1)
    np.testing.assert_allclose(einsum("... k, ... k -> ...", x, y), (x * y).sum(-1), rtol=1e-14)
    np.testing.assert_allclose(einsum("k ... -> ... k", x), np.moveaxis(x, 0, -1), rtol=0)
    with pytest.raises(ShapeError, match=r"the axes '\.\.\.' of the operands do not broadcast: \(2,\), \(3,\)"):
        einsum("... k, ... k -> ...", random(2, 4), random(3, 4))


@pytest.mark.parametrize(
    ("spec", "shapes", "error", "message"),
    [
        (
            "y k h, x k h -> y x h",
            [(3, 4, 2), (5, 6, 2)],
            ShapeError,
            "axis 'k' has the size 4 in operand 1 and 6 in operand 2",
        ),
        ("i i -> i", [(3, 4)], ShapeError, "axis 'i' has the size 3 in operand 1 and 4 in the same operand"),
        ("i j, j -> i", [(3, 1), (4,)], ShapeError, "axis 'j' has the size 1 in operand 1 and 4 in operand 2"),
        (
            "i j -> i",
            [(3, 4, 5)],
            ShapeError,
            r"operand 1 must have the axes \(i j\); got shape \(3, 4, 5\), number of axes: 3",
        ),
        ("i ... -> i", [()], ShapeError, r"operand 1 must have the axes \(i \.\.\.\)"),
        (
            "rows columns -> row",
            [(3, 4)],
            InputError,
            "the axis 'row' of the result occurs in no operand. Did you mean 'rows'",
        ),
        ("i j, j -> i", [(3, 4)], InputError, "'i j, j -> i'; number of operands: 2, number of arrays: 1"),
        ("i j -> i i", [(3, 4)], InputError, "the result names the axis 'i' twice"),
        ("i 2 -> i", [(3, 4)], InputError, "'2' in 'i 2 -> i' is not a valid axis name"),
        ("... i ... -> i", [(3, 4)], InputError, r"'\.\.\.' occurs twice"),
        ("i j", [(3, 4)], InputError, "`spec` must read as 'i j, j k -> i k'; got 'i j'"),
    ],
)
def test_einsum_names_the_axis_that_does_not_fit(spec, shapes, error, message):
    with pytest.raises(error, match=message):
        einsum(spec, *(random(*shape) if shape else 1.0 for shape in shapes))


# ---- rearrange ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "sizes", "shape"),
    [
        ("row column -> column row", {}, (3, 4)),
        ("n (h k) y x -> n (y x) h k", {"h": 2}, (5, 6, 3, 4)),
        ("(a b c) -> c a b", {"a": 2, "c": 3}, (24,)),
        ("b c row column -> b (c row column)", {}, (2, 3, 4, 5)),
        ("a b -> b 1 a", {}, (2, 3)),
        ("1 a -> a", {}, (1, 3)),
        ("(h 1) w -> w h", {}, (2, 3)),
    ],
)
def test_rearrange_is_einops(spec, sizes, shape):
    x = random(*shape)
    result = rearrange(x, spec, **sizes)
    np.testing.assert_array_equal(result, einops.rearrange(x, spec, **sizes))
    assert not np.shares_memory(result, x)
    assert result.flags["C_CONTIGUOUS"]


def test_heads_split_from_packed_features_vary_slowest():
    packed = np.arange(6).reshape(1, 6)
    assert rearrange(packed, "token (head key) -> head token key", head=2).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


def test_rearrange_keeps_the_type():
    for kind in (np.int32, np.float32, bool):
        assert rearrange(np.ones((2, 3), kind), "a b -> b a").dtype == kind


@pytest.mark.parametrize(
    ("shape", "spec", "sizes", "error", "message"),
    [
        ((2, 6), "a (b c) -> a b c", {"b": 4}, ShapeError, r"axis \(b c\) has the size 6, which does not fit b = 4"),
        ((2, 6), "a (b c) -> a b c", {"b": 2, "c": 2}, ShapeError, r"axis \(b c\) has the size 6, .* b = 2, c = 2"),
        ((2, 6), "a b -> b a", {"a": 3}, ShapeError, "axis 'a' has the size 2, which does not fit a = 3"),
        ((2, 6), "1 b -> b", {}, ShapeError, "axis 1 has the size 2"),
        (
            (2, 6),
            "a b c -> a b c",
            {},
            ShapeError,
            r"`x` must have the axes of `spec`, number of axes: 3; got shape \(2, 6\)",
        ),
        ((2, 6), "a (b c) -> a b c", {}, InputError, "of the axes 'b', 'c' all but one need a size"),
        ((2, 6), "a b -> a", {}, InputError, "axis 'b' is missing after the arrow"),
        ((2, 6), "a b -> a b c", {}, InputError, "axis 'c' is missing before the arrow"),
        ((2, 6), "a a -> a", {}, InputError, "names the axis 'a' twice on one side"),
        ((2, 6), "a (b -> a b", {}, InputError, "parentheses that do not match"),
        ((2, 6), "a b) -> a b", {}, InputError, "parentheses that do not match"),
        ((2, 6), "a ((b) c) -> a b", {}, InputError, "parentheses that do not match"),
        ((2, 6), "a b -> b a", {"heads": 2}, InputError, "`heads` is not an axis of `spec`"),
        ((2, 6), "a (b c) -> a b c", {"b": 1.5}, InputError, r"`b` must be a whole number; got 1\.5"),
        ((2, 6), "a b, c -> b a", {}, InputError, "`spec` must read as"),
        ((2, 6), "a b ... -> b a", {}, InputError, r"'\.\.\.' in .* is not a valid axis name"),
    ],
)
def test_rearrange_names_the_axis_that_does_not_fit(shape, spec, sizes, error, message):
    with pytest.raises(error, match=message):
        rearrange(random(*shape), spec, **sizes)


# ---- broadcasting ---------------------------------------------------------------------------------------


def test_an_index_before_a_broadcast_function_is_the_index_after_it():  # figure 10: G: a -> b, so G c: a c -> b c
    def g(x):
        return np.array([(x**2).sum(), x[0]])

    x = random(3, 16)  # 16 columns: the seed's loop filled one column only, by a variable that had leaked
    lifted = broadcast_over(g, "c", "a c -> b c")(x)
    assert lifted.shape == (2, 16)
    for column in range(16):
        np.testing.assert_array_equal(lifted[:, column], g(x[:, column]))
    assert np.unique(lifted[0]).size == 16

    def g_torch(x):
        return torch.stack([(x**2).sum(), x[0]])

    np.testing.assert_allclose(lifted, torch.vmap(g_torch, -1, -1)(torch.tensor(x)), rtol=1e-15)


def test_inner_broadcasting_repeats_over_one_operand_only():  # figure 11: H: a, d -> b, so c H: c a, d -> c b
    def h(x, y):
        return np.abs(x).sum() + np.abs(y).sum() + np.ones(2)

    x, y = random(4, 3), random(5, seed=1)
    lifted = broadcast_over(h, "c", "c a, d -> c b")(x, y)
    assert lifted.shape == (4, 2)  # "c b", where the seed's signature said "c d"
    for row in range(4):
        np.testing.assert_array_equal(lifted[row], h(x[row], y))


def test_an_elementwise_function_is_broadcast_already():  # figure 12
    x = random(3)
    lifted = broadcast_over(lambda value: value**2, "i", "i -> i")(x)
    np.testing.assert_array_equal(lifted, x**2)
    np.testing.assert_array_equal(lifted, [value**2 for value in x])


def test_a_function_is_repeated_over_several_axes_at_once_and_result_axes_may_stand_anywhere():
    x, y = random(2, 3, 4), random(4, 3, seed=1)
    dot = broadcast_over(lambda a, b: np.array([a @ b, a.sum()]), "i j", "i j k, k j -> i two j")
    expected = np.stack([np.einsum("ijk,kj->ij", x, y), x.sum(-1)], axis=1)
    np.testing.assert_allclose(dot(x, y), expected, rtol=1e-14)


def test_axes_of_the_result_may_stand_in_any_cycle():
    x = random(2, 3, 4)
    found = broadcast_over(lambda row: np.array([row.sum(), row.max(), row.min(), 1, 2]), "i j", "i j k -> five i j")(x)
    np.testing.assert_allclose(found[:2], [x.sum(-1), x.max(-1)], rtol=1e-14)
    assert found.shape == (5, 2, 3)


def test_a_number_may_come_as_an_array_of_one():  # R has no number without an axis
    x = random(3, 2)
    np.testing.assert_array_equal(broadcast_over(lambda column: np.array([column.max()]), "c", "a c -> c")(x), x.max(0))
    np.testing.assert_array_equal(broadcast_over(np.max, "c", "a c -> one c")(x), x.max(0, keepdims=True))
    np.testing.assert_array_equal(broadcast_call(np.max, "c", "a c -> c", x), x.max(0))


def test_a_broadcast_function_cannot_change_its_operands():
    x = random(3, 2)
    before = x.copy()

    def greedy(column):
        column[:] = 0
        return column.sum()

    broadcast_over(greedy, "c", "a c -> c")(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("sum", "c", "a c -> c"), InputError, "`f` must be a function of arrays; got 'sum'"),
        ((sum, "d", "a c -> c"), InputError, "`axis` 'd' must be an axis of an operand and of the result"),
        ((sum, "a", "a c -> c"), InputError, "`axis` 'a' must be an axis of an operand and of the result"),
        ((sum, "b", "a c -> b c"), InputError, "`axis` 'b' must be an axis of an operand and of the result"),
        ((sum, 1, "a c -> c"), InputError, "`axis` must be the name of an axis; got 1"),
        ((sum, "c", "... c -> c"), InputError, "must name each axis"),
        ((sum, "c", "a a c -> c"), InputError, r"names an axis twice in the operand \(a a c\)"),
    ],
)
def test_broadcasting_refuses_what_it_cannot_repeat(arguments, error, message):
    with pytest.raises(error, match=message):
        broadcast_over(*arguments)


def test_a_broadcast_function_names_the_axis_that_does_not_fit():
    lifted = broadcast_over(lambda x, y: x @ y, "c", "c a, a -> c")
    with pytest.raises(ShapeError, match="axis 'a' has the size 3 in operand 1 and 4 in operand 2"):
        lifted(random(2, 3), random(4))
    with pytest.raises(InputError, match="The number of operands of 'c a, a -> c' is 2; number of arrays: 1"):
        lifted(random(2, 3))
    with pytest.raises(
        ShapeError, match=r"the result of `f` must have the axes \(b\); got shape \(2, 2\), number of axes: 2"
    ):
        broadcast_over(lambda x: np.ones((2, 2)), "c", "a c -> b c")(random(2, 3))
    with pytest.raises(ShapeError, match="axis 'a' has the size 2 in an operand and 1 in the result of `f`"):
        broadcast_over(lambda x: x[:1], "c", "a c -> a c")(random(2, 3))
    ragged = iter(range(1, 9))
    with pytest.raises(ShapeError, match=r"`f` gave the shape \(1,\) first and \(2,\) later"):
        broadcast_over(lambda x: np.ones(next(ragged)), "c", "a c -> b c")(random(2, 3))


# ---- figures of the source ------------------------------------------------------------------------------


def test_a_composition_of_functions_with_declared_shapes():  # section 2.3: h(x0, x1, x2) = g(x0, f(x1, x2))
    f = broadcast_over(lambda x, y: np.outer(x[:3], y[:3]).sum() + np.zeros((3, 3)), "one", "one r c, n -> one a b")
    g = broadcast_over(lambda x, y: (x @ y)[None, :2], "one", "one a, one a b -> one u v")
    h = g(random(1, 3), f(random(1, 4, 2)[:, :3], random(6)))
    assert h.shape == (1, 1, 2)
    with pytest.raises(ShapeError, match="axis 'a' has the size 3 in operand 1 and 4 in operand 2"):
        g(random(1, 3), random(1, 4, 3))


def test_indexes_in_any_order_give_the_same_number():  # figures 8 and 9
    table = rearrange(np.arange(12), "(row column) -> row column", column=3)
    assert table[2, :].tolist() == [6, 7, 8]
    x = random(5, 7)
    turned = rearrange(x, "row column -> column row")
    for i, j in itertools.product(range(5), range(7)):
        assert x[i, j] == x[i, :][j] == x[:, j][i] == turned[j, i]


def test_attention_scores_step_by_step_are_one_einsum():  # figure 17
    q, k = random(3, 4, 2), random(5, 4, 2, seed=1)  # the same in both: the seed drew new ones between the two
    turned = einsum("x k h -> k x h", k)
    outer = einsum("y k h, l x h -> y k l x h", q, turned)
    steps = einsum("y k k x h -> y x h", outer) / np.sqrt(4)
    at_once = einsum("y k h, x k h -> y x h", q, k) / np.sqrt(4)
    np.testing.assert_allclose(steps, at_once, rtol=0, atol=1e-15)
    other = einsum("y k h, x k h -> y x h", random(3, 4, 2, seed=2), random(5, 4, 2, seed=3)) / np.sqrt(4)
    assert np.abs(steps - other).max() > 0.1


def test_a_linear_map_is_transposed_by_broadcasting_or_by_an_outer_product():  # figure 18
    f = random(3, 4, 5)  # F: a -> b c
    x = random(4, 3, seed=1)
    apply = broadcast_over(lambda row: einsum("a, a b c -> b c", row, f), "d", "d a -> d b c")
    by_broadcasting = einsum("b b c -> c", apply(x))
    outer = einsum("d e, a b c -> d e a b c", np.eye(4), f)
    transposed = einsum("d b a b c -> d a c", outer)
    by_outer_product = einsum("b a, b a c -> c", x, transposed)
    np.testing.assert_allclose(by_broadcasting, by_outer_product, rtol=0, atol=1e-14)

    vector = random(4, seed=2)
    with_unit = einsum("a, b c -> a b c", vector, np.eye(4))
    np.testing.assert_array_equal(einsum("a a b -> b", with_unit), vector)
