"""No public function answers any value with NaN, a foreign error or silence: the table of guards.py, made into tests."""

import dataclasses
import datetime
import importlib.util
import inspect
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import gequi
from gequi.errors import InputError

spec = importlib.util.spec_from_file_location("guards", Path(__file__).parent / "guards.py")
guards = sys.modules["guards"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guards)

C4 = gequi.gspace("rot2dOnR2", N=4)
GREY = {"trivial": 1}


def network(dtype="float32"):
    return gequi.equivariant_network(
        C4, GREY, [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3, "padding": 1}], seed=1, dtype=dtype
    )


def points_network():
    return gequi.equivariant_network(C4, GREY, [{"layer": "lifting_attention", "fields": {"regular": 2}}], seed=1)


def as_batch(x):
    return x[None, None]


BASE = guards.MATRIX

# ---- the table ------------------------------------------------------------------------------------------

ARRAYS = [
    pytest.param(name, argument, entry, id=f"{name}-{argument}-{entry}".rstrip(" -:"))
    for name in guards.ROWS
    for argument, entry, _, _ in guards.arrays_of(name)
]


def array_of(name, argument, entry):
    """An array among the valid arguments, and how to make the arguments with another one in its place."""
    return next(found[2:] for found in guards.arrays_of(name) if found[:2] == (argument, entry))


