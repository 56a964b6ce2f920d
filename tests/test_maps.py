"""Coordinate maps: scipy as the oracle, and the laws of warping, composing and inverting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from gequi.errors import InputError, ShapeError
from gequi.geometry import tensor_maps
from gequi.geometry.sampling import grid_sample
from gequi.maps import compose_maps, identity_map, invert_map, map_jacobian, warp_image, warp_points


def wavy(shape, random, pixels=1.5, smooth=0.15):
    """A smooth map of an image of this shape that moves pixels by up to `pixels`."""
    shift = np.stack([ndimage.gaussian_filter(random.normal(size=shape), smooth * min(shape)) for _ in shape])
    return identity_map(shape) + shift * (pixels / np.abs(shift).max())


def turned_points(map, shape, turns):
    """A map's values after its image, of this shape, was turned by rot90."""
    rows, columns = map
    for _ in range(turns % 4):
        rows, columns, shape = shape[1] - 1 - columns, rows, shape[::-1]
    return np.stack([rows, columns])


SHAPES = pytest.mark.parametrize("shape", [(9, 12), (7, 6, 8)], ids=["plane", "space"])


@SHAPES
def test_the_identity_holds_each_pixels_own_coordinates(shape, dtype):
    same = identity_map(shape, dtype)
    np.testing.assert_array_equal(same, np.indices(shape))
    assert same.dtype == dtype


