"""local_equivariance_error(): Lie derivatives against finite differences, laws, and where in a network it is lost."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import gequi
from gequi.errors import FieldError, InputError, ShapeError
from gequi.fields import parse_fields
from gequi.geometry.grids import pixel_grid
from gequi.geometry.sampling import grid_sample
from gequi.symmetry.generators import MOTIONS, channel_generator, generate
from gequi.symmetry.measures import image_lengths, length
from gequi.training._augment import act_on_channels, represent_rotations

C8 = gequi.gspace("rot2dOnR2", N=8)
D4 = gequi.gspace("flipRot2dOnR2", N=4)
LAYERS = [{"layer": "conv", "fields": {"regular": 1, "irrep_1": 1}, "kernel_size": 5, "padding": 2}, {"layer": "conv", "fields": "regular",
           "kernel_size": 3, "padding": 1}, {"layer": "elu"}]  # fmt: skip


def smooth(random, count=2, size=17, channels=1):
    """Smooth images that vanish towards the border."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    x = np.zeros((count, channels, size, size))
    for _ in range(6):
        a, b = random.uniform(-0.2, 0.2, (2, count, channels, 1, 1)) * size
        x += random.normal(size=(count, channels, 1, 1)) * np.exp(
            -((rows - a) ** 2 + (columns - b) ** 2) / (0.03 * size**2)
        )
    return x * np.exp(-((np.hypot(rows, columns) / (0.42 * size)) ** 6))


def plain(channels=2, stride=1):
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, stride=stride), nn.GELU(), nn.Conv2d(4, channels, 3, padding=1)
    ).double()


def moved(x, motion, t, fields=None, stride=1.0):
    """T_t x, by its definition: sampled at the points that the motion maps to the pixels."""
    center = (np.array(x.shape[2:]) - 1) / 2
    points = pixel_grid(x.shape[2:], torch.float64).numpy() - center[:, None, None]
    row, column = points
    if motion == "rotation":
        points = np.stack([math.cos(t) * row + math.sin(t) * column, -math.sin(t) * row + math.cos(t) * column])
    elif motion == "scale":
        points = points * math.exp(-t)
    else:
        points = points - np.array({"x": [0, 1], "y": [-1, 0]}[motion])[:, None, None] * t / stride
    at = torch.tensor(points + center[:, None, None])[None].expand(len(x), -1, -1, -1)
    sampled = grid_sample(torch.tensor(x), at, "cubic", "border")
    if motion == "rotation" and fields is not None:
        rho = represent_rotations(fields, torch.full((len(x),), t, dtype=torch.float64))
        sampled = act_on_channels(sampled, rho)
    return sampled.numpy()


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("kind", ["plain", "strided", "vector", "C8", "symmetrized"])
def test_it_is_the_limit_of_finite_differences(kind, motion, random):
    """Within 1e-3, with the motion of the output by its definition too."""
    x = random.normal(size=(2, 2 if kind == "vector" else 1, 15, 15))
    given, fields, stride = {}, (None, None), 1.0
    if kind == "vector":
        type_ = parse_fields(C8, "irrep_1")
        model, fields, given = (
            nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh()).double(),
            (type_, type_),
            {"input": type_, "output": type_},
        )
    elif kind == "C8":
        layers = [
            {"layer": "conv", "fields": {"irrep_1": 2}, "kernel_size": 5, "padding": 2},
            {"layer": "norm_nonlinearity"},
        ]
        model = gequi.equivariant_network(C8, "trivial", LAYERS[:1] + layers[:1], seed=1, dtype="float64")
        fields = (model.in_type, model.out_type)
    elif kind == "symmetrized":
        model = gequi.symmetrize(plain(1), D4, "trivial", "trivial")
    else:
        model, stride = (plain(stride=2), 2.0) if kind == "strided" else (plain(), 1.0)
    row = gequi.local_equivariance_error(model, x, motions=motion, **given)[0]
    t = 1e-4
    found = [
        moved(gequi.predict(model, moved(x, motion, sign * t, fields[0])), motion, -sign * t, fields[1], stride)
        for sign in (1, -1)
    ]
    wanted = image_lengths((found[0] - found[1]) / (2 * t)).mean() / length(gequi.predict(model, x))
    assert wanted > 0.005
    assert row["error"] == pytest.approx(wanted, rel=1e-3)
    assert row["unit"] == MOTIONS[motion]