def outcome(name, arguments):
    """The result with all the numbers in it, or the error; an error of another kind is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = guards.CALLS.get(name, getattr(gequi, name))(**arguments)
        except gequi.GequiError as error:
            return error
    return guards.numbers([value, arguments.get("model")])


def test_every_export_has_a_row_with_all_its_arguments():
    assert set(guards.ROWS) == set(gequi.__all__)
    for name, row in guards.ROWS.items():
        parameters = inspect.signature(getattr(gequi, name)).parameters.values()
        named = {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
        assert named <= set(row()), name


@pytest.mark.parametrize(
    ("name", "every"),
    [pytest.param(name, guards.EVERY.get(name, 1), id=name) for name in guards.ROWS]
    + [pytest.param(name, 1, id=f"{name}-whole", marks=pytest.mark.slow) for name in guards.EVERY],
)
def test_no_bad_value_leads_to_anything_but_a_result_or_a_refusal_by_name(
    name, every, tmp_path, monkeypatch, record_property
):
    monkeypatch.chdir(tmp_path)  # paths are among the values
    counts, bad = guards.examine(name, every)
    record_property("guards", dict(counts))  # for the summary, see conftest.py
    assert set(counts) <= {*guards.FINE, *guards.BAD}
    assert not bad, "\n".join(bad)


def of_zero(**_):
    raise ZeroDivisionError


def of_another(**_):
    raise InputError("`other` is bad.", "other")


def at_length(**_):
    raise InputError("`x` is " + 2000 * "very " + "bad.", "x")


def for_ever(**_):
    while True:
        pass


def in_place(x, **_):
    x[:] = 0


FATES = {
    "foreign": of_zero, "unnamed": of_another, "long": at_length, "hang": for_ever, "changed": in_place,
    "printed": lambda **_: print("found"), "NaN": lambda **_: {"found": [np.float32("nan")]},
    "worked": lambda x, **_: x / 2,
}  # fmt: skip


@pytest.mark.parametrize("fate", FATES)
def test_the_table_tells_what_must_not_be(fate, monkeypatch):
    monkeypatch.setattr(gequi, "normalize_image", FATES[fate])
    monkeypatch.setattr(guards, "SECONDS", 0.1)
    found, reason = guards.outcome_of("normalize_image", "x", "valid", lambda: {"x": np.ones((5, 5))})
    assert found == fate, reason


def registration(**changes):
    return dataclasses.replace(guards.found(), fill=0.0, **changes)


@pytest.mark.parametrize("value", [
    np.array([1, np.inf]), torch.tensor([[np.nan]], dtype=torch.bfloat16), {"a": [(1.0, np.float32("nan"))]},
    gequi.plot_image(np.array([[0.0, np.nan]])), registration(jacobian=np.full((2, 2), np.nan)),
], ids=type)  # fmt: skip
def test_the_table_sees_nan_in_results_of_all_kinds(value):
    assert guards.has_nan(value)
    assert not guards.has_nan([0.5, "nan", None, network(), registration()])


# ---- kinds of arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "argument", "entry"), ARRAYS)
def test_every_kind_of_numbers_is_the_same_numbers(name, argument, entry):
    value, place = array_of(name, argument, entry)
    for kind in guards.SAME_NUMBERS[:: guards.EVERY.get(name, 1)]:
        with np.errstate(invalid="ignore"):  # negative numbers in unsigned types
            x = guards.KINDS[kind](value)
        found, expected = (outcome(name, place(each)) for each in (x, np.array(x, dtype=np.float64, order="C")))
        if isinstance(expected, Exception):
            assert str(found) == str(expected), kind
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=kind)


@pytest.mark.parametrize(("name", "argument", "entry"), ARRAYS)
def test_masked_arrays_are_refused(name, argument, entry):
    value, place = array_of(name, argument, entry)
    found = outcome(name, place(np.ma.masked_array(value, value > value.mean())))
    assert isinstance(found, InputError)
    assert "is a masked array; fill it" in str(found)


# What is computed in float32: where there is an argument `dtype`, and with models whose weights are float32.
IN_FLOAT32 = [each for each in ARRAYS if "dtype" in guards.ROWS[each.values[0]]() or each.values[:2] in {
    ("evaluate", "x"), ("fit", "x"), ("predict", "x"), ("prepare_job", "x"), ("set_weights", "weights"),
}]  # fmt: skip


@pytest.mark.parametrize(("name", "argument", "entry"), IN_FLOAT32)
def test_what_float32_does_not_hold_is_refused_by_name_or_computed_in_float64_first(name, argument, entry):
    value, place = array_of(name, argument, entry)
    arguments = place(np.linspace(1e39, 2e39, value.size).reshape(value.shape))
    of_float32 = outcome(name, {**arguments, "dtype": "float32"} if "dtype" in arguments else arguments)
    if isinstance(of_float32, Exception):
        assert isinstance(of_float32, InputError)
        found = rf"`{argument.replace('_', ' ')}.*` (is too large for|has values too large to compute with in) float32"
        assert re.search(found, str(of_float32))
    else:
        np.testing.assert_allclose(of_float32, outcome(name, {**arguments, "dtype": "float64"}), rtol=1e-4, atol=1e-4)


def test_large_unsigned_numbers_stay_what_they_are():
    large = np.array([2**64 - 1, 2**63, 1], dtype=np.uint64)
    assert gequi.einsum("i -> i", large).tolist() == [float(2**64 - 1), float(2**63), 1.0]


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (1, 1)])
def test_an_axis_of_length_1_can_be_turned_and_reversed(shape):
    x = np.arange(6.0)[: shape[0] * shape[1]].reshape(shape)
    assert np.array_equal(gequi.softmax(x[::-1, ::-1]), gequi.softmax(x[::-1, ::-1].copy()))
    assert gequi.is_equivariant(network(), x + 1)
    own = gequi.is_equivariant(
        lambda a: torch.from_numpy(a).square().numpy(), as_batch(x + 1), C4, input=GREY, output=GREY
    )
    assert own


# ---- single inputs ---------------------------------------------------------------------------------------

DAY = datetime.date(2020, 1, 1)
MODULE = torch.nn.ReLU()
BYTES, FLAGS = np.ones((5, 5), np.uint8), np.ones((5, 5), bool)
AWAY = gequi.identity_map((5, 5)) + 9


def trained(**options):
    return gequi.fit(network(), as_batch(BASE), np.zeros((1, 4, 5, 5)), epochs=1, seed=1, **options)


# Calls that once worked, or failed in words of their own: what the error says of the argument.
SINGLE = {
    "no share to validate with": (lambda: trained(validation=0), "`validation` must be a fraction greater than 0, or None"),
    "300 in 8 bits": (lambda: gequi.warp_image(BYTES, AWAY, "nearest", 300), "`fill` must be .* uint8; got 300"),
    "-1 in 8 bits": (lambda: gequi.warp_image(BYTES, AWAY, "nearest", -1), "`fill` must be .* uint8; got -1"),
    "half a flag": (lambda: gequi.warp_image(FLAGS, AWAY, "nearest", 0.5), "`fill` must be .* bool; got 0.5"),
    "beyond float32": (
        lambda: gequi.warp_image(BASE.astype(np.float32), AWAY.astype(np.float32), fill=1e300), "`fill` must be .* float32; got 1e"
    ),
    "dtype of softmax": (lambda: gequi.softmax(BASE, dtype=0), "`dtype` must be one of 'float32', 'float64'; got 0"),
    "dtype of a network": (
        lambda: gequi.equivariant_network(C4, GREY, [], dtype=0), "`dtype` must be one of 'float32', 'float64'; got 0"
    ),
    "a date as a rate": (lambda: trained(learning_rate=DAY), "`learning_rate` must be a finite number; got datetime.date"),
    "a date as a count": (lambda: gequi.field_type(C4, {"regular": DAY}), r"`fields\$regular` must be a whole number; got"),
    "a date as an index": (lambda: gequi.softmax(BASE, axis=DAY), "`axis` must be a whole number; got datetime.date"),
    "a date of numpy": (lambda: gequi.gspace("rot2dOnR2", N=np.datetime64(DAY)), "`N` must be a whole number; got np.datetime64"),
    "days as numbers": (lambda: gequi.softmax(np.arange(3).astype("m8[D]")), "`x` must be an array of numbers; got timedelta64"),
    "einsum of nothing": (lambda: gequi.einsum(None, BASE), "`spec` must read as"),
    "einsum of NaN": (lambda: gequi.einsum(float("nan"), BASE), "`spec` must read as"),
    "a layer in a list": (
        lambda: gequi.equivariant_network(C4, GREY, [{"layer": "relu"}, {"layer": "conv", "fields": "regular", "kernel_size": DAY}]),
        r"^layer 2 \(conv\): `kernel_size` must be a whole number",
    ),
    "a layer in a layer": (
        lambda: gequi.equivariant_network(C4, GREY, [{"layer": "skip", "layers": [{"layer": "conv", "fields": "regular",
                                                                                  "kernel_size": None}]}]),
        r"^layer 1.1 \(conv\): `kernel_size` is missing",
    ),
    "a mask of keys of another number": (
        lambda: gequi.scaled_dot_product_attention(BASE, BASE, BASE, mask=FLAGS[0, :4]), r"`mask` must have the shape .*got \(4,\)"
    ),
    "a mask without a key": (lambda: gequi.scaled_dot_product_attention(BASE, BASE, BASE, mask=~FLAGS[0]), "`mask` masks every key of a query"),
    "a network for image_value": (lambda: gequi.image_value(BASE, network()), "`f` must be a function of arrays; got a network"),
    "a network for normalize_rows": (lambda: gequi.normalize_rows(BASE, MODULE), "`f` must be a function of arrays; got a network"),
    "a network for normalize_columns": (lambda: gequi.normalize_columns(BASE, MODULE), "`f` must be a function of arrays"),
    "a network for image_product": (lambda: gequi.image_product(BASE, BASE, columns=MODULE), "`columns` must be a function of arrays"),
    "a network for broadcast_over": (lambda: gequi.broadcast_over(network(), "c", "a c -> a c"), "`f` must be a function of arrays"),
    "a network for permutation_error": (lambda: gequi.permutation_error(network(), BASE, 0), "`f` must be a function of arrays"),
    "a phase that is not used": (lambda: gequi.invert_function([0, 1], [0, 1], [0], phase="banana"), "`phase` must be"),
    "a spacing that is a flag": (lambda: gequi.map_jacobian(AWAY, spacing=True), "`spacing` must be"),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_single_inputs_that_once_slipped_through_are_refused_by_name(name):
    call, message = SINGLE[name]
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("name", guards.ROWS)
def test_an_argument_that_there_is_not_is_refused_by_name(name):
    with pytest.raises((TypeError, InputError), match="about"):
        getattr(gequi, name)(**guards.ROWS[name](), about=1) if name not in guards.CALLS else getattr(gequi, name)(
            about=1
        )


def test_a_mask_of_one_axis_is_that_of_the_keys():
    rows = np.broadcast_to([True, True, False, True, False], (2, 5, 5))
    x = np.stack([BASE, BASE + 1])
    for mask, full in ((rows[0, 0], rows), (np.where(rows[0, 0], 0.5, -np.inf), np.where(rows, 0.5, -np.inf))):
        for weights in (False, True):
            short, long = (
                gequi.scaled_dot_product_attention(x, x, x, mask=each, weights=weights) for each in (mask, full)
            )
            np.testing.assert_allclose(guards.numbers(short), guards.numbers(long), rtol=1e-12)
