"""Conversion of colors to grayscale, and the axes of NIfTI images."""

import itertools

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from gequi import to_grayscale
from gequi.errors import InputError, ShapeError
from gequi.pictures import nifti_axes

COLOURS = np.array([[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]], dtype=float)


def test_the_weights_are_those_of_bt_601():
    np.testing.assert_allclose(to_grayscale(COLOURS), [[0.299, 0.587], [0.114, 1.0]], atol=1e-15)


def test_alpha_is_ignored_and_grayscale_stays_as_it_is():
    opaque, clear = (np.concatenate([COLOURS, np.full((2, 2, 1), alpha)], 2) for alpha in (1.0, 0.0))
    np.testing.assert_array_equal(to_grayscale(opaque), to_grayscale(COLOURS))
    np.testing.assert_array_equal(to_grayscale(clear), to_grayscale(COLOURS))
    gray = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(to_grayscale(gray), gray)
    np.testing.assert_array_equal(to_grayscale(gray[..., None]), gray)
    np.testing.assert_array_equal(to_grayscale(np.stack([gray, 0 * gray], 2)), gray)


def test_a_third_axis_that_is_longer_is_that_of_the_columns_of_a_volume():
    volume = np.arange(60.0).reshape(3, 4, 5)
    np.testing.assert_array_equal(to_grayscale(volume), volume)


def test_bytes_become_float64_and_float32_stays():
    assert to_grayscale((255 * COLOURS).astype(np.uint8)).dtype == np.float64
    assert to_grayscale(COLOURS.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ones(3), ShapeError, "`x` must have 2 or 3 axes"),
        (np.full((2, 2, 3), np.nan), InputError, "`x` must be finite"),
        ([["a"]], InputError, "`x` must be an array of numbers; got text"),
    ],
)
def test_what_is_no_picture_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        to_grayscale(given)


# ---- the axes of NIfTI ----------------------------------------------------------------------------------

SIZE, PIXDIM = (4, 5, 6), (2.0, 2.5, 3.0)
VOXELS = np.arange(np.prod(SIZE)).reshape(SIZE)


def header_of(image):
    """The fields of nibabel's header as R's packages have them."""
    header = image.header
    names = ["sform_code", "srow_x", "srow_y", "srow_z", "qform_code", "quatern_b", "quatern_c", "quatern_d", "pixdim"]
    names += ["qoffset_x", "qoffset_y", "qoffset_z"]
    return {name: np.asarray(header[name]).tolist() for name in names}


def brought(voxels, axes):
    """Voxels as an array, as R brings them there."""
    array = voxels.transpose(axes["order"])
    return np.flip(array, [axis for axis, flip in enumerate(axes["flipped"]) if flip])


def as_nibabel_would(image):
    """(z, y, x) of nibabel's closest canonical image (x right, y front, z up), rows and slices turned over."""
    return nibabel.as_closest_canonical(image).get_fdata().transpose(2, 1, 0)[::-1, ::-1]


def turns():
    """All 48 ways in which voxel axes can lie along world axes."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            yield np.diag(signs)[:, list(order)]


@pytest.mark.parametrize("oblique", [0.0, 0.3])
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_a_nifti_volume_lies_as_nibabel_says(form, oblique):
    tilt = Rotation.from_rotvec([oblique, 0.5 * oblique, -0.4 * oblique]).as_matrix()
    for turn in turns():
        affine = np.eye(4)
        affine[:3, :3] = tilt @ turn * PIXDIM
        affine[:3, 3] = [11, -7, 5]
        image = nibabel.Nifti1Image(VOXELS.astype(np.float64), None)
        image.header.set_zooms(PIXDIM)
        getattr(image, f"set_{form}")(affine, code=1)
        axes = nifti_axes(SIZE, header_of(image))
        array = brought(VOXELS, axes)
        np.testing.assert_array_equal(array, as_nibabel_would(nibabel.Nifti1Image(VOXELS.astype(np.float64), affine)))
        assert axes["spacing"] == [PIXDIM[axis] for axis in axes["order"]]
        voxel = np.array([1, 3, 2])
        at = axes["orientation"][:, :-1] @ voxel + axes["orientation"][:, -1]
        assert array[tuple(at.astype(int))] == VOXELS[tuple(voxel)]
        point = axes["origin"] + axes["cosines"] @ (np.array(axes["spacing"]) * at)[::-1]  # LPS
        np.testing.assert_allclose(
            point * [-1, -1, 1], affine[:3] @ [*voxel, 1], rtol=0, atol=1e-4
        )  # float32 quaternions


def test_where_a_volume_lies_is_not_told_without_a_header_that_says_it():
    rows = {"srow_x": [-2, 0, 0, 9], "srow_y": [0, 2, 0, 8], "srow_z": [0, 0, 2, 7]}
    told = nifti_axes(SIZE, {"sform_code": 1, **rows})
    np.testing.assert_array_equal(told["origin"], [-9 + 2 * 3, -8 - 2 * 4, 7 + 2 * 5])
    np.testing.assert_array_equal(told["cosines"], [[-1, 0, 0], [0, 1, 0], [0, 0, -1]])
    turned = {"qform_code": 1, "pixdim": [1, 2, 2, 2], "qoffset_x": 1, "qoffset_y": 2, "qoffset_z": 3}
    assert nifti_axes(SIZE, turned)["origin"] is not None
    short = {"sform_code": 1, **{name: row[:3] for name, row in rows.items()}}
    for header in (
        {},
        short,
        {"qform_code": 1, "pixdim": [1, 2, 2, 2]},
        {**turned, "pixdim": [1, 0, 2, 2]},
        {"sform_code": 1},
    ):
        assert (nifti_axes(SIZE, header)["origin"], nifti_axes(SIZE, header)["cosines"]) == (None, None)
    assert nifti_axes(SIZE[:2], {"sform_code": 1, **rows})["origin"] is None


def test_the_sform_comes_before_the_qform_and_no_header_is_right_front_up():
    both = {"sform_code": 1, "srow_x": [0, 3, 0, 9], "srow_y": [2, 0, 0, 9], "srow_z": [0, 0, 2, 9], "qform_code": 1}
    assert nifti_axes(SIZE, both)["order"] == [2, 0, 1]
    assert nifti_axes(SIZE, {**both, "sform_code": 0})["order"] == [2, 1, 0]
    assert nifti_axes(SIZE, {})["flipped"] == [True, True, False]
    assert nifti_axes(SIZE, {})["spacing"] is None
    assert nifti_axes(SIZE, {"sform_code": 1})["order"] == [2, 1, 0]  # a matrix of zeros says nothing


def test_a_nifti_image_of_two_axes_is_a_slice_of_the_volume():
    sagittal = {
        "sform_code": 2,
        "srow_x": [0, 0, 1, 0],
        "srow_y": [2, 0, 0, 0],
        "srow_z": [0, 3, 0, 0],
        "pixdim": [1, 2, 3],
    }
    axes = nifti_axes((4, 5), sagittal)
    assert (axes["order"], axes["flipped"], axes["spacing"]) == ([1, 0], [True, True], [3.0, 2.0])
    np.testing.assert_array_equal(axes["orientation"], [[0, -1, 4], [-1, 0, 3]])
    flat = nifti_axes((4, 5), {})
    assert (flat["order"], flat["flipped"]) == ([1, 0], [True, False])
