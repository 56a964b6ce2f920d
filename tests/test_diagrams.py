"""Diagrams: boxes do not touch, wires go around other boxes, and labels show changed shapes."""

from __future__ import annotations

import itertools

import pytest
from torch import nn

import gequi
from gequi.architectures import identity_resnet, image_classifier_mlp, unet
from gequi.attention import visual_attention
from gequi.errors import InputError
from gequi.tracing import lay_out, trace_shapes

TRACES = {
    "U-Net": trace_shapes(unet(levels=3, width=4, seed=1), (1, 1, 16, 16)),
    "circuit": trace_shapes(unet(levels=3, width=4, variant="circuit", seed=1), (1, 1, 16, 16)),
    "ResNet": trace_shapes(identity_resnet(widths=(4, 8, 16), seed=1), (1, 3, 8, 8)),
    "equivariant U-Net": trace_shapes(
        unet(levels=2, width=4, space=gequi.gspace("rot2dOnR2", N=4), seed=1), (1, 1, 8, 8)
    ),
    "classifier": trace_shapes(image_classifier_mlp(seed=1), (1, 1, 28, 28)),
    "attention": trace_shapes(visual_attention(4, seed=1), [(1, 4, 8, 8), (1, 4, 6, 6)]),
    "transformer": trace_shapes(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 5, 8)),
}
EVERY = [(name, depth) for name, trace in TRACES.items() for depth in range(1, 1 + max(row["depth"] for row in trace))]
EVERY += [("attention", 1), ("classifier", None)]


def paths(drawing):
    lines = {}
    for point in drawing["wires"]:
        lines.setdefault(point["line"], []).append((point["x"], point["y"]))
    return lines


@pytest.mark.parametrize(("name", "depth"), EVERY)
def test_boxes_do_not_touch_and_no_wire_crosses_a_box(name, depth):
    drawing = lay_out(TRACES[name], depth)
    for a, b in itertools.combinations(drawing["boxes"], 2):
        assert abs(a["x"] - b["x"]) > a["width"] or abs(a["y"] - b["y"]) > a["height"], (a["name"], b["name"])
    boxes = [box for box in drawing["boxes"] if box["role"] != "end"]
    for line in paths(drawing).values():
        for (x0, y0), (x1, y1) in itertools.pairwise(line):
            assert abs(x0 - x1) < 1e-9 or abs(y0 - y1) < 1e-9  # horizontal or vertical
            for box in boxes:
                inside_x = (
                    max(min(x0, x1), box["x"] - box["width"] / 2) < min(max(x0, x1), box["x"] + box["width"] / 2) - 1e-9
                )
                inside_y = (
                    max(min(y0, y1), box["y"] - box["height"] / 2)
                    < min(max(y0, y1), box["y"] + box["height"] / 2) - 1e-9
                )
                within_x = x0 == x1 and abs(x0 - box["x"]) < box["width"] / 2 - 1e-9
                within_y = y0 == y1 and abs(y0 - box["y"]) < box["height"] / 2 - 1e-9
                assert not (inside_x and within_y), (box["name"], line)
                assert not (inside_y and within_x), (box["name"], line)


@pytest.mark.parametrize(("name", "depth"), EVERY)
def test_each_wire_runs_from_an_edge_of_its_source_to_an_edge_of_its_target(name, depth):
    drawing = lay_out(TRACES[name], depth)
    for line in paths(drawing).values():
        start, end = line[0], line[-1]
        assert any(abs(start[0] - box["x"] - box["width"] / 2) < 1e-9 and abs(start[1] - box["y"]) < box["height"] / 2
                   for box in drawing["boxes"])  # fmt: skip
        assert any(
            (abs(end[0] - box["x"] + box["width"] / 2) < 1e-9 and abs(end[1] - box["y"]) < box["height"] / 2)
            or (abs(abs(end[1] - box["y"]) - box["height"] / 2) < 1e-9 and abs(end[0] - box["x"]) < box["width"] / 2)
            for box in drawing["boxes"]
        )


