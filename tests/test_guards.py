"""What no export may do: compute with values that its type does not hold, and answer with NaN or Inf in silence."""

import datetime
import importlib.util
import inspect
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

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


def mean_squares(x):
    return (x**2).mean(axis=(2, 3))


# Every export that takes an array of numbers: (function of a matrix of at least 5 x 5, the argument's name). Where it
# is float32 in which an export computes, that is the row; the others compute in float64.
ROWS = {
    "broadcast_over": (lambda x: gequi.broadcast_over(lambda a: a, "c", "a c -> a c")(x), "operand 1"),
    "compose_maps": (lambda x: gequi.compose_maps(np.stack([x, x]), np.stack([x, x])), "outer"),
    "conformal_sets": (
        lambda x: gequi.predict(
            gequi.conformal_sets(guards.scores, np.stack([x[None]] * 3), [0, 1, 0], C4, 0.5, seed=1), as_batch(x)
        ),
        "x",
    ),
    "einsum": (lambda x: gequi.einsum("i j, i j ->", x, x, dtype="float32"), "operand 1"),
    "equivariance_error": (lambda x: gequi.equivariance_error(network(), as_batch(x)), "x"),
    "evaluate": (lambda x: gequi.evaluate(network(), as_batch(x), np.zeros((1, 4, *x.shape))), "x"),
    "fit": (lambda x: gequi.fit(network(), as_batch(x), np.zeros((1, 4, *x.shape)), epochs=1, seed=1)[0]["loss"], "x"),
    "fit_canonicalizer": (
        lambda x: gequi.fit_canonicalizer(as_batch(x), network=guards.pose(), epochs=1, seed=1).history[0]["loss"], "x"
    ),
    "gram_image": (gequi.gram_image, "a"),
    "image_product": (lambda x: gequi.image_product(x, x, None, None), "a"),
    "image_value": (lambda x: gequi.image_value(x), "a"),
    "invert_input": (lambda x: gequi.invert_input("image_value", np.eye(5), x, steps=0, dtype="float32"), "start"),
    "invert_map": (lambda x: gequi.invert_map(gequi.identity_map(x.shape) + x), "map"),
    "is_equivariant": (lambda x: gequi.is_equivariant(network(), as_batch(x)), "x"),
    "local_equivariance_error": (lambda x: gequi.local_equivariance_error(network(), as_batch(x)), "x"),
    "map_jacobian": (lambda x: gequi.map_jacobian(np.stack([x, x.T])), "map"),
    "normalize_columns": (lambda x: gequi.normalize_columns(x, "identity"), "x"),
    "normalize_image": (gequi.normalize_image, "x"),
    "normalize_rows": (lambda x: gequi.normalize_rows(x, "identity"), "x"),
    "oscillatory_warp": (gequi.oscillatory_warp, "a"),
    "permutation_error": (lambda x: gequi.permutation_error(lambda a: a, x, 0, 0, dtype="float32"), "x"),
    "plot_equivariance": (lambda x: gequi.plot_equivariance(network(), as_batch(x)), "x"),
    "plot_gspace": (lambda x: gequi.plot_gspace(C4, image=x), "x"),
    "plot_image": (gequi.plot_image, "x"),
    "plot_inverse_function": (lambda x: gequi.plot_inverse_function({"output": x[0], "weights": x}), "found"),
    "plot_inverted_input": (
        lambda x: gequi.plot_inverted_input({"solution": x, "loss": x[0], "best_step": 0}, x, x), "start"
    ),
    "predict": (lambda x: gequi.predict(network(), as_batch(x)), "x"),
    "predict_points": (
        lambda x: gequi.predict_points(points_network(), x[:1][None], np.arange(2.0 * len(x[0])).reshape(-1, 2)), "x"
    ),
    "rearrange": (lambda x: gequi.rearrange(x, "a b -> b a"), "x"),
    "scaled_dot_product_attention": (lambda x: gequi.scaled_dot_product_attention(x, x, x, dtype="float32"), "query"),
    "set_weights": (lambda x: gequi.set_weights(network(), {"layers.0.bias": x[:1, 0]}), "weights"),
    "signed_image": (gequi.signed_image, "x"),
    "softmax": (lambda x: gequi.softmax(x, dtype="float32"), "x"),
    "symmetry_report": (lambda x: gequi.symmetry_report(network(), as_batch(x), [C4]), "x"),
    "to_grayscale": (gequi.to_grayscale, "x"),
    "transform_field": (lambda x: gequi.transform_field(x, gequi.field_type(C4, GREY), 1), "x"),
    "warp_image": (lambda x: gequi.warp_image(x, gequi.identity_map(x.shape) + 0.5, "cubic"), "image"),
    "warp_points": (lambda x: gequi.warp_points(x[:, :2], gequi.identity_map((4, 4))), "points"),
}  # fmt: skip
# Exports that take arrays and are checked elsewhere: registration has its own tests, folders read files, `invert_function`
# and encoders go through registration's door, prepare_job() through that of fit().
ELSEWHERE = {
    "evaluate_registration", "fourier_features", "image_files", "invert_function", "prepare_job", "prepare_prediction", "predict_folder",
    "prepare_registration", "register_folder",
    "read_transform", "register_curves", "register_images", "registration_encoder", "registration_steps",
    "write_image", "write_transform",
}  # fmt: skip
# Exports that take no array of numbers.
WITHOUT = {
    "as_dot", "canonicalize", "cayley_table", "collect_job", "collect_prediction", "collect_registration", "equivariant_network", "export_model", "field_type",
    "get_weights", "group_elements", "gsa_network", "gspace", "gspaces", "identity_map", "identity_resnet",
    "image_classifier_mlp", "layer_kinds", "load_model", "multi_head_attention", "output_shape",
    "plot_equivariance_error", "plot_history", "plot_local_equivariance_error", "plot_network", "plot_registration", "plot_trace",
    "representation_matrix", "representations", "sample_image", "save_model", "symmetrize", "trace_shapes", "unet",
    "visual_attention",
}  # fmt: skip
BASE = np.random.default_rng(3).uniform(1, 2, (5, 5))


