"""Encoders for registration: descriptors, laws, tokens and training."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import gequi
from gequi import equivariance_error, predict, register_images, registration_encoder
from gequi.encoders import pairs
from gequi.encoders.loss import ImageLoss, VolumeLoss
from gequi.encoders.making import learned_layers, learning_network
from gequi.encoders.pairs import IMAGE_SIDE, VOLUME_SIDE, ImagePairs, VolumePairs, through
from gequi.errors import FieldError, InputError, ShapeError
from gequi.fields import act
from gequi.registration.descriptors import (
    PlanarDescriptor,
    SphericalDescriptor,
    check_encoder,
    designed,
    designed_for_volumes,
    fitting_size,
    rotations,
    token_positions,
)
from gequi.registration.descriptors.planar import roll

_FILE = Path(__file__).parent / "benchmarks" / "registration.py"
_SPEC = importlib.util.spec_from_file_location("registration_benchmark", _FILE)
benchmark = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(benchmark)

C8 = gequi.gspace("rot2dOnR2", N=8)
SO3 = gequi.gspace("rot3dOnR3", maximum_frequency=3)
C16 = gequi.gspace("rot2dOnR2", N=16)
CAT = gequi.sample_image("cat")
LIFT = {"layer": "oriented_gradients"}
SINGLE = torch.float32


def conv(fields, kernel_size=5, **options):
    return {"layer": "conv", "fields": fields, "kernel_size": kernel_size, "padding": kernel_size // 2, **options}


def network(layers, space=C8, input="trivial"):
    return gequi.equivariant_network(space, input, layers, seed=1)


OTHERS = {
    "pooled evenly": [conv({"regular": 4}), {"layer": "relu"}, {"layer": "token_pool"}],
    "with a stride": [conv({"regular": 4}), {"layer": "relu"}, {"layer": "avg_pool", "kernel_size": 4}],
    "without padding": [
        conv({"regular": 4}, padding=0),
        {"layer": "relu"},
        {"layer": "avg_pool", "kernel_size": 5, "stride": 3},
    ],
}


# ---- the designed encoder -------------------------------------------------------------------------------


@pytest.mark.parametrize(("contrast", "fields"), [("same", 17), ("any", 9)])
def test_the_designed_encoder_is_a_network_of_regular_fields(contrast, fields):
    encoder = registration_encoder(contrast=contrast)
    assert encoder.in_type == gequi.field_type(C16, {"trivial": 1})
    assert encoder.out_type == gequi.field_type(C16, {"regular": fields})
    assert predict(encoder, CAT[:90, :61]).shape == (1, 16 * fields, 22, 15)


@pytest.mark.parametrize("contrast", ["same", "any"])
@pytest.mark.parametrize("size", [(48, 48), (47, 61)])
def test_quarter_turns_of_the_designed_encoder_are_exact(contrast, size, dtype):
    image = CAT[None, None, 50 : 50 + size[0], 150 : 150 + size[1]]
    table = equivariance_error(registration_encoder(contrast=contrast), image, dtype=dtype)
    exact = [row["error"] for row in table if row["exact"]]
    assert len(exact) == 4
    assert max(exact) <= {"float32": 1e-4, "float64": 1e-10}[dtype]


def test_a_turn_of_one_pose_rolls_the_poses_by_one():
    """The law holds up to the interpolation of the rotated image, inside the disc that both images contain."""
    rows, columns = np.indices((97, 97)) - 48
    image = np.exp(-((np.hypot(rows + 8, columns - 5) / 9) ** 2)) + 0.5 * np.exp(
        -((np.hypot(rows - 9, columns) / 6) ** 2)
    )
    encoder = registration_encoder()
    fields = predict(encoder, image[None, None])
    turned = predict(encoder, ndimage.rotate(image, 22.5, reshape=False, order=3)[None, None])
    expected = gequi.transform_field(fields, encoder.out_type, 1)
    middle = (..., slice(6, -6), slice(6, -6))

    def miss(other):
        return np.abs(turned[middle] - other[middle]).max() / np.abs(turned[middle]).max()

    assert miss(expected) < 0.12
    assert miss(gequi.transform_field(fields, encoder.out_type, 15)) > 0.5
    assert miss(gequi.transform_field(fields, encoder.out_type, 0)) > 0.3


def test_the_lift_answers_to_the_direction_of_an_edge():
    rows, columns = np.indices((40, 40)) - 19.5
    for k in (0, 3, 10):
        angle = 2 * np.pi * k / 16
        ramp = 1 / (1 + np.exp(-(np.cos(angle) * rows + np.sin(angle) * columns)))
        lifted = predict(network([LIFT], C16), ramp)[0, :, 20, 20]
        assert lifted.argmax() == k
        assert lifted[(k + 8) % 16] == 0  # from bright to dark
        blind = predict(network([{"layer": "oriented_gradients", "signed": False}], C16), 1 - ramp)[0, :, 20, 20]
        assert blind.argmax() == k % 8


def test_a_ring_is_read_at_its_points():
    """R_{r, d}[h] = (G_r * channel h + d)(token + r e_h), computed anew."""
    image = CAT[100:160, 150:210]
    channels = predict(network([LIFT], C8), image, dtype="float64")[0]
    found = predict(
        network([LIFT, {"layer": "ring_descriptor", "rings": [[0, 1.5], [7, 2]]}], C8), image, dtype="float64"
    )
    found = found[0].reshape(9, 8, 15, 15)
    at = 4 * np.array([7, 5]) + 1.5  # token (7, 5), far from the border
    for d in (0, 3):
        for h in (0, 5):
            smoothed = ndimage.gaussian_filter(channels[(h + d) % 8], 2, truncate=8)
            point = at + 7 * np.array([np.cos(2 * np.pi * h / 8), np.sin(2 * np.pi * h / 8)])
            expected = ndimage.map_coordinates(smoothed, point[:, None], order=1)[0]
            assert found[1 + d, h, 7, 5] == pytest.approx(expected, rel=1e-6)
    smoothed = ndimage.gaussian_filter(channels[2], 1.5, truncate=8)
    assert found[0, 2, 7, 5] == pytest.approx(ndimage.map_coordinates(smoothed, at[:, None], order=1)[0], rel=1e-6)


def test_contrast_any_describes_an_image_and_its_negative_alike():
    image = CAT[100:160, 150:210]
    same, other = (
        predict(registration_encoder(contrast=contrast), np.stack([image, 1 - image])[:, None])
        for contrast in ("same", "any")
    )
    np.testing.assert_allclose(other[0], other[1], atol=1e-5)
    assert np.abs(same[0] - same[1]).max() > 0.1


def test_an_encoder_can_be_saved(tmp_path):
    encoder = registration_encoder(contrast="any")
    again = gequi.load_model(gequi.save_model(encoder, tmp_path / "encoder.gequi"))
    assert (predict(again, CAT) == predict(encoder, CAT)).all()


@pytest.mark.parametrize(("layers", "space", "input", "error", "message"), [
    ([LIFT], C8, {"trivial": 2}, FieldError, "one gray image .* 2 trivial"),
    ([LIFT], gequi.gspace("flipRot2dOnR2", N=8), "trivial", FieldError, "rotations of rot2dOnR2"),
    ([LIFT], gequi.gspace("rot2dOnR2", N=3), "trivial", FieldError, "N of 4 or more"),
    ([{"layer": "oriented_gradients", "signed": False}], gequi.gspace("rot2dOnR2", N=5), "trivial", FieldError, "even"),
    ([{"layer": "oriented_gradients", "sigma": 0}], C8, "trivial", InputError, "`sigma` must be at least 0.1"),
    ([{"layer": "ring_descriptor"}], C8, "trivial", FieldError, "takes the output of oriented_gradients"),
    ([LIFT, {"layer": "ring_descriptor", "rings": [6, 2]}], C8, "trivial", ShapeError, "a radius and a smoothing"),
    ([LIFT, {"layer": "ring_descriptor", "rings": [[6, 0]]}], C8, "trivial", InputError, "smoothing above 0"),
    ([{"layer": "token_pool", "token": 0}], C8, "trivial", InputError, "`token` must be at least 1"),
])  # fmt: skip
def test_the_layers_refuse_what_they_cannot_do(layers, space, input, error, message):
    with pytest.raises(error, match=message):
        network(layers, space, input)


# ---- the designed encoder of volumes ----------------------------------------------------------------------

NORMAL = {"layer": "local_normalization"}
SPHERES = {"layer": "sphere_descriptor"}


def blobs(seed, size=(44, 46, 48)):
    """A random volume with structure of several sizes."""
    noise = np.random.default_rng(seed).normal(size=(3, *size))
    return sum(
        ndimage.gaussian_filter(each, sigma) * sigma**1.5 for each, sigma in zip(noise, (1.5, 3, 6), strict=True)
    )


def unit(volume):
    return (volume - volume.min()) / np.ptp(volume)


@pytest.mark.parametrize("contrast", ["same", "any"])
def test_the_designed_encoder_of_volumes_is_a_network_of_irreps(contrast):
    encoder = registration_encoder(contrast=contrast, dimension=3)
    assert encoder.in_type == gequi.field_type(SO3, {"trivial": 1})
    assert encoder.out_type == gequi.field_type(SO3, {f"irrep_{degree}": 5 for degree in range(4)})
    assert predict(encoder, blobs(0, (24, 30, 19))).shape == (1, 5 * 16, 6, 7, 4)


@pytest.mark.parametrize("contrast", ["same", "any"])
@pytest.mark.parametrize("size", [(20, 20, 20), (21, 26, 19)])
def test_quarter_turns_of_the_designed_encoder_of_volumes_are_exact(contrast, size, dtype):
    volume = unit(blobs(1, size))[None, None]
    encoder = registration_encoder(contrast=contrast, dimension=3)
    exact = {"float32": 1e-4, "float64": 1e-10}[dtype]
    described = predict(encoder, volume, dtype=dtype)
    for matrix in rotations_of_the_cube():  # escnn's elements for tests have half of them
        element = SO3.fibergroup.element(matrix, "MAT")
        moved = predict(encoder, act(volume, encoder.in_type, element), dtype=dtype)
        expected = act(described, encoder.out_type, element)
        assert np.abs(moved - expected).max() <= exact * np.abs(expected).max()


def rotations_of_the_cube():
    matrices = rotations()
    return matrices[np.isclose(np.abs(matrices).max(2).min(1), 1)].round()


def test_any_rotation_of_a_volume_rotates_the_irreps_of_its_central_token():
    """The law holds up to the interpolation of the rotated volume."""
    volume = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(36, 36, 36)), 3)
    encoder = network([NORMAL, {**SPHERES, "token": 36}], SO3)  # one token, in the middle
    described = predict(encoder, unit(volume)[None, None])
    for number in (7, 23, 41):
        moved = gequi.transform_field(unit(volume), encoder.in_type, number)
        expected = gequi.transform_field(described, encoder.out_type, number)
        found = predict(encoder, moved[None, None])
        assert np.abs(found - expected).max() < 0.15 * np.abs(expected).max()
        assert np.abs(found - described).max() > 0.3 * np.abs(expected).max()


def test_a_sphere_is_read_at_its_points():
    """A linear function has degree 1 alone, and its coefficients are its slope in escnn's order of x, y and z."""
    depth, row, column = np.indices((24, 24, 24)) - 11.5
    encoder = network([{**SPHERES, "spheres": [[3, 0.5], [5, 0.5]]}], SO3)
    for slope in np.eye(3):
        x, y, z = column, -row, -depth
        volume = slope[0] * x + slope[1] * y + slope[2] * z
        found = predict(encoder, volume, dtype="float64")[0, :, 2, 2, 3]
        token = np.array([4 * 3 + 1.5 - 11.5, -(4 * 2 + 1.5 - 11.5), -(4 * 2 + 1.5 - 11.5)])  # its (x, y, z)
        np.testing.assert_allclose(found[:2], slope @ token, atol=1e-3)
        standard = SO3.fibergroup.standard_representation().change_of_basis
        for number, radius in enumerate((3, 5)):
            vector = standard @ found[2 + 3 * number : 5 + 3 * number]
            np.testing.assert_allclose(vector, radius / np.sqrt(3) * slope, atol=1e-3)
        np.testing.assert_allclose(found[8:], 0, atol=1e-3)