def test_a_u_net_makes_a_u_and_its_skip_connections_run_level():
    drawing = lay_out(TRACES["U-Net"], 1)
    y = {box["name"]: box["y"] for box in drawing["boxes"]}
    assert y["input"] == y["down.0"] == y["concat (3)"] == y["up.2"] == y["output"]
    assert y["down.0"] > y["down.1"] == y["concat (2)"] > y["down.2"] == y["concat"] > y["bottom"]
    assert len(drawing["dots"]) == 3 * 3  # three skip connections of three lines each leave another wire


def test_residual_connections_go_over_their_boxes_and_a_shortcut_has_a_row_of_its_own():
    drawing = lay_out(trace_shapes(identity_resnet(components=2, widths=(4, 8), seed=1).block_1, (1, 4, 8, 8)), 2)
    y = {box["name"]: box["y"] for box in drawing["boxes"]}
    assert y["2.shortcut"] > y["2.main"] == y["2.add"] == y["3.main"]
    over = [point for point in drawing["wires"] if point["y"] > y["2.main"] + 0.85]
    assert {point["axis"] for point in over} == {"channel", "row", "column"}


def test_wires_have_a_line_for_each_axis_but_the_batch_and_labels_where_the_shape_is_new():
    drawing = lay_out(TRACES["classifier"])
    assert [label["text"] for label in drawing["labels"]] == [
        "c 1", "y 28", "x 28", "c 784", "c 512", "c 10"]  # fmt: skip
    axes = {}
    for point in drawing["wires"]:
        axes.setdefault(point["wire"], {}).setdefault(point["line"], point["axis"])
    assert list(axes[1].values()) == ["channel", "row", "column"]
    assert list(axes[2].values()) == ["channel"]
    tokens = lay_out(TRACES["transformer"])
    assert {"n 5", "f 8", "f 16"} == {label["text"] for label in tokens["labels"]}


def test_roles_colours_and_frames():
    drawing = lay_out(TRACES["ResNet"], 3)
    roles = {box["name"]: box["role"] for box in drawing["boxes"]}
    assert roles["conv"] == roles["linear"] == "learned"
    assert roles["norm"] == "normalizes"
    assert roles["relu"] == "nonlinear"
    assert roles["pool"] == roles["flatten"] == "resizes"
    assert roles["block_1.2.add"] == "join"
    assert roles["block_1.2.main"] == "holds"
    assert roles["input"] == roles["output"] == "end"
    labels = {box["name"]: box["label"] for box in drawing["boxes"]}
    assert labels["block_1.2.main"] == "main"
    box = {box["name"]: box for box in drawing["boxes"]}
    frames = {frame["label"]: frame for frame in drawing["frames"]}
    assert set(frames) == {"block_1", "block_2", *(f"block_{b}.{i}" for b in (1, 2) for i in (2, 3, 4))}
    frame = frames["block_1.2"]
    for name in ("block_1.2.main", "block_1.2.shortcut", "block_1.2.add"):
        assert frame["left"] < box[name]["x"] - 0.35
        assert box[name]["x"] + 0.35 < frame["right"]
        assert frame["bottom"] < box[name]["y"] - 0.85
        assert box[name]["y"] + 0.85 < frame["top"]
    assert frames["block_1"]["left"] < frame["left"]
    assert frame["right"] < box["block_1.3.main"]["x"] - 0.35


def test_the_depth_is_chosen_so_that_a_diagram_stays_readable():
    assert len(lay_out(TRACES["ResNet"])["boxes"]) <= 34
    full = lay_out(TRACES["ResNet"], 9)["boxes"]
    assert len(full) == sum(row["leaf"] for row in TRACES["ResNet"]) + 1
    assert len(lay_out(TRACES["U-Net"], 1)["boxes"]) < len(lay_out(TRACES["U-Net"], 2)["boxes"])


def test_text_fits_into_its_box():
    for trace in TRACES.values():
        for box in lay_out(trace, 9)["boxes"]:
            assert 0.78 * box["letters"] * len(box["label"]) < box["height"]


def test_errors_name_the_argument():
    with pytest.raises(InputError, match="`depth` must be at least 1"):
        lay_out(TRACES["U-Net"], 0)
    with pytest.raises(InputError, match="`trace` must be a table"):
        lay_out("trace")
