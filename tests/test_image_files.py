"""folders: images in files as examples."""

import numpy as np
import pytest
from PIL import Image

import gequi
from gequi.errors import InputError, ShapeError

C4 = gequi.gspace("rot2dOnR2", N=4)
LAYERS = [
    {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "relu"}, {"layer": "global_avg_pool"},
    {"layer": "group_pool"}, {"layer": "dense", "units": 2},
]  # fmt: skip


def network():
    return gequi.equivariant_network(C4, {"trivial": 1}, LAYERS, seed=1)


@pytest.fixture
def labelled(tmp_path, random):
    """A folder for each of two classes, and the images in it, in the order of their names."""
    x = random.random((6, 1, 7, 7)).astype(np.float32)
    folder = tmp_path / "images"
    for number, image in enumerate(x):
        place = folder / ("dog" if number >= 4 else "cat")
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{number}.npy", image)
    (folder / "notes").mkdir()
    return folder, x, np.array([0, 0, 0, 0, 1, 1])


def test_a_folder_for_each_class(labelled):
    folder, x, y = labelled
    images = gequi.image_files(folder)
    assert images.classes == ["cat", "dog"]
    assert images.shape == x.shape
    np.testing.assert_array_equal(images.targets, y)
    np.testing.assert_array_equal(images[[4, 1]], x[[4, 1]])
    np.testing.assert_array_equal(np.asarray(images), x)


def test_training_measuring_and_predicting_are_those_of_the_arrays(labelled):
    folder, x, y = labelled
    images = gequi.image_files(folder)
    in_files, in_memory = network(), network()
    options = {"epochs": 2, "seed": 1, "batch_size": 4, "validation": 0.34}
    history = gequi.fit(in_files, images, **options)
    expected = gequi.fit(in_memory, x, y, **options)
    assert [row["val_loss"] for row in history] == [row["val_loss"] for row in expected]
    np.testing.assert_array_equal(
        gequi.predict(in_files, images, batch_size=4), gequi.predict(in_memory, x, batch_size=4)
    )
    assert gequi.evaluate(in_files, images, None) == gequi.evaluate(in_memory, x, y)
    again = network()
    gequi.fit(again, images, epochs=2, seed=1, batch_size=4, validation=(images, None))
    assert gequi.evaluate(again, images, None)["loss"] == gequi.evaluate(again, x, y)["loss"]


def test_a_folder_is_its_images(labelled):
    folder, x, y = labelled
    options = {"epochs": 1, "seed": 1, "batch_size": 4}
    expected, found = network(), network()
    gequi.fit(expected, x, y, validation=(x, y), **options)
    gequi.fit(found, folder, validation=(str(folder), None), **options)
    np.testing.assert_array_equal(gequi.predict(found, x), gequi.predict(expected, x))
    assert gequi.evaluate(found, folder) == gequi.evaluate(expected, x, y)
    np.testing.assert_array_equal(gequi.predict(found, str(folder)), gequi.predict(expected, x))
    files = [folder / "dog" / "5.npy", str(folder / "cat" / "0.npy")]
    np.testing.assert_array_equal(gequi.predict(found, files), gequi.predict(expected, x[[5, 0]]))
    picture = folder / "one.png"
    Image.fromarray(np.arange(49, dtype=np.uint8).reshape(7, 7)).save(picture)
    np.testing.assert_allclose(
        gequi.predict(found, picture), gequi.predict(found, np.arange(49).reshape(7, 7) / 255), rtol=1e-5
    )
    again = network()
    gequi.fit(again, files, [1, 0], **options)
    expected = network()
    gequi.fit(expected, x[[5, 0]], [1, 0], **options)
    np.testing.assert_array_equal(gequi.predict(again, x), gequi.predict(expected, x))


def test_a_folder_without_classes_is_refused_where_targets_are_needed(labelled, tmp_path):
    folder = labelled[0]
    with pytest.raises(InputError, match="`y` is missing"):
        gequi.fit(network(), folder / "cat")
    with pytest.raises(InputError, match="must be an array"):
        gequi.fit(network(), tmp_path / "nowhere", [1])


def test_a_job_writes_its_images_a_part_at_a_time(labelled, tmp_path, monkeypatch):
    folder, x, y = labelled
    read = []
    kind = type(gequi.image_files(folder))
    whole = kind.read
    monkeypatch.setattr(kind, "read", lambda self, at: read.append(len(at)) or whole(self, at))
    monkeypatch.setattr("gequi.training._job.PART", 4)
    gequi.prepare_job(tmp_path / "job", network(), folder, None, epochs=1, validation=(folder, None))
    assert read[-4:] == [4, 2, 4, 2]
    for name, expected in (("x", x), ("y", y), ("validation_x", x), ("validation_y", y)):
        np.testing.assert_array_equal(np.load(tmp_path / "job" / f"{name}.npy"), expected)


