"""Images as matrices: the samples."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from skimage import data as skimage_data

import gequi
from gequi.errors import InputError
from gequi.images import sample_image

FOLDER = Path(gequi.__file__).parent / "data"


def test_volcano_holds_the_numbers_of_r():
    volcano = sample_image("volcano")
    assert volcano.shape == (87, 61)
    assert volcano.dtype == np.float64
    # datasets::volcano in R 4.2.2: range, sum, corners, and the digest of its values row by row
    assert (volcano.min(), volcano.max(), volcano.sum()) == (94, 195, 690907)
    assert volcano[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [100, 103, 97, 94]
    assert volcano[19, 27:30].tolist() == [192, 193, 194]
    digest = hashlib.sha256(" ".join(str(int(height)) for height in volcano.ravel()).encode()).hexdigest()
    assert digest == "ea5b5e4d6c53c492ad793c4442dfd162dbaa7dd4d4f75f8f06a1077507c66f04"


def test_photographs_are_scikit_images_own_scaled_to_0_1():
    camera, cat = sample_image("camera"), sample_image("cat")
    np.testing.assert_array_equal(camera * 255, skimage_data.camera())
    grey = skimage_data.chelsea() @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(cat * 255, grey, rtol=0, atol=0.5 + 1e-9)


def test_micrographs_are_the_parts_that_the_readme_names():
    green = skimage_data.retina()[1:1409, 1:1409, 1].astype(float)
    np.testing.assert_allclose(
        sample_image("retina") * 255, green.reshape(352, 4, 352, 4).mean(axis=(1, 3)), rtol=0, atol=0.5 + 1e-9
    )
    np.testing.assert_array_equal(sample_image("cell") * 255, skimage_data.cell()[254:494, 309:549])


def test_the_table_of_samples_agrees_with_the_images_and_with_the_readme():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    table = sample_image()
    assert len(table) == 5
    for row in table:
        image = sample_image(row["name"])
        assert image.shape == (row["rows"], row["columns"])
        assert np.isfinite(image).all()
        assert row["name"] == "volcano" or (image.min() >= 0 and image.max() <= 1)
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{row['name']}` "))
        assert f"{row['rows']} x {row['columns']}" in line
        assert row["licence"].split()[0] in line
        assert row["source"].split(": ")[1].split("(")[0] in line


def test_samples_are_the_callers_own():
    sample_image("cell")[:] = -1
    sample_image()[0]["rows"] = 0
    assert sample_image("cell").min() >= 0
    assert sample_image()[0]["rows"] == 87


def test_samples_stay_under_a_megabyte():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


@pytest.mark.parametrize("name", ["vulcano", 1, ["camera"]])
def test_an_unknown_sample_is_refused_with_the_names_there_are(name):
    with pytest.raises(InputError, match=r"`name` must be one of 'volcano', 'camera', 'cat', 'retina', 'cell'"):
        sample_image(name)
    with pytest.raises(InputError, match=r"Did you mean 'volcano'\?"):
        sample_image("vulcano")
