"""The FLOPs of each layer are those that torch counts in the plain form of a network."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import gequi
from gequi.networks import describe_network, plain_network

C4, D4, OCTA = gequi.gspace("rot2dOnR2", N=4), gequi.gspace("flipRot2dOnR2", N=4), gequi.gspace("octaOnR3")
CONV = {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3, "padding": 1}
NORM = {"layer": "batch_norm"}

EXACT = {
    "convolutions": (C4, [CONV, NORM, {"layer": "relu"}, {**CONV, "groups": 2, "stride": 2, "padding": 2, "dilation": 2}]),
    "transposed": (C4, [{"layer": "conv_transposed", "fields": {"irrep_1": 2}, "kernel_size": 3, "stride": 2,
                         "output_padding": 1}]),
    "volumes": (OCTA, [CONV, {"layer": "max_pool", "kernel_size": 2}, {"layer": "upsample", "scale_factor": 2}]),
    "vectors": (C4, [CONV, {"layer": "global_avg_pool"}, {"layer": "flatten"}, {"layer": "linear", "fields": {"irrep_1": 2}}]),
    "classes": (C4, [CONV, {"layer": "group_pool"}, {"layer": "global_avg_pool"}, {"layer": "dense", "units": 3},
                     {"layer": "softmax"}]),
    "branches": (C4, [{"layer": "residual", "layers": [CONV, CONV], "shortcut": [{**CONV, "kernel_size": 1, "padding": 0}]},
                      {"layer": "skip", "layers": [CONV, {"layer": "residual", "layers": [CONV]}]}]),
    "blurs": (C4, [{"layer": "avg_pool", "antialiased": True, "stride": 2},
                   {"layer": "max_pool", "kernel_size": 3, "antialiased": True, "stride": 1}]),
    "merging": (C4, [CONV, {"layer": "patch_merging"}]),
    "patches": (C4, [{"layer": "patch_embedding", "fields": {"regular": 2}, "patch_size": 4}, {"layer": "token_norm"},
                     {"layer": "patch_expansion", "fields": {"irrep_1": 1}, "patch_size": 2}]),
}  # fmt: skip

LIFTED = {**CONV, "fields": {"regular": 8}, "kernel_size": 1, "padding": 0}
# torch also counts the wave vectors and the angles of positions, which are few.
ATTENTION = {
    "posewise": (D4, [LIFTED, {"layer": "posewise_attention", "fields": {"regular": 16}, "heads": 2}]),
    "posewise block": (C4, [LIFTED, {"layer": "posewise_attention_block", "mlp_ratio": 2}]),
    "posewise, in space": (OCTA, [LIFTED, {"layer": "posewise_attention_block"}]),
    "posewise, window": (C4, [LIFTED, {"layer": "posewise_attention", "fields": {"regular": 8}, "window": 3}]),
    "without a group": (gequi.gspace("trivialOnR2"), [LIFTED, {"layer": "posewise_attention_block"}]),
    "lifting": (C4, [{"layer": "lifting_attention", "fields": {"regular": 8}, "heads": 2}]),
    "lifting, rotary": (D4, [{"layer": "lifting_attention", "fields": {"regular": 16}, "positions": "rotary"}]),
    "pairwise": (C4, [LIFTED, {"layer": "group_attention", "fields": {"regular": 4}, "key_dim": 8, "heads": 2}]),
    "pairwise, rotary": (D4, [LIFTED, {"layer": "group_attention_block", "positions": "rotary"}]),
    "pairwise, window": (C4, [LIFTED, {"layer": "group_attention", "fields": {"regular": 8}, "window": 3}]),
}  # fmt: skip


def counted(net, shape):
    """What torch counts. Its fused kernel of attention on the CPU is not counted, the products of the other are."""
    model = plain_network(net)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(shape))
    return counter.get_total_flops()


def described(net, shape):
    return [row["flops"] for row in describe_network(net, shape)]


def network(space, layers):
    return gequi.equivariant_network(space, "trivial", layers, seed=1), (1, 1, *[8] * space.dimensionality)


@pytest.mark.parametrize("name", EXACT)
def test_the_count_is_that_of_torch(name):
    net, shape = network(*EXACT[name])
    assert sum(described(net, shape)) == counted(net, shape)


@pytest.mark.parametrize("name", ATTENTION)
def test_the_count_of_attention_is_that_of_torch_but_for_positions(name):
    net, shape = network(*ATTENTION[name])
    found, expected = sum(described(net, shape)), counted(net, shape)
    assert found <= expected <= 1.02 * found


def test_layers_without_products_count_0_and_unknown_ones_are_missing():
    layers = [CONV, {"layer": "relu"}, {"layer": "residual", "layers": [{"layer": "token_norm"}]}]
    assert described(*network(C4, layers)) == [0, 2 * 8 * 9 * 64, 0, 0]
    descriptor = [{"layer": "oriented_gradients"}, {"layer": "ring_descriptor"}]
    net = gequi.equivariant_network(C4, "trivial", descriptor, seed=1)
    assert described(net, (1, 1, 16, 16)) == [0, None, None]
    inside = gequi.equivariant_network(C4, "trivial", [{"layer": "skip", "layers": descriptor[:1]}], seed=1)
    assert described(inside, (1, 1, 16, 16)) == [0, None]


def test_the_count_is_of_one_image_and_without_a_shape_there_is_none():
    net, shape = network(C4, [CONV])
    assert described(net, (5, *shape[1:])) == described(net, shape)
    assert "flops" not in describe_network(net)[0]
