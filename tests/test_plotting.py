"""The public plot functions, checked by their artists, data and labels. test_plots.py tests plots of registrations."""

import subprocess
import sys
from functools import cache

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.text import Text

import gequi
from gequi.errors import FieldError, InputError, ShapeError

C4 = gequi.gspace("rot2dOnR2", N=4)
C8 = gequi.gspace("rot2dOnR2", N=8)
GRAY = {"trivial": 1}
VOLCANO = gequi.sample_image("volcano")
IMAGE = VOLCANO[:21, :21]
LAYERS = [
    {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "relu"}, {"layer": "global_avg_pool"},
    {"layer": "group_pool"}, {"layer": "dense", "units": 3},
]  # fmt: skip
HISTORY = [
    {"epoch": 1, "loss": 0.9, "val_loss": 1.1, "accuracy": 0.4, "learning_rate": 0.1, "seconds": 1.0, "stopped": ""},
    {"epoch": 2, "loss": 0.5, "val_loss": None, "accuracy": 0.7, "learning_rate": 0.1, "seconds": 1.0, "stopped": ""},
]


@cache
def classifier():
    return gequi.equivariant_network(C4, GRAY, LAYERS, seed=1)


@cache
def features():
    return gequi.equivariant_network(C4, GRAY, LAYERS[:1], seed=1)


@cache
def errors():
    return gequi.equivariance_error(lambda x: x**2 + x[..., ::-1], IMAGE[None, None], C8, GRAY, GRAY)


@cache
def inverse():
    x = np.linspace(0, 1, 11)
    return gequi.invert_function(x, x**2, x[:5], weights=True)


@cache
def inverted():
    start = 0.9 * IMAGE
    target = gequi.gram_image(IMAGE)
    return gequi.invert_input("gram_image", target, start, steps=4), start, target


