"""Gradients of every kind of layer, by input and weights, are those of finite differences."""

import pytest
import torch

import gequi

C4 = ("rot2dOnR2", {"N": 4})
SO2 = ("rot2dOnR2", {"N": -1, "maximum_frequency": 2})
VECTORS = ("no_base_space", {"group": "cyclic_group", "N": 4})


def layer(kind, space=C4, input="regular", size=(5, 5), after=(), **options):
    """Return a row of the table: a network of this layer, after those that it needs, and the size of its input."""
    return kind, space, input, size, [*after, {"layer": kind, **options}]


same = {"layer": "conv", "fields": "regular", "kernel_size": 3, "padding": 1}
of_attention = {"fields": {"regular": 2}, "heads": 2}
ROWS = [
    layer("avg_pool", kernel_size=3, stride=2, antialiased=True), layer("batch_norm"),
    layer("conv", input="irrep_1", fields={"trivial": 1, "irrep_1": 1}, kernel_size=3),
    layer("conv_transposed", input="irrep_1", fields="regular", kernel_size=3, stride=2),
    layer("dense", VECTORS, "trivial", (), units=3), layer("dropout", p=0.0), layer("elu"), layer("enlarge"),
    layer("elu", antialiased=True), layer("field_dropout", p=0.0), layer("flatten", size=(1, 1)),
    layer("fourier_elu", SO2, "fourier(1)", samples=6), layer("gated_nonlinearity", input={"trivial": 1, "irrep_1": 1}),
    layer("global_avg_pool"), layer("group_attention", input={"regular": 2}, size=(3, 3), **of_attention),
    layer("group_attention", input={"regular": 8}, size=(3, 3), fields={"regular": 8}, positions="rotary", window=3),
    layer("group_attention_block", input={"regular": 2}, size=(3, 3), heads=2), layer("group_pool"), layer("leaky_relu"),
    layer("group_pool", reduction="mean"), layer("lifting_attention", input="trivial", size=(3, 3), **of_attention),
    layer("linear", VECTORS, "regular", (), fields={"regular": 1, "irrep_1": 1}),
    layer("local_normalization", input="trivial", size=(8, 8)), layer("mask"), layer("max_pool", kernel_size=3, stride=2),
    layer("norm_nonlinearity", input="irrep_1"), layer("norm_nonlinearity", input="irrep_1", function="squash", bias=False),
    layer("norm_pool", input="irrep_1"), layer("oriented_gradients", input="trivial", size=(8, 8)),
    layer("patch_embedding", input="trivial", size=(4, 4), fields="regular", patch_size=2),
    layer("patch_expansion", size=(2, 2), fields="trivial", patch_size=2), layer("patch_merging", size=(4, 4)),
    layer("posewise_attention", input={"regular": 8}, size=(3, 3), fields={"regular": 8}, heads=2),
    layer("posewise_attention_block", input={"regular": 8}, size=(3, 3), heads=2, window=3), layer("relu"),
    layer("residual", layers=[same]), layer("restrict", subgroup=2), layer("ring_descriptor", input="trivial", size=(16, 16), after=[{"layer": "oriented_gradients"}]),
    layer("skip", layers=[same]), layer("softmax", VECTORS, {"trivial": 3}, ()),
    layer("sphere_descriptor", ("rot3dOnR3", {"maximum_frequency": 1}), "trivial", (12, 12, 12)), layer("token_norm"), layer("token_pool", size=(8, 8)),
    layer("upsample", scale_factor=2),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::gequi.errors.ExactnessWarning")
@pytest.mark.parametrize(
    ("kind", "space", "input", "size", "layers"), ROWS, ids=lambda each: each if isinstance(each, str) else ""
)
def test_the_gradients_of_a_layer_are_those_of_differences(kind, space, input, size, layers, random):
    name, options = space
    network = gequi.equivariant_network(gequi.gspace(name, **options), input, layers, seed=1, dtype="float64")
    x = torch.tensor(random.uniform(0.1, 0.9, size=(2, network.in_type.size, *size)), requires_grad=True)
    weights = {key: value.detach().clone().requires_grad_() for key, value in network.named_parameters()}

    def output(x, *values):
        return torch.func.functional_call(network, dict(zip(weights, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(output, (x, *weights.values()), fast_mode=True)


def test_every_kind_of_layer_has_a_row():
    assert {kind for kind, *_ in ROWS} == {row["kind"] for row in gequi.layer_kinds()}