@SHAPES
@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_warping_agrees_with_scipy(shape, interpolation, random):
    image, map = random.normal(size=shape), wavy(shape, random)
    clipped = np.clip(map, 0, np.reshape(shape, (-1, *[1] * len(shape))) - 1)
    order = {"nearest": 0, "linear": 1, "cubic": 3}[interpolation]
    expected = ndimage.map_coordinates(image, clipped, order=order, mode="mirror")
    np.testing.assert_allclose(warp_image(image, map, interpolation), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_the_identity_changes_no_image(interpolation, random, dtype, exactness):
    image = random.normal(size=(8, 11)).astype(dtype)
    same = warp_image(image, identity_map(image.shape, dtype), interpolation)
    assert same.dtype == dtype
    np.testing.assert_allclose(same, image, rtol=0, atol=0 if interpolation != "cubic" else 4 * exactness)


def test_cubic_interpolation_reproduces_a_cubic_far_from_the_border():
    rows = np.arange(40.0)
    image = np.repeat((((rows - 20) / 10) ** 3)[:, None], 3, axis=1)
    halfway = identity_map(image.shape) + np.array([0.5, 0]).reshape(2, 1, 1)
    warped = warp_image(image, halfway, "cubic")
    np.testing.assert_allclose(warped[14:26, 1], ((rows[14:26] + 0.5 - 20) / 10) ** 3, rtol=0, atol=1e-4)


def test_a_mask_stays_a_mask_under_nearest_and_is_numbers_otherwise(random):
    mask, map = random.normal(size=(8, 9)) > 0, wavy((8, 9), random)
    nearest = warp_image(mask, map, "nearest")
    assert nearest.dtype == bool
    np.testing.assert_array_equal(nearest, warp_image(mask.astype(float), map, "nearest") > 0.5)
    np.testing.assert_array_equal(warp_image(mask, map), warp_image(mask.astype(float), map))


@pytest.mark.parametrize(("image", "map"), [("float32", "float64"), ("float64", "float32"), ("int16", "float32")])
def test_float32_comes_only_of_float32(image, map, random):
    warped = warp_image(random.normal(size=(5, 6)).astype(image), identity_map((5, 6), map))
    composed = compose_maps(identity_map((5, 6), map), identity_map((5, 6), "float64"))
    assert warped.dtype == composed.dtype == np.float64


def test_labels_stay_labels(random):
    labels = random.integers(0, 5, size=(10, 10)).astype(np.int16) * 100
    warped = warp_image(labels, wavy(labels.shape, random), "nearest")
    assert warped.dtype == np.int16
    assert set(np.unique(warped)) <= set(np.unique(labels))


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_an_image_of_one_row_or_one_pixel_can_be_warped(interpolation):
    np.testing.assert_allclose(warp_image([[1.0, 3.0]], np.zeros((2, 2, 2)), interpolation), np.ones((2, 2)))
    np.testing.assert_allclose(warp_image([[7.0]], np.ones((2, 1, 3)), interpolation), np.full((1, 3), 7.0))


def test_outside_the_image_is_the_nearest_pixel_or_the_fill():
    image = np.arange(9.0).reshape(3, 3)
    away = identity_map((3, 3)) + np.array([2.0, 0]).reshape(2, 1, 1)
    np.testing.assert_array_equal(warp_image(image, away), [[6, 7, 8]] * 3)
    np.testing.assert_array_equal(warp_image(image, away, fill=-1), [[6, 7, 8], [-1] * 3, [-1] * 3])
    np.testing.assert_array_equal(warp_image(image, identity_map((3, 3)) + 0.49, "nearest", fill=-1), image)


@pytest.mark.parametrize(
    ("dtype", "taken", "refused"),
    [
        (bool, [0, 1], [-1, 2, 0.5]),
        (np.uint8, [0, 255, 7.0], [-1, 256, 7.5]),
        (np.int16, [-(2**15), 2**15 - 1], [-(2**15) - 1, 2**15, -0.5]),
        (np.float32, [0.5, -3.4e38, float(np.finfo(np.float32).max)], [3.5e38, -1e300]),
    ],
)
def test_the_fill_is_a_value_of_the_type_of_the_image(dtype, taken, refused):
    image, away = np.ones((3, 3), dtype), (identity_map((3, 3)) + 9).astype(np.float32)
    for fill in taken:
        filled = warp_image(image, away, "nearest", fill=fill)
        assert filled.dtype == dtype
        np.testing.assert_array_equal(filled, np.full((3, 3), fill, dtype))
    for fill in refused:
        with pytest.raises(InputError, match=rf"`fill` must be a value of the type of the result, {np.dtype(dtype)}"):
            warp_image(image, away, "nearest", fill=fill)


def test_channels_are_warped_alike(random):
    image, map = random.normal(size=(3, 8, 9)), wavy((8, 9), random)
    for interpolation in ("linear", "cubic", "nearest"):
        each = [warp_image(channel, map, interpolation) for channel in image]
        np.testing.assert_array_equal(warp_image(image, map, interpolation), each)


@SHAPES
def test_points_take_the_maps_own_values_at_its_pixels(shape, random):
    map = wavy(shape, random)
    points = np.indices(shape).reshape(len(shape), -1).T
    np.testing.assert_allclose(warp_points(points, map), map.reshape(len(shape), -1).T, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(warp_points(points[5], map), warp_points(points, map)[5])


def test_a_map_goes_on_straight_beyond_its_border(random):
    linear, shift = np.array([[0.8, -0.4], [0.5, 1.1]]), np.array([3.0, -2.0])
    map = np.einsum("ij,jrc->irc", linear, identity_map((6, 9))) + shift[:, None, None]
    points = random.uniform(-20, 20, size=(50, 2))
    np.testing.assert_allclose(warp_points(points, map), points @ linear.T + shift, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (3, 1, 4)])
def test_along_an_axis_of_one_pixel_a_map_goes_on_as_the_identity(shape, random):
    shift = random.normal(size=len(shape))
    points = random.uniform(-9, 9, size=(20, len(shape)))
    map = identity_map(shape) + shift.reshape(-1, *[1] * len(shape))
    np.testing.assert_allclose(warp_points(points, map), points + shift, rtol=0, atol=1e-12)


@SHAPES
def test_beyond_the_border_a_map_goes_on_with_its_mean_slope(shape, random):
    map, far = wavy(shape, random), np.zeros(len(shape))
    last = np.array(shape) - 1
    for axis, size in enumerate(shape):
        slope = np.diff(map, axis=axis + 1).mean(tuple(range(1, map.ndim)))
        for border, step in ((np.zeros(len(shape)), -1), (last, 1)):
            far[:] = 0
            far[axis] = 3 * step
            expected = warp_points(border, map) + slope * far[axis]
            np.testing.assert_allclose(warp_points(border + far, map), expected, rtol=0, atol=1e-12)
        assert size > 1


@SHAPES
def test_warping_twice_is_warping_by_the_composition(shape, random):
    first, second = wavy(shape, random), wavy(shape, random)
    slopes = np.arange(1.0, len(shape) + 1)
    ramp = np.tensordot(slopes, np.indices(shape), axes=1)  # a linear image: its interpolation is exact
    pixels = np.indices(shape).reshape(len(shape), -1).T
    once = compose_maps(second, first)
    twice = warp_points(warp_points(pixels, first), second)
    np.testing.assert_allclose(warp_points(pixels, once), twice, rtol=0, atol=1e-12)
    interior = ((once > 0) & (once < np.reshape(shape, (-1, *[1] * len(shape))) - 1)).all(0)
    expected = np.tensordot(slopes, once, axes=1)
    np.testing.assert_allclose(warp_image(ramp, once)[interior], expected[interior], rtol=0, atol=1e-11)
    same = identity_map(shape)
    np.testing.assert_allclose(compose_maps(first, same), first, rtol=0, atol=1e-12)
    np.testing.assert_allclose(compose_maps(same, first), first, rtol=0, atol=1e-12)


def test_composition_is_associative_for_affine_maps(random):
    shape = (7, 8)
    a, b, c = (
        np.einsum("ij,jrc->irc", np.eye(2) + 0.3 * random.normal(size=(2, 2)), identity_map(shape)) + random.normal()
        for _ in range(3)
    )
    np.testing.assert_allclose(
        compose_maps(compose_maps(a, b), c), compose_maps(a, compose_maps(b, c)), rtol=0, atol=1e-10
    )


@SHAPES
def test_the_inverse_undoes_the_map_on_both_sides(shape, random, dtype):
    map = wavy(shape, random, pixels=1.0, smooth=0.3).astype(dtype)
    back = invert_map(map)
    assert back.dtype == dtype
    tolerance = {"float32": 1e-5, "float64": 1e-8}[dtype]
    np.testing.assert_allclose(compose_maps(map, back), identity_map(shape), rtol=0, atol=tolerance)


def test_a_map_onto_an_image_of_another_size_is_inverted_on_that_images_pixels():
    turn = np.array([[0.0, -1.5], [1.5, 0.0]])
    map = np.einsum("ij,jrc->irc", turn, identity_map((20, 30))) + np.array([43.5, 0]).reshape(2, 1, 1)
    back = invert_map(map, shape=(44, 29))
    expected = np.einsum(
        "ij,jrc->irc", np.linalg.inv(turn), identity_map((44, 29)) - np.array([43.5, 0]).reshape(2, 1, 1)
    )
    np.testing.assert_allclose(back, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(6, 9), (5, 4, 6)])