FIGURES = {
    "local errors": lambda: gequi.plot_local_equivariance_error(
        gequi.local_equivariance_error(np.square, IMAGE[None, None])
    ),
    "errors": lambda: gequi.plot_equivariance_error(errors()),
    "many errors": lambda: gequi.plot_equivariance_error([
        {"name": f"a long name {i}", "exact": i % 2 == 0, "error": 10.0**-i} for i in range(16)
    ]),
    "maps": lambda: gequi.plot_equivariance(features(), IMAGE),
    "representations": lambda: gequi.plot_gspace(C4),
    "elements of a cube": lambda: gequi.plot_gspace(gequi.gspace("octaOnR3"), "irrep_1"),
    "orbit": lambda: gequi.plot_gspace(C8, image=VOLCANO),
    "history": lambda: gequi.plot_history(HISTORY),
    "one image": lambda: gequi.plot_image(VOLCANO, titles="Maunga Whau"),
    "images": lambda: gequi.plot_image([IMAGE] * 12),
    "weights": lambda: gequi.plot_inverse_function(inverse()),
    "curve": lambda: gequi.plot_inverse_function(inverse(), "curve"),
    "inverted": lambda: gequi.plot_inverted_input(*inverted()),
    "channels": lambda: gequi.plot_network(classifier()),
    "diagram": lambda: gequi.plot_network(classifier(), (1, 1, 9, 9)),
    "overlay": lambda: gequi.plot_registration(gequi.register_images(IMAGE, IMAGE, transform="translation")),
    "grid": lambda: gequi.plot_registration(gequi.register_images(IMAGE, IMAGE, transform="translation"), "grid"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_word_lies_within_the_figure(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    ticks = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.findobj(Text)]
    shown = [text for text in figure.findobj(Text) if text.get_text().strip() and text not in ticks]
    for text in shown:
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= -1, text.get_text()
        assert box.x1 <= figure.bbox.x1 + 1, text.get_text()
        assert box.y1 <= figure.bbox.y1 + 1, text.get_text()
    labels = [axis.label for axes in figure.axes if axes.axison for axis in (axes.xaxis, axes.yaxis)]
    assert all(label.get_window_extent().y0 >= -1 for label in labels if label.get_text())


def test_figures_leave_no_state_in_pyplot():
    code = (
        "import sys, gequi; gequi.plot_image(gequi.sample_image('volcano')).draw_without_rendering(); "
        "gequi.plot_history([{'epoch': 1, 'loss': 1.0}]).draw_without_rendering(); "
        "assert 'matplotlib.pyplot' not in sys.modules; "
        "import matplotlib.pyplot; sys.exit(len(matplotlib.pyplot.get_fignums()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- equivariance ---------------------------------------------------------------------------------------


def test_a_bar_ends_at_its_error_and_its_color_says_whether_the_element_interpolates():
    axes = gequi.plot_equivariance_error(errors()).axes[0]
    ends = [bar.get_y() + bar.get_height() for bar in axes.patches]
    expected = [row["error"] for row in errors()]
    for end, error in zip(ends, expected, strict=True):
        assert end == pytest.approx(error) or (error == 0 and end == axes.get_ylim()[0])
    exact = [to_hex(bar.get_facecolor()) == "#1b7837" for bar in axes.patches]
    assert exact == [row["exact"] for row in errors()]
    assert [label.get_text() for label in axes.get_xticklabels()] == [row["name"] for row in errors()]
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "equivariance error, relative"
    legend = axes.figure.legends[0].get_texts()
    marks = ["rms inside the disc", "floor: interpolation alone"]
    assert [text.get_text() for text in legend] == ["moves pixels only", "has to interpolate", *marks]
    for line, column in zip(axes.lines, ("rms", "floor"), strict=True):
        assert line.get_xydata().tolist() == [[n, row[column]] for n, row in enumerate(errors()) if not row["exact"]]


def test_an_error_of_zero_has_no_bar_and_is_marked():
    rows = [{"name": "a", "exact": True, "error": 0.0}, {"name": "b", "exact": True, "error": 1e-3}]
    axes = gequi.plot_equivariance_error(rows).axes[0]
    assert [bar.get_height() > 0 for bar in axes.patches] == [False, True]
    assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [("0", 0)]
    assert len(axes.figure.legends[0].get_texts()) == 1


def test_many_bars_and_long_names_are_horizontal_with_the_first_at_the_top():
    axes = FIGURES["many errors"]().axes[0]
    assert axes.get_xscale() == "log"
    assert [bar.get_x() + bar.get_width() for bar in axes.patches] == pytest.approx([10.0**-i for i in range(16)])
    assert axes.yaxis_inverted()
    assert axes.get_yticklabels()[3].get_text() == "a long name 3"


def test_the_maps_of_a_network_are_shown_with_arrows_to_where_its_channels_go():
    figure = gequi.plot_equivariance(features(), IMAGE)
    axes = figure.axes[0]
    maps = gequi.symmetry.equivariance_maps(features(), IMAGE)
    shown = [np.asarray(image.get_array()) for image in axes.images]
    expected = [maps["input"], *maps["maps"], maps["moved"], *maps["maps_of_moved"], *maps["difference"]]
    assert len(shown) == len(expected) == 14
    for one, other in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    limits = {(image.norm.vmin, image.norm.vmax) for image in (*axes.images[1:5], *axes.images[6:10])}
    assert len(limits) == 1  # the features share a scale
    low, high = axes.images[-1].norm.vmin, axes.images[-1].norm.vmax
    assert low == -high
    assert high >= maps["maps"].max()
    arrows = [text for text in axes.texts if getattr(text, "arrow_patch", None)]
    columns = sorted({round(arrow.xyann[0]) for arrow in arrows})
    assert [columns.index(round(arrow.xy[0])) for arrow in arrows] == maps["moves_to"] == [1, 2, 3, 0]
    words = [text.get_text() for text in axes.texts]
    assert words[:5] == ["image", "0°", "90°", "180°", "270°"]
    assert words[5:8] == ["f(x)", "f(g x)\n90°", "difference"]
    assert float(words[8].removeprefix("largest\n")) < 1e-5


def test_the_difference_of_a_map_that_is_not_equivariant_is_seen():
    shift = gequi.plot_equivariance(lambda x: np.roll(x, 3, axis=3), IMAGE, 1, 0, C4, GRAY, GRAY).axes[0].images[-1]
    assert np.ptp(shift.get_array()) > 0.1 * (shift.norm.vmax - shift.norm.vmin)


# ---- groups ---------------------------------------------------------------------------------------------


def test_each_representation_has_a_row_and_each_element_a_column_of_matrices():
    axes = gequi.plot_gspace(C4, ["irrep_1", "regular"], elements=[1, 2]).axes[0]
    assert len(axes.collections) == 4
    quarter = np.asarray(axes.collections[0].get_array())
    np.testing.assert_allclose(quarter, [[0, -1], [1, 0]], atol=1e-9)
    np.testing.assert_allclose(
        axes.collections[3].get_array(), gequi.representation_matrix(C4, "regular", 2), atol=1e-9
    )
    assert axes.yaxis_inverted()  # row 0 at the top
    mesh = axes.collections[0]
    assert [to_hex(mesh.cmap(mesh.norm(value))) for value in (-1, 1)] == ["#2166ac", "#b2182b"]
    assert [text.get_text() for text in axes.texts] == ["irrep_1", "regular", "90°", "180°"]
    assert axes.figure.axes[1].get_yticks().tolist() == [-1, 0, 1]


def test_the_orbit_of_an_image_is_the_image_transformed_by_each_element():
    figure = gequi.plot_gspace(C4, image=VOLCANO)
    for number, axes in enumerate(figure.axes):
        np.testing.assert_array_equal(axes.images[0].get_array(), np.rot90(VOLCANO, number))
        assert axes.get_title() == f"{90 * number}°"
    assert len({axes.images[0].norm.vmax for axes in figure.axes}) == 1


# ---- training -------------------------------------------------------------------------------------------


def test_a_history_has_a_panel_per_metric_and_a_curve_per_set_of_examples():
    figure = gequi.plot_history(HISTORY)
    loss, accuracy = figure.axes
    assert [loss.get_title(), accuracy.get_title()] == ["loss", "accuracy"]
    curves = {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in loss.lines}
    assert curves == {"training": ([1, 2], [0.9, 0.5]), "validation": ([1], [1.1])}
    assert [line.get_label() for line in accuracy.lines] == ["training"]
    assert [line.get_color() for line in loss.lines] == ["#c2a5cf", "#1b7837"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "validation"]
    assert figure.get_supxlabel() == "epoch"


# ---- images ---------------------------------------------------------------------------------------------


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def shown(figure):
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def test_images_share_a_scale_and_a_center():
    figure = gequi.plot_image([np.arange(6.0).reshape(2, 3), np.full((4, 1), 9.0)])
    assert titles(figure) == ["0", "1"]
    assert {(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in figure.axes} == {(0, 9)}
    for axes, (rows, columns) in zip(figure.axes, [(2, 3), (4, 1)], strict=True):
        assert sum(axes.get_xlim()) / 2 == (columns - 1) / 2
        assert (np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())) == (3, 4)
        assert sum(axes.get_ylim()) / 2 == (rows - 1) / 2
        assert axes.yaxis_inverted()


def test_channels_are_colors_or_images_as_r_takes_them(random):
    batch = random.random((2, 4, 3, 5))
    figure = gequi.plot_image(batch)
    assert titles(figure) == [f"{i} channel {k}" for i in range(2) for k in range(4)]
    np.testing.assert_array_equal(shown(figure)[6], batch[1, 2])
    assert titles(gequi.plot_image(batch[:1])) == [f"channel {k}" for k in range(4)]
    assert titles(gequi.plot_image(batch[:, :1])) == ["0", "1"]
    np.testing.assert_allclose(shown(gequi.plot_image(batch[:, :3]))[1], batch[1, :3].transpose(1, 2, 0))
    np.testing.assert_array_equal(shown(gequi.plot_image(batch[0]))[2], batch[0, 2])  # slices (4, 3, 5)
    picture = random.random((3, 5, 4))
    np.testing.assert_allclose(shown(gequi.plot_image(picture))[0], picture)
    np.testing.assert_array_equal(shown(gequi.plot_image(picture[..., :2]))[0], picture[..., 0])


@pytest.mark.parametrize(("change", "limits"), [
    (lambda x: x, None), (lambda x: 255 * x, None), (lambda x: x + 2, (2, 3)),
])  # fmt: skip
def test_colors_are_scaled_by_their_range_or_by_limits(random, change, limits):
    picture = random.random((3, 5, 3))
    np.testing.assert_allclose(shown(gequi.plot_image(change(picture), limits=limits))[0], picture)


def test_missing_pixels_are_gray():
    figure = gequi.plot_image([[0.0, np.nan], [1.0, 2.0]])
    image = figure.axes[0].images[0]
    assert to_hex(image.cmap(image.norm(image.get_array()))[0, 1]) == "#7f7f7f"
    assert (image.norm.vmin, image.norm.vmax) == (0, 2)


def test_files_and_folders_of_images_are_shown_by_their_names(tmp_path):
    gequi.write_image(IMAGE / 255, tmp_path / "a.png")
    gequi.write_image(VOLCANO[:9] / 255, tmp_path / "b.png")
    figure = gequi.plot_image(tmp_path)
    assert titles(figure) == ["a.png", "b.png"]
    np.testing.assert_allclose(shown(figure)[1], VOLCANO[:9].round() / 255, atol=1e-6)
    assert titles(gequi.plot_image([tmp_path / "b.png", str(tmp_path / "a.png")])) == ["b.png", "a.png"]
    assert titles(gequi.plot_image({"first": tmp_path / "b.png", "second": IMAGE})) == ["first", "second"]
    assert titles(gequi.plot_image([IMAGE, IMAGE], titles=["same", "same"])) == ["same", "same 1"]


# ---- networks -------------------------------------------------------------------------------------------


def test_the_bars_of_a_network_are_its_channels():
    figure = gequi.plot_network(classifier())
    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [1, 8, 8, 8, 2, 3]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "input", "conv", "relu", "global avg pool", "group pool", "dense",
    ]  # fmt: skip
    assert axes.texts[0].get_text() == "1 trivial"
    assert axes.texts[5].get_text() == "3 trivial, 9 parameters"
    assert [to_hex(bar.get_facecolor()) == "#1b7837" for bar in axes.patches] == [
        False,
        True,
        False,
        False,
        False,
        True,
    ]
    assert figure.get_suptitle() == "rot2dOnR2(N = 4)"


def test_a_diagram_has_the_boxes_wires_and_labels_of_its_layout():
    trace = gequi.trace_shapes(gequi.unet(levels=2, width=2, seed=1), (1, 1, 8, 8))
    layout = gequi.tracing.lay_out(trace)
    figure = gequi.plot_trace(trace)
    axes = figure.axes[0]
    boxes = [box for box in layout["boxes"] if box["role"] != "end"]
    drawn = [patch for patch in axes.patches if patch.get_fill()]
    assert len(drawn) == len(boxes)
    assert len(axes.patches) - len(drawn) == len(layout["frames"])
    for patch, box in zip(drawn, boxes, strict=True):
        assert patch.get_center() == pytest.approx((box["x"], box["y"]))
    wires = [line for line in axes.lines if line.get_marker() == "None"]
    assert len(wires) == len({point["line"] for point in layout["wires"]})
    first = [point for point in layout["wires"] if point["line"] == 1]
    np.testing.assert_array_equal(wires[0].get_xydata(), [(point["x"], point["y"]) for point in first])
    assert len(axes.lines) - len(wires) == len(layout["dots"])
    words = [text.get_text() for text in axes.texts]
    expected = [
        each[key]
        for table, key in (("frames", "label"), ("boxes", "label"), ("labels", "text"))
        for each in layout[table]
    ]
    assert sorted(words) == sorted(expected)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["learns weights", "is nonlinear", "resizes", "joins"]
    assert len(gequi.plot_trace(trace, depth=1).axes[0].patches) < len(axes.patches)


def test_the_letters_of_a_diagram_scale_with_it():
    figure = gequi.plot_network(classifier(), (1, 1, 9, 9))
    text = next(each for each in figure.axes[0].texts if each.get_rotation() == 90)
    sizes = []
    for factor in (1, 2):
        figure.set_size_inches(factor * figure.get_size_inches())
        figure.draw_without_rendering()
        sizes.append(text.get_window_extent().height)
    assert sizes[1] / sizes[0] == pytest.approx(2, rel=0.1)


# ---- inverse problems -----------------------------------------------------------------------------------


def test_attention_weights_are_a_picture_with_a_row_per_query():
    figure = gequi.plot_inverse_function(inverse())
    axes, bar = figure.axes
    np.testing.assert_array_equal(axes.images[0].get_array(), inverse()["weights"])
    assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("sample (key and value)", "query", "weight")
    assert axes.images[0].norm.vmin == 0
    curve = gequi.plot_inverse_function(inverse(), "curve")
    np.testing.assert_array_equal(curve.axes[0].lines[0].get_ydata(), inverse()["output"])
    assert (curve.get_supxlabel(), curve.get_supylabel()) == ("query", "answer")


def test_results_with_two_axes_are_two_curves(random):
    points = random.random((9, 2))
    found = gequi.invert_function(points, points, points[:4], weights=True)
    figure = gequi.plot_inverse_function(found, "curve")
    assert titles(figure) == ["axis 0", "axis 1"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), found["output"][:, 1])


def test_an_inverted_input_is_shown_beside_its_start_and_its_target():
    found, start, target = inverted()
    before, after, aim, loss = gequi.plot_inverted_input(found, start, target).axes
    for axes, expected in ((before, start), (after, found["solution"]), (aim, target)):
        np.testing.assert_array_equal(axes.images[0].get_array(), expected)
    assert before.images[0].norm.vmax == after.images[0].norm.vmax
    assert after.get_title() == f"solution, step {found['best_step']}"
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), found["loss"])
    assert loss.lines[1].get_ydata().item() == found["best_loss"]


