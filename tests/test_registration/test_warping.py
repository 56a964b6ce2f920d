"""Warping by a registration: the range of values, pixels outside the image, and labels."""

from __future__ import annotations

import dataclasses
import warnings
from functools import cache

import numpy as np
import pytest

from gequi import register_images, sample_image, warp_image
from gequi.errors import GequiMessage, InputError
from gequi.geometry.sampling import inside
from gequi.registration.warping import carry_pixels

CAT = sample_image("cat")
FIXED = CAT[50:130, 150:230]
MOVING = np.rot90(FIXED)[4:, :]


@cache
def shifted():
    """4 rows of the fixed image's columns are not seen in the moving one."""
    return register_images(MOVING, FIXED, transform="similarity")


def outside(map, size):
    import torch

    return ~inside(torch.tensor(map)[None], size)[0].numpy()


# ---- range and outside ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.uint8])
def test_the_warped_image_stays_within_the_range_of_the_moving_one_and_is_nan_outside(dtype, kind):
    squares = np.kron(np.random.default_rng(1).integers(0, 2, (8, 8)), np.ones((12, 12))) + 0.2 * CAT[50:146, 150:246]
    image = (200 * squares).astype(kind) if kind is np.uint8 else squares.astype(kind)
    # between pixels a spline overshoots beside each edge
    coordinates = np.indices((96, 96)) + 0.5 - np.array([8.0, 0.0])[:, None, None]
    found = register_images(image, image, transform="rigid", dtype=dtype, min_probability=0)
    found = dataclasses.replace(found, map=coordinates, inverse_map=coordinates)
    for seen in (found.warp(image, type="image"), found.inverse.warped):
        np.testing.assert_array_equal(np.isnan(seen), outside(coordinates, (96, 96)))
        assert np.isnan(seen[:7]).all()
        assert np.nanmin(seen) >= image.min()
        assert np.nanmax(seen) <= image.max()
    plain = warp_image(image, coordinates, "cubic")
    assert plain.max() > image.max()
    assert plain.min() < image.min()
    within = (plain >= image.min()) & (plain <= image.max()) & ~outside(coordinates, (96, 96))
    np.testing.assert_allclose(found.warp(image, type="image")[within], plain[within], rtol=1e-6)


def test_the_result_is_filled_and_interpolated_as_it_was_asked_for():
    found = shifted()
    unseen = outside(found.map, MOVING.shape)
    assert 200 < unseen.sum() < 500
    np.testing.assert_array_equal(np.isnan(found.warped), unseen)
    assert found.warped[~unseen].max() <= MOVING.max()
    for how in ("linear", "nearest", "cubic"):
        other = register_images(MOVING, FIXED, transform="similarity", interpolation=how, fill=-2.0)
        assert (other.warped[unseen] == -2).all()
        np.testing.assert_allclose(other.warped, other.warp(MOVING, how, fill=-2.0), atol=1e-5)
        np.testing.assert_array_equal(other.inverse.warped, other.warp(FIXED, how, -2.0, "fixed_to_moving"))
    smeared = register_images(MOVING, FIXED, transform="similarity", fill=None)
    assert np.isfinite(smeared.warped).all()
    np.testing.assert_array_equal(smeared.warped[~unseen], found.warped[~unseen])


def test_each_channel_has_its_own_range():
    coordinates = np.indices((40, 40)) + 0.5
    step = np.repeat([0.0, 1.0], 20)[:, None] * np.ones(40)
    seen = carry_pixels(np.stack([step, 100 * step - 50]), coordinates, "cubic", None)
    np.testing.assert_array_equal([seen[0].min(), seen[0].max(), seen[1].min(), seen[1].max()], [0, 1, -50, 50])


# ---- labels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, bool])
def test_labels_keep_their_values_and_type(kind):
    found = shifted()
    labels = np.zeros(MOVING.shape, dtype=kind)
    labels[10:30, 20:60] = 7
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GequiMessage)
        carried = found.warp(labels)
    assert carried.dtype == kind
    assert set(np.unique(carried)) == set(np.unique(labels))
    expected = warp_image(labels, found.map, "nearest")
    expected[outside(found.map, MOVING.shape)] = 0
    np.testing.assert_array_equal(carried, expected)
    np.testing.assert_array_equal(found.warp(labels, type="labels"), carried)
    np.testing.assert_array_equal(found.warp(labels, "nearest", fill=1)[outside(found.map, MOVING.shape)], 1)


def test_what_may_be_an_image_or_labels_is_said_to_be_taken_for_one():
    found, whole = shifted(), (255 * MOVING).astype(np.uint8)
    with pytest.warns(
        GequiMessage, match="`image` has whole numbers and is taken for labels.*`type = 'image'`"
    ) as told:
        carried = found.warp(whole)
    assert told[0].filename == __file__
    assert carried.dtype == np.uint8
    with pytest.warns(GequiMessage, match="the type integer and is interpolated.*`type = 'labels'` keeps"):
        between = found.warp(whole, "linear")
    np.testing.assert_array_equal(between, found.warp(whole.astype(float), "linear"))
    with pytest.warns(GequiMessage, match="the type logical and is interpolated"):
        share = found.warp(whole > 100, "linear")
    assert ((share > 0) & (share < 1)).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found.warp(whole, type="image")
        found.warp(whole, type="labels")
        found.warp(whole, "nearest")
        found.warp(whole > 100)
        found.warp(MOVING)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (MOVING, {"interpolation": "cubic", "type": "labels"}, "`interpolation` must be 'nearest' for labels"),
        (MOVING, {"type": "points"}, "`type` must be one of 'image', 'labels'; got 'points'"),
        (MOVING, {"fill": "none"}, "`fill` must be a finite number; got 'none'"),
        (MOVING, {"fill": np.inf}, "`fill` must be a finite number"),
        (
            (9 * MOVING).astype(np.uint8),
            {"type": "labels", "fill": -1},
            "a value of the type of the result, uint8; got -1.0",
        ),
        (
            (9 * MOVING).astype(np.int16),
            {"type": "labels", "fill": 0.5},
            "a value of the type of the result, int16; got 0.5",
        ),
        (MOVING > 0.5, {"fill": 2}, "a value of the type of the result, bool; got 2"),
    ],
)
def test_what_does_not_fit_is_refused(image, options, message):
    with pytest.raises(InputError) as raised:
        shifted().warp(image, **options)
    assert message in str(raised.value)


def test_register_images_refuses_other_interpolations():
    with pytest.raises(InputError, match="`interpolation` must be one of"):
        register_images(MOVING, FIXED, interpolation="spline")
    with pytest.raises(InputError, match="`fill` must be a finite number"):
        register_images(MOVING, FIXED, fill="NA")