def test_the_search_begins_with_the_mean_linear_map_which_is_the_answer_where_a_map_is_affine(shape, random):
    axes = len(shape)
    linear = np.eye(axes) + 0.3 * random.normal(size=(axes, axes))
    map = torch.tensor(np.tensordot(linear, identity_map(shape), axes=1) + random.normal())
    points = torch.tensor(random.uniform(-3, 9, size=(axes, 30)))
    found, distance = tensor_maps.inverse_points(map, points, steps=0)
    assert float(distance.max()) < 1e-10
    np.testing.assert_allclose(warp_points(found.T.numpy(), map.numpy()), points.T, rtol=0, atol=1e-10)


def test_the_inverse_is_found_where_whole_newton_steps_go_astray():
    """The map is flat far from the center and steep at it, so full Newton steps from the flat part diverge."""
    rows = np.arange(41.0)
    map = identity_map((41, 3))
    map[0] = (10 * np.tanh((rows - 20) / 2) + 0.05 * (rows - 20))[:, None]
    targets = torch.tensor(np.stack([np.linspace(-10.4, 10.4, 27), np.ones(27)]))
    found, distance = tensor_maps.inverse_points(torch.tensor(map), targets)
    assert float(distance.max()) < 1e-8
    np.testing.assert_allclose(warp_points(found.T.numpy(), map), targets.T, rtol=0, atol=1e-8)