def test_what_is_no_image_is_shown_as_bars():
    start = np.array([[1.0, 2.0, 3.0]])
    found = gequi.invert_input(torch.nn.Linear(3, 2), np.zeros((1, 2)), start, steps=2)
    axes = gequi.plot_inverted_input(found, start, np.zeros((1, 2))).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 2, 3]


# ---- what is refused ------------------------------------------------------------------------------------

BAD = {
    "no table": (lambda: gequi.plot_equivariance_error(3), InputError, "`errors` must be a table from equivariance_error"),
    "no column": (lambda: gequi.plot_equivariance_error([{"name": "a"}]), InputError, "it has no 'exact', 'error'"),
    "no error": (
        lambda: gequi.plot_equivariance_error([{"name": "a", "exact": True, "error": -1.0}]), InputError,
        "`errors` must have finite errors of at least 0; got -1.0",
    ),
    "no epochs": (lambda: gequi.plot_history([]), InputError, "`history` must be a table from fit"),
    "no metric": (lambda: gequi.plot_history([{"epoch": 1}]), InputError, "it has no 'loss'"),
    "text": (
        lambda: gequi.plot_history([{"epoch": 1, "loss": "low"}]), InputError, "numbers in the column 'loss'; got 'low'"
    ),
    "no element": (lambda: gequi.plot_gspace(C4, elements=[4]), InputError, "`elements` must be from 0 to 3; got 4"),
    "no elements": (lambda: gequi.plot_gspace(C4, elements=[]), InputError, "`elements` is empty"),
    "no representation": (lambda: gequi.plot_gspace(C4, "irrep_9"), FieldError, "irrep_9"),
    "no gspace": (lambda: gequi.plot_gspace(3), InputError, "`space` must be a gspace"),
    "a vector": (lambda: gequi.plot_image(np.ones(3)), ShapeError, "`x` must have 2 or 3 or 4 axes"),
    "no images": (lambda: gequi.plot_image([]), ShapeError, "`x`"),
    "no file": (lambda: gequi.plot_image("none.png"), InputError, "there is no file 'none.png'"),
    "no picture": (lambda: gequi.plot_image("banana"), InputError, "'banana' is neither a folder nor an image file"),
    "two titles": (
        lambda: gequi.plot_image(IMAGE, titles=["a", "b"]), ShapeError, "`titles` must have one title per image, 1; got 2"
    ),
    "one limit": (lambda: gequi.plot_image(IMAGE, limits=1), InputError, "`limits` must be None or two finite numbers"),
    "no shape": (lambda: gequi.plot_network(torch.nn.Linear(2, 2)), InputError, "`input_shape` is missing"),
    "no diagram": (lambda: gequi.plot_network(classifier(), depth=1), InputError, "`depth` is for diagrams"),
    "no trace": (lambda: gequi.plot_trace([1]), InputError, "`trace` must be a table"),
    "no weights": (lambda: gequi.plot_inverse_function(np.ones(3)), InputError, "`found` must be a result with `output`"),
    "no type": (lambda: gequi.plot_inverse_function(inverse(), "bars"), InputError, "`type` must be one of 'weights'"),
    "no solution": (lambda: gequi.plot_inverted_input({}, IMAGE, IMAGE), InputError, "result of invert_input"),
    "no start": (
        lambda: gequi.plot_inverted_input(inverted()[0], VOLCANO, IMAGE), ShapeError, "`start` must have the shape"
    ),
    "no registration": (lambda: gequi.plot_registration(3), InputError, "`found` must be a registration"),
    "no pairs": (lambda: gequi.plot_registration([3]), InputError, "`found` must be a registration"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_plotted_is_refused(name):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()


def test_several_registrations_have_a_panel_each():
    found = gequi.register_images([IMAGE, IMAGE], [IMAGE] * 2, transform="translation")
    assert titles(gequi.plot_registration(found)) == titles(gequi.plot_registration(list(found))) == ["0", "1"]
