"""slides: the results of R and Python are equal, with pixels counted from 1."""

import numpy as np
import tifffile

import gequi

IMAGE = np.rint(255 * gequi.sample_image("cat")[:160, 100:292]).astype(np.uint8)


def test_slides(r, tmp_path):
    files = [str(tmp_path / "moving.tif"), str(tmp_path / "fixed.tif")]
    tifffile.imwrite(files[0], np.rot90(IMAGE))
    tifffile.imwrite(files[1], IMAGE)
    small = [gequi.read_slide(file, step=2) for file in files]
    for file, image in zip(files, small, strict=True):
        np.testing.assert_array_equal(r.value(r.read_slide(file, step=2)), image)
    np.testing.assert_array_equal(r.value(r.read_slide(files[0], size=40)), gequi.read_slide(files[0], size=40))
    ours, theirs = gequi.register_images(*small), r.register_images(*small)
    outputs = [tmp_path / "ours.tif", tmp_path / "theirs.tif"]
    gequi.warp_slide(ours, *files, outputs[0], "linear", 7)
    r.warp_slide(theirs, *files, str(outputs[1]), "linear", 7)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    points = np.array([[40.0, 60], [100, 30]])
    expected = gequi.transform_slide_points(ours, points, *files, return_std=True)
    found = r.value(r.transform_slide_points(theirs, points + 1, *files, return_std=True))
    np.testing.assert_allclose(found["fit"] - 1, expected[0], rtol=1e-12)
    np.testing.assert_allclose(found["se.fit"], expected[1], rtol=1e-12)
