"""Tracing: the shapes in a network, and the connections of its modules."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import gequi
from gequi._escnn import escnn
from gequi.architectures import identity_resnet, image_classifier_mlp, unet
from gequi.attention import multi_head_attention, visual_attention
from gequi.errors import InputError
from gequi.tracing import as_dot, trace_shapes

C4 = gequi.gspace("rot2dOnR2", N=4)


def by_name(trace):
    return {row["name"]: row for row in trace}


def leaves(trace):
    return [row for row in trace if row["leaf"]]


def test_the_table_of_a_classifier():
    trace = trace_shapes(image_classifier_mlp(seed=1, output="probabilities"), (1, 1, 28, 28))
    assert [
        (row["name"], row["kind"], row["input"], row["output"], row["parameters"], row["depth"]) for row in trace
    ] == [
        ("(model)", "Sequential", "1 1 28 28", "1 10", 669706, 0),
        ("flatten", "Flatten", "1 1 28 28", "1 784", 0, 1),
        ("linear_1", "Linear", "1 784", "1 512", 401920, 1),
        ("relu_1", "ReLU", "1 512", "1 512", 0, 1),
        ("linear_2", "Linear", "1 512", "1 512", 262656, 1),
        ("relu_2", "ReLU", "1 512", "1 512", 0, 1),
        ("linear_3", "Linear", "1 512", "1 10", 5130, 1),
        ("softmax", "Softmax", "1 10", "1 10", 0, 1),
        ("output", "output", "1 10", "1 10", 0, 0),
    ]
    assert [row["sources"] for row in trace] == [
        "", "input", "flatten", "linear_1", "relu_1", "linear_2", "relu_2", "linear_3", "softmax"]  # fmt: skip
    assert trace[1]["axes"] == "batch channel"
    assert not trace[0]["leaf"]


def test_the_shapes_of_the_residual_network_are_those_of_its_figure():
    trace = by_name(trace_shapes(identity_resnet(seed=1), (3, 3, 32, 32)))
    shapes = {"conv": "3 16 32 32", "block_1": "3 64 32 32", "block_2": "3 128 16 16", "block_3": "3 256 8 8",
              "pool": "3 256 1 1", "flatten": "3 256", "linear": "3 10"}  # fmt: skip
    assert {name: trace[name]["output"] for name in shapes} == shapes
    assert trace["(model)"]["parameters"] == 314_698
    assert sum(row["parameters"] for row in trace.values() if row["leaf"]) == 314_698


def test_residual_connections_are_found():
    trace = by_name(trace_shapes(identity_resnet(components=2, widths=(8, 16), seed=1), (1, 3, 8, 8)))
    first, second = trace["block_1.2.add"], trace["block_1.3.add"]
    assert (first["kind"], first["input"], first["output"]) == ("add", "1 16 8 8, 1 16 8 8", "1 16 8 8")
    assert first["sources"] == "block_1.2.main.6, block_1.2.shortcut"
    assert second["sources"] == "block_1.3.main.8, block_1.2.add"
    assert trace["block_1.2.shortcut"]["sources"] == trace["block_1.2.main.0"]["sources"] == "block_1.1"
    assert trace["norm"]["sources"] == "block_1.3.add"


@pytest.mark.parametrize("variant", ["ronneberger", "circuit"])
def test_skip_connections_of_a_u_net_are_found(variant):
    trace = trace_shapes(unet(levels=3, width=4, variant=variant, seed=1), (1, 1, 16, 16))
    joins = [row["sources"] for row in trace if row["kind"] == "concat"]
    expected = ["enlarge.0, down.2.3", "enlarge.1, down.1.3", "enlarge.2, down.0.3"]
    assert joins == (expected if variant == "ronneberger" else expected[:2])
    repeated = [(row["name"], row["input"], row["output"]) for row in trace if row["kind"] == "MaxPool2d"]
    assert repeated == [("shrink", "1 4 16 16", "1 4 8 8"), ("shrink (2)", "1 8 8 8", "1 8 4 4"),
                        ("shrink (3)", "1 16 4 4", "1 16 2 2")]  # fmt: skip


def test_equivariant_networks_are_traced_with_their_connections():
    network = unet(levels=2, width=8, space=C4, seed=1)
    trace = by_name(trace_shapes(network, (1, 1, 8, 8)))
    assert trace["layers.4.concat"]["sources"] == "layers.4.main.11, layers.3"
    assert trace["layers.4.main.5.concat"]["sources"] == "layers.4.main.5.main.6, layers.4.main.4"
    assert trace["layers.0"]["kind"] == "R2Conv"
    assert trace["(model)"]["parameters"] == sum(p.numel() for p in network.parameters())
    residual = trace_shapes(identity_resnet(components=2, widths=(8, 16), space=C4, seed=1), (1, 3, 9, 9))
    joins = [row["sources"] for row in residual if row["kind"] == "add"]
    assert joins == ["layers.3.main.6, layers.3.shortcut.0", "layers.4.main.8, layers.3.add"]


def test_escnns_own_modules_are_traced():  # torchinfo and torchview refuse them
    image = escnn.nn.FieldType(C4, [C4.trivial_repr])
    fields = escnn.nn.FieldType(C4, [C4.regular_repr] * 3)
    model = escnn.nn.SequentialModule(
        escnn.nn.R2Conv(image, fields, 3),
        escnn.nn.InnerBatchNorm(fields),
        escnn.nn.ReLU(fields),
        escnn.nn.GroupPooling(fields),
    )
    rows = [(row["kind"], row["input"], row["output"], row["depth"]) for row in trace_shapes(model, (2, 1, 32, 32))]
    assert rows == [
        ("SequentialModule", "2 1 32 32", "2 3 30 30", 0),
        ("R2Conv", "2 1 32 32", "2 12 30 30", 1),
        ("InnerBatchNorm", "2 12 30 30", "2 12 30 30", 1),
        ("ReLU", "2 12 30 30", "2 12 30 30", 1),
        ("GroupPooling", "2 12 30 30", "2 3 30 30", 1),
        ("output", "2 3 30 30", "2 3 30 30", 0),
    ]


@pytest.mark.parametrize("wrap", [list, tuple])
def test_models_of_several_inputs_are_traced(wrap):  # the source's tracker took one
    trace = trace_shapes(multi_head_attention(8, 2, seed=1), wrap([(1, 5, 8), (1, 7, 8)]))
    assert [(row["name"], row["input"], row["output"], row["sources"]) for row in trace] == [
        ("(model)", "1 5 8, 1 7 8", "1 5 8", "input 1, input 2"), ("output", "1 5 8", "1 5 8", "(model)")]  # fmt: skip
    assert trace[0]["axes"] == "batch token feature"
    assert trace[0]["parameters"] == 4 * 8 * 8
    inner = nn.ModuleDict({"visual": visual_attention(4, seed=1)})
    inner.forward = lambda query, context: inner["visual"](query, context) + query
    joined = by_name(trace_shapes(inner, [(1, 4, 6, 6), (1, 4, 5, 5)]))
    assert joined["add"]["sources"] == "visual, input 1"


def test_torchs_own_attention_and_transformer_layer_are_traced():
    trace = by_name(trace_shapes(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (1, 5, 8)))
    assert trace["add"]["sources"] == "input, dropout1"
    assert trace["add (2)"]["sources"] == "norm1, dropout2"
    assert trace["self_attn"]["leaf"]


def test_a_module_that_is_used_twice_has_its_parameters_counted_once():
    shared = nn.Linear(3, 3)
    trace = trace_shapes(nn.Sequential(shared, nn.ReLU(), shared), (1, 3))
    assert [(row["name"], row["parameters"]) for row in leaves(trace)] == [
        ("0", 12),
        ("1", 0),
        ("0 (2)", 0),
        ("output", 0),
    ]


def test_functions_between_modules_pass_on_where_their_arguments_come_from():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(8, 2)

        def forward(self, x):
            hidden = torch.relu(self.first(x)).unsqueeze(1).squeeze(1) * 2
            doubled = hidden + hidden
            for _ in range(20):  # a new tensor may have the id of a deleted one
                gone = x * 1
                del gone
                doubled = doubled + torch.zeros(1, 4)
            return self.second(torch.cat([doubled, x.clone()], dim=1))

    trace = by_name(trace_shapes(Model(), (1, 4)))
    assert set(trace) == {"(model)", "first", "concat", "second", "output"}
    assert trace["concat"]["sources"] == "first, input"


def test_a_model_is_left_as_it_was():
    model = unet(levels=1, width=2, seed=1)
    model.train()
    weights = [parameter.clone() for parameter in model.parameters()]
    trace_shapes(model, (1, 1, 4, 4))
    assert model.training
    assert all(torch.equal(before, after) for before, after in zip(weights, model.parameters(), strict=True))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with pytest.raises(InputError):
        trace_shapes(model, (1, 1, 5, 5))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    norm = nn.BatchNorm1d(3)
    trace_shapes(norm, (2, 3))
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trace_shapes("unet", (1, 1)), "`model` must be a network; got 'unet'"),
        (
            lambda: trace_shapes(nn.Linear(4, 2), (1, 5)),
            "`input_shape` 1 5 is not accepted by the model: RuntimeError",
        ),
        (
            lambda: trace_shapes(unet(levels=1, width=1, seed=1), (1, 1, 3, 4)),
            "ShapeError: `x` must have rows and columns",
        ),
        (lambda: trace_shapes(nn.Linear(4, 2), (1, 2.5)), r"`input_shape` must be a whole number; got 2\.5"),
        (lambda: trace_shapes(nn.Linear(4, 2), (0, 4)), "`input_shape` must be at least 1"),
        (lambda: trace_shapes(nn.Linear(4, 2), ()), "`input_shape` must be a shape, such as"),
        (lambda: trace_shapes(nn.Linear(4, 2), None), "`input_shape` must be a shape, such as"),
        (lambda: as_dot([]), "`trace` must be a table, as trace_shapes"),
        (lambda: as_dot([{"name": "x"}]), "`trace` must be a table, as trace_shapes"),
        (lambda: as_dot(trace_shapes(nn.Linear(4, 2), (1, 4)), "up"), "`direction` must be one of 'TB', 'LR'"),
    ],
)
def test_errors_name_the_argument(call, message):
    with pytest.raises(InputError, match=message):
        call()


# ---- dot ------------------------------------------------------------------------------------------------


def test_a_graph_has_a_box_for_each_leaf_an_arrow_for_each_source_and_balanced_frames():
    trace = trace_shapes(identity_resnet(components=2, widths=(8, 16, 16), seed=1), (1, 3, 8, 8))
    text = as_dot(trace, "LR")
    assert text.startswith("digraph network {\n  rankdir=LR;")
    assert text.count("{") == text.count("}") == 1 + len(re.findall("subgraph", text))
    boxes = re.findall(r'^\s*"([^"]+)" \[(?:label|shape)', text, re.MULTILINE)
    assert sorted(boxes) == sorted(["input", *(row["name"] for row in leaves(trace))])
    arrows = re.findall(r'"([^"]+)" -> "([^"]+)" \[label="([^"]+)"\]', text)
    expected = [(source, row["name"]) for row in leaves(trace) for source in row["sources"].split(", ")]
    assert [arrow[:2] for arrow in arrows] == expected
    labels = {arrow[:2]: arrow[2] for arrow in arrows}
    assert labels["input", "conv"] == "channel 3, row 8, column 8"
    assert labels["block_1.3.add", "block_2.0"] == "channel 16, row 8, column 8"
    assert labels["linear", "output"] == "channel 10"
    assert '"conv" [label="Conv2d\\n224 parameters"]' in text


def test_frames_hold_the_boxes_of_their_container():
    text = as_dot(trace_shapes(unet(levels=1, width=2, seed=1), (1, 1, 4, 4)))
    frame = re.search(r'subgraph "cluster down.0" \{(.*?)\n  \}', text, re.DOTALL)
    assert re.findall(r'"(down[^"]*)" \[', frame[1]) == ["down.0.0", "down.0.1", "down.0.2", "down.0.3"]
    assert "bottom" not in frame[1]


def test_tracing_leaves_a_new_network_as_it_is():
    layers = [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}]
    network = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", layers, seed=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    gequi.trace_shapes(network, (1, 1, 9, 9))
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