def outcome(function, x):
    """The numbers that come out, or the error; anything else is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(x)
        except gequi.errors.GequiError as error:
            return error


def numbers(value):
    """All numbers in a result."""
    if isinstance(value, dict):
        return [n for each in value.values() for n in numbers(each)]
    if isinstance(value, list | tuple):
        return [n for each in value for n in numbers(each)]
    if isinstance(value, Figure):
        return [n for each in value.axes for image in each.images for n in numbers(np.asarray(image.get_array()))]
    if isinstance(value, np.ndarray | float | int | np.generic):
        return np.asarray(value, dtype=np.float64).ravel().tolist()
    if isinstance(value, torch.nn.Module):
        return [n for each in value.parameters() for n in each.detach().double().ravel().tolist()]
    return []


def test_every_export_has_a_row():
    assert set(ROWS) | ELSEWHERE | WITHOUT == set(gequi.__all__)


@pytest.mark.parametrize("size", [1e39, 1e150, 1e200, 1.7e308, -1e300])
@pytest.mark.parametrize("name", ROWS)
def test_what_is_too_large_is_refused_or_computed_and_never_nan(name, size):
    x = BASE * size if abs(size) < 1e308 else np.full_like(BASE, size)
    found = outcome(ROWS[name][0], x)
    if isinstance(found, Exception):
        assert isinstance(found, gequi.errors.GequiError)
        assert "Error:" not in str(found)
    else:
        assert np.isfinite(numbers(found)).all()


@pytest.mark.parametrize("name", sorted({
    "einsum", "evaluate", "fit", "invert_input", "predict", "predict_points", "scaled_dot_product_attention",
    "set_weights", "softmax",
}))  # fmt: skip
def test_what_float32_does_not_hold_is_refused_by_name(name):
    function, argument = ROWS[name]
    with pytest.raises(InputError, match=rf"`{argument}.*` is too large for float32"):
        function(BASE * 1e39)


# ---- kinds of arrays ------------------------------------------------------------------------------------

KINDS = {
    "reversed": lambda x: x[::-1, ::-1],
    "fortran": np.asfortranarray,
    "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "big-endian": lambda x: x.astype(">f8"),
    "long double": lambda x: x.astype(np.longdouble),
    "half": lambda x: x.astype(np.float16),
    "logical": lambda x: x > 1.5,
    "uint64": lambda x: (x * 2).astype(np.uint64),
    "int8": lambda x: (x * 10).astype(np.int8),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ROWS)
def test_every_kind_of_numbers_is_the_same_numbers(name, kind):
    x = KINDS[kind](BASE)
    plain = np.array(x, dtype=np.float64, order="C")
    found, expected = outcome(ROWS[name][0], x), outcome(ROWS[name][0], plain)
    if isinstance(expected, Exception):
        assert str(found) == str(expected)
    else:
        assert np.allclose(numbers(found), numbers(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ROWS)
def test_masked_arrays_are_refused(name):
    found = outcome(ROWS[name][0], np.ma.masked_array(BASE, BASE > 1.5))
    assert isinstance(found, InputError)
    assert "is a masked array; fill it" in str(found)


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


# ---- every export x every bad value ---------------------------------------------------------------------


def test_every_export_has_a_valid_call_with_all_its_arguments():
    assert set(guards.ROWS) == set(gequi.__all__)
    for name, row in guards.ROWS.items():
        parameters = inspect.signature(getattr(gequi, name)).parameters.values()
        named = {each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}
        assert named <= set(row()), name


@pytest.mark.parametrize("name", guards.ROWS)
def test_no_bad_value_leads_to_anything_but_a_result_or_a_refusal_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # paths are among the values
    counts, bad = guards.examine(name, every=3 if name in guards.SLOW else 1)
    print(guards.row(name, counts))
    assert not bad, "\n".join(bad)


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
            np.testing.assert_allclose(numbers(short), numbers(long), rtol=1e-12)
