"""The evidence that a map is right, the transformed moving images that are tried, and constant borders."""

from __future__ import annotations

import itertools
import warnings
from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage

from gequi import register_images, sample_image
from gequi.errors import InputError, UnrelatedImagesError
from gequi.geometry.grids import Kind, pixel_grid
from gequi.registration.backgrounds import border_masks, constant_border
from gequi.registration.detail import OutlineWeights, Weights, detail
from gequi.registration.evidence import round_trips, weigh
from gequi.registration.finding import without_hints
from gequi.registration.preprocess import prepare_pair
from gequi.registration.presets import IMAGES
from gequi.registration.search import verify
from gequi.registration.views import seen_as

CAT = sample_image("cat")
FIXED = CAT[60:156, 150:256]
MOVING = ndimage.rotate(CAT, 25, reshape=False, order=3, mode="nearest")[50:162, 140:250]
SPECK = np.random.default_rng(5).normal(size=FIXED.shape)


def registered(*images, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return register_images(*images, **options)


@cache
def upright(transform="deformable"):
    return registered(MOVING, FIXED, transform=transform)


def exact_pair(dtype=torch.float64):
    kind = Kind(dtype=dtype, device=torch.device("cpu"))
    return prepare_pair(np.rot90(FIXED), FIXED, None, None, None, None, "same", kind)


# ---- evidence -------------------------------------------------------------------------------------------


def test_a_map_and_its_inverse_make_no_round_trip_and_another_map_does():
    pair, _, _, _ = exact_pair()
    inverse = torch.tensor([[[0.0, 1.0, 0.0], [-1.0, 0.0, FIXED.shape[1] - 1]]], dtype=torch.float64)
    wrong = inverse + torch.tensor([[0.0, 0.0, 12.0], [0.0, 0.0, 0.0]])
    there = verify(pair, "affine", QUARTER, 2)
    back = verify(pair.exchanged, "affine", torch.cat([inverse, wrong]), 0)
    trips = round_trips(there, back)
    assert float(trips[0, 0]) < 1e-3
    assert float(trips[0, 1]) == pytest.approx(12 / max(FIXED.shape), rel=0.02)
    right, other = (weigh(there, (back.take([number]),), "affine").log_odds for number in (0, 1))
    assert float(right) > float(other) + 2


QUARTER = torch.tensor([[[0.0, -1.0, FIXED.shape[1] - 1], [1.0, 0.0, 0.0]]], dtype=torch.float64)


def looked_at(moving, fixed, linear, contrast="same"):
    kind = Kind(dtype=torch.float64, device=torch.device("cpu"))
    pair, _, _, _ = prepare_pair(moving, fixed, None, None, None, None, contrast, kind)
    return detail(verify(pair, "affine", linear, 0), 0)


def test_detail_agrees_under_the_right_map_and_not_beside_it():
    right = looked_at(np.rot90(FIXED), FIXED, QUARTER)
    aside = looked_at(np.rot90(FIXED), FIXED, QUARTER + torch.tensor([[[0.0, 0.0, 24.0], [0.0, 0.0, 0.0]]]))
    assert right.prominence > 15
    assert aside.prominence < 5
    assert right.agreement > 3 * aside.agreement
    weights = Weights(-15.0, 5.0, 5.0)
    assert right.log_odds(weights) > 5
    assert aside.log_odds(weights) < -2


def test_detail_does_not_see_the_sign_of_the_contrast_and_turns_with_the_images():
    right = looked_at(np.rot90(FIXED), FIXED, QUARTER)
    np.testing.assert_allclose(looked_at(1 - np.rot90(FIXED), FIXED, QUARTER), right, rtol=1e-8)
    turned = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype=torch.float64)
    np.testing.assert_allclose(looked_at(np.rot90(FIXED), np.rot90(FIXED), turned), right, rtol=1e-8)


def test_images_that_agree_in_what_is_coarse_only_have_no_prominent_detail():
    coarse = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(128, 128)), 10) * 10
    one, other = (coarse + np.random.default_rng(n).normal(0, 0.3, coarse.shape) for n in (1, 2))
    linear = torch.eye(2, 3, dtype=torch.float64)[None]
    assert looked_at(one, other, linear).prominence < 6 < 12 < looked_at(one, one, linear).prominence


def test_an_outline_is_evidence_only_where_the_images_are_alike_within_it():
    row, column = np.indices((128, 128)) - 63.5
    outline = ndimage.gaussian_filter((np.hypot(row, 1.3 * column) < 50).astype(float), 0.7)
    random = np.random.default_rng(7)
    one, other = (outline + 0.8 * ndimage.gaussian_filter(random.normal(size=outline.shape), 1.5) for _ in range(2))
    linear, odds = torch.eye(2, 3, dtype=torch.float64)[None], OutlineWeights(*IMAGES.evidence_outline)
    for moving, fixed in ((one, other), (outline, one)):
        assert looked_at(moving, fixed, linear).outline_odds(odds) < -2
    for image in (one, outline):
        assert looked_at(image, image, linear).outline_odds(odds) == 0


