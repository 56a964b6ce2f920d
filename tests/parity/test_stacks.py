"""Stacks of sections, in both languages."""

import numpy as np
import pytest

import gequi

IMAGE = gequi.sample_image("cat")[50:98, 150:198]
SECTIONS = {"a": IMAGE, "b": np.rot90(IMAGE), "c": IMAGE[::-1], "d": np.ones((20, 20))}
OPTIONS = {"transform": "rigid", "reach": 1}


@pytest.fixture(scope="module")
def stacks(r):
    return r.register_stack(SECTIONS, **OPTIONS, progress=False), gequi.register_stack(SECTIONS, **OPTIONS)


def test_the_stacks_are_the_same(r, stacks):
    theirs, ours = stacks
    told = r.value(r.code("unclass(x)[names(x) != 'handle']", x=theirs))
    np.testing.assert_array_equal(np.array(told["volume"], dtype=float), ours.volume)
    np.testing.assert_array_equal(np.array(told["maps"], dtype=float), ours.maps + 1)
    assert told["table"] == ours.table
    assert [{**row, "first": row["first"] - 1, "second": row["second"] - 1} for row in told["pairs"]] == ours.pairs
    assert told["reference"] == ours.reference + 1
    assert (told["spread"], told["drift"]) == (ours.spread, ours.drift)


def test_what_is_carried_and_shown_is_the_same_after_a_trip_through_a_file(r, stacks):
    theirs, ours = stacks
    again = r.code("{f <- tempfile(); saveRDS(x, f); readRDS(f)}", x=theirs)
    carried = r.value(r.code("predict(x, x$images)", x=again))
    np.testing.assert_allclose(
        np.array(carried, dtype=float), ours.warp(ours.images), atol=1e-6
    )  # maps that count from 1 and back are rounded
    shown = r.value(r.code("plot(x, 'side', axis = 1)$data$value", x=again))
    panels = [axes.images[0].get_array().filled(np.nan) for axes in gequi.plot_stack(ours, "side", axis=0).axes]
    np.testing.assert_array_equal(np.array(shown, dtype=float), np.concatenate([each.ravel("F") for each in panels]))
    assert r.value(r.code("levels(plot(x)$data$section)", x=again)) == [
        axes.get_title() for axes in gequi.plot_stack(ours).axes
    ]