def test_local_normalization_leaves_no_brightness_and_no_contrast():
    volume = unit(blobs(2, (30, 30, 30)))
    normalize = network([NORMAL], SO3)
    found = predict(normalize, volume)
    high, higher, negative = (
        predict(normalize, a + b * volume, dtype="float64") for a, b in ((3, 20), (5, 40), (9, -20))
    )
    np.testing.assert_allclose(high, higher, atol=0.02)  # the floor of the contrast is small beside theirs
    np.testing.assert_allclose(negative, -high, atol=1e-6)
    blind = network([{**NORMAL, "signed": False}], SO3)
    np.testing.assert_array_equal(predict(blind, volume), np.abs(found))
    smooth = ndimage.gaussian_filter(volume, 0.7, truncate=10)[15, 15, 15]
    y = ndimage.gaussian_filter(volume, 0.7, mode="constant", truncate=10)
    window = np.exp(-sum((each - 15.0) ** 2 for each in np.indices(volume.shape)) / (2 * 4.0**2))
    mean = (window * y).sum() / window.sum()
    variance = (window * (y - mean) ** 2).sum() / window.sum()
    assert found[0, 0, 15, 15, 15] == pytest.approx((smooth - mean) / np.sqrt(variance + 0.05**2), abs=0.02)
    flat = predict(network([NORMAL], C8), CAT[:40, :50])  # it is for images too
    assert flat.shape == (1, 1, 40, 50)


