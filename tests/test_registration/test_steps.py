"""registration_steps() returns the steps of register_images()."""

import numpy as np
import pytest
from scipy import ndimage

from gequi import register_images, registration_steps
from gequi.errors import InputError, ShapeError
from gequi.images import sample_image
from gequi.registration.descriptors import POSES, rotations

IMAGE = sample_image("cat")[50:178, 150:278]
TURNED = np.rot90(IMAGE)


@pytest.fixture(scope="module")
def steps():
    return registration_steps(TURNED, IMAGE, token=500)


def test_the_best_hypothesis_has_the_score_of_the_registration(steps):
    found = register_images(TURNED, IMAGE)
    assert max(each["score"] for each in steps["hypotheses"]) == found.metrics["score"]
    best = max(steps["hypotheses"], key=lambda each: each["score"])
    np.testing.assert_allclose(best["affine"], found.affine, atol=1e-3)


def test_a_quarter_turn_turns_what_is_lifted_and_rolls_its_channels(steps):
    fixed, moving = (steps[name]["lifted"] for name in ("fixed", "moving"))
    assert fixed.shape == (POSES, 128, 128)
    np.testing.assert_allclose(moving, np.roll(np.rot90(fixed, axes=(1, 2)), POSES // 4, axis=0), atol=2e-5)


def test_the_attention_of_a_token_leads_to_its_match(steps):
    attention, matches = steps["attention"], steps["matches"]
    assert attention["token"] == 500
    np.testing.assert_array_equal(attention["position"], matches["fixed"][500])
    assert attention["scores"].shape == (POSES, 32, 32)
    assert abs(attention["scores"]).max() <= 1 + 1e-5
    best_pose = attention["scores"].max(0).astype(float)
    weights = np.exp(40 * (best_pose - best_pose.max()))  # the sharpness of the first attempt
    np.testing.assert_allclose(attention["weights"], weights / weights.sum(), atol=1e-5)
    pose, row, column = np.unravel_index(attention["scores"].argmax(), attention["scores"].shape)
    best = steps["moving"]["positions"].reshape(32, 32, 2)[row, column]
    assert abs(matches["moving"][500] - best).max() <= 4  # its neighbours have a part in it
    assert abs(np.exp(1j * matches["rotation"][500]) - np.exp(2j * np.pi * pose / POSES)) <= np.pi / POSES


def test_the_default_token_is_that_of_the_heaviest_match(steps):
    heaviest = int(steps["matches"]["weight"].argmax())
    assert registration_steps(TURNED, IMAGE)["attention"]["token"] == heaviest


def test_hypotheses_come_with_their_votes_the_most_voted_first():
    several = registration_steps(sample_image("camera")[::4, ::4], IMAGE)["hypotheses"]  # nothing alike: many guesses
    votes = [each["votes"] for each in several]
    assert 4 <= len(votes) <= 8
    assert votes == sorted(votes, reverse=True)
    for each in several:
        square = each["similarity"][:, :2] @ each["similarity"][:, :2].T
        np.testing.assert_allclose(square, square[0, 0] * np.eye(2), atol=1e-5)


def test_any_contrast_has_half_the_directions():
    blind = registration_steps(1 - TURNED, IMAGE, contrast="any")
    assert blind["fixed"]["lifted"].shape == (POSES // 2, 128, 128)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"token": 1024}, InputError, "`token` must be from 0 to 1023"),
        ({"contrast": "some"}, InputError, "`contrast` must be one of"),
        ({"token": -1}, InputError, "`token` must be from 0 to 1023"),
        ({"fixed": np.random.default_rng(0).random((20, 20, 20))}, ShapeError, "`moving` and `fixed` must be two"),
    ],
)
def test_what_has_no_steps_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        registration_steps(**{"moving": TURNED, "fixed": IMAGE, **options})


# ---- volumes --------------------------------------------------------------------------------------------

NOISE = np.random.default_rng(0).normal(size=(2, 32, 36, 40))
VOLUME = ndimage.gaussian_filter(NOISE[0], 1.5) + ndimage.gaussian_filter(NOISE[1], 4) * 4
TURNED_VOLUME = np.rot90(VOLUME, axes=(0, 2))
QUARTER = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])  # np.rot90 on the axes (depth, row, column)


