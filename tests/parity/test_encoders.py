"""encoders: the results of R and Python are equal."""

import numpy as np
import pytest

import gequi

X, Y, Z = np.indices((26, 28, 30))
VOLUME = np.sin(X * Y / 40) + np.cos(Z / 3) * np.sin(X / 4) + 0.2 * np.sin(Y + Z / 2)


@pytest.mark.parametrize("contrast", ["same", "any"])
def test_registration_encoder(r, same, contrast):
    image = gequi.sample_image("cat")[60:124, 160:230]
    theirs, ours = r.registration_encoder(contrast=contrast), gequi.registration_encoder(contrast=contrast)
    same(r.value(r.predict(theirs, image)), gequi.predict(ours, image))
    result = r.parts(r.register_images(np.rot90(image), image, contrast=contrast, encoder=theirs))
    expected = gequi.register_images(np.rot90(image), image, contrast=contrast, encoder=ours)
    np.testing.assert_allclose(result["map"], expected.map + 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("contrast", ["same", "any"])
def test_registration_encoder_of_volumes(r, same, contrast):
    options = {"contrast": contrast, "dimension": 3}
    theirs, ours = r.registration_encoder(**options), gequi.registration_encoder(**options)
    fixed = VOLUME[:18, :20, :22]
    same(r.value(r.predict(theirs, fixed)), gequi.predict(ours, fixed))
    moving = fixed.transpose(1, 2, 0)
    result = r.parts(r.register_images(moving, fixed, contrast=contrast, encoder=theirs, min_probability=0))
    expected = gequi.register_images(moving, fixed, contrast=contrast, encoder=ours, min_probability=0)
    np.testing.assert_allclose(result["map"], expected.map + 1, rtol=0, atol=1e-6)


def test_registration_encoder_that_is_trained(r, same):
    image = gequi.sample_image("cat")[60:124, 160:230]
    options = {"contrast": "any", "steps": 2, "seed": 3, "device": "cpu"}
    images = [image, np.stack([image, 1 - image], 2)]
    theirs, ours = r.registration_encoder(images, **options), gequi.registration_encoder(images, **options)
    same(r.value(r.get_weights(theirs)), gequi.get_weights(ours))
    assert r.value(r.predict(theirs, image, type="raw")).shape == gequi.predict(ours, image).shape


@pytest.mark.slow
def test_registration_encoder_that_is_trained_on_volumes(r, same):
    options = {"dimension": 3, "steps": 2, "seed": 3, "device": "cpu"}
    volumes = [VOLUME, np.stack([VOLUME, 1 - VOLUME], 3)]
    theirs, ours = r.registration_encoder(volumes, **options), gequi.registration_encoder(volumes, **options)
    same(r.value(r.get_weights(theirs)), gequi.get_weights(ours))


def test_registration_encoder_that_comes_with_the_package(r, same):
    image = gequi.sample_image("cat")[60:124, 160:230]
    theirs, ours = r.registration_encoder("multimodal"), gequi.registration_encoder("multimodal")
    same(r.value(r.predict(theirs, image)), gequi.predict(ours, image))