@pytest.mark.slow
def test_several_processes_train_on_images_in_files(labelled):
    """In float64, the order in which two processes add their gradients affects only the last digits."""
    folder, x, y = labelled
    together, alone = (gequi.equivariant_network(C4, {"trivial": 1}, LAYERS, seed=1, dtype="float64") for _ in "ab")
    options = {"epochs": 2, "seed": 1, "batch_size": 4}
    history = gequi.fit(together, gequi.image_files(folder), validation=(folder, None), devices=2, **options)
    expected = gequi.fit(alone, x, y, validation=(x, y), **options)
    np.testing.assert_allclose(gequi.predict(together, x), gequi.predict(alone, x), rtol=1e-9)
    np.testing.assert_allclose([row["val_loss"] for row in history], [row["val_loss"] for row in expected], rtol=1e-9)


def test_a_batch_is_read_at_a_time(labelled, monkeypatch):
    images = gequi.image_files(labelled[0])
    read = []
    monkeypatch.setattr(type(images), "_image", lambda self, file: read.append(file) or np.zeros(self.shape[1:], "f4"))
    sizes = []
    monkeypatch.setattr(
        type(images), "read", lambda self, at: sizes.append(len(at)) or np.zeros((len(at), 1, 7, 7), "f4")
    )
    told = []
    gequi.predict(network(), images, batch_size=4, progress=told.append)
    assert sizes == [4, 2]
    assert [(info["done"], info["total"]) for info in told] == [(4, 6), (6, 6)]


def test_a_list_of_files_with_labels(labelled):
    folder, x, _ = labelled
    files = [folder / "dog" / "5.npy", folder / "cat" / "0.npy"]
    images = gequi.image_files(files, ["b", "a"])
    assert images.classes == ["a", "b"]
    np.testing.assert_array_equal(images.targets, [1, 0])
    np.testing.assert_array_equal(np.asarray(images), x[[5, 0]])
    assert gequi.image_files(files).targets is None


def test_images_of_many_sizes_are_stretched_cropped_or_padded(tmp_path):
    ramp = np.broadcast_to(np.arange(8.0)[:, None] / 7, (8, 16))  # brighter downwards
    np.save(tmp_path / "a.npy", ramp)
    np.save(tmp_path / "b.npy", np.ones((4, 4)))
    with pytest.raises(ShapeError, match="b.npy' has 1 x 4 x 4 pixels, the first file 1 x 8 x 16; `size` brings"):
        np.asarray(gequi.image_files(tmp_path))
    found = {
        way: np.asarray(gequi.image_files(tmp_path, size=8, resize=way))[0, 0] for way in ("stretch", "crop", "pad")
    }
    np.testing.assert_allclose(found["stretch"], ramp[:, :8], atol=1e-6)
    np.testing.assert_allclose(found["crop"], ramp[:, 4:12], atol=1e-6)
    np.testing.assert_array_equal(found["pad"][[0, 1, 6, 7]], np.zeros((4, 8)))
    np.testing.assert_allclose(found["pad"][2:6].mean(1), ramp.reshape(4, 2, 16).mean((1, 2)), atol=0.05)
    wide = np.asarray(gequi.image_files(tmp_path, size=(3, 5)))
    assert wide.shape == (2, 1, 3, 5)
    np.testing.assert_allclose(wide[1], 1, atol=1e-6)


def test_colours_and_grays_agree_on_channels(tmp_path, random):
    colours = (255 * random.random((5, 4, 3))).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    Image.fromarray(colours[..., 0]).save(tmp_path / "b.png")
    both = np.asarray(gequi.image_files(tmp_path))
    np.testing.assert_allclose(both[0], colours.transpose(2, 0, 1) / 255, atol=1e-6)
    np.testing.assert_allclose(both[1], np.repeat(colours[None, ..., 0] / 255, 3, 0), atol=1e-6)
    gray = np.asarray(gequi.image_files(tmp_path, channels=1))
    np.testing.assert_allclose(gray[0, 0], gequi.to_grayscale(colours / 255), atol=1e-6)


def test_what_does_not_fit_is_refused(labelled, tmp_path):
    folder, _, _ = labelled
    for arguments, words in [
        ((tmp_path / "nowhere",), "there is no folder"), ((folder / "notes",), "has no file that ends with"),
        ((folder / "cat", ["a"]), "`labels` must be as many as there are files, 4; got 1"),
        ((folder, None, (1, 2, 3)), "`size` must be rows and columns"), ((folder, None, 0), "`size` must be at least 1"),
        ((folder, None, 4, "squeeze"), "`resize` must be one of"), ((folder, None, 4, "pad", 2), "`channels` must be 1, 3"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=words):
            gequi.image_files(*arguments)
    with pytest.raises(InputError, match="`y` is missing"):
        gequi.fit(network(), gequi.image_files(folder / "cat"))
