"""slides: large images are read at a lower resolution, and warped tile by tile as they would be at once."""

import dataclasses

import numpy as np
import pytest
import tifffile
from PIL import Image

import gequi
from gequi.errors import InputError, ShapeError
from gequi.slides import _source, slides

CAT = gequi.sample_image("cat")
LARGE = np.kron(CAT, np.ones((2, 2)))[:520, :760]  # more than one tile along each axis


def colored(image, dtype=np.uint8):
    """An RGB image whose channels differ."""
    channels = np.stack([image, image**2, 1 - image], -1)
    return np.rint(channels * np.iinfo(dtype).max).astype(dtype) if np.dtype(dtype).kind == "u" else channels


def write(path, image, layout="tiles"):
    """A TIFF file of an image (row, column) or (row, column, channel), stored in one of several layouts."""
    first = np.moveaxis(image, -1, 0) if image.ndim == 3 else image
    kind = "rgb" if image.ndim == 3 else "minisblack"
    if layout == "tiles":
        tifffile.imwrite(path, image, tile=(256, 128), compression="zlib", photometric=kind)
    elif layout == "strips":
        tifffile.imwrite(path, image, rowsperstrip=37, compression="zlib", photometric=kind)
    elif layout == "plain":
        tifffile.imwrite(path, image, photometric=kind)
    elif layout == "lzw":
        Image.fromarray(image).save(path, compression="tiff_lzw")
    elif layout == "planes":
        tifffile.imwrite(path, first, photometric="rgb", planarconfig="separate", tile=(128, 256), compression="zlib")
    elif layout == "pages":
        axes = {"axes": "CYX"}
        tifffile.imwrite(path, first, photometric="minisblack", metadata=axes, ome=True, compression="zlib")
    else:
        with tifffile.TiffWriter(path) as file:
            file.write(image, subifds=2, tile=(128, 128), compression="zlib")
            file.write(mean_of_blocks(image, 2).astype(image.dtype), subfiletype=1, tile=(128, 128))
            file.write(mean_of_blocks(image, 4).astype(image.dtype), subfiletype=1, tile=(128, 128))
    return str(path)