def test_contrast_any_describes_a_volume_and_its_negative_alike():
    volume = unit(blobs(1, (24, 24, 24)))
    same, other = (
        predict(registration_encoder(contrast=contrast, dimension=3), np.stack([volume, 1 - volume])[:, None])
        for contrast in ("same", "any")
    )
    np.testing.assert_allclose(other[0], other[1], atol=1e-4)
    assert np.abs(same[0] - same[1]).max() > 0.1


@pytest.mark.parametrize(("layers", "space", "input", "error", "message"), [
    ([SPHERES], C8, "trivial", FieldError, "works on volumes"),
    ([SPHERES], gequi.gspace("octaOnR3"), "trivial", FieldError, "rotations of rot3dOnR3; the group is"),
    ([SPHERES], SO3, {"trivial": 2}, FieldError, "one gray volume .* 2 trivial"),
    ([{**SPHERES, "spheres": [[6, 0]]}], SO3, "trivial", InputError, "`spheres` must have .* smoothing above 0"),
    ([{**SPHERES, "spheres": [6, 2]}], SO3, "trivial", ShapeError, "`spheres` must hold a radius .* each sphere"),
    ([{**SPHERES, "token": 0}], SO3, "trivial", InputError, "`token` must be at least 1"),
    ([NORMAL], C8, {"trivial": 3}, FieldError, "one gray image .* 3 trivial"),
    ([{**NORMAL, "window": 0}], SO3, "trivial", InputError, "`window` must be at least 0.1"),
    ([{**NORMAL, "sigma": 0}], SO3, "trivial", InputError, "`sigma` must be at least 0.1"),
])  # fmt: skip
def test_the_layers_of_volumes_refuse_what_they_cannot_do(layers, space, input, error, message):
    with pytest.raises(error, match=message):
        network(layers, space, input)


