"""folders: images written to files contain the written values, and clipping is reported."""

import importlib.util

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

import gequi
from gequi.errors import GequiWarning, InputError, SetupError, ShapeError


def stored(file):
    with Image.open(file) as picture:
        return np.asarray(picture)


@pytest.fixture
def gray(random):
    return random.random((5, 4))


@pytest.mark.parametrize("ending, bits", [("png", 8), ("png", 16), ("tif", 8), ("tiff", 16)])
def test_what_is_written_is_the_nearest_whole_number(tmp_path, gray, ending, bits):
    file = gequi.write_image(gray, tmp_path / f"gray.{ending}", bits=bits)
    np.testing.assert_array_equal(stored(file), np.rint(gray * (2**bits - 1)))


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_and_alpha(tmp_path, random, ending, channels):
    colours = random.random((5, 4, channels))
    file = gequi.write_image(colours, tmp_path / f"colours.{ending}")
    np.testing.assert_array_equal(stored(file), np.rint(colours * 255))


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_16_bits_are_those_that_opencv_and_tifffile_read(tmp_path, random, channels):
    whole = random.integers(0, 65536, (5, 4, channels)).astype(np.uint16)
    png, tif = (gequi.write_image(whole, tmp_path / f"x.{ending}", (0, 65535), 16) for ending in ("png", "tif"))
    np.testing.assert_array_equal(cv2.imread(png, cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3][:channels]], whole)
    np.testing.assert_array_equal(tifffile.imread(tif), whole)
    for file in (png, tif):
        seen = gequi.image_files([file], channels=3)[:]
        np.testing.assert_array_equal(seen[0], (whole[..., :3] / 65535).transpose(2, 0, 1).astype(np.float32))


def test_colours_of_16_bits_in_tiff_need_tifffile(tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tifffile" else there(name))
    with pytest.raises(
        SetupError, match=r"Writing colors of 16 bits to TIFF files needs tifffile: install gequi\[images\]"
    ):
        gequi.write_image(np.zeros((4, 5, 3)), tmp_path / "x.tif", bits=16)
    gequi.write_image(np.zeros((4, 5, 3)), tmp_path / "x.png", bits=16)


def test_jpeg_is_near_at_high_quality(tmp_path):
    smooth = np.add.outer(np.linspace(0, 0.5, 32), np.linspace(0, 0.5, 24))
    good, poor = (gequi.write_image(smooth, tmp_path / f"{q}.jpg", quality=q) for q in (95, 5))
    errors = [np.abs(stored(file) / 255 - smooth).max() for file in (good, poor)]
    assert errors[0] < 0.02 < errors[1]


def test_a_volume_is_the_pages_of_a_tiff_file(tmp_path, random):
    volume = random.random((6, 5, 7))
    with Image.open(gequi.write_image(volume, tmp_path / "volume.tif", bits=16)) as picture:
        assert picture.n_frames == 6
        for number in range(6):
            picture.seek(number)
            np.testing.assert_array_equal(np.asarray(picture), np.rint(volume[number] * 65535))


def test_a_batch_goes_to_as_many_files(tmp_path, random):
    batch = random.random((2, 3, 5, 4))
    files = gequi.write_image(batch, [tmp_path / "a.png", tmp_path / "b.png"])
    for file, image in zip(files, batch, strict=True):
        np.testing.assert_array_equal(stored(file), np.rint(image * 255).transpose(1, 2, 0))
    one = gequi.write_image(batch[:1, :1], tmp_path / "one.png")
    np.testing.assert_array_equal(stored(one), np.rint(batch[0, 0] * 255))
    with pytest.raises(ShapeError, match="as many files as there are images, 2; got 1"):
        gequi.write_image(batch, tmp_path / "c.png")


def test_what_is_clipped_or_missing_is_told(tmp_path):
    x = np.array([[-1.0, 0.5], [np.nan, 3.0]])
    with pytest.warns(GequiWarning) as told:
        file = gequi.write_image(x, tmp_path / "x.png")
    assert "1 of 4 values are missing" in str(told[0].message)
    assert "2 of 4 values were clipped to `limits`, 0 to 1: they go from -1 to 3" in str(told[1].message)
    np.testing.assert_array_equal(stored(file), [[0, 128], [0, 255]])


def test_limits_say_what_is_black_and_white(tmp_path):
    x = np.array([[100.0, 150.0], [200.0, 125.0]])
    for limits in (None, (100, 200)):
        np.testing.assert_array_equal(stored(gequi.write_image(x, tmp_path / "x.png", limits)), [[0, 128], [255, 64]])
    np.testing.assert_array_equal(stored(gequi.write_image(x * 0, tmp_path / "x.png", None)), np.zeros((2, 2)))
    np.testing.assert_array_equal(stored(gequi.write_image(x > 130, tmp_path / "x.png")), 255 * (x > 130))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"path": "x.gif"}, "must end with one of .png"),
        ({"path": "nowhere/x.png"}, "cannot be written"),
        ({"bits": 12}, "`bits` must be 8 or 16; got 12"),
        ({"bits": 16, "path": "x.jpg"}, "`bits` = 16 is for PNG and TIFF files, of gray, .* got JPEG"),
        ({"bits": 16, "x": np.zeros((4, 5, 2))}, "got gray with alpha"),
        ({"path": "x.jpg", "x": np.zeros((4, 5, 4))}, "alpha channel, which JPEG does not hold"),
        ({"x": np.zeros((4, 5, 6))}, "a TIFF file holds all of it, PNG one slice"),
        ({"x": np.zeros((1, 5, 6, 7))}, "`x` must have 1 to 4 channels; got 5"),
        ({"x": np.zeros(3)}, "`x` must have 2 or 3 or 4 axes"),
        ({"limits": (1, 0)}, "of which the second is larger; got 1 and 0"),
        ({"limits": 1}, "`limits` must be two numbers"),
        ({"quality": 0}, "`quality` must be from 1 to 95; got 0"),
    ],
)
def test_what_a_format_does_not_hold_is_refused(tmp_path, gray, options, words):
    given = {"x": gray, "path": "x.png", **options}
    with pytest.raises(InputError, match=words):
        gequi.write_image(given.pop("x"), tmp_path / given.pop("path"), **given)
    assert not list(tmp_path.iterdir())
