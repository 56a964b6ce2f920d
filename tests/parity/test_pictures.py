"""pictures: the results of R and Python are equal."""

import numpy as np
import pytest

import gequi


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 2), (5, 4, 3), (5, 4, 4), (5, 4, 6)])
def test_to_grayscale(r, same, random, shape):
    picture = random.random(shape)
    same(r.value(r.to_grayscale(picture)), gequi.to_grayscale(picture))


def test_a_nifti_image_lies_as_python_says(r, same, random):
    voxels = random.random((3, 4, 5))
    header = {
        "sform_code": 1,
        "srow_x": [0, 2.0, 0, 9],
        "srow_y": [0, 0, 3.0, 9],
        "srow_z": [-1.5, 0, 0, 9],
        "pixdim": [1.0, 1.5, 2, 3],
    }
    told = r.code(
        """
        slots <- c(pixdim = "numeric", sform_code = "numeric", srow_x = "numeric", srow_y = "numeric", srow_z = "numeric")
        defined <- setClass("nifti", contains = "array", slots = slots, where = environment())
        gequiR::to_grayscale(do.call(defined, c(list(voxels), header)))
        """,
        voxels=voxels, header=header,
    )  # fmt: skip
    axes = gequi.pictures.nifti_axes(voxels.shape, header)
    turned = np.flip(voxels.transpose(axes["order"]), np.flatnonzero(axes["flipped"]))
    np.testing.assert_array_equal(r.value(told), turned)
    assert r.value(r.code('attr(x, "spacing")', x=told)) == axes["spacing"]
    matrix = r.value(r.code('attr(x, "orientation")', x=told))
    np.testing.assert_array_equal(matrix[:, :3] @ [2, 1, 4] + matrix[:, 3], axes["orientation"] @ [1, 0, 3, 1] + 1)
    same(np.array(r.value(r.code('attr(x, "origin")', x=told))), axes["origin"])
    same(r.value(r.code('attr(x, "cosines")', x=told)), axes["cosines"])