# ---- tokens ---------------------------------------------------------------------------------------------


def test_features_in_a_pose_are_the_fields_rolled_by_it():
    fields = torch.arange(2 * 16 * 3.0).reshape(2, 16, 3)  # (field, pose, token)
    rolled = roll(fields.flatten(0, 1), 16)
    assert rolled.shape == (3, 16, 16)  # of 16 directions every second
    for pose in (0, 1, 6):
        expected = torch.roll(fields, -pose, 1)[:, ::2]
        assert (rolled[:, pose] == expected.permute(2, 0, 1).flatten(1)).all()
    assert roll(fields[:, :4].flatten(0, 1), 4).shape == (3, 4, 8)


@pytest.mark.parametrize("name", OTHERS)
def test_the_places_of_tokens_are_where_the_network_looks(name):
    """An image of one point: its token's features are the strongest; and the places turn with the image."""
    encoder = network(OTHERS[name])
    size = fitting_size(encoder, (83, 75))
    assert min(size) >= 67
    places = token_positions(
        encoder, size, gequi.output_shape(encoder, (1, 1, *size))[2:], {"dtype": SINGLE, "device": None}
    )
    assert torch.allclose(places.flip(0), torch.tensor(size) - 1 - places, atol=1e-4)
    for number in (40, 41, 90):
        point = places[number].round().long()
        image = torch.zeros(1, 1, *size)
        image[0, 0, point[0], point[1]] = 1
        descriptor = PlanarDescriptor(encoder.eval())
        tokens = descriptor.describe(image, torch.ones_like(image))
        blank = descriptor.describe(torch.zeros_like(image), torch.ones_like(image))
        heaviest = (tokens.strength - blank.strength).abs().argmax()
        assert (tokens.positions[heaviest] - point).abs().max() <= 3


def test_what_is_masked_has_no_strength_and_no_edges():
    image = torch.tensor(CAT[None, None, 100:164, 150:214], dtype=SINGLE)
    mask = torch.ones_like(image)
    mask[..., 32:] = 0
    tokens = PlanarDescriptor(designed(False)).describe(image, mask)
    assert tokens.strength[tokens.positions[:, 1] > 34].max() == 0
    other = image.clone()
    other[..., 32:] = 7.0  # whatever lies there
    assert torch.allclose(PlanarDescriptor(designed(False)).describe(other, mask).strength, tokens.strength, atol=1e-5)
    even = PlanarDescriptor(designed(False)).describe(torch.ones_like(image), mask)
    assert even.strength.max() < 1e-3  # the border of the mask is no edge


# ---- registration with an encoder -----------------------------------------------------------------------


def test_the_designed_encoder_is_the_default():
    moving, fixed = CAT[60:140, 160:250], np.rot90(CAT[64:130, 165:245])
    for contrast in ("same", "any"):
        given = register_images(moving, fixed, contrast=contrast, encoder=registration_encoder(contrast=contrast))
        assert (given.map == register_images(moving, fixed, contrast=contrast).map).all()


