"""folders: both languages return the same predictions for files, and write the same jobs."""

import numpy as np
import pytest

import gequi
from gequi.folders import prediction


@pytest.fixture
def images(tmp_path, random):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(5):
        np.save(folder / f"{number}.npy", random.normal(size=(1, 7, 7)))
    return folder


@pytest.mark.parametrize("type", ["raw", "prob"])
def test_predict_folder(r, both, same, images, type):
    theirs, ours = both()
    found = gequi.predict_folder(ours, images, type=type, batch_size=2)
    same(
        r.value(r.predict_folder(theirs, str(images), type=type, batch_size=2)),
        {**found, "output": found["output"].astype(float)},
    )


def test_classes_count_from_one_in_r(r, both, images):
    theirs, ours = both()
    found = r.value(r.predict_folder(theirs, str(images), type="class"))
    np.testing.assert_array_equal(found["output"], gequi.predict_folder(ours, images, type="class")["output"] + 1)


def test_prepare_prediction_and_collect_prediction(r, both, same, images, tmp_path):
    theirs, ours = both()
    places = [tmp_path / "r", tmp_path / "python"]
    options = {"type": "prob", "batch_size": 3, "devices": 2, "nodes": 3}
    lines = r.prepare_prediction(str(places[0]), theirs, str(images), **options)
    expected = gequi.prepare_prediction(places[1], ours, images, **options)
    same(r.value(lines), {key: line.replace(str(places[1]), str(places[0])) for key, line in expected.items()})
    for place in places:
        prediction.work(place)
    found = gequi.collect_prediction(places[1])
    same(r.value(r.collect_prediction(str(places[0]))), {**found, "output": found["output"].astype(float)})
