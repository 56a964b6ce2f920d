"""Plots: R and Python draw the same values with the same words and colors."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

import gequi
from gequi.plots.networks import ROLES

VOLCANO = gequi.sample_image("volcano")
IMAGE = VOLCANO[:20, :24]
GRAY = {"trivial": 1}
CONV = [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}]


@pytest.fixture
def data(r):
    """The data of a layer of an R plot as a dict of arrays; without a layer, of the plot itself."""

    def read(picture, layer=None):
        code = "as.list(p$data)" if layer is None else f"as.list(ggplot2::ggplot_build(p)$data[[{layer}]])"
        text = f"lapply({code}, function(x) if (is.factor(x)) as.character(x) else x)"
        columns = r.value(r.code(text, p=picture))
        return {name: np.array(each) for name, each in columns.items() if each is not None}

    return read


@pytest.fixture
def words(r):
    """The label of an axis, a caption or a title of an R plot."""
    return lambda picture, name: r.value(r.code(f"p$labels${name}", p=picture))


def as_image(cells, column="value"):
    """The image that cells of R show, row 0 at the top."""
    order = np.lexsort((cells["x"], -cells["y"]))
    return cells[column][order].reshape(len(np.unique(cells["y"])), -1)


def of_panel(cells, column, name):
    return {key: each[cells[column] == name] for key, each in cells.items()}


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


@pytest.mark.parametrize("type", ["overlay", "checkerboard", "jacobian", "uncertainty", "grid"])
def test_registrations(r, data, words, type):
    moving = np.rot90(VOLCANO)[:60]
    theirs = r.code(f"plot(x, '{type}')", x=r.register_images(moving, VOLCANO, transform="rigid"))
    figure = gequi.plot_registration(gequi.register_images(moving, VOLCANO, transform="rigid"), type)
    if type in ("overlay", "checkerboard"):
        assert words(theirs, "caption") == figure.get_supxlabel().replace("\n", " ")
        assert sorted(set(data(theirs)["when"]), reverse=True) == titles(figure) == ["before", "after"]
        for axes in figure.axes:
            drawn = axes.images[0]
            ours = np.asarray(drawn.get_array())
            ours = ours if ours.ndim == 3 else np.repeat(ours[..., None], 3, 2)
            shown = as_image(of_panel(data(theirs), "when", axes.get_title()), "colour")
            levels = [[[int(each[i : i + 2], 16) for i in (1, 3, 5)] for each in row] for row in shown]
            assert np.abs(np.array(levels) - 255 * ours).max() < 1.01  # R rounds to 8 bits
    elif type == "grid":
        assert r.value(r.code("levels(ggplot2::ggplot_build(p)$layout$layout[[4]])", p=theirs)) == titles(figure)
        colors = {to_hex(line.get_color()) for line in figure.axes[0].lines}
        assert set(data(theirs, 3)["colour"]) == colors
        legend = figure.legends[0]
        assert r.value(r.code("p$scales$get_scales('colour')$name", p=theirs)) == legend.get_title().get_text()
    else:
        ours = np.ma.filled(figure.axes[0].images[0].get_array(), np.nan)
        np.testing.assert_array_equal(as_image(data(theirs)), ours)
        assert [words(theirs, "title")] == titles(figure)[:1]
        scale = r.value(r.code("p$scales$get_scales('fill')$name", p=theirs))
        assert scale.replace("\n(", ", ").rstrip(")") == figure.axes[1].get_ylabel()


def test_equivariance_errors(r, data, words):
    space = {"space": r.gspace("rot2dOnR2", N=8), "input": GRAY, "output": GRAY}
    theirs = r.code("plot(x)", x=r.equivariance_error(r.code("function(x) x^2"), IMAGE, **space))
    ours = gequi.equivariance_error(np.square, IMAGE, gequi.gspace("rot2dOnR2", N=8), GRAY, GRAY)
    axes = gequi.plot_equivariance_error(ours).axes[0]
    bars = data(theirs, 1)
    np.testing.assert_allclose(10 ** bars["ymax"], [bar.get_y() + bar.get_height() for bar in axes.patches])
    assert list(bars["fill"]) == [to_hex(bar.get_facecolor()) for bar in axes.patches]
    assert words(theirs, "y") == axes.get_ylabel()
    kinds = sorted(set(data(theirs)["kind"]), reverse=True)
    marks = r.value(r.code("gequiR:::marks_of_errors"))
    assert kinds + marks == [t.get_text() for t in axes.figure.legends[0].get_texts()]
    assert list(data(theirs, 2)["label"]).count("0") == len(axes.texts)
    points = np.concatenate([line.get_xydata() for line in axes.lines])
    np.testing.assert_allclose(np.c_[data(theirs, 3)["x"] - 1, 10 ** data(theirs, 3)["y"]], points)


def test_local_equivariance_errors(r, data, words):
    x = np.stack([IMAGE[None], IMAGE.T[None]]) if IMAGE.shape[0] == IMAGE.shape[1] else IMAGE[None, None]
    theirs = r.code("plot(x)", x=r.local_equivariance_error(r.code("function(x) x^2"), x))
    axes = gequi.plot_local_equivariance_error(gequi.local_equivariance_error(np.square, x)).axes[0]
    bars = data(theirs, 1)
    np.testing.assert_allclose(sorted(bars["y"]), sorted(bar.get_width() for bar in axes.patches), rtol=1e-12)
    assert set(bars["fill"]) == {to_hex(bar.get_facecolor()) for bar in axes.patches}
    assert words(theirs, "y") == axes.get_xlabel()


def test_equivariance_maps(r, data):
    space = gequi.gspace("rot2dOnR2", N=4)
    network = r.piped(r.gspace("rot2dOnR2", N=4), CONV, seed=1)
    theirs = r.plot_equivariance(network, IMAGE)
    axes = gequi.plot_equivariance(gequi.equivariant_network(space, GRAY, CONV, seed=1), IMAGE).axes[0]
    layers = r.value(r.code("length(p$layers)", p=theirs))
    assert layers == len(axes.images) + 4  # names, sides, the error, arrows
    names = [str(label) for layer in (15, 16, 17) for label in np.atleast_1d(data(theirs, layer)["label"])]
    assert names == [text.get_text() for text in axes.texts if text.get_text()]
    starts, ends = next([each.xyann, each.xy] for each in axes.texts if not each.get_text())
    arrows = data(theirs, 18)
    np.testing.assert_allclose(
        [starts, ends], [[arrows["x"][0], arrows["y"][0]], [arrows["xend"][0], arrows["yend"][0]]]
    )


def test_groups(r, data):
    theirs = r.code("plot(x, c('irrep_1', 'regular'), elements = 1:3)", x=r.gspace("rot2dOnR2", N=4))
    space = gequi.gspace("rot2dOnR2", N=4)
    axes = gequi.plot_gspace(space, ["irrep_1", "regular"], [0, 1, 2]).axes[0]
    cells = data(theirs)
    meshes = iter(axes.collections)
    for name in ("irrep_1", "regular"):
        for element in ("0°", "90°", "180°"):
            shown = as_image(of_panel(of_panel(cells, "representation", name), "element", element))
            np.testing.assert_allclose(next(meshes).get_array(), shown, atol=1e-9)
    assert [text.get_text() for text in axes.texts] == ["irrep_1", "regular", "0°", "90°", "180°"]
    orbit = data(r.code("plot(x, image = image)", x=r.gspace("rot2dOnR2", N=4), image=IMAGE))
    for each in gequi.plot_gspace(space, image=IMAGE).axes:
        shown = as_image(of_panel(orbit, "image", each.get_title()))
        np.testing.assert_array_equal(each.images[0].get_array(), shown)


def test_histories(r, data, words):
    epochs = [{"epoch": n, "loss": 1 / n, "val_loss": 2 / n, "accuracy": 1 - 1 / n, "seconds": 1.0} for n in (1, 2, 3)]
    theirs = r.code("plot(gequiR:::as_history(x))", x=epochs)
    figure = gequi.plot_history(epochs)
    cells = data(theirs)
    for axes in figure.axes:
        for line in axes.lines:
            curve = of_panel(of_panel(cells, "metric", axes.get_title()), "examples", line.get_label())
            np.testing.assert_array_equal(line.get_xydata(), np.stack([curve["epoch"], curve["value"]], 1))
    assert set(data(theirs, 1)["colour"]) == {line.get_color() for line in figure.axes[0].lines}
    assert words(theirs, "x") == figure.get_supxlabel()


def test_networks(r, data, words, both):
    theirs, ours = both()
    picture, figure = r.code("plot(x)", x=theirs), gequi.plot_network(ours)
    axes = figure.axes[0]
    cells = data(picture)
    assert cells["channels"].tolist() == [bar.get_width() for bar in axes.patches]
    assert cells["label"].tolist() == [text.get_text() for text in axes.texts]
    assert words(picture, "title") == figure.get_suptitle()
    assert words(picture, "y") == axes.get_xlabel()
    names = r.value(r.code("p$scales$get_scales('x')$labels", p=picture))
    assert names == [label.get_text() for label in axes.get_yticklabels()]


def test_traces(r, data):
    theirs = r.code("plot(x)", x=r.trace_shapes(r.unet(levels=2, width=4, seed=1), [1, 1, 8, 8]))
    axes = gequi.plot_trace(gequi.trace_shapes(gequi.unet(levels=2, width=4, seed=1), (1, 1, 8, 8))).axes[0]
    roles = r.value(r.code("gequiR:::role_colours"))
    assert {name: tuple(pair) for name, pair in roles.items()} == ROLES
    boxes = data(theirs, 3)
    drawn = [patch for patch in axes.patches if patch.get_fill()]
    np.testing.assert_allclose([patch.get_x() for patch in drawn], boxes["xmin"])
    assert [to_hex(patch.get_facecolor()) for patch in drawn] == [color.lower() for color in boxes["fill"]]
    labels = [str(label) for layer in (4, 5, 6) for label in data(theirs, layer)["label"]]
    assert sorted(labels) == sorted(text.get_text() for text in axes.texts)


@pytest.mark.parametrize("x", [
    IMAGE, np.stack([IMAGE, IMAGE * 2]), np.arange(96.0).reshape(2, 4, 3, 4),
], ids=["image", "stack", "batch"])  # fmt: skip
def test_images(r, data, x):
    cells = data(r.plot_image(x))
    figure = gequi.plot_image(x)
    for name, axes in zip(dict.fromkeys(cells["image"].tolist()), figure.axes, strict=True):
        np.testing.assert_array_equal(as_image(of_panel(cells, "image", name)), axes.images[0].get_array())
        if axes.get_title():
            assert " ".join(str(int(w) + 1) if w.isdigit() else w for w in axes.get_title().split()) == name


def test_colors(r, data, random):
    x = random.random((4, 5, 3))
    shown = as_image(data(r.plot_image(x)))
    ours = np.asarray(gequi.plot_image(x).axes[0].images[0].get_array())
    assert [[to_hex(pixel) for pixel in row] for row in ours] == [[each.lower() for each in row] for row in shown]


def test_inverse_functions(r, data, words):
    x = np.linspace(0, 1, 11)
    theirs = r.invert_function(x, x**2, x[:5], weights=True)
    ours = gequi.invert_function(x, x**2, x[:5], weights=True)
    picture, axes = r.code("plot(x)", x=theirs), gequi.plot_inverse_function(ours).axes[0]
    cells = data(picture)
    drawn = np.asarray(axes.images[0].get_array())
    order = np.lexsort((cells["sample"], cells["query"]))
    np.testing.assert_array_equal(cells["weight"][order].reshape(drawn.shape), drawn)
    assert (words(picture, "x"), words(picture, "y")) == (axes.get_xlabel(), axes.get_ylabel())
    curve, figure = r.code("plot(x, type = 'curve')", x=theirs), gequi.plot_inverse_function(ours, "curve")
    np.testing.assert_array_equal(data(curve)["answer"], figure.axes[0].lines[0].get_ydata())
    assert (words(curve, "x"), words(curve, "y")) == (figure.get_supxlabel(), figure.get_supylabel())


def test_inverted_inputs(r):
    start, target = 0.8 * IMAGE[::-1], gequi.gram_image(IMAGE)
    options = {"steps": 4, "learning_rate": 0.01}
    theirs = r.code("plot(x)", x=r.invert_input("gram_image", target, start, **options))
    figure = gequi.plot_inverted_input(gequi.invert_input("gram_image", target, start, **options), start, target)
    assert r.value(r.code("vapply(p, function(x) x$labels$title, '')", p=theirs)) == titles(figure)
    assert r.value(r.code("p[[4]]$labels$x", p=theirs)) == figure.axes[3].get_xlabel()
    np.testing.assert_array_equal(r.value(r.code("p[[4]]$data$loss", p=theirs)), figure.axes[3].lines[0].get_ydata())