def test_a_point_that_is_found_takes_no_part_in_further_steps(monkeypatch, random):
    rest_and_slope, counts = tensor_maps._rest_and_slope, []

    def counted(map, points, *others):
        counts.append(points.shape[1])
        return rest_and_slope(map, points, *others)

    monkeypatch.setattr(tensor_maps, "_rest_and_slope", counted)
    invert_map(identity_map((20, 20)))
    assert counts == [400]  # all are found at the start
    counts.clear()
    invert_map(wavy((20, 20), random))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] == 400
    assert len(counts) < 15


def test_a_strip_bent_to_a_ring_is_inverted_although_its_mean_linear_map_is_singular():
    """Both ends of the strip are mapped to the same point, so the mean difference is 0 up to rounding."""
    radius, angle = np.meshgrid(np.arange(2.0, 41), np.linspace(0, 2 * np.pi, 121), indexing="ij")
    ring = torch.tensor(np.stack([radius * np.sin(angle), radius * np.cos(angle)]))
    assert float(torch.linalg.det(tensor_maps.mean_linear(ring[None])[0]).abs()) < 1e-15
    within = np.stack(np.meshgrid(np.linspace(3, 12, 7), np.linspace(46, 62, 8), indexing="ij")).reshape(2, -1)
    found, distance = tensor_maps.inverse_points(ring, torch.tensor(warp_points(within.T, ring.numpy()).T))
    assert float(distance.max()) < 1e-9
    np.testing.assert_allclose(found, within, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("shape", "sigma"), [((64, 64), 3), ((24, 24, 24), 3)])
def test_rough_maps_that_almost_fold_are_inverted_everywhere(shape, sigma, random):
    """The slopes change so much between two pixels that Newton steps with smoothed slopes fail for some points."""
    for _ in range(4):
        shift = ndimage.gaussian_filter(random.normal(size=(len(shape), *shape)), (0, *[sigma] * len(shape)))
        shift *= 5 / np.abs(shift).max()
        while map_jacobian(identity_map(shape) + shift).min() <= 0.05:
            shift *= 0.95
        map = torch.tensor(identity_map(shape) + shift)
        points = torch.tensor(identity_map(shape).reshape(len(shape), -1))
        found, distance = tensor_maps.inverse_points(map, points)
        assert float(distance.max()) < 1e-9
        np.testing.assert_allclose(warp_points(found.T.numpy(), map.numpy()), points.T, rtol=0, atol=1e-9)


def test_an_inverse_is_exact_although_other_pixels_are_done_before(random):
    map = identity_map((9, 12))
    map[0, 4:, 6:] += 0.3 * random.uniform(size=(5, 6))
    back = invert_map(map)
    np.testing.assert_allclose(compose_maps(map, back), identity_map((9, 12)), rtol=0, atol=1e-9)


def test_the_jacobian_of_an_affine_map_is_its_determinant_everywhere(random):
    for axes in (2, 3):
        linear = np.eye(axes) + 0.3 * random.normal(size=(axes, axes))
        map = np.tensordot(linear, identity_map((5, 6, 7)[:axes]), axes=1)
        np.testing.assert_allclose(map_jacobian(map), np.linalg.det(linear), rtol=0, atol=1e-12)
        matrices = np.moveaxis(map_jacobian(map, matrix=True).reshape(axes, axes, -1), -1, 0)
        np.testing.assert_allclose(matrices, np.broadcast_to(linear, matrices.shape), rtol=0, atol=1e-12)


