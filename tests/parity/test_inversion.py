"""inversion: the results of R and Python are equal, and a function of R is the composition that it is made of."""

import numpy as np
import pytest

import gequi

# The 3 x 3 case of the poster's notebook.
START = np.array([[0.749673, 0.286601, 0.689869], [0.378105, 0.743137, 0.302288], [0.515142, 0.466993, 0.72146]])
OTHER = np.array([[0.749673, 0.743137, 0.689869], [0.378105, 0.466993, 0.302288], [0.515142, 0, 0.72146]])
TARGET = gequi.image_value(OTHER)


def agree(r, same, theirs, ours):
    theirs = r.value(theirs)
    same([row["loss"] for row in theirs["loss"]], ours["loss"].tolist())
    same([row["step"] for row in theirs["loss"]], list(range(len(ours["loss"]))))
    for key in ("solution", "value"):
        same(theirs[key], ours[key].astype(np.float64))
    for key in ("best_step", "best_loss", "stopped"):
        same(theirs[key], ours[key])


def test_the_notebooks_3x3_descent(r, same):
    theirs = r.invert_input("image_value", TARGET, START, steps=628)
    agree(r, same, theirs, gequi.invert_input("image_value", TARGET, START, steps=628))
    losses = [row["loss"] for row in r.value(theirs)["loss"]]
    assert losses[0] == pytest.approx(1.10585, abs=1e-5)
    assert losses[1] == pytest.approx(1.09012, abs=1e-5)
    assert r.value(theirs)["best_loss"] <= 0.00101


@pytest.mark.parametrize("options", [
    {"dtype": "float64"}, {"optimizer": "sgd", "learning_rate": 0.01, "loss": "squared"},
    {"optimizer": "lbfgs", "learning_rate": 1, "loss": "mean_squared"},
])  # fmt: skip
def test_optimizers_losses_and_types(r, same, options):
    theirs = r.invert_input("image_value", TARGET, START, steps=15, **options)
    agree(r, same, theirs, gequi.invert_input("image_value", TARGET, START, steps=15, **options))


def test_a_function_of_r_is_the_composition_of_its_operations(r, same):
    theirs = r.code("function(z) image_product(signed_image(z), t(z) + 1, rows = NULL, columns = function(y) y * y)")
    ours = [
        {"op": "signed_image", "x": "input"},
        {"op": "transpose", "x": "input"},
        {"op": "add", "a": "step 2", "b": 1},
        {"op": "multiply", "a": "step 3", "b": "step 3"},
        {"op": "image_product", "a": "step 1", "b": "step 4", "rows": None, "columns": "identity"},
    ]
    options = {"steps": 20, "dtype": "float64"}
    agree(r, same, r.invert_input(theirs, TARGET, START, **options), gequi.invert_input(ours, TARGET, START, **options))


def test_a_network(r, same, both, random):
    theirs, ours = both([{"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "relu"}])
    image = random.uniform(size=(9, 9))
    target = gequi.predict(ours, image)
    for options in ({}, {"dtype": "float64"}):
        found = r.invert_input(theirs, target, np.full((9, 9), 0.5), steps=10, learning_rate=0.02, **options)
        expected = gequi.invert_input(ours, target, np.full((9, 9), 0.5), steps=10, learning_rate=0.02, **options)
        agree(r, same, found, expected)


def test_progress_sees_the_same_steps(r, same):
    seen = r.code("new.env()")
    watch = r.code("function(info) { assign(paste(info$step), info$loss, envir = seen); info$step < 3 }", seen=seen)
    found = gequi.invert_input("image_value", TARGET, START, steps=10, progress=lambda info: info["step"] < 3)
    agree(r, same, r.invert_input("image_value", TARGET, START, steps=10, progress=watch), found)
    assert found["stopped"] == "progress"
    same(r.value(r.code("unlist(mget(paste(0:3), seen))", seen=seen)), found["loss"].tolist())
