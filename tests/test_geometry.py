"""geometry: sampling, filters, grids, rotations and small matrices, in the plane and in space."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import fft, ndimage

from gequi.geometry import filters, grids, sampling
from gequi.geometry.linalg import determinant, solve, vector_norm
from gequi.geometry.rotations import cube_rotations, nearest_rotation, on_array_axes, rotation_matrix
from gequi.geometry.sampling import grid_sample, inside, nearest_pixels

SIZES = [(9, 12), (7, 9, 8)]


def field(size, channels=1, seed=0):
    return torch.randn(1, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn_points(size, count=50, reach=0.0, seed=1):
    """Points (1, axis, point) within an image, or up to `reach` pixels outside it."""
    unit = torch.rand(1, len(size), count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    last = torch.tensor(size, dtype=torch.float64)[:, None] - 1
    return unit * (last + 2 * reach) - reach


# ---- sampling -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("interpolation", "order"), [("nearest", 0), ("linear", 1), ("cubic", 3)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_sampling_agrees_with_scipy(size, interpolation, order, symmetric):
    image, points = field(size, 2), drawn_points(size)
    expected = [ndimage.map_coordinates(c, points[0].numpy(), order=order, mode="mirror") for c in image[0].numpy()]
    found = grid_sample(image, points, interpolation, symmetric=symmetric)
    torch.testing.assert_close(found[0], torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("interpolation", "padding", "mode"),
    [("linear", "border", "nearest"), ("linear", "zeros", "grid-constant"), ("linear", "reflection", "reflect"),
     ("nearest", "border", "nearest")],
)  # fmt: skip
def test_padding_agrees_with_scipy(size, interpolation, padding, mode):
    image, points = field(size), drawn_points(size, 200, reach=3.0)
    order = {"nearest": 0, "linear": 1}[interpolation]
    expected = ndimage.map_coordinates(image[0, 0].numpy(), points[0].numpy(), order=order, mode=mode)
    found = grid_sample(image, points, interpolation, padding)
    torch.testing.assert_close(found[0, 0], torch.from_numpy(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("interpolation", ["nearest", "cubic"])
def test_zeros_outside_the_image(interpolation):
    image = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    rows = torch.tensor([-0.6, -0.4, 0.0, 3.0, 3.4, 3.6], dtype=torch.float64)
    found = grid_sample(image, torch.stack([rows, torch.ones_like(rows)])[None], interpolation, "zeros")[0, 0]
    expected = [0, 1, 1, 1, 1, 0] if interpolation == "nearest" else [0, 0, 1, 1, 0, 0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_halfway_between_two_pixels_the_nearest_is_the_one_with_the_larger_index():
    assert nearest_pixels(torch.tensor([[[0.5, 1.5, 2.5, 9.0, -9.0]]]), [4])[0, 0].tolist() == [1, 2, 3, 3, 0]


def test_cells_are_sampled_in_pixels_of_the_image_that_they_cover():
    cells = grids.cell_centers((3, 5), (12, 10), torch.float64)[None]  # their own coordinates
    points = drawn_points((12, 10))
    points = points.clamp(min=1.5).minimum(torch.tensor([9.5, 8.5], dtype=torch.float64)[:, None])
    torch.testing.assert_close(grid_sample(cells, points, size=(12, 10)), points)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_symmetric_sampling_of_a_quarter_turn_agrees_in_every_bit(dtype):
    image, points = field((8, 8)).to(dtype), drawn_points((8, 8)).to(dtype)
    turned = torch.rot90(image, 1, (2, 3))  # a pixel (r, c) goes to (7 - c, r)
    moved = torch.stack([7 - points[:, 1], points[:, 0]], 1)
    points = torch.stack([moved[:, 1], 7 - moved[:, 0]], 1)  # the same rounding of 7 - c on both sides
    assert torch.equal(grid_sample(turned, moved, symmetric=True), grid_sample(image, points, symmetric=True))


def test_inside_counts_half_a_pixel_beyond_the_outermost_centers():
    points = torch.tensor([[[-0.5, -0.4, 3.4, 3.5]]])
    assert inside(points, [4])[0].tolist() == [False, True, True, False]
    assert inside(points, [4], 0.0)[0].tolist() == [False] * 4


@pytest.mark.parametrize("symmetric", [False, True])
def test_sampling_is_differentiable_in_image_and_points(symmetric):
    image, points = field((4, 5), 2).requires_grad_(), (drawn_points((4, 5), 6) * 0.9 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, p: grid_sample(x, p, symmetric=symmetric), (image, points))
    assert torch.autograd.gradcheck(lambda x, p: grid_sample(x, p, "cubic"), (image, points))


@pytest.mark.parametrize("size", [(17, 23), (7, 9, 8)])
def test_channels_sampled_together_have_the_values_of_each_alone(random, size, dtype):
    image = torch.tensor(random.normal(size=(2, 5, *size)), dtype=getattr(torch, dtype))
    points = torch.tensor(random.uniform(-2, max(size) + 1, (2, len(size), 40, 3)), dtype=image.dtype)
    together = grid_sample(image, points, "cubic", "zeros")
    alone = [grid_sample(image[:, [channel]], points, "cubic", "zeros") for channel in range(5)]
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    torch.testing.assert_close(together, torch.cat(alone, 1), rtol=0, atol=tolerance)


# ---- small matrices and rotations -----------------------------------------------------------------------


@pytest.mark.parametrize("axes", [2, 3])
def test_determinants_and_solutions_are_those_of_lapack(axes):
    generator = torch.Generator().manual_seed(3)
    matrices = torch.randn(20, axes, axes, generator=generator, dtype=torch.float64)
    right = torch.randn(20, axes, generator=generator, dtype=torch.float64)
    front = matrices.permute(1, 2, 0)
    torch.testing.assert_close(determinant(front), torch.linalg.det(matrices))
    torch.testing.assert_close(solve(front, right.T), torch.linalg.solve(matrices, right).T)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_norms_and_their_gradients_are_torchs(dim):
    x = field((3, 4)).squeeze().requires_grad_()
    expected = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    torch.testing.assert_close(vector_norm(x, dim, keepdim=True), expected)
    torch.testing.assert_close(vector_norm(x.detach(), dim), expected.detach().squeeze(dim))
    assert torch.autograd.gradcheck(lambda x: vector_norm(x, dim), (x,))


def test_the_gradient_of_a_norm_of_0_is_0():
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    vector_norm(x, 0).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_a_quarter_turn_leads_from_the_first_axis_to_the_second():
    quarter = rotation_matrix(torch.tensor(math.pi / 2, dtype=torch.float64))
    torch.testing.assert_close(quarter, torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64))


def test_the_nearest_rotation_has_the_largest_trace():
    matrices = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    nearest = nearest_rotation(matrices)
    torch.testing.assert_close(torch.linalg.det(nearest), torch.ones(5, dtype=torch.float64))
    trace = torch.einsum("bij,bij->b", nearest, matrices)
    others = nearest_rotation(torch.randn(200, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    assert (trace[:, None] >= torch.einsum("oij,bij->bo", others, matrices) - 1e-12).all()


def test_the_rotations_of_the_cube_are_a_group_of_24():
    rotations = cube_rotations()
    keys = {tuple(each.ravel().astype(int)) for each in rotations}
    assert len(keys) == 24
    assert all(tuple((a @ b).ravel().astype(int)) in keys for a in rotations for b in rotations)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)


def test_a_counter_clockwise_quarter_turn_leads_from_columns_to_minus_rows():
    turned = on_array_axes(np.array([[0.0, -1.0], [1.0, 0.0]])) @ [0.0, 1.0]  # one column to the right: now one row up
    np.testing.assert_array_equal(turned, [-1.0, 0.0])


# ---- filters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("normalized", "mode"), [(False, "constant")])
def test_the_gaussian_filter_is_scipys(size, normalized, mode):
    x, sigmas = field(size, 2), [1.5, 0.9, 1.1][: len(size)]
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, *sigmas), mode=mode, truncate=12)
    torch.testing.assert_close(
        filters.gaussian_filter(x, sigmas, normalized), torch.from_numpy(expected), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_normalized_filter_keeps_a_constant(size):
    x = torch.full((1, 1, *size), 3.0, dtype=torch.float64)
    torch.testing.assert_close(filters.gaussian_filter(x, [2.0] * len(size), normalized=True), x)
    mask = (field(size) > 0).double()
    torch.testing.assert_close(filters.masked_gaussian_filter(x, mask, [3.0] * len(size)), x)


@pytest.mark.parametrize("size", SIZES)
def test_a_locally_normalized_image_ignores_brightness_and_contrast(size):
    x, mask, sigmas = field(size), torch.ones(1, 1, *size, dtype=torch.float64), [2.0] * len(size)
    once, deviation = filters.local_normalize(x, mask, sigmas, 0.0)
    torch.testing.assert_close(filters.local_normalize(5 * x + 7, mask, sigmas, 0.0)[0], once)
    mean, variance = filters.local_moments(x, mask, sigmas)
    torch.testing.assert_close(once * deviation + mean, x)
    torch.testing.assert_close(deviation, variance.sqrt())


def test_pixels_outside_the_mask_do_not_count():
    x, mask = field((20, 20)), torch.ones(1, 1, 20, 20, dtype=torch.float64)
    mask[..., 12:] = 0
    changed = torch.where(mask > 0, x, 1e3)
    for one, other in zip(
        filters.local_moments(x, mask, [2.0] * 2), filters.local_moments(changed, mask, [2.0] * 2), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert torch.equal(
        filters.quantile_stretch(x, mask[0, 0] > 0)[mask > 0],
        filters.quantile_stretch(changed, mask[0, 0] > 0)[mask > 0],
    )


@pytest.mark.parametrize("size", [(9, 12), (41, 50), (7, 9, 8)])
def test_the_quantiles_that_become_0_and_1_are_numpys(size):
    x = field(size, 2)
    low, high = (np.quantile(x.numpy(), q, axis=tuple(range(2, x.ndim)), keepdims=True) for q in filters.QUANTILES)
    expected = (x.numpy() - low) / (high - low)
    torch.testing.assert_close(filters.quantile_stretch(x), torch.from_numpy(expected))


def test_an_image_of_few_different_pixels_is_stretched_by_its_extremes():
    x = torch.zeros(1, 1, 40, 40, dtype=torch.float64)
    x[..., 3, 4] = 5.0
    found = filters.quantile_stretch(x)
    assert (found.min(), found.max()) == (0.0, 1.0)
    assert torch.equal(filters.quantile_stretch(torch.zeros(1, 1, 5, 5)), torch.zeros(1, 1, 5, 5))


# ---- grids ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_an_image_sampled_on_a_turned_grid_is_turned(size):
    x = field(size)
    quarter = torch.eye(len(size), dtype=torch.float64)
    quarter[:2, :2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    square = x[..., :7, :7] if len(size) == 2 else x[:, :, :7, :7]
    moved = grid_sample(square, grids.turned_grid(square.shape[2:], quarter[None]), symmetric=True)
    torch.testing.assert_close(moved, torch.rot90(square, 1, (2, 3)))


def test_no_matrix_holds_a_denormal_number():
    """Matrix products with denormal numbers are ten times slower."""
    tiny = torch.finfo(torch.float32).tiny
    kind = (torch.float32, torch.device("cpu"))
    matrices = [
        filters._gaussian(300, 2.0, False, *kind), filters._gaussian(300, 5.0, True, *kind),
        filters._strip(3.0, 15, *kind), grids._spline(200, 600, 1 / 3, *kind), grids.spline_coefficients(400, *kind),
        grids._area(300, 70, 300 / 70, *kind), grids._cosine(128, *kind), grids._single_cosines(128, 12, *kind),
        grids._cosine_pairs(128, 12, *kind),
    ]  # fmt: skip
    for matrix in matrices:
        assert not ((matrix != 0) & (matrix.abs() < tiny)).any()
    position = torch.arange(300, dtype=torch.float64)
    weights = torch.exp(-((position[:, None] - position) ** 2) / 8).float()
    assert ((weights != 0) & (weights < tiny)).any()  # without care it would


@pytest.mark.parametrize("size", SIZES)
def test_dct_is_the_orthonormal_cosine_transform(size):
    x = field(size, 2)
    torch.testing.assert_close(grids.dct(x), torch.from_numpy(fft.dctn(x.numpy(), axes=range(2, x.ndim), norm="ortho")))
    torch.testing.assert_close(grids.dct(grids.dct(x), inverse=True), x)


@pytest.mark.parametrize("size", SIZES)
def test_a_plane_is_read_differentiated_and_averaged_without_error(size):
    slope = torch.arange(1.0, len(size) + 1, dtype=torch.float64)
    plane = torch.einsum("a...,a->...", grids.cell_centers(size, size, torch.float64), slope)[None, None]
    inner = (..., *[slice(1, -1)] * len(size))
    for axis, part in enumerate(filters.gradient(plane, [1.0] * len(size))[0]):
        torch.testing.assert_close(part[inner], slope[axis].expand_as(part[inner]))
    points = 2 + torch.rand(1, len(size), 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(grid_sample(plane, points)[0, 0], slope @ points[0])
    cells = tuple((n + 1) // 2 for n in size)
    torch.testing.assert_close(grids.area_resample(plane, cells).mean(), plane.mean())


@pytest.mark.parametrize("size", SIZES)
def test_grids_commute_with_quarter_turns(size):
    x = field(size)
    for a, b in itertools.combinations(range(2, x.ndim), 2):
        turned = torch.rot90(x, 1, (a, b))
        fine = [2 * n for n in size]
        fine_turned = [2 * n for n in turned.shape[2:]]
        sigma = [1.5] * len(size)
        torch.testing.assert_close(
            filters.gaussian_filter(turned, sigma), torch.rot90(filters.gaussian_filter(x, sigma), 1, (a, b))
        )
        torch.testing.assert_close(
            grids.cubic_resample(turned, fine_turned), torch.rot90(grids.cubic_resample(x, fine), 1, (a, b))
        )


@pytest.mark.parametrize("size", SIZES)
def test_dct_products_are_products_of_the_basis_functions(size):
    numbers, modes = field(size, 3, 1), [3, 4, 2][: len(size)]
    cells = math.prod(size)
    waves = grids.dct(torch.eye(cells, dtype=torch.float64).reshape(cells, 1, *size), inverse=True)
    lowest = torch.arange(cells).reshape(size)[tuple(map(slice, modes))].flatten()
    waves = waves[lowest].flatten(1)
    expected = torch.einsum("ax,bcx,dx->bcad", waves, numbers.flatten(2), waves)
    found = grids.dct_products(numbers, modes).reshape(expected.shape)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_long_images_are_filtered_in_strips_with_the_same_result():
    x = field((300, 280), 2, 5)
    dense = grids.apply_separable(
        x, [filters._gaussian(n, sigma, False, x.dtype, x.device) for n, sigma in ((300, 2.5), (280, 6.0))]
    )
    torch.testing.assert_close(filters.gaussian_filter(x, (2.5, 6.0)), dense, rtol=0, atol=3e-6)
    turned = filters.gaussian_filter(torch.rot90(x, 1, (2, 3)), (6.0, 2.5))
    torch.testing.assert_close(
        turned, torch.rot90(filters.gaussian_filter(x, (2.5, 6.0)), 1, (2, 3)), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [255, 256, 257, 700])
def test_the_blocks_of_a_long_axis_give_the_spline_of_the_whole_axis(size, dtype):
    values = torch.rand(2, 1, size, 3, generator=torch.Generator().manual_seed(size), dtype=dtype)
    whole = torch.einsum("nm,bcmk->bcnk", grids.spline_coefficients(size, dtype), values)
    torch.testing.assert_close(sampling.spline_filter(values, 2), whole, rtol=0, atol=100 * torch.finfo(dtype).eps)
    across = sampling.spline_filter(values.transpose(2, 3), 3).transpose(2, 3)
    torch.testing.assert_close(across, whole, rtol=0, atol=100 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(5, 7), (4, 5, 6)])
def test_slopes_are_those_of_linear_interpolation(shape):
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    points = torch.rand(len(shape), 40, generator=generator, dtype=torch.float64)
    points = points * (torch.tensor(shape)[:, None] - 1)
    values, slopes = sampling.sample_with_slopes(image, points)
    torch.testing.assert_close(values, grid_sample(image[None], points[None])[0], rtol=0, atol=1e-12)
    for axis in range(len(shape)):
        step = torch.zeros_like(points)
        step[axis] = 1e-7 * torch.where(points[axis] % 1 < 0.5, 1, -1)  # within one cell
        change = grid_sample(image[None], (points + step)[None], symmetric=True)[0] - values
        torch.testing.assert_close(slopes[:, axis], change / step[axis], rtol=0, atol=1e-6)
    corner = torch.tensor(shape, dtype=torch.float64)[:, None] - 1
    torch.testing.assert_close(sampling.sample_with_slopes(image, corner)[0], image.flatten(1)[:, -1:], rtol=0, atol=0)
