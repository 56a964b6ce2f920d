"""arrays: conversion of inputs and outputs, refused inputs, and that no memory is shared with the caller."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from gequi import _layouts
from gequi._layouts import all_finite, copy_array, empty_tensor
from gequi.arrays import (
    as_array,
    as_numpy,
    as_tensor,
    check_choice,
    check_device,
    check_dtype,
    check_flag,
    check_index,
    check_integer,
    check_number,
    check_positive,
    own_tensor,
)  # fmt: skip
from gequi.errors import InputError, ShapeError

# ---- whole numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [4, 4.0, np.int64(4), np.float32(4), np.array([4.0]), np.array(4)])
def test_every_whole_four_is_four(value):
    four = check_integer(value, "n")
    assert four == 4
    assert type(four) is int


@pytest.mark.parametrize("value", [4.7, True, "4", None, float("nan"), float("inf"), [4], np.array([4, 4])])
def test_what_is_not_a_whole_number_is_refused_by_name(value):
    with pytest.raises(InputError, match="`n` must be a whole number"):
        check_integer(value, "n")


def test_whole_numbers_outside_their_limits_are_refused():
    with pytest.raises(InputError, match="`n` must be at least 1; got 0"):
        check_integer(0, "n", minimum=1)
    with pytest.raises(InputError, match="`n` must be from 0 to 3; got 4"):
        check_integer(4, "n", 0, 3)


@pytest.mark.parametrize("value", [4.5, True, "1", None, float("nan"), float("inf")])
def test_what_is_no_index_is_refused(value):
    with pytest.raises(InputError, match="`element` must be a whole number"):
        check_index(value, "element", 3)


def test_an_index_is_counted_from_0_in_python_and_from_1_elsewhere():
    assert [check_index(value, "element", 3) for value in (0, 2.0, np.int64(1))] == [0, 2, 1]
    with pytest.raises(InputError, match="`element` must be from 0 to 2; got 3") as caught:
        check_index(3, "element", 3)
    assert [piece["value"] for piece in caught.value.pieces() if piece.get("kind") == "index"] == [0, 2, 3]
    with pytest.raises(InputError, match="`element` must be from 0 to 2; got -1"):
        check_index(-1, "element", 3)


def test_an_index_may_be_counted_from_the_end_where_it_says_so():
    assert [check_index(value, "axis", 3, from_end=True) for value in (-1, -3, 1)] == [2, 0, 1]
    with pytest.raises(InputError, match="`axis` must be from -3 to 2; got -4"):
        check_index(-4, "axis", 3, from_end=True)


@pytest.mark.parametrize("value", ["1", None, True, float("nan"), float("inf")])
def test_what_is_not_a_finite_number_is_refused(value):
    with pytest.raises(InputError, match="`p` must be a finite number"):
        check_number(value, "p")


def test_numbers_outside_their_limits_are_refused():
    with pytest.raises(InputError, match="`p` must be from 0 to 1; got 1.5"):
        check_number(1.5, "p", 0, 1)
    assert check_number(np.float32(0.5), "p", 0, 1) == 0.5
    assert check_positive(np.float32(0.5), "p") == 0.5
    with pytest.raises(InputError, match="`p` must be greater than 0; got 0"):
        check_positive(0, "p")


@pytest.mark.parametrize("value", [0, 1, "TRUE", None])
def test_flags_are_true_or_false_and_nothing_else(value):
    with pytest.raises(InputError, match="`bias` must be true or false"):
        check_flag(value, "bias")
    assert check_flag(np.True_, "bias") is True


def test_an_unknown_choice_lists_what_there_is_and_the_nearest():
    with pytest.raises(
        InputError, match=r"`mode` must be one of 'zeros', 'circular'; got 'zero'. Did you mean 'zeros'\?"
    ):
        check_choice("zero", "mode", ["zeros", "circular"])


def test_floating_point_types_go_by_name():
    assert check_dtype("float64") is torch.float64
    assert check_dtype(torch.float32) is torch.float32
    with pytest.raises(InputError, match="`dtype`"):
        check_dtype("float16")


def test_devices_go_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_device("auto") == check_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="`device` is 'cuda', but torch finds no CUDA device here; use 'cpu'"):
        check_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert check_device("auto") == check_device("cuda") == torch.device("cuda")


# ---- arrays ---------------------------------------------------------------------------------------------


def test_nested_lists_and_tensors_are_arrays():
    assert as_array([[1, 2], [3, 4]], "x").shape == (2, 2)
    assert as_array(torch.ones(2, 3), "x").shape == (2, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("text", "`x` must be an array of numbers; got text"),
        (["a", "b"], "`x` must be an array of numbers; got text"),
        ([[1, 2], [3]], "`x` must be an array of numbers; numpy says"),
        (np.array([1j]), "`x` must be an array of numbers; got complex numbers"),
        ({"a": 1}, "`x` must be an array of numbers; got object"),
        ([1.0, np.nan], "`x` must be finite; 1 of its 2 values are NaN or infinite"),
        ([np.inf, np.nan, 1], "`x` must be finite; 2 of its 3 values"),
    ],
)
def test_what_is_not_an_array_of_finite_numbers_is_refused(x, message):
    with pytest.raises(InputError, match=message):
        as_array(x, "x")


def test_wrong_ranks_and_empty_arrays_are_refused_with_their_shape():
    with pytest.raises(
        ShapeError, match=r"`x` must have 4 axes \(batch, channel, row, column\); got shape \(3, 3\), number of axes: 2"
    ):
        as_array(np.ones((3, 3)), "x", ndim=4, axes="(batch, channel, row, column)")
    with pytest.raises(ShapeError, match=r"`x` is empty: its shape is \(0, 3\)"):
        as_array(np.ones((0, 3)), "x")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int32, np.uint8, np.uint16, np.bool_, ">f8"])
def test_a_tensor_holds_the_same_values_contiguously_whatever_the_memory_order(order, kind):
    x = np.asarray(np.arange(24).reshape(2, 3, 4) % 2, dtype=kind, order=order)
    tensor = own_tensor(x, torch.float64)
    assert tensor.is_contiguous()
    np.testing.assert_array_equal(tensor.numpy(), x.astype(np.float64))


@st.composite
def arrays(draw):
    """Arrays whose axes are in any order in memory, forwards or backwards, with gaps, or repeated without memory."""
    shape = tuple(draw(st.lists(st.integers(1, 7), max_size=5)))
    order = draw(st.permutations(range(len(shape))))
    kind = draw(st.sampled_from(("f8", "f4", ">f8", "i4", "u1", "u8", "?")))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    array = random.integers(0, 100, [2 * shape[axis] for axis in order]).astype(kind).transpose(np.argsort(order))
    for axis, n in enumerate(shape):
        step = draw(st.sampled_from((1, 2, -1, -2, 0)))
        part = array[(slice(None),) * axis + (slice(0, max(1, abs(step) * n), step if step > 0 else 1),)]
        if step < 0:
            part = np.flip(part, axis)[(slice(None),) * axis + (slice(None, None, -step),)]
        array = np.broadcast_to(part, (*part.shape[:axis], n, *part.shape[axis + 1 :]))
    return array


@settings(max_examples=300, deadline=None)
@given(arrays(), st.data())
def test_a_copy_in_blocks_is_the_array_whatever_both_layouts(array, data):
    kind = data.draw(st.sampled_from(("f4", "f8", "i8")))
    order = data.draw(st.permutations(range(array.ndim)))
    target = np.full([array.shape[axis] for axis in order], -1, kind).transpose(np.argsort(order))
    before = array.copy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_layouts, "BLOCK", 40)
        patch.setattr(_layouts, "SIDE", 5)
        copy_array(array, target)
        tensors = [own_tensor(array, dtype) for dtype in (torch.float32, torch.float64)]
    np.testing.assert_array_equal(array, before)
    for copied in (target, *tensors):
        np.testing.assert_array_equal(np.asarray(copied), np.ascontiguousarray(array))


def test_a_large_array_of_r_is_copied_in_blocks(monkeypatch):
    x = np.asfortranarray(np.random.default_rng(0).random((9, 3, 57, 61)))
    sizes = []
    blocks = _layouts._blocks
    monkeypatch.setattr(_layouts, "_blocks", lambda shape, size: sizes.append(size) or blocks(shape, size))
    np.testing.assert_array_equal(own_tensor(x, torch.float64).numpy(), x)
    assert sizes == [[9, 3, 39, 61]]  # 64,233 of at most 65,536 values: the first and the last axis are whole
    assert np.prod(sizes[0]) <= _layouts.BLOCK
    own_tensor(np.ascontiguousarray(x), torch.float32)
    assert len(sizes) == 1  # the same order on both sides


@pytest.mark.parametrize("shape", [(), (3, 5), (1, 2, 1200, 900)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64, torch.bool])
def test_new_tensors_are_aligned_and_contiguous(shape, dtype):
    tensor = empty_tensor(shape, dtype)
    assert (tuple(tensor.shape), tensor.dtype, tensor.data_ptr() % 64) == (shape, dtype, 0)
    assert tensor.is_contiguous()
    assert tensor.fill_(1).sum() == tensor.numel()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_value_that_is_not_finite_is_seen_in_a_large_array(kind, value, order):
    x = np.zeros((300, 301), kind, order)
    x[:2] = [[np.finfo(kind).max], [-np.finfo(kind).max]]  # whose sums are not finite
    assert all_finite(x)
    x[150, 299] = value
    assert not all_finite(x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_values_that_a_narrower_type_cannot_hold_are_refused_by_name(dtype):
    beyond = 1.01 * float(torch.finfo(dtype).max)
    with pytest.raises(InputError, match=f"`x` is too large for {str(dtype)[6:]}; its largest value is"):
        own_tensor(np.array([1.0, beyond]), dtype, argument="x")
    tensor = own_tensor(np.array([1.0, 0.9 * beyond, np.inf]), dtype, argument="x")
    assert tensor.isinf().tolist() == [False, False, True]


def test_negative_strides_are_followed():
    x = np.arange(6.0).reshape(2, 3)[:, ::-1]
    np.testing.assert_array_equal(as_tensor(x, "x", dtype=torch.float64).numpy(), x)


def test_a_tensor_never_shares_memory_with_the_array_it_came_from():
    x = np.ones((2, 2))
    x.flags.writeable = False  # as reticulate passes an R array; torch ignores the read-only flag
    as_tensor(x, "x", dtype=torch.float64).zero_()
    assert (x == 1).all()


def test_reading_read_only_memory_gives_no_warning(recwarn):
    x = np.ones((2, 2))
    x.flags.writeable = False
    as_tensor(x, "x")
    assert not recwarn.list


def test_tensors_come_back_as_arrays_without_their_gradients():
    x = torch.ones(2, requires_grad=True)
    np.testing.assert_array_equal(as_numpy(x * 2), [2, 2])