def test_a_model_without_derivatives_has_the_same_error(random):
    x = random.normal(size=(3, 1, 15, 15))
    model = plain()
    rows = gequi.local_equivariance_error(model, x)
    for other in (lambda x: gequi.predict(model, x), torch.jit.trace(model, torch.zeros(3, 1, 15, 15).double())):
        for row, wanted in zip(gequi.local_equivariance_error(other, x), rows, strict=True):
            assert row["error"] == pytest.approx(wanted["error"], rel=1e-3)
    single = gequi.local_equivariance_error(plain().float(), x)
    assert [row["error"] for row in single] == pytest.approx([row["error"] for row in rows], rel=1e-3)
    wide = gequi.local_equivariance_error(plain().float(), x, dtype="float64")
    assert [row["error"] for row in wide] == pytest.approx([row["error"] for row in rows], rel=1e-5)


def test_a_single_image_is_a_batch_of_one(random):
    image = random.normal(size=(21, 21))
    expected = gequi.local_equivariance_error(np.square, image[None, None])
    assert gequi.local_equivariance_error(np.square, image) == expected


def test_what_is_equivariant_has_no_error(dtype, exactness, random):
    x = smooth(random, size=33).astype(dtype)
    scaled = nn.Conv2d(1, 3, 1, bias=False).to(getattr(torch, dtype))
    for row in gequi.local_equivariance_error(scaled, x):  # a product is exact for all motions
        assert row["error"] < 10 * exactness
    wide = nn.Conv2d(1, 3, 5, padding=2, bias=False).to(getattr(torch, dtype))
    rows = {row["motion"]: row["error"] for row in gequi.local_equivariance_error(wide, x)}
    assert max(rows["x"], rows["y"]) < 0.001
    assert min(rows["rotation"], rows["scale"]) > 0.02


def test_small_rotations_have_the_error_of_the_derivative(random):
    """rms of equivariance_error() is the angle times the error, for a model that is not equivariant at all."""
    x = smooth(random, 4, 33)
    ramp = np.linspace(1, 2, 33)
    space = gequi.gspace("rot2dOnR2", N=128)
    rms = gequi.equivariance_error(lambda x: x * ramp, x, space, "trivial", "trivial", elements=[1])[0]["rms"]
    local = gequi.local_equivariance_error(lambda x: x * ramp, x, motions="rotation")[0]
    assert rms / (2 * np.pi / 128) == pytest.approx(local["error"], rel=0.05)
    assert local["error_low"] < local["error"] < local["error_high"]


def test_the_generator_of_the_channels_is_the_derivative_of_their_representation():
    space = gequi.gspace("rot2dOnR2", N=7)  # all irreps of which turn by all angles
    for name in ("trivial", "irrep_1", "irrep_3", "regular", {"regular": 1, "irrep_2": 2}):
        fields = parse_fields(space, name)
        t = 1e-5
        two = [represent_rotations(fields, torch.tensor([sign * t], dtype=torch.float64)) for sign in (1, -1)]
        wanted = np.zeros((fields.size, fields.size)) if two[0] is None else ((two[0] - two[1])[0] / (2 * t)).numpy()
        np.testing.assert_allclose(channel_generator(fields), wanted, atol=1e-8)
    mirrored = parse_fields(D4, "irrep_1,1")
    np.testing.assert_allclose(channel_generator(mirrored), [[0, -1], [1, 0]], atol=1e-12)


# ---- by layer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("between", "stride"),
    [(nn.Identity(), 1), (nn.Identity(), 2), (nn.AvgPool2d(3, 2, 1), 2), (nn.AdaptiveAvgPool2d(5), 3), (nn.Upsample(scale_factor=2), 0.5)],
)  # fmt: skip
def test_the_contributions_are_those_of_the_definition(between, stride, random):
    """Of linear layers: what a layer adds, W_i L h - L W_i h, in the output after the further layers."""
    x = torch.tensor(random.normal(size=(2, 1, 15, 15)))
    kernel = {"kernel_size": 3, "padding": 1, "bias": False}
    own = stride if isinstance(between, nn.Identity) else 1
    first, second = nn.Conv2d(1, 3, stride=own, **kernel).double(), nn.Conv2d(3, 2, **kernel).double()
    rows = gequi.local_equivariance_error(nn.Sequential(first, between, second), x.numpy(), by="layer")
    with torch.no_grad():
        value = length(second(between(first(x))).numpy())
        for motion in MOTIONS:
            hidden = first(x)
            pooled = between(hidden)
            wanted = [second(between(first(generate(x, motion)) - generate(hidden, motion, stride=own)))]
            if not isinstance(between, nn.Identity):
                wanted.append(second(between(generate(hidden, motion)) - generate(pooled, motion, stride=stride)))
            wanted.append(
                second(generate(pooled, motion, stride=stride)) - generate(second(pooled), motion, stride=stride)
            )
            found = [row for row in rows if row["motion"] == motion]
            assert [row["layer"] for row in found] == list(range(len(wanted)))
            assert found[0]["name"] == "0 Conv2d"
            for row, each in zip(found, wanted, strict=True):
                assert row["error"] == pytest.approx(image_lengths(each.numpy()).mean() / value, rel=1e-9)


