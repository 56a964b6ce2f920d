"""registration: R's answers are Python's."""

import numpy as np
import pytest

import gequi

X = np.linspace(0, 1, 50)
A, B = np.cos(np.pi / 2 * X), X + 0.07 * np.sin(3 * np.pi * X)


def test_fourier_features(r, same, random):
    same(r.value(r.fourier_features(X, features=9, seed=4)), gequi.fourier_features(X, features=9, seed=4))
    points = random.normal(size=(6, 2))
    options = {"features": 5, "bandwidth": 0.3, "phase": "conv", "seed": 4, "dtype": "float32"}
    same(r.value(r.fourier_features(points, **options)), gequi.fourier_features(points, **options).astype(np.float64))


@pytest.mark.parametrize("options", [
    {}, {"refine": 3}, {"kernel": "fourier", "seed": 2}, {"bandwidth": 0.05, "temperature": 2.0, "dtype": "float32"},
    {"kernel": "fourier", "phase": "conv", "features": 30, "seed": 5},
])  # fmt: skip
def test_invert_function_and_register_curves(r, same, options):
    same(np.array(r.value(r.invert_function(X, X**2, X, **options))), gequi.invert_function(X, X**2, X, **options).astype(float))
    same(np.array(r.value(r.register_curves(A, B, **options))), gequi.register_curves(A, B, **options).astype(float))
    ours = gequi.register_curves(A, B, X, weights=True, **options)
    theirs = r.value(r.register_curves(A, B, X, weights=True, **options))
    same(np.array(theirs["output"]), ours["output"].astype(float))
    same(theirs["weights"], ours["weights"].astype(float))


def test_invert_function_of_points(r, same, random):
    places, values, query = random.normal(size=(30, 2)), random.normal(size=(30, 3)), random.normal(size=(4, 3))
    same(r.value(r.invert_function(places, values, query)), gequi.invert_function(places, values, query))


@pytest.mark.parametrize("options", [{}, {"transform": "affine", "contrast": "any", "spacing": [1.0, 2.0], "dtype": "float64"}])
def test_register_images(r, same, options):
    image = gequi.sample_image("cat")
    moving, fixed = image[60:140, 160:250], np.rot90(image[64:130, 165:245])
    mask = np.ones(fixed.shape)
    mask[:10, :20] = 0
    ours = gequi.register_images(moving, fixed, fixed_mask=mask, **options)
    theirs = r.value(r.register_images(moving, fixed, fixed_mask=mask, **options))
    assert list(theirs) == [*ours, "moving", "fixed", "moving_spacing", "spacing"]  # what R's pictures are made of
    for part in ("map", "inverse_map"):
        np.testing.assert_allclose(theirs[part], ours[part] + 1, rtol=0, atol=1e-6)
    for part in ("warped", "jacobian", "uncertainty"):
        np.testing.assert_allclose(theirs[part], ours[part], rtol=0, atol=1e-6)
    corner = ours["affine"] @ [4, 7, 1]  # a pixel, counted from 0 and from 1
    np.testing.assert_allclose(theirs["affine"] @ [5, 8, 1], corner + 1, rtol=0, atol=1e-6)
    figures, given = theirs["figures"], ours["figures"]
    assert figures.pop("seconds") > 0
    assert given.pop("seconds") > 0
    same(figures, given)
    assert theirs["confidence"] == ours["confidence"]


def test_register_images_of_volumes(r):
    x, y, z = np.indices((20, 22, 24))
    fixed = np.sin(x * y / 30) + np.cos(z / 3) * np.sin(x / 4) + 0.2 * np.sin(y + z / 2)
    moving = fixed.transpose(1, 2, 0)
    ours = gequi.register_images(moving, fixed, spacing=(1.0, 1.0, 1.2), min_confidence=0)
    theirs = r.value(r.register_images(moving, fixed, spacing=[1.0, 1.0, 1.2], min_confidence=0))
    for part, shift in {"map": 1, "inverse_map": 1, "warped": 0, "jacobian": 0, "uncertainty": 0}.items():
        np.testing.assert_allclose(theirs[part], ours[part] + shift, rtol=0, atol=1e-6)
    corner = ours["affine"] @ [4, 7, 3, 1]
    np.testing.assert_allclose(theirs["affine"] @ [5, 8, 4, 1], corner + 1, rtol=0, atol=1e-6)


def test_register_images_in_lists(r):
    image = gequi.sample_image("cat")[60:124, 160:224]
    images = [image, np.rot90(image)]
    theirs = r.value(r.register_images(images, images))
    assert len(theirs) == 2
    ours = gequi.register_images(images, images)
    np.testing.assert_allclose(theirs[1]["map"], ours[1]["map"] + 1, rtol=0, atol=1e-6)


def test_register_images_in_lists_with_options_of_their_own(r):
    image = gequi.sample_image("cat")[60:124, 160:224]
    images, options = [image, np.rot90(image)], {"transform": "affine", "min_confidence": 0}
    mask = np.ones(image.shape)
    mask[:12] = 0
    theirs = r.value(
        r.register_images(images, images, spacing=[np.array([1.0]), np.array([1.0, 2.0])], fixed_mask=[mask, mask], **options)
    )
    ours = gequi.register_images(images, images, spacing=[[1.0], [1.0, 2.0]], fixed_mask=[mask, mask], **options)
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(one["map"], other["map"] + 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("options", [{}, {"contrast": "any", "transform": "rigid", "dtype": "float64"}])
def test_registration_steps(r, same, dimension, options):
    image = gequi.sample_image("cat")
    moving, fixed = image[60:140, 160:250], np.rot90(image[64:130, 165:245])
    if dimension == 3:
        x, y, z = np.indices((22, 24, 26))
        fixed = np.sin(x * y / 30) + np.cos(z / 3) * np.sin(x / 4)
        moving = fixed.transpose(1, 2, 0)
    ours = gequi.registration_steps(moving, fixed, token=100, **options)
    theirs = r.value(r.registration_steps(moving, fixed, token=101, **options))
    assert list(theirs) == list(ours)

    def numbers(x):
        return np.asarray(x, dtype=np.float64)

    for name in ("fixed", "moving"):
        assert list(theirs[name]) == list(ours[name])
        same(theirs[name]["lifted"], numbers(ours[name]["lifted"]))
        assert theirs[name]["tokens"] == ours[name]["tokens"]
        same(theirs[name]["positions"], numbers(ours[name]["positions"]) + 1)
        same(numbers(theirs[name]["strength"]), numbers(ours[name]["strength"]))
        same(theirs["matches"][name], numbers(ours["matches"][name]) + 1)
    same(numbers(theirs["matches"]["token"]), numbers(ours["matches"]["token"]) + 1)
    for name in ("rotation", "weight"):
        same(numbers(theirs["matches"][name]), numbers(ours["matches"][name]))
    attention, given = theirs["attention"], ours["attention"]
    assert attention["token"] == given["token"] + 1
    same(numbers(attention["position"]), numbers(given["position"]) + 1)
    for name in ("scores", "weights"):
        same(attention[name], numbers(given[name]))
    for one, other in zip(theirs["hypotheses"], ours["hypotheses"], strict=True):
        assert list(one) == list(other)
        assert (one["votes"], one["confidence"]) == (other["votes"], other["confidence"])
        for name in ("similarity", "affine"):
            np.testing.assert_allclose(one[name] @ [*[5] * dimension, 1], other[name] @ [*[4] * dimension, 1] + 1, rtol=0, atol=1e-9)