@pytest.mark.parametrize("name", OTHERS)
def test_any_network_with_tokens_can_be_the_encoder(name):
    """Untrained filters are enough for an image that is turned by a quarter."""
    image, encoder = CAT[50:151, 150:273], network(OTHERS[name])
    result = register_images(np.rot90(image), image, encoder=encoder)
    expected = np.stack([122.0 - np.indices(image.shape)[1], np.indices(image.shape)[0]])
    assert np.abs(result.map - expected).max() < 0.05
    assert encoder.training  # as it was


def test_an_encoder_of_another_type_works_in_the_type_of_the_registration():
    image, encoder = CAT[50:130, 150:230], network(OTHERS["pooled evenly"])
    result = register_images(np.rot90(image), image, encoder=encoder, dtype="float64")
    law = register_images(image, np.rot90(image), encoder=encoder, dtype="float64")
    assert np.abs(np.rot90(result.map[1], 1) - law.map[0]).max() < 1e-1
    assert encoder.dtype == torch.float32


ONE_SIDED = {
    "layer": "conv_transposed",
    "fields": {"regular": 2},
    "kernel_size": 3,
    "stride": 2,
    "output_padding": 1,
}


@pytest.mark.parametrize(("encoder", "error", "message"), [
    ("designed", InputError, "`encoder` must be a network"),
    (torch.nn.Conv2d(1, 8, 3), InputError, "`encoder` must be a network"),
    (network([conv({"regular": 2})], input={"trivial": 3}), FieldError, "must take one gray image, .* 3 trivial"),
    (network([conv({"trivial": 4})]), FieldError, "must lead to regular fields, .* 4 trivial"),
    (network([conv({"regular": 2})], gequi.gspace("flipRot2dOnR2", N=4)), FieldError, "rotations of the plane"),
    (network([conv({"regular": 2})], gequi.gspace("rot2dOnR2", N=2)), FieldError, "4 or more rotations"),
    (network([conv({"regular": 2}), {"layer": "token_pool", "token": 16}]), InputError, "1 to 8 pixels; .* every 16"),
    (network([conv({"regular": 2}), {"layer": "upsample", "scale_factor": 2}]), InputError, "1 to 8 pixels; .* every 0.5"),
    (network([conv({"regular": 2}), {"layer": "global_avg_pool"}]), InputError, "every 1 to 8 pixels"),
    (network([conv({"regular": 2}), ONE_SIDED, {"layer": "token_pool"}]), InputError, "evenly about the middle .* layer 2"),
])  # fmt: skip
def test_what_is_no_encoder_is_refused(encoder, error, message):
    with pytest.raises(error, match=message):
        register_images(CAT[:64, :64], CAT[:64, :64], encoder=encoder)


def test_the_encoder_that_comes_with_gequi_finds_more_of_another_kind_of_image():
    """On pictures that it has not seen, as drawings of 4 greys; tests/benchmarks/registration.py has the figures."""
    for name in ("coins", "cat"):
        random = np.random.default_rng(20)
        pair = benchmark.make_pair(name, benchmark.picture(name, 128), 128, 20, random, "labels")
        images = [torch.tensor(image, dtype=SINGLE)[None, None] for image in (pair.fixed, pair.moving)]
        right = []
        for encoder in (designed(True), registration_encoder("multimodal").eval()):
            descriptor = PlanarDescriptor(encoder)
            found = descriptor.match(*(descriptor.describe(image, torch.ones_like(image)) for image in images))
            row, column = found.fixed.round().long().T.numpy()
            miss = np.hypot(*(found.moving.numpy() - pair.map[:, row, column].T).T)
            right.append((found.weight.numpy() * (miss < 6)).sum() / found.weight.sum())
        assert right[1] > right[0] + 0.1
        assert right[1] > 0.5


def test_there_is_no_other_encoder_to_be_had_by_its_name():
    with pytest.raises(InputError, match="`images` must be one of 'multimodal'"):
        registration_encoder("other")


# ---- registration of volumes with an encoder --------------------------------------------------------------


@pytest.mark.parametrize("contrast", ["same", pytest.param("any", marks=pytest.mark.slow)])
def test_the_designed_encoder_of_volumes_is_the_default(contrast):
    fixed = blobs(4, (28, 30, 32))
    moving = np.rot90(fixed, axes=(0, 2))
    encoder = registration_encoder(contrast=contrast, dimension=3)
    given = register_images(moving, fixed, contrast=contrast, encoder=encoder)
    assert (given.map == register_images(moving, fixed, contrast=contrast).map).all()


