"""sampling, lean: filter bases, filters and normalizations in fewer operations are those of escnn."""

import escnn.nn
import pytest
import torch

import gequi
from gequi._escnn import bases_as_found

SPACES = {
    "C4": (gequi.gspace("rot2dOnR2", N=4), [["trivial", 1], ["regular", 2], ["irrep_1", 1]]),
    "D4": (gequi.gspace("flipRot2dOnR2", N=4), [["regular", 1], ["trivial", 2]]),
    "SO(2)": (gequi.gspace("rot2dOnR2", N=-1), [["trivial", 1], ["irrep_1", 2], ["fourier(2)", 1]]),
    "octahedral": (gequi.gspace("octaOnR3"), [["regular", 1], ["trivial", 1]]),
    "SO(3)": (gequi.gspace("rot3dOnR3", maximum_frequency=2), [["trivial", 1], ["irrep_1", 1], ["irrep_2", 1]]),
}


def layers(name):
    """The convolution of gequi, and escnn's own one with the same types."""
    space, fields = SPACES[name]
    with bases_as_found():
        net = gequi.equivariant_network(space, fields, [{"layer": "conv", "fields": fields, "kernel_size": 3}], seed=1)
    ours = net.layers[0]
    kind = escnn.nn.R2Conv if space.dimensionality == 2 else escnn.nn.R3Conv
    return ours, kind(ours.in_type, ours.out_type, 3, initialize=False)


@pytest.mark.parametrize("name", SPACES)
def test_sampled_bases_are_those_of_escnn(name):
    ours, theirs = layers(name)
    pairs = ours.basisexpansion._representations_pairs
    assert pairs == theirs.basisexpansion._representations_pairs
    for pair in pairs:
        block, expected = (
            getattr(each.basisexpansion, f"block_expansion_{each.basisexpansion._escape_pair(pair)}")
            for each in (ours, theirs)
        )
        assert block.sampled_basis.is_contiguous()
        assert block.sampled_basis.shape == expected.sampled_basis.shape
        difference = (block.sampled_basis - expected.sampled_basis).abs().max() / expected.sampled_basis.abs().max()
        assert difference < 2e-6  # escnn samples in float32
        for row, other in zip(block.get_basis_info(), expected.get_basis_info(), strict=True):
            assert row.keys() == other.keys()
            assert all(
                row[key] == (pytest.approx(value) if isinstance(value, float) else value)
                for key, value in other.items()
            )


def escnn_values(layer, x):
    """The output of a layer, and its gradients with respect to the input and the weights."""
    x = x.clone().requires_grad_()
    output = layer(escnn.nn.GeometricTensor(x, layer.in_type)).tensor
    random = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    return [output, *torch.autograd.grad((output * random).sum(), [x, *layer.parameters()])]


def assert_close(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 2e-6 * other.abs().max()


@pytest.mark.parametrize("name", SPACES)
def test_filters_have_the_values_and_gradients_of_escnn(name):
    ours, theirs = layers(name)
    weights = torch.randn(ours.weights.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for layer in (ours, theirs):
            layer.weights.copy_(weights)
    shape = (2, ours.in_type.size, *[5] * ours.space.dimensionality)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    assert_close(escnn_values(ours.train(), x), escnn_values(theirs.train(), x))


@pytest.mark.parametrize(
    "fields", ["regular", [["trivial", 2], ["regular", 3]], [["regular", 1], ["trivial", 1], ["regular", 2]]]
)
def test_batch_normalization_has_the_values_and_gradients_of_escnn(fields):
    net = gequi.equivariant_network(SPACES["C4"][0], fields, [{"layer": "batch_norm"}], seed=1)
    ours = net.layers[0]
    theirs = escnn.nn.InnerBatchNorm(ours.in_type)
    x = 3 + torch.randn((4, ours.in_type.size, 5, 5), generator=torch.Generator().manual_seed(3))
    for _ in range(2):
        assert_close(escnn_values(ours.train(), x), escnn_values(theirs.train(), x))
    statistics = [[value for name, value in each.named_buffers() if "running" in name] for each in (ours, theirs)]
    assert_close(*statistics)
