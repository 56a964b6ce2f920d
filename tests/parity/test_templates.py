"""Means of several images, in both languages."""

import numpy as np
import pytest

import gequi

IMAGE = gequi.sample_image("cat")[50:98, 150:198]
IMAGES = {"a": IMAGE, "b": np.rot90(IMAGE), "c": np.random.default_rng(1).random((32, 32))}
OPTIONS = {"transform": "rigid", "rounds": 2, "start": 0}


@pytest.fixture(scope="module")
def means(r):
    theirs = r.group_mean(IMAGES, **{**OPTIONS, "start": 1}, progress=False)
    return theirs, gequi.group_mean(IMAGES, **OPTIONS)


def test_the_means_are_the_same(r, means):
    theirs, ours = means
    told = r.value(r.code("unclass(x)[names(x) != 'handle']", x=theirs))
    for name, by in (("template", 0), ("variability", 0), ("maps", 1), ("spacing", 0)):
        np.testing.assert_array_equal(np.array(told[name], dtype=float), getattr(ours, name) + by)
    assert told["table"] == ours.table
    assert [row["status"] for row in ours.table] == ["aligned", "aligned", "failed"]
    assert told["changes"] == [None, *ours.changes[1:]]
    assert (told["converged"], told["start"], told["turned_as"]) == (ours.converged, ours.start + 1, ours.turned_as)
    assert (told["transform"], told["interpolation"], told["names"]) == ("rigid", "cubic", ["a", "b", "c"])


@pytest.mark.parametrize("type", ["template", "variability"])
def test_what_is_shown_is_the_same_after_a_trip_through_a_file(r, means, type):
    theirs, ours = means
    again = r.code("{f <- tempfile(); saveRDS(x, f); readRDS(f)}", x=theirs)
    shown = r.value(r.code(f"plot(x, '{type}')$data$value", x=again))
    axes = gequi.plot_group_mean(ours, type).axes[0]
    pixels = np.ma.filled(axes.images[0].get_array().astype(float), np.nan)
    np.testing.assert_array_equal(np.array(shown, dtype=float), pixels.ravel("F"))
    assert r.value(r.code(f"plot(x, '{type}')$labels$title", x=again)) == axes.get_title()
