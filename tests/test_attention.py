"""Attention: torch as the oracle, laws, modules and refused inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional

from gequi.attention import attend, multi_head_attention, scaled_dot_product_attention, softmax, visual_attention
from gequi.errors import InputError, ShapeError
from gequi.networks import get_weights, predict, set_weights

TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def tokens(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def as_torch(array: np.ndarray, dtype: str) -> torch.Tensor:
    return torch.tensor(array, dtype=getattr(torch, dtype))


# ---- softmax --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_softmax_is_torchs_along_every_axis(axis):
    x = tokens(3, 4, 5)
    np.testing.assert_allclose(softmax(x, axis), torch.softmax(torch.tensor(x), axis), rtol=0, atol=1e-15)
    np.testing.assert_allclose(softmax(x, axis).sum(axis), 1, rtol=0, atol=1e-14)


def test_softmax_gives_an_array_that_sums_to_1_not_a_module():  # the seed built Softmax(dim=x) and returned that
    scores = softmax(tokens(2, 10))  # without an axis, along the last
    assert isinstance(scores, np.ndarray)
    assert scores.shape == (2, 10)
    np.testing.assert_allclose(scores.sum(axis=1), [1, 1], rtol=0, atol=1e-14)


def test_softmax_of_large_numbers_is_finite_and_of_minus_infinity_is_0():
    assert softmax([1e4, 1e4, -np.inf]).tolist() == [0.5, 0.5, 0.0]


def test_softmax_refuses_what_has_none():
    with pytest.raises(InputError, match="`x` must hold finite numbers or -Inf"):
        softmax([1.0, np.nan])
    with pytest.raises(InputError, match="`x` must hold finite numbers or -Inf"):
        softmax([1.0, np.inf])
    with pytest.raises(InputError, match="one is all -Inf"):
        softmax([[1.0, 0.0], [-np.inf, -np.inf]])
    with pytest.raises(InputError, match="`axis` must be from -2 to 1; got 2"):
        softmax([[1.0]], axis=2)
    with pytest.raises(InputError, match=r"`axis` must be a whole number; got 0\.5"):
        softmax([[1.0]], axis=0.5)
    with pytest.raises(ShapeError, match="at least one axis"):
        softmax(1.0)


# ---- scaled dot-product attention -----------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize(
    ("query", "key", "value"),
    [
        ((5, 8), (7, 8), (7, 8)),
        ((2, 5, 8), (2, 7, 8), (2, 7, 3)),
        ((2, 3, 5, 4), (3, 7, 4), (7, 9)),
        ((1, 1), (1, 1), (1, 1)),
    ],
)
def test_attention_is_torchs(query, key, value, dtype):
    q, k, v = tokens(*query), tokens(*key, seed=1), tokens(*value, seed=2)
    expected = functional.scaled_dot_product_attention(*(as_torch(x, dtype) for x in (q, k, v)))
    result = scaled_dot_product_attention(q, k, v, dtype=dtype)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype])
    with_weights = scaled_dot_product_attention(q, k, v, weights=True, dtype=dtype)
    np.testing.assert_allclose(with_weights["output"], expected, rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(with_weights["weights"].sum(-1), 1, rtol=0, atol=TOLERANCE[dtype])


@DTYPES
def test_attention_with_a_scale_and_masks_is_torchs(dtype):
    q, k, v = tokens(2, 4, 5, 8), tokens(2, 4, 6, 8, seed=1), tokens(2, 4, 6, 3, seed=2)
    flags = tokens(2, 1, 5, 6, seed=3) > -0.5
    added = np.where(tokens(5, 6, seed=4) > 1, -np.inf, tokens(5, 6, seed=5))
    for mask in (flags, flags[0, 0], added, np.tril(np.ones((5, 6), bool))):
        given_mask = torch.tensor(mask) if mask.dtype == bool else as_torch(mask, dtype)
        expected = functional.scaled_dot_product_attention(
            *(as_torch(x, dtype) for x in (q, k, v)), attn_mask=given_mask, scale=0.7
        )
        result = scaled_dot_product_attention(q, k, v, scale=0.7, mask=mask, dtype=dtype)
        np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype])
        weights = scaled_dot_product_attention(q, k, v, 0.7, mask, weights=True, dtype=dtype)
        np.testing.assert_allclose(weights["output"], expected, rtol=0, atol=TOLERANCE[dtype])
        blocked = ~mask if mask.dtype == bool else np.isneginf(mask)
        assert weights["weights"][np.broadcast_to(blocked, weights["weights"].shape)].max(initial=0) == 0


sizes = st.integers(1, 6)


@settings(deadline=None, max_examples=40)
@given(sizes, sizes, sizes, sizes, st.integers(0, 1000))
def test_the_laws_of_attention(queries, keys, features, channels, seed):
    random = np.random.default_rng(seed)
    q, k = random.standard_normal((queries, features)), random.standard_normal((keys, features))
    v = random.standard_normal((keys, channels))
    out = scaled_dot_product_attention(q, k, v)
    p, r = random.permutation(queries), random.permutation(keys)
    np.testing.assert_array_equal(scaled_dot_product_attention(q[p], k, v), out[p])
    np.testing.assert_allclose(scaled_dot_product_attention(q, k[r], v[r]), out, rtol=0, atol=1e-12)
    matrix, shift = random.standard_normal((channels, channels)), random.standard_normal(channels)
    np.testing.assert_allclose(
        scaled_dot_product_attention(q, k, v @ matrix + shift), out @ matrix + shift, rtol=0, atol=1e-12
    )


@DTYPES
def test_the_laws_hold_on_many_tokens_and_under_a_mask(dtype):
    q, k, v = tokens(501, 13), tokens(303, 13, seed=1), tokens(303, 3, seed=2)
    p, r = np.random.default_rng(3).permutation(501), np.random.default_rng(4).permutation(303)
    for mask in (None, tokens(501, 303, seed=5) > 1, np.where(tokens(501, 303, seed=6) > 1, 0.5, -np.inf)):
        out = scaled_dot_product_attention(q, k, v, mask=mask, dtype=dtype)
        of_p, of_r = (None, None) if mask is None else (mask[p], mask[:, r])
        np.testing.assert_array_equal(scaled_dot_product_attention(q[p], k, v, mask=of_p, dtype=dtype), out[p])
        shuffled = scaled_dot_product_attention(q, k[r], v[r], mask=of_r, dtype=dtype)
        np.testing.assert_allclose(shuffled, out, rtol=0, atol={"float32": 1e-5, "float64": 1e-12}[dtype])


@DTYPES
@pytest.mark.parametrize("channels", [2, 8, 20])
def test_no_matrix_of_weights_is_held_unless_it_is_asked_for(dtype, channels):
    q, k, v = (as_torch(tokens(50, width), dtype) for width in (8, 8, channels))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        attend(q, k, v)
    kernels = {event.key for event in profile.key_averages() if "dot_product" in event.key}
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in kernels
    assert "aten::_scaled_dot_product_attention_math" not in kernels


def test_attention_leaves_its_arguments_as_they_were():
    q, k, v = tokens(3, 4), tokens(5, 4, seed=1), tokens(5, 4, seed=2)
    mask = np.zeros((3, 5))
    before = [x.copy() for x in (q, k, v, mask)]
    out = scaled_dot_product_attention(q, k, v, mask=mask)
    out[:] = 0
    for x, was in zip((q, k, v, mask), before, strict=True):
        np.testing.assert_array_equal(x, was)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((tokens(5), tokens(3, 4), tokens(3, 4)), ShapeError, r"`query` must have the axes \(\.\.\., token, feature\)"),
        ((tokens(5, 3), tokens(3, 4), tokens(3, 4)), ShapeError, "`key` must have the features of `query`, 3 .* got 4"),
        ((tokens(5, 4), tokens(3, 4), tokens(2, 4)), ShapeError, "`value` must have one row for each key, 3 .* got 2"),
        ((tokens(2, 5, 4), tokens(3, 3, 4), tokens(3, 4)), ShapeError, "leading axes that do not broadcast"),
        ((tokens(5, 4), tokens(3, 4), tokens(3, 4), "x"), InputError, "`scale` must be a finite number"),
        ((tokens(5, 4), tokens(3, 4), tokens(3, 4), None, np.ones((3, 5))), ShapeError, r"`mask` .* \(5, 3\); got"),
        (
            (tokens(5, 4), tokens(3, 4), tokens(3, 4), None, np.ones((2, 5, 3))),
            ShapeError,
            "`mask` must have the shape",
        ),
        (
            (tokens(1, 4), tokens(3, 4), tokens(3, 4), None, np.zeros((1, 3), bool)),
            InputError,
            "each query needs at least one key",
        ),
        (
            (tokens(1, 4), tokens(3, 4), tokens(3, 4), None, np.full((1, 3), -np.inf)),
            InputError,
            "each query needs at least one key",
        ),
        ((tokens(1, 4), tokens(3, 4), tokens(3, 4), None, np.full((1, 3), np.nan)), InputError, "`mask` must hold"),
        ((tokens(1, 4), tokens(3, 4), tokens(3, 4), None, None, 1), InputError, "`weights` must be true or false"),
        ((tokens(1, 4), tokens(3, 4), tokens(3, 4), None, None, False, "half"), InputError, "`dtype` must be one of"),
        ((np.full((1, 4), np.nan), tokens(3, 4), tokens(3, 4)), InputError, "`query` must be finite"),
    ],
)
def test_attention_names_what_does_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        scaled_dot_product_attention(*arguments)


# ---- multi-head attention -------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize(("dim", "heads"), [(8, 1), (8, 2), (128, 4), (30, 5), (6, 6)])
@pytest.mark.parametrize("bias", [False, True])
def test_weights_move_to_torchs_module_and_back(dim, heads, bias, dtype):
    ours = multi_head_attention(dim, heads, bias=bias, seed=1, dtype=dtype)
    theirs = torch.nn.MultiheadAttention(dim, heads, bias=bias, batch_first=True, dtype=getattr(torch, dtype))
    weights = get_weights(ours)
    packed = {"in_proj_weight": np.concatenate([weights[name] for name in ("query", "key", "value")]),
              "out_proj.weight": weights["output"]}  # fmt: skip
    if bias:
        packed["in_proj_bias"] = np.concatenate([weights[f"{name}_bias"] for name in ("query", "key", "value")])
        packed["out_proj.bias"] = weights["output_bias"]
    set_weights(theirs, packed)
    query, context = tokens(3, 20, dim), tokens(3, 22, dim, seed=1)
    result = predict(ours, query, context)
    with torch.no_grad():
        expected = theirs(*(as_torch(x, dtype) for x in (query, context, context)), need_weights=False)[0]
    assert result.shape == (3, 20, dim)
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE[dtype])

    again = multi_head_attention(dim, heads, bias=bias, seed=2, dtype=dtype)
    assert np.abs(predict(again, query, context) - result).max() > 1e-3
    back = get_weights(theirs)
    moved = dict(zip(("query", "key", "value"), np.split(back["in_proj_weight"], 3), strict=True))
    moved["output"] = back["out_proj.weight"]
    if bias:
        names = ("query_bias", "key_bias", "value_bias")
        moved |= dict(zip(names, np.split(back["in_proj_bias"], 3), strict=True))
        moved["output_bias"] = back["out_proj.bias"]
    set_weights(again, moved)
    np.testing.assert_array_equal(predict(again, query, context), result)


def test_the_names_and_shapes_of_the_weights():
    shapes = {
        name: weight.shape for name, weight in get_weights(multi_head_attention(10, 3, key_dim=4, seed=1)).items()
    }
    assert shapes == {"query": (12, 10), "key": (12, 10), "value": (12, 10), "output": (10, 12)}
    shapes = {name: weight.shape for name, weight in get_weights(visual_attention(10, 4, 3, 5, 2, seed=1)).items()}
    assert shapes == {"query": (12, 10, 5, 5), "key": (12, 10, 5, 5), "value": (12, 10, 5, 5), "output": (10, 12, 5, 5)}
    biases = get_weights(multi_head_attention(10, 3, key_dim=4, bias=True, seed=1))
    assert {name: weight.shape for name, weight in biases.items() if name.endswith("_bias")} == {
        "query_bias": (12,), "key_bias": (12,), "value_bias": (12,), "output_bias": (10,)}  # fmt: skip


@DTYPES
def test_multi_head_attention_is_attention_in_each_head(dtype):
    module = multi_head_attention(6, 2, key_dim=4, seed=3, dtype=dtype)
    weights = get_weights(module)
    query, context = tokens(2, 5, 6), tokens(2, 7, 6, seed=1)
    heads = []
    for head in range(2):
        rows = slice(4 * head, 4 * head + 4)
        q, k, v = (x @ weights[name][rows].T for x, name in ((query, "query"), (context, "key"), (context, "value")))
        heads.append(scaled_dot_product_attention(q, k, v, dtype=dtype))
    expected = np.concatenate(heads, axis=-1) @ weights["output"].T
    np.testing.assert_allclose(predict(module, query, context), expected, rtol=0, atol=TOLERANCE[dtype] * 5)


@DTYPES
@pytest.mark.parametrize("build", ["multi_head", "visual"])
def test_permuting_tokens_permutes_outputs_and_permuting_the_context_changes_nothing(build, dtype):
    if build == "multi_head":
        module, query, context = (
            multi_head_attention(8, 2, seed=1, dtype=dtype),
            tokens(2, 9, 8),
            tokens(2, 12, 8, seed=1),
        )
        p, r = np.random.default_rng(2).permutation(9), np.random.default_rng(3).permutation(12)
        out = predict(module, query, context)
        permuted, shuffled = predict(module, query[:, p], context), predict(module, query, context[:, r])
        np.testing.assert_array_equal(permuted, out[:, p])  # to the bit, though 9 queries are no whole block
    else:  # with windows of one pixel, pixels are tokens
        module, query, context = (
            visual_attention(8, heads=2, seed=1, dtype=dtype),
            tokens(2, 8, 3, 4),
            tokens(2, 8, 3, 3),
        )
        p, r = np.random.default_rng(2).permutation(12), np.random.default_rng(3).permutation(9)
        out = predict(module, query, context)
        permuted = predict(module, query.reshape(2, 8, 12)[..., p].reshape(query.shape), context)
        np.testing.assert_allclose(permuted, out.reshape(2, 8, 12)[..., p].reshape(out.shape), atol=TOLERANCE[dtype])
        shuffled = predict(module, query, context.reshape(2, 8, 9)[..., r].reshape(context.shape))
    np.testing.assert_allclose(shuffled, out, rtol=0, atol={"float32": 1e-6, "float64": 1e-12}[dtype])


@DTYPES
@pytest.mark.parametrize(("dim", "heads", "queries"), [(128, 4, 20), (16, 2, 17), (32, 4, 61), (64, 8, 33)])
def test_where_a_query_stands_does_not_change_its_output_by_a_bit(dim, heads, queries, dtype):
    module, query, context = (
        multi_head_attention(dim, heads, seed=1, dtype=dtype),
        tokens(2, queries, dim),
        tokens(2, 23, dim),
    )
    p = np.random.default_rng(0).permutation(queries)
    np.testing.assert_array_equal(predict(module, query[:, p], context), predict(module, query, context)[:, p])


@pytest.mark.parametrize(("make", "size"), [(multi_head_attention, (5, 6)), (visual_attention, (6, 7, 5))])
def test_without_a_context_the_query_attends_to_itself(make, size):
    module, x = make(6, heads=2, seed=1), tokens(3, *size)
    np.testing.assert_array_equal(predict(module, x, batch_size=2), predict(module, x, x, batch_size=2))
    assert not np.array_equal(predict(module, x), predict(module, x, x[:, :, ::-1] * 2))


@pytest.mark.parametrize("make", [multi_head_attention, visual_attention])
def test_the_seed_fixes_the_weights_and_leaves_torchs_own_generator_alone(make):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (get_weights(make(6, heads=2, seed=seed)) for seed in (1, 1, 2))
    fresh = [get_weights(make(6, heads=2)) for _ in range(2)]
    assert torch.equal(torch.rand(3), expected)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
        assert not np.array_equal(first[name], other[name])
        assert not np.array_equal(fresh[0][name], fresh[1][name])
    double = get_weights(make(6, heads=2, seed=1, dtype="float64"))
    for name, weight in double.items():
        assert weight.dtype == np.float64
        np.testing.assert_array_equal(weight.astype(np.float32), first[name])


def test_initial_weights_are_uniform_within_1_over_the_root_of_the_inputs():
    weights = get_weights(visual_attention(16, 8, 8, kernel_size=3, seed=1))
    for name, inputs in (("query", 16 * 9), ("output", 64 * 9)):
        bound = 1 / math.sqrt(inputs)
        assert 0.98 * bound < np.abs(weights[name]).max() <= bound
        assert abs(weights[name].mean()) < 0.05 * bound
        assert abs(weights[name].std() - bound / math.sqrt(3)) < 0.03 * bound


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "`dim` must be at least 1; got 0"),
        ({"dim": 4.7}, r"`dim` must be a whole number; got 4\.7"),
        ({"dim": 8, "heads": 3}, "`heads` must divide `dim` where `key_dim` is not given; got 3 heads for 8"),
        ({"dim": 8, "heads": 0}, "`heads` must be at least 1"),
        ({"dim": 8, "key_dim": 0}, "`key_dim` must be at least 1"),
        ({"dim": 8, "bias": 1}, "`bias` must be true or false"),
        ({"dim": 8, "seed": -1}, "`seed` must be from 0"),
        ({"dim": 8, "dtype": "half"}, "`dtype` must be one of"),
    ],
)
def test_multi_head_attention_refuses_what_it_cannot_build(arguments, message):
    with pytest.raises(InputError, match=message):
        multi_head_attention(**arguments)


def test_whole_numbers_from_r_are_as_good_as_integers():
    module = multi_head_attention(8.0, heads=np.float64(2), key_dim=3.0, seed=1.0)
    assert get_weights(module)["query"].shape == (6, 8)


def test_the_modules_name_the_array_that_does_not_fit():
    module = multi_head_attention(8, 2, seed=1)
    with pytest.raises(ShapeError, match=r"`query` must have the axes \(batch, token, feature = 8\); got the shape"):
        predict(module, tokens(5, 8), tokens(5, 8))  # without a batch axis, tokens would be cut into batches
    with pytest.raises(ShapeError, match=r"`context` must have the axes \(batch, token, feature = 8\)"):
        predict(module, tokens(1, 5, 8), tokens(1, 5, 7))
    with pytest.raises(ShapeError, match="same batch axis; got 2 and 1"):
        module(torch.zeros(2, 5, 8), torch.zeros(1, 5, 8))
    visual = visual_attention(3, 2, kernel_size=4, seed=1)
    with pytest.raises(ShapeError, match=r"`context` must be at least as large as the window, 4 pixels; got \(5, 3\)"):
        predict(visual, tokens(1, 3, 5, 5), tokens(1, 3, 5, 3))
    with pytest.raises(ShapeError, match=r"`query` must have the axes \(batch, channel = 3, row, column\)"):
        predict(visual, tokens(1, 2, 5, 5), tokens(1, 3, 5, 5))


# ---- visual attention -----------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("bias", [False, True])
def test_visual_attention_on_single_pixels_is_multi_head_attention_on_the_flattened_image(bias, dtype):
    visual = visual_attention(12, 5, heads=3, bias=bias, seed=1, dtype=dtype)
    tokenwise = multi_head_attention(12, 3, key_dim=5, bias=bias, seed=2, dtype=dtype)
    set_weights(tokenwise, {name: w.reshape(w.shape[:2]) for name, w in get_weights(visual).items()})
    query, context = tokens(2, 12, 4, 5), tokens(2, 12, 3, 3, seed=1)
    flat = predict(tokenwise, *(x.reshape(2, 12, -1).swapaxes(1, 2) for x in (query, context)))
    image = flat.swapaxes(1, 2).reshape(2, 12, 4, 5)
    np.testing.assert_allclose(predict(visual, query, context), image, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("kernel_size", "stride", "query", "context"),
    [
        (3, 3, (16, 16), (16, 16)),
        (3, 2, (20, 14), (9, 12)),
        (1, 3, (7, 8), (4, 4)),
        (4, 1, (5, 5), (6, 4)),
        (2, 5, (11, 6), (2, 2)),
    ],
)
def test_the_output_has_the_size_of_the_query_image_at_any_stride(kernel_size, stride, query, context):
    module = visual_attention(33, 8, 4, kernel_size, stride, seed=1)
    assert predict(module, tokens(1, 33, *query), tokens(1, 33, *context)).shape == (
        1,
        33,
        *query,
    )  # the seed: 15 of 16


def test_visual_attention_has_no_bias_unless_asked():  # the seed's convolutions had one, its figure none
    module = visual_attention(4, 3, 2, 3, 2, seed=1)
    assert not np.any(predict(module, np.zeros((1, 4, 9, 9)), np.zeros((1, 4, 9, 9))))
    assert set(get_weights(module)) == {"query", "key", "value", "output"}


@DTYPES
def test_visual_attention_is_convolutions_attention_and_a_transposed_convolution(dtype):
    kind = getattr(torch, dtype)
    module = visual_attention(3, 4, heads=2, kernel_size=3, stride=2, bias=True, seed=4, dtype=dtype)
    w = {name: torch.tensor(weight, dtype=kind) for name, weight in get_weights(module).items()}
    query, context = as_torch(tokens(2, 3, 8, 9), dtype), as_torch(tokens(2, 3, 7, 7, seed=1), dtype)
    q = functional.conv2d(query, w["query"], w["query_bias"], stride=2)
    k, v = (functional.conv2d(context, w[name], w[f"{name}_bias"], stride=2) for name in ("key", "value"))
    inner = torch.empty_like(q)
    for head in range(2):
        c = slice(4 * head, 4 * head + 4)
        scores = torch.einsum("bcij,bcuv->bijuv", q[:, c], k[:, c]) / 2
        weights = torch.softmax(scores.flatten(3), -1).reshape(scores.shape)
        inner[:, c] = torch.einsum("bijuv,bcuv->bcij", weights, v[:, c])
    back = torch.nn.ConvTranspose2d(8, 3, 3, 2, dtype=kind)
    with torch.no_grad():
        back.weight.copy_(w["output"].transpose(0, 1))
        back.bias.copy_(w["output_bias"])
        expected = back(inner, output_size=query.shape[2:])
    np.testing.assert_allclose(predict(module, query, context), expected, rtol=0, atol=TOLERANCE[dtype] * 3)


def test_visual_attention_can_be_trained():
    module = visual_attention(3, 4, heads=2, kernel_size=3, stride=2, seed=1)
    module(torch.randn(1, 3, 8, 8), torch.randn(1, 3, 6, 6)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in module.parameters())