@pytest.mark.parametrize("layers", [
    [conv({"irrep_0": 2, "irrep_1": 4, "irrep_3": 1, "irrep_2": 4}), {"layer": "norm_nonlinearity"}, {"layer": "token_pool"}],
    [NORMAL, {**SPHERES, "spheres": [[3, 1], [6, 2]], "token": 5}, conv({"irrep_2": 3, "irrep_1": 2}, 1)],
])  # fmt: skip
def test_any_network_with_tokens_can_be_the_encoder_of_volumes(layers):
    """Untrained filters are enough for a volume that is turned by a quarter."""
    volume = blobs(5, (30, 28, 32))
    encoder = network(layers, SO3)
    result = register_images(np.rot90(volume, axes=(1, 2)), volume, encoder=encoder)
    depth, row, column = np.indices(volume.shape)
    error = np.abs(result.map - np.stack([depth, 31.0 - column, row]))
    assert error.max() < 0.2
    assert error.mean() < 0.02
    assert encoder.training  # as it was


def test_scores_of_a_general_encoder_are_those_of_rotated_tokens():
    """The score in a pose, computed anew: the query's channels moved by escnn's representation."""
    encoder = network([conv({"irrep_0": 1, "irrep_2": 2, "irrep_1": 3}), {"layer": "token_pool"}], SO3).eval()
    descriptor = SphericalDescriptor(encoder)
    image = torch.tensor(unit(blobs(6, (16, 20, 16))), dtype=SINGLE)[None, None]
    tokens = descriptor.describe(image, torch.ones_like(image))
    with torch.no_grad():
        raw = encoder(image)[0].flatten(1).numpy()
    raw = raw / np.linalg.norm(raw, axis=0)
    for pose in (0, 50, 215):
        matrix = rotations()[pose]
        signs = np.array([1, -1, -1])
        element = SO3.fibergroup.element(signs[:, None] * matrix[::-1, ::-1] * signs, "MAT")
        expected = (encoder.out_type.representation(element) @ raw[:, 7]) @ raw
        np.testing.assert_allclose(descriptor.scores(tokens, 7, tokens)[pose].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(("encoder", "error", "message"), [
    (network([conv({"regular": 2})], gequi.gspace("octaOnR3")), FieldError, r"rotations of space \(rot3dOnR3\); its output"),
    (network([conv({"irrep_0": 3})], SO3), FieldError, "one of degree 1 or more, .* 3 trivial"),
    (network([conv({"fourier(1)": 1})], SO3), FieldError, "must lead to irreps"),
    (network([conv({"irrep_1": 1})], SO3, {"trivial": 2}), FieldError, "one gray volume, .* 2 trivial"),
    (network([conv({"irrep_1": 1}), {"layer": "token_pool", "token": 9}], SO3), InputError, "every 1 to 8 pixels; .* every 9"),
    (network([{"layer": "linear", "fields": {"irrep_1": 1}}], gequi.gspace("no_base_space", group="so3_group"), "irrep_1"),
     FieldError, "on images or volumes"),
    (registration_encoder(), InputError, "`encoder` describes images; `moving` and `fixed` are volumes"),
])  # fmt: skip
def test_what_is_no_encoder_of_volumes_is_refused(encoder, error, message):
    volume = blobs(0, (20, 20, 20))
    with pytest.raises(error, match=message):
        register_images(volume, volume, encoder=encoder)


def test_an_encoder_of_volumes_describes_no_images():
    with pytest.raises(InputError, match="`encoder` describes volumes; `moving` and `fixed` are images"):
        register_images(CAT[:64, :64], CAT[:64, :64], encoder=registration_encoder(dimension=3))


# ---- training -------------------------------------------------------------------------------------------


class Plain(ImagePairs):
    """Pairs of one appearance, so that the truth can be read off them."""

    def appearance(self, image):
        return image


def test_the_truth_of_a_generated_pair_is_true():
    rows, columns = np.indices((160, 160))
    smooth = np.sin(rows / 9) * np.cos(columns / 11) + 0.01 * rows
    encoder = network(learned_layers(True), C16)
    make = Plain([smooth[..., None]], encoder, True, seed=2)
    for _ in range(3):
        fixed, moving, truth = make.pair()
        seen = truth[3] > 0
        assert 0.2 < seen.float().mean() < 1
        there = ndimage.map_coordinates(moving[0].numpy(), truth[:2, seen].numpy(), order=3)
        here = ndimage.map_coordinates(fixed[0].numpy(), make.positions[:, seen].numpy(), order=3)
        assert np.abs(there - here).max() < 0.02
    # the turn: that of neighbouring tokens about each other
    grid = truth.reshape(4, 24, 24)
    step = grid[:2, 1:, :] - grid[:2, :-1, :]
    turned = torch.atan2(step[1], step[0]) - grid[2, 1:, :]
    assert torch.cos(turned).min() > 0.8


def test_the_loss_is_least_where_the_true_keys_answer():
    encoder = designed(False)
    make = Plain([CAT[..., None]], encoder, False, seed=1)
    x, y = (torch.tensor(part) for part in make(0))
    output = encoder(x).detach()
    right = ImageLoss(encoder, 0)(output, y)
    wrong = y.clone()
    wrong[:, 2] += np.pi  # the right places in the wrong poses
    shuffled = y.clone()
    shuffled[:, :2] = y[:, :2].flip(2)
    assert right < ImageLoss(encoder, 0)(output, wrong) - 1
    assert right < ImageLoss(encoder, 0)(output, shuffled) - 1
    assert right < np.log(16 * 576) + np.log(160)


def test_a_curve_goes_through_its_knots():
    at = torch.tensor([0.0, 0.25, 0.5, 1.0])
    assert torch.allclose(through(at, torch.tensor([1.0, 0.0, 3.0])), torch.tensor([1.0, 0.5, 0.0, 3.0]))


def test_training_is_drawn_from_its_seed_and_told_in_a_history():
    images = [CAT[:120, 100:220], np.stack([CAT[:100, :130], CAT[:100, :130] ** 2], 2)]
    first, again, other = (registration_encoder(images, contrast="any", steps=2, seed=seed) for seed in (1, 1, 2))
    assert [(row["epoch"], row["stopped"]) for row in first.history] == [(1, "")]
    weights = [gequi.get_weights(each) for each in (first, again, other)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert any((weights[0][name] != weights[2][name]).any() for name in weights[0])
    assert check_encoder(first) is first
    assert max(row["error"] for row in equivariance_error(first, CAT[None, None, :64, :64]) if row["exact"]) < 1e-4


def test_training_stops_when_it_is_told_to_or_its_time_is_over():
    told = []
    stopped = registration_encoder(
        [CAT], steps=60, seed=1, progress=lambda row: told.append(row["step"]) or len(told) < 2
    )
    assert len(told) == 2
    assert stopped.history[-1]["stopped"] == "interrupt"
    late = registration_encoder([CAT], steps=60, minutes=0, seed=1)
    assert late.history[-1]["stopped"] == "interrupt"


@pytest.mark.slow
def test_training_lowers_the_loss():
    trained = registration_encoder([CAT], contrast="any", steps=150, seed=1)
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < losses[0] - 0.3


# ---- training on volumes --------------------------------------------------------------------------------


class PlainVolumes(VolumePairs):
    """Pairs of one appearance, so that the truth can be read off them."""

    def appearance(self, image):
        return image


def test_the_truth_of_a_generated_pair_of_volumes_is_true():
    depth, row, column = np.indices((60, 60, 60))
    smooth = np.sin(depth / 7) * np.cos(row / 8) + np.sin(column / 6) + 0.01 * row
    make = PlainVolumes([smooth[..., None]], learning_network(False, 3, 1), False, seed=2)
    assert make.positions.shape == (3, 1000)
    for _ in range(3):
        fixed, moving, truth = make.pair()
        seen = truth[-1] > 0
        assert 0.2 < seen.float().mean() < 1
        there = ndimage.map_coordinates(moving[0].numpy(), truth[:3, seen].numpy(), order=3)
        here = ndimage.map_coordinates(fixed[0].numpy(), make.positions[:, seen].numpy(), order=3)
        assert np.abs(there - here).max() < 0.05
        # the rotation: that of neighboring tokens about each other
        matrices = truth[3:12].T.reshape(10, 10, 10, 3, 3)
        identity = matrices @ matrices.mT - torch.eye(3)
        assert identity.abs().max() < 1e-4
        grid = truth[:3].reshape(3, 10, 10, 10)
        step = torch.nn.functional.normalize(grid[:, 1:] - grid[:, :-1], dim=0)
        along = matrices[:-1, ..., 0].permute(3, 0, 1, 2)
        assert (step * along).sum(0).min() > 0.8


def test_the_loss_of_volumes_is_least_where_the_true_keys_answer():
    encoder = designed_for_volumes(False)
    x, y = (torch.tensor(part) for part in PlainVolumes([blobs(7)[..., None]], encoder, False, seed=1)(0))
    assert x.shape == (8, 1, VOLUME_SIDE, VOLUME_SIDE, VOLUME_SIDE)
    assert y.shape == (8, 13, 1000)
    output = encoder(x).detach()
    right = VolumeLoss(encoder, 0)(output, y)
    wrong = y.clone()
    wrong[:, 3:9] *= -1  # the right places, rotated by half a turn
    shuffled = y.clone()
    shuffled[:, :3] = y[:, :3].flip(2)
    assert right < VolumeLoss(encoder, 0)(output, wrong) - 0.5
    assert right < VolumeLoss(encoder, 0)(output, shuffled) - 1
    assert right < np.log(24 * 1000) + np.log(64)


def test_training_on_volumes_is_drawn_from_its_seed_and_keeps_the_law(monkeypatch):
    monkeypatch.setattr(pairs, "PAIRS", 1)
    volumes = [blobs(8, (30, 32, 34)), np.stack([blobs(8, (30, 30, 30)), blobs(9, (30, 30, 30))], 3)]
    options = {"contrast": "any", "dimension": 3, "steps": 2}
    first, again, other = (registration_encoder(volumes, seed=seed, **options) for seed in (1, 1, 2))
    assert [(row["epoch"], row["stopped"]) for row in first.history] == [(1, "")]
    weights = [gequi.get_weights(each) for each in (first, again, other)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert any((weights[0][name] != weights[2][name]).any() for name in weights[0])
    assert check_encoder(first) is first
    volume = unit(blobs(8, (18, 20, 21)))[None, None]
    assert max(row["error"] for row in equivariance_error(first, volume) if row["exact"]) < 1e-4


def right_matches(encoder, volumes):
    """The share of the weight of matches that lie within 3 voxels of the truth, on pairs made of volumes."""
    make, descriptor = VolumePairs(volumes, encoder, False, seed=9), SphericalDescriptor(encoder.eval())
    shares = []
    for _ in range(6):
        fixed, moving, truth = make.pair()
        tokens = [descriptor.describe(image[None], torch.ones_like(image[None])) for image in (fixed, moving)]
        matches = descriptor.match(*tokens)
        weight = matches.weight * truth[-1, matches.token]
        near = (matches.moving - truth[:3, matches.token].T).norm(dim=1) < 3
        shares.append(float((weight * near).sum() / weight.sum()))
    return np.mean(shares)


def held_out_loss(encoder, volumes):
    x, y = (torch.tensor(part) for part in VolumePairs(volumes, encoder, False, seed=9)(0))
    with torch.no_grad():
        return float(VolumeLoss(encoder, 0)(encoder.eval()(x), y))


@pytest.mark.slow
def test_a_short_training_on_volumes_lowers_the_loss_and_finds_more_matches(monkeypatch):
    held_out = [blobs(seed)[..., None] for seed in range(10, 14)]
    before = held_out_loss(learning_network(False, 3, 1), held_out)
    with monkeypatch.context() as few:
        few.setattr(pairs, "PAIRS", 1)
        options = {"dimension": 3, "steps": 30, "learning_rate": 1e-2, "seed": 1}
        trained = registration_encoder([blobs(seed) for seed in range(4)], **options)
    assert held_out_loss(trained, held_out) < before
    assert right_matches(trained, held_out) > right_matches(designed_for_volumes(False), held_out) + 0.03


@pytest.mark.slow
def test_training_on_volumes_lowers_the_loss_and_finds_many_more_matches():
    options = {"dimension": 3, "steps": 150, "learning_rate": 1e-2, "seed": 1}
    trained = registration_encoder([blobs(seed) for seed in range(4)], **options)
    losses = [row["loss"] for row in trained.history]
    assert losses[-1] < losses[0] - 0.8
    held_out = [blobs(seed)[..., None] for seed in range(10, 14)]
    assert right_matches(trained, held_out) > right_matches(designed_for_volumes(False), held_out) + 0.1


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"images": []}, InputError, "`images` contains no images"),
    ({"images": [np.zeros((60, 60))]}, InputError, "`images` must not be constant; image 1 is"),
    ({"images": [CAT, CAT[:40, :60]]}, ShapeError, "at least 48 pixels along each side; image 2"),
    ({"images": [CAT[0]]}, ShapeError, "`images` must have 2 or 3 axes"),
    ({"contrast": "other"}, InputError, "`contrast` must be one of"),
    ({"dimension": 4}, InputError, "`dimension` must be from 2 to 3; got 4"),
    ({"images": "multimodal", "dimension": 3}, InputError, "'multimodal' is an encoder of images; `dimension` must be 2"),
    ({"images": [CAT], "dimension": 3}, ShapeError, r"`images` must have 3 or 4 axes \(depth, row, column\)"),
    ({"images": [blobs(0, (30, 30, 20))], "dimension": 3}, ShapeError, "at least 24 pixels along each side; image 1"),
    ({"images": [CAT], "steps": 0}, InputError, "`steps` must be at least 1"),
    ({"images": [CAT], "minutes": -1}, InputError, "`minutes` must be at least 0"),
    ({"images": [CAT], "device": "abacus"}, InputError, "`device`"),
])  # fmt: skip
def test_what_cannot_be_trained_on_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        registration_encoder(**options)


def test_pairs_have_the_size_that_the_loss_expects():
    encoder = designed(True)
    x, y = ImagePairs([CAT[..., None]], encoder, True, seed=0)(0)
    assert x.shape == (8, 1, IMAGE_SIDE, IMAGE_SIDE)
    assert y.shape == (8, 4, (IMAGE_SIDE // 4) ** 2)
    assert np.isfinite(x).all()