@pytest.fixture(scope="module")
def volume_steps():
    return registration_steps(TURNED_VOLUME, VOLUME, token=404)


def test_the_best_hypothesis_of_volumes_has_the_score_of_the_registration(volume_steps):
    found = register_images(TURNED_VOLUME, VOLUME)
    best = max(volume_steps["hypotheses"], key=lambda each: each["score"])
    assert best["score"] == found.metrics["score"]
    assert best["similarity"].shape == (3, 4)
    np.testing.assert_allclose(best["affine"], found.affine, atol=1e-2)
    np.testing.assert_allclose(best["affine"][:, :3], QUARTER, atol=1e-2)


def test_a_quarter_turn_of_a_volume_turns_what_is_lifted(volume_steps):
    fixed, moving = (volume_steps[name] for name in ("fixed", "moving"))
    assert fixed["lifted"].shape == (1, 32, 36, 40)
    assert fixed["tokens"] == [8, 9, 10]
    assert moving["tokens"] == [10, 9, 8]
    assert fixed["positions"].shape == (720, 3)
    np.testing.assert_allclose(fixed["positions"][:2], [[1.5, 1.5, 1.5], [1.5, 1.5, 5.5]])
    np.testing.assert_allclose(moving["lifted"][0], np.rot90(fixed["lifted"][0], axes=(0, 2)), atol=1e-4)


def test_the_attention_of_a_token_of_a_volume_leads_to_its_match(volume_steps):
    attention, matches = volume_steps["attention"], volume_steps["matches"]
    assert attention["token"] == 404
    np.testing.assert_array_equal(attention["position"], volume_steps["fixed"]["positions"][404])
    assert attention["scores"].shape == (216, 10, 9, 8)
    assert abs(attention["scores"]).max() <= 1 + 1e-5
    best_pose = attention["scores"].max(0).astype(float)
    weights = np.exp(40 * (best_pose - best_pose.max()))
    np.testing.assert_allclose(attention["weights"], weights / weights.sum(), atol=1e-5)
    (match,) = np.flatnonzero(matches["token"] == 404)
    pose, *cell = np.unravel_index(attention["scores"].argmax(), attention["scores"].shape)
    best = volume_steps["moving"]["positions"].reshape(10, 9, 8, 3)[tuple(cell)]
    assert abs(matches["moving"][match] - best).max() <= 4
    np.testing.assert_allclose(matches["rotation"][match], QUARTER, atol=1e-6)
    np.testing.assert_allclose(matches["rotation"][match], rotations()[pose], atol=1e-6)


def test_the_strongest_tokens_of_a_volume_are_matched(volume_steps):
    matches, fixed = volume_steps["matches"], volume_steps["fixed"]
    assert matches["rotation"].shape == (500, 3, 3)
    assert len(set(matches["token"].tolist())) == 500
    np.testing.assert_array_equal(matches["fixed"], fixed["positions"][matches["token"]])
    assert fixed["strength"][matches["token"]].min() >= np.delete(fixed["strength"], matches["token"]).max()
    default = registration_steps(TURNED_VOLUME, VOLUME)["attention"]["token"]
    assert default == matches["token"][matches["weight"].argmax()]


def test_any_contrast_takes_the_absolute_value_of_a_normalized_volume():
    blind, signed = (registration_steps(TURNED_VOLUME, VOLUME, contrast=contrast) for contrast in ("any", "same"))
    np.testing.assert_array_equal(blind["fixed"]["lifted"], abs(signed["fixed"]["lifted"]))
