"""tracing: the results of R and Python are equal."""

import pytest

import gequi


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_trace_shapes_and_as_dot(r, same, direction):
    theirs = r.trace_shapes(r.unet(levels=2, width=4, seed=1), [1, 1, 8, 8])
    ours = gequi.trace_shapes(gequi.unet(levels=2, width=4, seed=1), (1, 1, 8, 8))
    same(r.value(theirs), ours)
    assert r.value(r.as_dot(theirs, direction)) == gequi.as_dot(ours, direction)


def test_trace_shapes_of_networks_and_of_several_inputs(r, same):
    layers = [{"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "relu"}]
    theirs = r.piped(r.gspace("rot2dOnR2", N=4), layers, seed=1)
    ours = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, layers, seed=1)
    same(r.value(r.trace_shapes(theirs, [1, 1, 8, 8])), gequi.trace_shapes(ours, (1, 1, 8, 8)))
    shapes = [(1, 5, 8), (1, 7, 8)]
    same(
        r.value(r.trace_shapes(r.multi_head_attention(8, seed=1), shapes)),
        gequi.trace_shapes(gequi.multi_head_attention(8, seed=1), shapes),
    )