@pytest.mark.parametrize("contrast", ["same", pytest.param("any", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore::gequi.errors.AmbiguousRegistrationWarning")
def test_right_maps_are_probable_and_unrelated_images_are_refused(contrast):
    assert registered(MOVING, FIXED, contrast=contrast).probability > 0.95
    others = [sample_image("camera")[:72, :72], SPECK[:64, :60], ndimage.gaussian_filter(SPECK.T[:60, :64], 3)]
    for one, other in itertools.combinations(others, 2):
        assert register_images(one, other, contrast=contrast, min_probability=0).probability < 0.5
    with (
        without_hints(),
        pytest.raises(
            UnrelatedImagesError, match=r"is right with a probability of 0\.\d\d; `min_probability` is 0\.50"
        ),
    ):
        register_images(*others[1:], contrast=contrast, transform="rigid")


@pytest.mark.parametrize("transform", ["rigid", pytest.param("deformable", marks=pytest.mark.slow)])
def test_the_refusal_says_what_would_be_accepted(transform):
    moving, fixed = MOVING[20:100, 20:100], FIXED[16:80, 20:84]
    with pytest.raises(UnrelatedImagesError, match=r"With `contrast` = 'any' it is \d\.\d\d"):
        register_images(1 - moving, fixed, transform=transform)
    with pytest.raises(UnrelatedImagesError, match=r"With `mirror` = True it is \d\.\d\d"):
        register_images(moving[:, ::-1], fixed, transform=transform)
    with without_hints(), pytest.raises(UnrelatedImagesError, match="do not look alike under any map: "):
        register_images(moving[:, ::-1], fixed, transform=transform)


# ---- mirror images and scales ---------------------------------------------------------------------------


@pytest.mark.parametrize("transform", ["deformable", "similarity", "rigid"])
@pytest.mark.parametrize("mirror", [True, "search"])
def test_the_map_of_a_mirror_image_is_the_map_of_the_image_mirrored(transform, mirror):
    plain = upright(transform)
    flipped = registered(MOVING[:, ::-1], FIXED, transform=transform, mirror=mirror)
    expected = np.stack([plain.map[0], MOVING.shape[1] - 1 - plain.map[1]])
    np.testing.assert_allclose(flipped.map, expected, atol=1e-3)
    np.testing.assert_allclose(flipped.inverse_map, plain.inverse_map[:, :, ::-1], atol=1e-3)
    np.testing.assert_allclose(flipped.jacobian, plain.jacobian, atol=1e-3)
    assert flipped.metrics["folds"] == 0
    assert flipped.metrics["similarity_before"] < 0.5 < flipped.metrics["similarity_after"]
    assert (flipped.decomposition["mirror"], plain.decomposition["mirror"]) == (True, False)


def test_an_image_that_is_upright_is_not_mirrored_by_the_search():
    np.testing.assert_array_equal(registered(MOVING, FIXED, mirror="search").map, upright().map)


def test_a_mirrored_volume_is_found():
    depth, row, column = np.indices((24, 26, 28))
    volume = np.sin(depth * row / 40) + np.cos(column / 3) * np.sin(depth / 4) + np.sin(row / 3 + depth / 5)
    found = register_images(volume[:, :, ::-1], volume, transform="rigid", mirror=True, min_probability=0)
    assert found.decomposition["mirror"] is True
    np.testing.assert_allclose(found.map, np.stack([depth, row, 27 - column]), atol=0.05)


@pytest.mark.parametrize(("transform", "scale"), [
    ("deformable", 2.0), ("similarity", 0.5), pytest.param("deformable", 0.5, marks=pytest.mark.slow),
    pytest.param("similarity", 2.0, marks=pytest.mark.slow),
])  # fmt: skip
def test_other_scales_are_found(scale, transform):
    upright = CAT[40:168, 140:268]
    smooth = ndimage.gaussian_filter(upright, 0.5 * max(1 / scale - 1, 0))
    at = (np.indices([round(128 * scale)] * 2) + 0.5) / scale - 0.5
    moving = np.rot90(ndimage.map_coordinates(smooth, at, order=3, mode="nearest"))
    found = registered(moving, upright, transform=transform)
    row, column = (np.indices((128, 128)) + 0.5) * scale - 0.5
    truth = np.stack([len(moving) - 1 - column, row])
    assert np.median(np.linalg.norm(found.map - truth, axis=0)) < 0.3 * max(scale, 1)
    assert found.decomposition["scale"] == pytest.approx(scale, rel=0.05)
    assert found.decomposition["rotation"] == pytest.approx(90, abs=1)


def test_a_frame_of_a_view_leads_to_the_pixels_of_the_image():
    pair, (moving, _), _, _ = exact_pair()
    for scale, mirrored in itertools.product((1.0, 0.5, 1.4), (False, True)):
        seen, frame = seen_as(pair, moving, scale, mirrored)
        at = pixel_grid(pair.moving_size, torch.float64)
        np.testing.assert_allclose(frame.to_pixels(frame.to_work(at)), at, atol=1e-9)
        ends = frame.to_pixels(torch.tensor([[0.0, 0.0], [0.0, seen.moving_size[1] - 1]], dtype=torch.float64))
        assert (ends[1, 0] < ends[1, 1]) == (not mirrored)


@pytest.mark.parametrize("mirror", ["yes", 1, None])
def test_other_mirrors_are_refused(mirror):
    with pytest.raises(InputError, match="`mirror` must be True, False or 'search'"):
        register_images(MOVING, FIXED, mirror=mirror)


# ---- constant borders -----------------------------------------------------------------------------------


def behind_a_frame(image, value=0.0, radius=0.46):
    """The middle of an image behind a round window, and the frame."""
    rows, columns = np.indices((128, 128)) - 63.5
    frame = np.hypot(rows, columns) >= radius * 128
    return np.where(frame, value, image), frame


def test_the_frame_of_a_field_of_view_is_found_and_a_plain_picture_has_none():
    for value in (0.0, 1.0):
        shown, frame = behind_a_frame(0.1 + 0.8 * CAT[40:168, 140:268], value)
        found = constant_border(shown)
        assert (found | ~frame).all()
        assert found.mean() < frame.mean() + 0.04
        np.testing.assert_array_equal(constant_border(np.rot90(shown)), np.rot90(found))
    noisy = shown + 0.002 * np.random.default_rng(0).normal(size=shown.shape)
    assert (constant_border(noisy) & frame).sum() > 0.95 * frame.sum()
    assert constant_border(FIXED) is None


def test_a_dark_corner_is_no_frame():
    shown = 0.1 + 0.8 * CAT[40:168, 140:268]
    shown[90:, :50] = 0
    assert constant_border(shown) is None


def test_a_border_that_leaves_too_little_is_none():
    for inner, found in ((12, False), (18, True)):
        shown = np.zeros((24, 24))
        place = np.s_[12 - inner // 2 : 12 + inner // 2]
        shown[place, place] = 0.2 + CAT[60 : 60 + inner, 160 : 160 + inner]
        assert (constant_border(shown) is not None) == found
        register_images(shown, shown, min_probability=0)


def test_a_silhouette_is_no_border():
    assert constant_border((np.hypot(*(np.indices((96, 96)) - 48)) < 30).astype(float)) is None


def test_a_frame_at_one_place_is_masked_and_a_background_that_moves_is_a_question():
    one, _ = behind_a_frame(0.1 + 0.8 * CAT[40:168, 140:268])
    other, _ = behind_a_frame(0.1 + 0.8 * CAT[48:176, 150:278])
    masks = border_masks(one, other)
    assert len(masks) == 1
    np.testing.assert_array_equal(*masks[0])
    assert len(border_masks(one, np.roll(other, 20, 1))) == 2
    assert border_masks(one, FIXED)[0][1] is None
    assert border_masks(one, other, (False, False)) == [(None, None)]


@pytest.mark.parametrize("contrast", ["same", "any"])
def test_a_frame_that_does_not_move_is_not_what_matches(contrast):
    retina = ndimage.zoom(sample_image("retina"), 1.2, order=3)
    at = np.indices((128, 128)) - 63.5
    turn = np.deg2rad(70)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    map = np.einsum("ij,jrc->irc", rotation, at) + np.array([4, -6]).reshape(2, 1, 1)
    middle = (np.array(retina.shape) - 1).reshape(2, 1, 1) / 2
    moving, frame = behind_a_frame(ndimage.map_coordinates(retina, at + middle, order=3))
    fixed, _ = behind_a_frame(ndimage.map_coordinates(retina, map + middle, order=3))
    found = registered(moving, fixed, contrast=contrast)
    inner = np.hypot(*at) < 45
    assert np.median(np.linalg.norm(found.map - map - 63.5, axis=0)[inner]) < 0.2
    assert found.metrics["masked_fixed"] == pytest.approx(frame.mean(), abs=0.05)
    assert registered(moving, moving, mask="none").metrics["masked_moving"] == 0
