"""sampling: filter bases that are sampled in fewer operations are those of escnn."""

import escnn.nn
import pytest

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
