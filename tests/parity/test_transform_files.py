"""transform_files: R writes Python's files to the bit, and reads what Python reads, with pixels counted from 1."""

import numpy as np
import pytest

import gequi

SPACE = {
    "origin": [10.0, -20.0], "cosines": np.array([[0.0, 1.0], [1.0, 0.0]]), "moving_origin": [3.0, 4.0],
    "moving_cosines": [1.0, 0.0, 0.0, -1.0],
}  # fmt: skip


@pytest.fixture(scope="module")
def images():
    image = gequi.sample_image("cat")
    return image[60:140, 160:250], np.rot90(image[64:130, 165:245])


@pytest.fixture(scope="module")
def pair(r, images):
    options = {"moving_spacing": [1.0, 1.0], "spacing": [1.0, 1.25]}
    return r.register_images(*images, **options), gequi.register_images(*images, **options)


@pytest.mark.parametrize("direction", ["moving_to_fixed", "fixed_to_moving"])
@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".tfm", {"linear": True}), (".mat", {"linear": True}), (".csv", {"linear": True}), (".nii", {}),
        (".nii.gz", {"format": "niftyreg"}), (".mha", {}),
    ],
)  # fmt: skip
def test_write_transform_and_read_transform(r, same, pair, tmp_path, direction, ending, options):
    theirs, ours = pair
    from_r, from_python = str(tmp_path / f"r{ending}"), str(tmp_path / f"python{ending}")
    assert r.value(r.write_transform(theirs, from_r, direction, **options, **SPACE)) == from_r
    gequi.write_transform(ours, from_python, direction, **options, **SPACE)
    field = ending not in (".tfm", ".mat", ".csv")
    lengths = {"moving_spacing": [1.0, 1.25]} if field else {"spacing": [1.0, 1.25], "moving_spacing": 1.0}
    told = r.parts(r.read_transform(from_r, **lengths))
    expected = gequi.read_transform(from_python, **lengths)
    assert list(told) == list(expected.to_dict())
    assert told.pop("file") == f"r{ending}"
    map = told.pop("map")
    if field:
        np.testing.assert_allclose(map, expected.map + 1, rtol=0, atol=1e-9)
    else:
        assert map is expected.map is None
    np.testing.assert_allclose(told.pop("affine") @ [5, 8, 1], expected.affine @ [4, 7, 1] + 1, rtol=0, atol=1e-9)
    for name, value in told.items():
        same(np.array(value), getattr(expected, name))
    with open(from_r, "rb") as one, open(from_python, "rb") as other:
        assert one.read() == other.read()


def test_a_transform_carries_what_it_carries_in_python(r, pair, images, tmp_path):
    path = gequi.write_transform(pair[1], tmp_path / "a.mha")
    theirs, ours = r.read_transform(path), gequi.read_transform(path)
    points = np.random.default_rng(1).uniform(5, 50, size=(9, 2))
    for direction in ("moving_to_fixed", "fixed_to_moving"):
        told = r.value(r.predict(theirs, points + 1, direction))
        np.testing.assert_allclose(told, ours.transform_points(points, direction) + 1, rtol=0, atol=1e-9)
    told = r.value(r.predict(theirs, images[0], interpolation="linear", fill=-1.0))
    np.testing.assert_allclose(told, ours.warp(images[0], "linear", fill=-1.0), rtol=0, atol=1e-9)
    back = r.value(r.predict(theirs, images[1], "fixed_to_moving", fill=-1.0, shape=[80, 90]))
    np.testing.assert_allclose(
        back, ours.warp(images[1], fill=-1.0, direction="fixed_to_moving", shape=(80, 90)), rtol=0, atol=1e-9
    )
    again = r.code("x$handle <- new.env(parent = emptyenv()); predict(x, p)", x=theirs, p=points + 1)
    np.testing.assert_allclose(r.value(again), ours.transform_points(points) + 1, rtol=0, atol=1e-9)


def test_a_damaged_file_is_refused_in_the_same_words(r, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("axis,x,y,shift\nx,1,0,2\ny,0,1\n")
    with pytest.raises(gequi.errors.TransformFileError) as refused:
        gequi.read_transform(path)
    told = r.code("tryCatch(read_transform(p), error = conditionMessage)", p=str(path))[0]
    assert told == str(refused.value)
