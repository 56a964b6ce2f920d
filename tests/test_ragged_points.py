"""predict_points(mask=): examples with different numbers of points in one array."""

import numpy as np
import pytest

import gequi
from gequi import groups
from gequi.errors import InputError, ShapeError

C4, C8 = gequi.gspace("rot2dOnR2", N=4), gequi.gspace("rot2dOnR2", N=8)
D3, OCTA = gequi.gspace("flipRot2dOnR2", N=3), gequi.gspace("octaOnR3")
EQUAL = {
    "float32": 2e-6,
    "float64": 1e-13,
}  # relative to the largest value: sums of other lengths are rounded differently
COUNTS = (7, 3, 10)

LIFT = {"layer": "lifting_attention", "fields": {"regular": 4}, "heads": 2}
POOL = [{"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 3}]
EMBED = {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 1}
ROTARY = {"key_dim": 8, "positions": "rotary"}
NETWORKS = {
    "lifting": (C8, [LIFT]),
    "pairwise": (C4, [LIFT, {"layer": "group_attention", "fields": {"regular": 4}}, {"layer": "group_attention_block"}]),
    "rotary": (C4, [{**LIFT, **ROTARY}, {"layer": "group_attention_block", **ROTARY}]),
    "posewise": (D3, [EMBED, {"layer": "posewise_attention", "fields": {"regular": 4}}, {"layer": "posewise_attention_block"}]),
    "space": (OCTA, [{**EMBED, "fields": {"regular": 2}}, {"layer": "posewise_attention_block"}, {"layer": "token_norm"}]),
    "pooled": (D3, [EMBED, {"layer": "posewise_attention_block"}, *POOL]),
    "pooled, pairwise": (C4, [LIFT, {"layer": "residual", "layers": [{"layer": "group_attention_block"}]}, *POOL]),
}  # fmt: skip


def network(name, dtype="float64"):
    space, layers = NETWORKS[name]
    net = gequi.equivariant_network(space, "trivial", layers, seed=1, dtype=dtype)
    return gequi.set_weights(net, {key: 3 * weight for key, weight in gequi.get_weights(net).items()})


def ragged(net, random, fill=0.0):
    """The features, coordinates and mask of examples of COUNTS points; the others have the value `fill`."""
    axes, most = net.space.dimensionality, max(COUNTS)
    mask = np.arange(most) < np.array(COUNTS)[:, None]
    mask = np.stack([random.permutation(row) for row in mask])
    x, points = random.normal(size=(3, 1, most)), 4 * random.normal(size=(3, most, axes))
    return np.where(mask[:, None], x, fill), np.where(mask[..., None], points, fill), mask


def apart(net, x, points, mask):
    """The output of each example alone, without the points that do not exist."""
    return [gequi.predict_points(net, x[i : i + 1, :, m], points[i, m])[0] for i, m in enumerate(mask)]


def differ(net, x, points, mask):
    out = gequi.predict_points(net, x, points, mask)
    expected = apart(net, x, points, mask)
    pairs = [
        (out[i][:, m] if out.ndim == 3 else out[i], each)
        for i, (m, each) in enumerate(zip(mask, expected, strict=True))
    ]
    return max(np.abs(found - each).max() for found, each in pairs) / max(np.abs(each).max() for each in expected)


@pytest.mark.parametrize("fill", [0.0, 1e3, np.nan])
@pytest.mark.parametrize("name", NETWORKS)
def test_points_that_do_not_exist_change_nothing(name, fill, dtype, random):
    net = network(name, dtype)
    x, points, mask = ragged(net, random, fill)
    assert differ(net, x, points, mask) <= EQUAL[dtype]
    out = gequi.predict_points(net, x, points, mask)
    if out.ndim == 3:
        assert not out.transpose(0, 2, 1)[~mask].any()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_check_fails_where_a_layer_ignores_the_mask(name, random, monkeypatch):
    net = network(name)
    x, points, mask = ragged(net, random, 1.0)

    class Nothing:
        def get(self):
            return None

    for module in ("layers.points", "group_attention.kinds", "group_attention.posewise_kinds"):
        monkeypatch.setattr(f"gequi.{module}.existing_points", Nothing())
    assert differ(net, x, points, mask) > 1e-3


@pytest.mark.parametrize("name", ["pairwise", "posewise", "space", "pooled"])
def test_with_a_mask_every_element_is_exact(name, dtype, random):
    net = network(name, dtype)
    x, points, mask = ragged(net, random)
    out = gequi.predict_points(net, x, points, mask)
    for element in groups.elements(net.space):
        moved = gequi.predict_points(net, x, points @ groups.base_matrix(net.space, element).T, mask)
        expected = np.einsum("ab,nb...->na...", net.out_type.representation(element), out)
        assert np.abs(moved - expected).max() <= {"float32": 1e-5, "float64": 1e-12}[dtype] * np.abs(out).max()


@pytest.mark.parametrize("attention", ["posewise", "pairwise"])
def test_ready_networks_take_masks(attention, random):
    net = gequi.gsa_network(C4, attention=attention, fields=4, blocks=1, units=3, seed=1, dtype="float64")
    x, points, mask = ragged(net, random)
    assert differ(net, x, points, mask) <= EQUAL["float64"]
    vit = gequi.equivariant_vit(OCTA, None, patch_size=1, stem="patches", width=48, blocks=1, seed=1, dtype="float64")
    x, points, mask = ragged(vit, random)
    assert differ(vit, x, points, mask) <= EQUAL["float64"]


def test_one_set_of_points_serves_all_examples_and_a_full_mask_is_none(random):
    net = network("pooled")
    x, points, mask = ragged(net, random)
    shared = gequi.predict_points(net, x, points[0], mask)
    np.testing.assert_allclose(shared, gequi.predict_points(net, x, points[[0, 0, 0]], mask), atol=1e-13)
    full = gequi.predict_points(net, x, points, np.ones_like(mask))
    np.testing.assert_allclose(full, gequi.predict_points(net, x, points), atol=1e-13 * np.abs(full).max())
    np.testing.assert_array_equal(
        gequi.predict_points(net, x, points, mask.astype(float)), gequi.predict_points(net, x, points, mask)
    )


def test_wrong_masks_are_refused(random):
    net = network("pooled")
    x, points, mask = ragged(net, random)
    with pytest.raises(
        ShapeError, match=r"`mask` must have the shape \(batch, point\) = \(3, 10\), as `x` has; got \(2, 10\)"
    ):
        gequi.predict_points(net, x, points, mask[:2])
    with pytest.raises(ShapeError, match=r"`mask` must have 2 axes \(batch, point\)"):
        gequi.predict_points(net, x, points, mask[0])
    with pytest.raises(InputError, match="`mask` must have the values True and False"):
        gequi.predict_points(net, x, points, mask * 0.5)
    with pytest.raises(InputError, match="`mask` leaves no point of example 1"):
        gequi.predict_points(net, x, points, mask * [[True], [False], [True]])
    with pytest.raises(InputError, match="`x` must be finite"):
        gequi.predict_points(net, np.where(mask[:, None], np.nan, x), points, mask)
    with pytest.raises(InputError, match="`points` must be finite"):
        gequi.predict_points(net, x, np.where(mask[..., None], np.nan, points), mask)