def mean_of_blocks(image, side):
    rows, columns = (n // side for n in image.shape[:2])
    return image[: rows * side, : columns * side].reshape(rows, side, columns, side, -1).mean((1, 3)).squeeze()


def gray(image):
    return gequi.to_grayscale(image / (np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1))


@pytest.mark.parametrize("layout", ["tiles", "strips", "plain", "planes", "pages"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_image_is_reduced_to_the_means_of_its_gray_values(tmp_path, layout, dtype):
    image = colored(LARGE, dtype).astype(dtype)
    file = write(tmp_path / "a.tif", image, layout)
    np.testing.assert_allclose(gequi.read_slide(file, step=4), mean_of_blocks(gray(image), 4), atol=1e-7)


@pytest.mark.parametrize("image", [colored(LARGE), gray(colored(LARGE)).astype(np.float32)])
def test_compressions_that_need_imagecodecs_are_read_with_pillow(tmp_path, image):
    file = write(tmp_path / "a.tif", image, "lzw")
    np.testing.assert_allclose(gequi.read_slide(file, step=4), mean_of_blocks(gray(image), 4), atol=1e-7)


def test_what_only_imagecodecs_decodes_is_refused(tmp_path):
    pages = [Image.fromarray(np.full((40, 40), value, np.uint8)) for value in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    with pytest.raises((InputError, ShapeError), match="`path`: .* require imagecodecs|must hold one image"):
        gequi.read_slide(tmp_path / "a.tif")


@pytest.mark.parametrize("size", [16, 333, 500, 759, 760, 5000])
def test_cells_may_cut_pixels_and_keep_the_mean_and_linear_images(tmp_path, size):
    rows, columns = np.indices((520, 760))
    image = (0.001 * rows + 0.0004 * columns).astype(np.float32)
    found = gequi.read_slide(write(tmp_path / "a.tif", image), size=size)
    assert max(found.shape) == min(size, 760)
    steps = np.divide(image.shape, found.shape).reshape(2, 1, 1)
    row, column = (np.indices(found.shape) + 0.5) * steps - 0.5
    cut = 2e-4 if size < 760 else 1e-7  # the pixels are constant, so a cell that cuts them differs from a linear image
    np.testing.assert_allclose(found, 0.001 * row + 0.0004 * column, atol=cut)
    np.testing.assert_allclose(found.mean(), image.mean(), rtol=1e-6)


def test_the_smallest_sufficient_level_of_a_pyramid_is_read(tmp_path, monkeypatch):
    image = np.rint(LARGE * 255).astype(np.uint8)
    file = write(tmp_path / "a.tif", image, "pyramid")
    read = []
    region = _source.Level.region
    monkeypatch.setattr(_source.Level, "region", lambda level, *at: read.append(level.number) or region(level, *at))
    for size, number in ((190, 2), (191, 1), (380, 1), (381, 0)):
        read.clear()
        found = gequi.read_slide(file, size=size)
        assert set(read) == {number}
        whole = gequi.read_slide(write(tmp_path / "b.tif", image), size=size)
        np.testing.assert_allclose(found, whole, atol=0.006)  # the levels are rounded to integers


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two large images, the second a rotated view of the first, their files, and their registration."""
    folder = tmp_path_factory.mktemp("slides")
    moving, fixed = colored(LARGE), colored(np.rot90(LARGE)[20:, 30:].copy())
    files = [write(folder / "moving.tif", moving), write(folder / "fixed.tif", fixed, "strips")]
    found = gequi.register_images(gequi.read_slide(files[0], step=4), gequi.read_slide(files[1], step=4))
    return moving, fixed, files, found


@pytest.mark.parametrize("interpolation", ["nearest", "linear", "cubic"])
def test_tiles_are_those_of_the_whole_image(pair, tmp_path, interpolation, monkeypatch):
    _, fixed, files, found = pair
    warped = tifffile.imread(gequi.warp_slide(found, *files, tmp_path / "a.tif", interpolation))
    assert (warped.shape, warped.dtype) == (fixed.shape, np.uint8)
    monkeypatch.setattr(slides, "TILE", 4096)
    at_once = tifffile.imread(gequi.warp_slide(found, *files, tmp_path / "b.tif", interpolation))
    assert abs(warped.astype(int) - at_once).max() <= 1  # rounding
    assert (warped != at_once).mean() < 1e-4
    seen = warped.sum(-1) > 0
    assert seen.mean() > 0.9
    assert np.median(abs(warped.astype(float) - fixed)[seen]) < (4 if interpolation == "nearest" else 2)


def test_points_go_where_the_image_goes(pair):
    _, _, files, found = pair
    points = np.array([[300.0, 200.0], [100.0, 400.0]])  # of fixed: row, column of rot90 is column, row from the end
    expected = np.stack([points[:, 1] + 30, 759 - points[:, 0] - 20], 1)
    there, deviations = gequi.transform_slide_points(found, points, *files, "fixed_to_moving", return_std=True)
    np.testing.assert_allclose(there, expected, atol=0.5)
    back = gequi.transform_slide_points(found, there, *files)
    np.testing.assert_allclose(back, points, atol=0.1)
    reduced = found.transform_points((points + 0.5) / 4 - 0.5, "fixed_to_moving", return_std=True)[1]
    np.testing.assert_allclose(deviations, 4 * reduced, rtol=1e-2)
    one = gequi.transform_slide_points(found, points[0], *files, "fixed_to_moving")
    np.testing.assert_array_equal(one, there[0])


@pytest.mark.parametrize(
    ("dtype", "fill", "outside"),
    [(np.uint8, np.nan, 0), (np.uint8, 255, 255), (np.float32, np.nan, np.nan), (np.uint16, None, None)],
)
def test_types_channels_and_values_outside(tmp_path, dtype, fill, outside):
    image = (LARGE * (np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1)).astype(dtype)
    files = [write(tmp_path / "moving.tif", image, "plain"), write(tmp_path / "fixed.tif", image, "plain")]
    small = gequi.read_slide(files[0], step=4)
    found = gequi.register_images(small, small, transform="translation")
    shift = np.array([20.0, 0.0]).reshape(2, 1, 1)
    shifted = dataclasses.replace(found, map=gequi.identity_map(small.shape) + shift)
    warped = tifffile.imread(gequi.warp_slide(shifted, *files, tmp_path / "out.tif", "linear", fill))
    assert (warped.shape, warped.dtype) == (image.shape, dtype)
    np.testing.assert_allclose(warped[:430].astype(float), image[80:510].astype(float), rtol=1e-4, atol=1e-4)
    if outside is None:
        np.testing.assert_array_equal(warped[450:], np.broadcast_to(image[-1], (70, 760)))
    else:
        np.testing.assert_array_equal(warped[450:], np.full((70, 760), outside, dtype))


def test_an_interrupt_leaves_the_previous_file(pair, tmp_path):
    _, _, files, found = pair
    (tmp_path / "a.tif").write_bytes(b"before")
    told = []

    def stop(info):
        told.append(info)
        if len(told) == 2:  # the last tile
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gequi.warp_slide(found, *files, tmp_path / "a.tif", progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert (tmp_path / "a.tif").read_bytes() == b"before"
    assert [(each["done"], each["total"]) for each in told] == [(1, 2), (2, 2)]


def test_what_does_not_fit_is_refused(pair, tmp_path):
    moving, _, files, found = pair
    other = write(tmp_path / "other.tif", moving[:, :500])
    with pytest.raises(ShapeError, match="`moving`: '.*other.tif' has the size"):
        gequi.warp_slide(found, other, files[1], tmp_path / "a.tif")
    with pytest.raises(ShapeError, match="`fixed`: '.*other.tif' has the size"):
        gequi.transform_slide_points(found, [0, 0], files[0], other)
    with pytest.raises(InputError, match="`path` must end with one of .tif .tiff"):
        gequi.warp_slide(found, *files, tmp_path / "a.png")
    with pytest.raises(InputError, match="`fill` must be a value of the type"):
        gequi.warp_slide(found, *files, tmp_path / "a.tif", fill=300)
    with pytest.raises(InputError, match="`found` must be the registration of two images"):
        gequi.warp_slide(3, *files, tmp_path / "a.tif")
    with pytest.raises(InputError, match="`path`: there is no file"):
        gequi.read_slide(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(InputError, match="`path`: .* cannot be read as TIFF"):
        gequi.read_slide(tmp_path / "text.tif")
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((3, 4, 40, 40), np.uint8), photometric="minisblack")
    with pytest.raises(ShapeError, match=r"`path`: .* must hold one image \(row, column\)"):
        gequi.read_slide(tmp_path / "stack.tif")
    with pytest.raises(InputError, match="`path` has values that are not finite"):
        gequi.read_slide(write(tmp_path / "nan.tif", np.full((40, 40), np.nan, np.float32)), size=16)
    with pytest.raises(InputError, match="`step` must be"):
        gequi.read_slide(files[0], step=0.5)


def test_a_damaged_tile_names_the_file(tmp_path):
    file = write(tmp_path / "a.tif", colored(LARGE))
    with tifffile.TiffFile(file) as tiff:
        offset = tiff.pages[0].dataoffsets[3]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[offset : offset + 40] = bytes(40)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(InputError, match=r"`path`: '.*a\.tif' cannot be read as TIFF"):
        gequi.read_slide(file)


def test_missing_tiles_of_a_sparse_file_are_zero(tmp_path):
    tile = np.full((128, 128), 255, np.uint8)
    options = {"shape": (256, 256), "dtype": np.uint8, "tile": (128, 128), "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", iter([tile, None, None, tile]), **options, compression="zlib")
    found = gequi.read_slide(tmp_path / "a.tif", size=16)
    np.testing.assert_array_equal(found, np.kron(np.eye(2), np.ones((8, 8))))
