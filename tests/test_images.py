"""Images as matrices: the samples, the operations, their laws, and compositions as plain data."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from skimage import data as skimage_data

import gequi
from gequi.errors import InputError, ShapeError
from gequi.images import (
    OPERATIONS,
    gram_image,
    image_composition,
    image_product,
    image_value,
    normalize_columns,
    normalize_image,
    normalize_rows,
    oscillatory_warp,
    sample_image,
    signed_image,
)

FOLDER = Path(gequi.__file__).parent / "data"

# The 3 x 3 case of the poster's notebook (Julia): an image, another, and what it prints of them.
START = np.array([[0.749673, 0.286601, 0.689869], [0.378105, 0.743137, 0.302288], [0.515142, 0.466993, 0.72146]])
OTHER = np.array([[0.749673, 0.743137, 0.689869], [0.378105, 0.466993, 0.302288], [0.515142, 0, 0.72146]])
JULIA_COLUMNS = [[0.903041, 0.0883338, 0.738358], [0.18441, 1, 0], [0.449446, 0.448563, 0.798539]]
JULIA_VALUE = [[0.79949, 0.0539301, 0.766617], [0.0539301, 1, 0], [0.766617, 0, 0.966681]]
JULIA_OTHER_VALUE = [[0.289825, 0.309745, 0.271838], [0.309745, 1, 0], [0.271838, 0, 0.38131]]


def random_image(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(rows, columns))


def test_volcano_holds_the_numbers_of_r():
    volcano = sample_image("volcano")
    assert volcano.shape == (87, 61)
    assert volcano.dtype == np.float64
    # datasets::volcano in R 4.2.2: range, sum, corners, and the digest of its values row by row
    assert (volcano.min(), volcano.max(), volcano.sum()) == (94, 195, 690907)
    assert volcano[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [100, 103, 97, 94]
    assert volcano[19, 27:30].tolist() == [192, 193, 194]
    digest = hashlib.sha256(" ".join(str(int(height)) for height in volcano.ravel()).encode()).hexdigest()
    assert digest == "ea5b5e4d6c53c492ad793c4442dfd162dbaa7dd4d4f75f8f06a1077507c66f04"


def test_photographs_are_scikit_images_own_scaled_to_0_1():
    camera, cat = sample_image("camera"), sample_image("cat")
    np.testing.assert_array_equal(camera * 255, skimage_data.camera())
    grey = skimage_data.chelsea() @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(cat * 255, grey, rtol=0, atol=0.5 + 1e-9)


def test_micrographs_are_the_parts_that_the_readme_names():
    green = skimage_data.retina()[1:1409, 1:1409, 1].astype(float)
    np.testing.assert_allclose(
        sample_image("retina") * 255, green.reshape(352, 4, 352, 4).mean(axis=(1, 3)), rtol=0, atol=0.5 + 1e-9
    )
    np.testing.assert_array_equal(sample_image("cell") * 255, skimage_data.cell()[254:494, 309:549])


def test_the_table_of_samples_agrees_with_the_images_and_with_the_readme():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    table = sample_image()
    assert len(table) == 5
    for row in table:
        image = sample_image(row["name"])
        assert image.shape == (row["rows"], row["columns"])
        assert np.isfinite(image).all()
        assert row["name"] == "volcano" or (image.min() >= 0 and image.max() <= 1)
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{row['name']}` "))
        assert f"{row['rows']} x {row['columns']}" in line
        assert row["licence"].split()[0] in line
        assert row["source"].split(": ")[1].split("(")[0] in line


def test_samples_are_the_callers_own():
    sample_image("cell")[:] = -1
    sample_image()[0]["rows"] = 0
    assert sample_image("cell").min() >= 0
    assert sample_image()[0]["rows"] == 87


def test_samples_stay_under_a_megabyte():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


@pytest.mark.parametrize("name", ["vulcano", 1, ["camera"]])
def test_an_unknown_sample_is_refused_with_the_names_there_are(name):
    with pytest.raises(InputError, match=r"`name` must be one of 'volcano', 'camera', 'cat', 'retina', 'cell'"):
        sample_image(name)
    with pytest.raises(InputError, match=r"Did you mean 'volcano'\?"):
        sample_image("vulcano")


# ---- the numbers of the notebook ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_notebooks_3x3_matrices_are_met_to_1e_5(dtype):
    start, other = START.astype(dtype), OTHER.astype(dtype)
    for found, printed in (
        (normalize_image(normalize_columns(start, "plus_one")), JULIA_COLUMNS),
        (image_value(start), JULIA_VALUE),
        (image_value(other), JULIA_OTHER_VALUE),
    ):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, printed, rtol=0, atol=1e-5)
    assert np.linalg.norm(image_value(start) - image_value(other)) == pytest.approx(1.10585, abs=1e-5)


# ---- definitions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (4, 1), (3, 5), (6, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_operations_are_their_definitions_in_numpy(rows, columns, dtype):
    a = random_image(rows, columns).astype(dtype)
    b = random_image(columns, 3, seed=1).astype(dtype)
    tolerance = {"rtol": 0, "atol": 1e-5 if dtype == np.float32 else 1e-13}

    def scaled(x):
        return (x - x.min()) / (x.max() - x.min()) if x.max() > x.min() else np.zeros_like(x)

    def exp_over(x, axis):
        return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)

    def plus_one_over(x, axis):
        return (x + 1) / (x + 1).sum(axis=axis, keepdims=True)

    for found, definition in (
        (normalize_image(a), scaled(a)),
        (signed_image(a), 2 * scaled(a) - 1),
        (normalize_rows(a), exp_over(a, 1)),
        (normalize_columns(a), exp_over(a, 0)),
        (normalize_rows(a, "plus_one"), plus_one_over(a, 1)),
        (normalize_columns(a, "plus_one"), plus_one_over(a, 0)),
        (normalize_columns(a, "identity"), a / a.sum(axis=0)),
        (normalize_rows(a, np.square), a**2 / (a**2).sum(axis=1, keepdims=True)),
        (gram_image(a), scaled(a.T @ a)),
        (image_product(a, b, normalize=False), exp_over(a, 1) @ exp_over(b, 0)),
        (image_product(a, b, None, None, normalize=False), a @ b),
        (image_product(a, b, "plus_one", None), scaled(plus_one_over(a, 1) @ b)),
        (image_product(a, b, None, "plus_one"), scaled(a @ plus_one_over(b, 0))),
        (image_product(a, b, np.exp, np.exp, normalize=False), image_product(a, b, normalize=False)),
        (image_value(a), scaled(scaled(plus_one_over(a, 0)).T @ scaled(plus_one_over(a, 0)))),
    ):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, definition, **tolerance)


def test_a_product_with_rows_alone_is_attention():
    logits, values = torch.from_numpy(random_image(4, 6)), torch.from_numpy(random_image(6, 3, seed=1))
    # scaled_dot_product_attention divides by the square root of the inner size, 6: undone here, with keys = identity
    attention = torch.nn.functional.scaled_dot_product_attention(logits, torch.eye(6).double(), values, scale=1)
    found = image_product(logits.numpy(), values.numpy(), columns=None, normalize=False)
    np.testing.assert_allclose(found, attention.numpy(), rtol=0, atol=1e-14)


def test_the_warp_is_the_posters():
    image = random_image(40, 30)
    rows, columns = image.shape
    # out[x, y] = im(clip(x + 10 (knob - 16) / 16 sin(y / 4), 1, m), y) at knob 0, x and y counted from 1
    expected = np.empty_like(image)
    for y in range(1, columns + 1):
        position = np.clip(np.arange(1, rows + 1) - 10 * math.sin(y / 4), 1, rows)
        expected[:, y - 1] = np.interp(position, np.arange(1, rows + 1), image[:, y - 1])
    np.testing.assert_allclose(oscillatory_warp(image), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(oscillatory_warp(image.astype(np.float32)), expected, rtol=0, atol=1e-6)


def test_a_warp_of_amplitude_0_changes_nothing_and_columns_at_the_zeros_of_the_sine_stay():
    image = random_image(9, 12)
    np.testing.assert_array_equal(oscillatory_warp(image, amplitude=0), image)
    np.testing.assert_allclose(oscillatory_warp(image, amplitude=3, period=4)[:, 1::2], image[:, 1::2], atol=1e-14)
    np.testing.assert_array_equal(oscillatory_warp(image, amplitude=2, period=4)[:7, 0], image[2:, 0])


# ---- laws -----------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(2, 9),
    seed=st.integers(0, 10_000),
    f=st.sampled_from(["exp", "plus_one"]),
)
def test_value_is_blind_to_the_order_of_rows_and_carries_the_order_of_columns_along(rows, columns, seed, f):
    image = random_image(rows, columns, seed)
    if rows == 1:  # each column is all of its sum: a constant image, whose value is 0
        np.testing.assert_array_equal(image_value(image, f), np.zeros((columns, columns)))
        return
    for along, carried in ((0, None), (1, (0, 1))):
        table = gequi.permutation_error(lambda a: image_value(a, f), image, input=along, output=carried, seed=seed)
        assert max(row["error"] for row in table) <= 1e-12


@pytest.mark.parametrize("name", ["volcano", "camera"])
def test_the_laws_of_value_hold_on_photographs_to_1e_12(name):
    image = normalize_image(sample_image(name))
    for along, carried in ((0, None), (1, (0, 1))):
        table = gequi.permutation_error(image_value, image, input=along, output=carried, seed=1)
        assert max(row["error"] for row in table) <= 1e-12
        assert len(table) == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_is_blind_to_positive_scaling_of_the_columns_of_a_plus_1(dtype):
    image = sample_image("cat")[::6, ::6].astype(dtype)
    factors = np.random.default_rng(0).uniform(0.1, 10, size=image.shape[1]).astype(dtype)
    scaled = (image + 1) * factors - 1
    np.testing.assert_allclose(
        image_value(scaled), image_value(image), rtol=0, atol=1e-12 if dtype == np.float64 else 1e-4
    )
    assert np.abs(image_value(scaled, "exp") - image_value(image, "exp")).max() > 0.01


def test_value_is_blind_to_rotations_that_keep_the_vector_of_ones():
    weights = normalize_columns(random_image(6, 4), "plus_one")
    # an orthogonal Q with Q 1 = 1: a rotation of the plane across 1, in an orthonormal basis that begins with 1
    basis = np.linalg.qr(np.column_stack([np.ones(6), random_image(6, 5, seed=1)]))[0]
    turn = np.eye(6)
    turn[1:3, 1:3] = [[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]]
    rotation = basis @ turn @ basis.T
    np.testing.assert_allclose(rotation @ np.ones(6), 1, atol=1e-14)
    rotated = rotation @ weights  # columns still sum to 1
    assert np.abs(rotated - weights).max() > 0.001
    np.testing.assert_allclose(image_value(rotated, "identity"), image_value(weights, "identity"), rtol=0, atol=1e-12)


def test_the_inner_normalisation_of_value_changes_nothing():
    image = random_image(7, 5)
    for f in ("plus_one", "exp"):
        np.testing.assert_allclose(image_value(image, f), gram_image(normalize_columns(image, f)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_carry_permutations_along(dtype):
    a, b = random_image(4, 5).astype(dtype), random_image(5, 6, seed=1).astype(dtype)
    rng = np.random.default_rng(2)
    rows, inner, columns = rng.permutation(4), rng.permutation(5), rng.permutation(6)
    atol = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(
        image_product(a[rows][:, inner], b[inner][:, columns]), image_product(a, b)[rows][:, columns], rtol=0, atol=atol
    )


# ---- edges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -3.5, 1e300])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2)])
def test_a_constant_image_is_0_not_nan(value, shape):
    constant = np.full(shape, value)
    np.testing.assert_array_equal(normalize_image(constant), np.zeros(shape))
    np.testing.assert_array_equal(signed_image(constant), -np.ones(shape))
    np.testing.assert_array_equal(normalize_columns(constant), np.full(shape, 1 / shape[0]))


def test_the_value_of_a_constant_image_is_0():
    np.testing.assert_array_equal(image_value(np.full((4, 3), 0.5)), np.zeros((3, 3)))
    np.testing.assert_array_equal(image_value([[0.3]]), [[0.0]])


def test_a_constant_image_has_a_gradient_without_nan():
    image = torch.full((3, 3), 0.5, requires_grad=True)
    image_value(image).sum().backward()
    assert torch.isfinite(image.grad).all()


def test_very_large_and_very_small_ranges_are_scaled_or_refused():
    np.testing.assert_array_equal(normalize_image([[0, 5e-324]]), [[0, 1]])
    np.testing.assert_array_equal(normalize_rows([[1000.0, 0.0]]), [[1, 0]])
    with pytest.raises(InputError, match="`x` has values too large to compute with in float64"):
        normalize_image([[-1e308, 1e308]])


def test_pixels_below_minus_1_are_refused_by_plus_one_and_taken_by_exp():
    image = np.array([[0.5, -1.2], [0.1, 3]])
    with pytest.raises(InputError, match=r"weights \(x \+ 1: no pixel may be below -1\), the least is -0\.2"):
        normalize_columns(image, "plus_one")
    with pytest.raises(InputError, match=r"the least is -0\.2"):
        image_value(image)
    np.testing.assert_allclose(normalize_columns(image).sum(axis=0), 1)
    np.testing.assert_allclose(normalize_columns([[-1, 0], [0, -0.5]], "plus_one"), [[0, 2 / 3], [1, 1 / 3]])


def test_a_line_of_zero_weights_is_refused():
    with pytest.raises(InputError, match=r"`f` must give weights .* not all 0 in a column; .* a column sums to 0"):
        normalize_columns([[-1, 0], [-1, 0]], "plus_one")
    with pytest.raises(InputError, match=r"`rows` must give weights .* a row sums to 0"):
        image_product([[0, 0]], [[1], [1]], rows="identity")
    with pytest.raises(InputError, match="with the function's weights, the least is -1"):
        normalize_rows([[1.0, 2.0]], lambda x: -x / x.max())


def test_what_is_not_a_finite_matrix_is_refused_by_name():
    for name, operation in OPERATIONS.items():
        if name in ("normalize_image", "signed_image", "normalize_rows", "normalize_columns"):
            argument = "x"
        elif name in ("image_product", "gram_image", "image_value", "oscillatory_warp"):
            argument = "a"
        else:
            continue
        others = [np.ones((2, 2))] if name == "image_product" else []
        with pytest.raises(InputError, match=f"`{argument}` must be finite; 1 of its 4 values"):
            operation([[1.0, math.nan], [0.0, 1.0]], *others)
        with pytest.raises(InputError, match=f"`{argument}` must be finite"):
            operation([[1.0, math.inf], [0.0, 1.0]], *others)
        with pytest.raises(
            ShapeError, match=rf"`{argument}` must have 2 axes \(row, column\); got shape \(.*\), number of axes: 3"
        ):
            operation(np.ones((2, 2, 3)), *others)
        with pytest.raises(ShapeError, match=f"`{argument}` is empty"):
            operation(np.ones((0, 3)), *others)
        with pytest.raises(ShapeError, match=f"`{argument}` must be a matrix"):
            operation(torch.ones(3), *others)
        with pytest.raises(InputError, match=f"`{argument}` must be an array of numbers; got text"):
            operation([["a"]], *others)


def test_options_that_cannot_be_are_refused():
    image = random_image(3, 3)
    with pytest.raises(InputError, match=r"`f` must be one of 'exp', 'plus_one', 'identity'; got 'plusone'"):
        normalize_rows(image, "plusone")
    with pytest.raises(InputError, match="`columns` must be one of"):
        image_product(image, image, columns=3)
    with pytest.raises(InputError, match="`normalize` must be true or false"):
        image_product(image, image, normalize=1)
    with pytest.raises(ShapeError, match="`b` must have as many rows as `a` has columns, 3; got 2"):
        image_product(image, image[:2])
    with pytest.raises(ShapeError, match=r"`f` must return an array of the shape of its input, \(3, 3\); got \(3,\)"):
        normalize_rows(image, lambda x: x.sum(axis=0))
    with pytest.raises(InputError, match="`period` must be above 0; got 0"):
        oscillatory_warp(image, period=0)
    with pytest.raises(InputError, match="`amplitude` must be a finite number"):
        oscillatory_warp(image, amplitude=math.nan)


def test_what_comes_in_is_never_changed():
    image = random_image(4, 4)
    before = image.copy()

    def meddling(x):
        x[:] = 1
        return x

    for operation in (normalize_image, signed_image, normalize_rows, gram_image, image_value, oscillatory_warp):
        operation(image)[:] = 7
    normalize_rows(image, meddling)
    np.testing.assert_array_equal(image, before)


# ---- on torch's graph, and as plain data ----------------------------------------------------------------


def test_a_tensor_stays_on_the_graph_and_its_gradient_is_right():
    image = torch.from_numpy(random_image(4, 4)).requires_grad_()
    for operation in (
        normalize_image,
        signed_image,
        normalize_rows,
        normalize_columns,
        gram_image,
        image_value,
        oscillatory_warp,
        lambda a: image_product(a, a.T),
        lambda a: image_product(a, random_image(4, 2), lambda x: x**2 + 1, "plus_one"),
    ):
        found = operation(image)
        assert isinstance(found, torch.Tensor)
        assert torch.autograd.gradcheck(operation, (image,))


CHAIN = [{"op": "normalize_columns", "f": "plus_one"}, "normalize_image", "gram_image"]
PRODUCT_OF_TWO = [
    {"op": "signed_image", "x": "input"},
    {"op": "transpose", "x": "input"},
    {"op": "image_product", "a": "step 1", "b": "step 2", "rows": "plus_one", "columns": None},
    {"op": "add", "a": "step 3", "b": 1},
    {"op": "multiply", "b": [[1.0, 2.0, 3.0]]},
]


def test_a_composition_is_its_functions_one_after_another():
    image = random_image(3, 4)
    on = torch.from_numpy(image)
    np.testing.assert_array_equal(image_composition(CHAIN)(on).numpy(), image_value(image))
    np.testing.assert_array_equal(image_composition("image_value")(on).numpy(), image_value(image))
    np.testing.assert_array_equal(image_composition([lambda x: x + 1, "transpose"])(on).numpy(), image.T + 1)
    product = image_product(signed_image(image), image.T, "plus_one", None)
    np.testing.assert_allclose(
        image_composition(PRODUCT_OF_TWO)(on).numpy(), (product + 1) * [[1, 2, 3]], rtol=0, atol=1e-14
    )


def test_every_operation_can_be_a_step():
    image = random_image(3, 3) + 0.5
    for name, operation in OPERATIONS.items():
        two = name in ("image_product", "matrix_product", "add", "subtract", "multiply", "divide", "power")
        step = {"op": name, "a": "input", "b": "input"} if two else name
        on = torch.from_numpy(image).requires_grad_()
        found = image_composition([step])(on)
        assert torch.isfinite(torch.autograd.grad(found.sum(), on)[0]).all()
        np.testing.assert_array_equal(found.detach(), operation(*[on] * (1 + two)).detach())


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "`f` is an empty list of steps"),
        (["normalise_image"], r"`f` must be one of .* Did you mean 'normalize_image'\?"),
        ([3], "step 1: must be the name of an operation or a mapping with 'op'; got 3"),
        ([{"x": "input"}], "step 1: must be the name of an operation"),
        (["gram_image", {"op": "normalize_rows", "g": "exp"}], "step 2: 'normalize_rows' takes 'x', 'f'; got 'g'"),
        (["image_product"], "step 1: 'image_product' needs the images 'a', 'b'"),
        ([{"op": "add", "b": "step 1"}], "step 1: `b` must be a matrix or one of 'input'; got 'step 1'"),
        (["gram_image", {"op": "add", "b": "image"}], "step 2: `b` must be a matrix or one of 'input', 'step 1'"),
        ([{"op": "add", "b": math.nan}], "must be finite"),
    ],
)
def test_a_composition_that_cannot_be_is_refused_with_its_step(steps, message):
    with pytest.raises(InputError, match=message):
        image_composition(steps)