class Ramp(nn.Module):
    def forward(self, x):
        return x * torch.linspace(0.5, 1.5, x.shape[3], dtype=x.dtype)


class Block(nn.Module):
    """A block with a shortcut, and a head after it that is no module."""

    def __init__(self):
        super().__init__()
        self.first, self.inner, self.ramp = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), Ramp()

    def forward(self, x):
        x = self.first(x)
        x = self.ramp(x + torch.tanh(self.inner(x)))
        return 2 * x.mean(1, keepdim=True) ** 2


def test_the_layer_that_breaks_the_symmetry_is_found(random):
    x = smooth(random, 2, 33)
    rows = gequi.local_equivariance_error(Block().double(), x, by="layer", motions=["x", "y"])
    errors = {(row["motion"], row["name"]): row["error"] for row in rows}
    # What passes by a layer is no layer; what follows the last one is the output.
    assert [name for motion, name in errors if motion == "x"] == ["first Conv2d", "ramp Ramp", "output"]
    assert errors["x", "ramp Ramp"] > 5 * max(errors["x", "first Conv2d"], errors["x", "output"])
    assert errors["y", "ramp Ramp"] < 1e-3


def test_the_layers_of_a_network_have_their_fields_and_strides(random):
    layers = [*LAYERS, {"layer": "avg_pool", "antialiased": True, "stride": 2}, {"layer": "conv", "fields": "regular", "kernel_size": 3},
              {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 2}]  # fmt: skip
    network = gequi.equivariant_network(C8, "trivial", layers, seed=1, dtype="float64")
    x = smooth(random, 1, 33)
    rows = gequi.local_equivariance_error(network, x, by="layer")
    names = [row["name"] for row in rows if row["motion"] == "x"]
    assert names[:5] == ["1 conv", "2 conv", "3 elu", "4 avg_pool", "5 conv"]
    # Scores are invariant: a network of C8 hardly changes with small motions, also after a stride.
    total = {row["motion"]: row["error"] for row in gequi.local_equivariance_error(network, x)}
    assert total["x"] < 0.05
    assert max(row["error"] for row in rows if row["motion"] == "x") < 0.1
    other = gequi.local_equivariance_error(network, x, dtype="float32", motions="x")[0]["error"]
    assert other == pytest.approx(total["x"], rel=1e-2)


# ---- what is refused and shown --------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(2, 1, 9, 9))
NETWORK = gequi.equivariant_network(C8, "trivial", LAYERS[:1], seed=1)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"by": "pixel"}, InputError, "`by` must be one of"),
        ({"by": "layer"}, InputError, "`by` = 'layer' is for networks and torch modules"),
        ({"motions": "shear"}, InputError, "`motions` must be one of"),
        ({"motions": []}, InputError, "`motions` is empty"),
        ({"x": X[0]}, ShapeError, "`x` must have 2 or 4 axes"),
        ({"model": 3}, InputError, "`model` must be a network or a function"),
        ({"model": lambda x: 0 * x}, InputError, "`x` gives an output of zeros"),
        ({"model": lambda x: x[:, :, 0]}, ShapeError, "`model` must return images"),
        ({"model": NETWORK, "output": "trivial"}, InputError, "`output` is declared by the network"),
        ({"output": "irrep_1"}, InputError, "`space` is missing"),
        ({"output": "spin", "space": C8}, FieldError, "`output`"),
        ({"output": "irrep_1", "space": C8}, ShapeError, "`output` must have as many channels"),
        ({"output": "trivial", "space": gequi.gspace("octaOnR3")}, InputError, "`output` must be fields of the plane"),
    ],
)
def test_what_has_no_local_error_is_refused(change, kind, message):
    with pytest.raises(kind, match=message):
        gequi.local_equivariance_error(**{"model": np.square, "x": X, **change})


def test_the_plot_shows_a_bar_for_each_layer():
    rows = gequi.local_equivariance_error(plain(), X, by="layer", motions=["rotation", "x"])
    figure = gequi.plot_local_equivariance_error(rows)
    assert [axes.get_title() for axes in figure.axes] == ["rotation, per radian", "x, per pixel"]
    widths = [patch.get_width() for patch in figure.axes[0].patches]
    assert widths == pytest.approx([row["error"] for row in rows[:3]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0 Conv2d", "1 GELU", "2 Conv2d"]
    whole = gequi.plot_local_equivariance_error(gequi.local_equivariance_error(plain(), X))
    assert [axes.get_title() for axes in whole.axes] == [""]
    assert [label.get_text() for label in whole.axes[0].get_yticklabels()] == [
        f"{motion}, per {unit}" for motion, unit in MOTIONS.items()
    ]
    with pytest.raises(InputError, match="`errors` must be a table"):
        gequi.plot_local_equivariance_error([{"motion": "x"}])