def test_the_jacobian_is_numpys_gradient(random):
    map = wavy((9, 8), random)
    gradient = np.stack([np.stack(np.gradient(part)) for part in map])
    np.testing.assert_allclose(map_jacobian(map, matrix=True), gradient, rtol=0, atol=1e-13)


def test_the_jacobian_counts_in_units_of_length_where_pixels_have_a_spacing():
    map = 2 * identity_map((4, 5))  # the moving image has twice the pixels on the same ground
    np.testing.assert_allclose(map_jacobian(map, spacing=[1, 3], moving_spacing=[0.5, 1.5]), 1.0, rtol=1e-12)
    slopes = map_jacobian(map, spacing=[1, 3], matrix=True)
    np.testing.assert_allclose(slopes[:, :, 0, 0], [[2, 0], [0, 2]], rtol=1e-12)
    np.testing.assert_allclose(map_jacobian(map, spacing=3.0, moving_spacing=1.5), 1.0, rtol=1e-12)
    np.testing.assert_allclose(map_jacobian(map, spacing=3.0), map_jacobian(map, spacing=[3, 3]), rtol=1e-12)
    np.testing.assert_allclose(map_jacobian(2 * identity_map((2, 2, 2))), 8.0, rtol=1e-12)  # two pixels have a slope
    shear = identity_map((4, 5))
    shear[0] += shear[1]
    assert map_jacobian(shear, spacing=[2, 1], matrix=True)[0, 1, 0, 0] == pytest.approx(2)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_quarter_turns_of_image_and_map_turn_the_warped_image_to_the_bit(turns, interpolation, random, dtype):
    image = random.normal(size=(9, 13)).astype(dtype)
    # sixty-fourths: turning such coordinates, and 1 - part, rounds nothing; odd ones: nearest has no ties
    map = (random.integers(-40, 9 * 64, size=(2, 6, 7)) * 2 + 1).astype(dtype) / 128
    moved = np.ascontiguousarray(np.rot90(image, turns))
    turned = turned_points(map, image.shape, turns)
    np.testing.assert_array_equal(warp_image(moved, turned, interpolation), warp_image(image, map, interpolation))
    both = np.stack([np.rot90(part, turns) for part in turned])
    np.testing.assert_array_equal(
        warp_image(moved, both, interpolation), np.rot90(warp_image(image, map, interpolation), turns)
    )


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_turn_the_inverse_and_the_jacobian(turns, random):
    map = wavy((10, 10), random)
    turned = np.stack([np.rot90(part, turns) for part in turned_points(map, (10, 10), turns)])
    expected = np.stack([np.rot90(part, turns) for part in turned_points(invert_map(map), (10, 10), turns)])
    np.testing.assert_allclose(invert_map(turned), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(map_jacobian(turned), np.rot90(map_jacobian(map), turns), rtol=0, atol=1e-13)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_sampling_can_be_differentiated_by_image_and_points(interpolation, random):
    image = torch.tensor(random.normal(size=(1, 2, 5, 6)), requires_grad=True)
    points = torch.tensor(random.uniform(0.1, 3.9, size=(3, 2, 4)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda i, p: grid_sample(i, p, interpolation, symmetric=True), (image, points))
    map = torch.tensor(wavy((5, 6), random)[None], requires_grad=True)
    outside = torch.tensor(random.uniform(-3, 8, size=(1, 2, 4)), requires_grad=True)
    assert torch.autograd.gradcheck(tensor_maps.sample_map, (map, outside))


def test_a_batch_of_images_is_sampled_each_at_its_own_points(random):
    images, points = torch.tensor(random.normal(size=(3, 2, 5, 6))), torch.tensor(random.uniform(0, 4, size=(3, 2, 7)))
    each = [
        grid_sample(image[None], point[None], symmetric=True)[0] for image, point in zip(images, points, strict=True)
    ]
    assert torch.equal(grid_sample(images, points, symmetric=True), torch.stack(each))


def test_arguments_are_not_written_to(random):
    image, map = random.normal(size=(6, 6)), wavy((6, 6), random)
    before = image.copy(), map.copy()
    warped = warp_image(image, map, fill=0.0)
    warped[:] = 9
    same = warp_image(image, identity_map((6, 6)), "nearest")
    same[:] = 9
    invert_map(map)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(map, before[1])


EYE = identity_map((4, 5))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: identity_map((4,)), ShapeError, r"`shape` must have 2 or 3 sizes, \(row, column\) or .*; got \(4,\)\."),
        (lambda: identity_map((4, 2.5)), InputError, r"`shape` must be a whole number; got .*2\.5"),
        (lambda: identity_map((4, 0)), InputError, r"`shape` must be at least 1; got 0\."),
        (lambda: warp_image(np.ones(4), EYE), ShapeError, r"`image` must have 2 or 3 axes for a map of 2 axes"),
        (lambda: warp_image(np.ones((4, 5)), np.ones((3, 4, 5))), ShapeError, r"`map` must hold 2 coordinates for its 2 axes"),
        (lambda: warp_image(np.ones((4, 5)), EYE, "linaer"), InputError, r"`interpolation` must be one of .*Did you mean 'linear'"),
        (lambda: warp_image(np.full((4, 5), np.nan), EYE), InputError, r"`image` must be finite; 20 of its 20 values"),
        (lambda: warp_image(np.ones((4, 5)), EYE + np.inf), InputError, r"`map` must be finite"),
        (lambda: warp_image(np.ones((4, 5)), EYE, fill=np.nan), InputError, r"`fill` must be a finite number; got nan"),
        (lambda: warp_points(np.ones((7, 3)), EYE), ShapeError, r"`points` must have 2 coordinates each, .* got shape \(7, 3\)"),
        (lambda: compose_maps(EYE, identity_map((3, 3, 3))), ShapeError, r"`inner` must have as many axes as `outer`, 2; got 3"),
            (lambda: invert_map(np.abs(EYE - 2)), InputError, r"`map` folds at \d+ pixels, where its Jacobian is not positive"),
        (lambda: identity_map((10**6, 10**6)), InputError, r"`shape` is too large: it needs 16 TB"),
        (lambda: invert_map(EYE * 1e200), InputError, r"`map` has values too large to compute with in float64"),
        (lambda: invert_map(np.zeros((2, 4, 5))), InputError, r"`map` folds at 20 pixels"),
        (lambda: map_jacobian(EYE, spacing=True), InputError, r"`spacing` must be numbers; got \[True\]"),
        (lambda: map_jacobian(EYE, spacing=np.ones((2, 2))), ShapeError, r"`spacing` must have 0 or 1 axes"),
        (lambda: invert_map(EYE, shape=(3, 3, 3)), ShapeError, r"`shape` must have 2 sizes, as the map has axes; got 3\."),
        (lambda: invert_map(EYE, steps=0), InputError, r"`steps` must be at least 1; got 0\."),
        (lambda: invert_map(np.zeros((2, 1, 5))), ShapeError, r"`map` must have at least 2 pixels along each axis"),
        (lambda: map_jacobian(np.zeros((2, 1, 5))), ShapeError, r"`map` must have at least 2 pixels along each axis"),
        (lambda: map_jacobian(EYE, spacing=[1, 2, 3]), ShapeError, r"`spacing` must be one number or 2, .* got 3\."),
        (lambda: map_jacobian(EYE, spacing=0), InputError, r"`spacing` must be positive; got \[0\.0\]\."),
        (lambda: map_jacobian(EYE, moving_spacing=[1, -1]), InputError, r"`moving_spacing` must be positive"),
        (lambda: map_jacobian(EYE, matrix=1), InputError, r"`matrix` must be true or false; got 1\."),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_in_one_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_map_with_no_inverse_at_a_pixel_is_refused():
    map = wavy((9, 9), np.random.default_rng(1), pixels=1.0, smooth=0.3)
    with pytest.raises(InputError, match=r"`map` has no inverse at \d+ of 81 pixels that 1 steps could find"):
        invert_map(map, steps=1)
