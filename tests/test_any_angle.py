"""Networks for every angle: grids of half the spacing, antialiased nonlinearities and equivariant_resnet()."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

import gequi
from gequi.errors import FieldError, InputError
from gequi.fields import act
from gequi.geometry.doubling import BETA, REACH, doubled, half_band_filter, halved
from gequi.symmetry.measures import length

C4, C16 = (gequi.gspace("rot2dOnR2", N=n) for n in (4, 16))


def conv(fields, kernel_size=5, **options):
    return {"layer": "conv", "fields": fields, "kernel_size": kernel_size, "padding": kernel_size // 2, **options}


# ---- grids of half the spacing --------------------------------------------------------------------------


def filter_of_scipy():
    """Sinc times the Kaiser window of scipy, which is 0 beyond its ends."""
    window = signal.windows.kaiser(4 * REACH + 1, BETA)[1:-1]
    taps = np.sinc(np.arange(-2 * REACH + 1, 2 * REACH) / 2) * window
    taps[::2] /= taps[::2].sum()  # the odd offsets
    return taps


def test_the_filter_is_a_sinc_in_a_kaiser_window():
    taps = half_band_filter().numpy()
    np.testing.assert_allclose(taps, filter_of_scipy(), atol=1e-12)
    np.testing.assert_array_equal(taps[1::2], np.eye(2 * REACH - 1)[REACH - 1])  # pixels stay as they are


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 14), (4, 5, 6)])
def test_doubling_and_halving_are_the_filters_of_scipy(size, random):
    x, taps = random.normal(size=(2, 3, *size)), filter_of_scipy()
    spread = np.zeros((2, 3, *(2 * n - 1 for n in size)))
    spread[(..., *[slice(None, None, 2)] * len(size))] = x
    y = random.normal(size=spread.shape)
    fine, coarse = spread, y
    for axis in range(2, 2 + len(size)):
        fine = ndimage.convolve1d(fine, taps, axis, mode="constant")
        coarse = ndimage.convolve1d(coarse, taps / 2, axis, mode="constant")
    np.testing.assert_allclose(doubled(torch.tensor(x)).numpy(), fine, atol=1e-12)
    np.testing.assert_allclose(
        halved(torch.tensor(y)).numpy(), coarse[(..., *[slice(None, None, 2)] * len(size))], atol=1e-12
    )


def wave(n, frequency):
    """A plane wave (1, 1, n, n); the frequency is relative to Nyquist's."""
    rows, columns = np.mgrid[:n, :n] - (n - 1) / 2
    return torch.tensor(np.cos(np.pi * frequency * (0.8 * rows + 0.6 * columns) + 0.3))[None, None]


def test_slow_waves_pass_both_grids_and_fast_ones_of_the_fine_grid_do_not():
    inside = (..., slice(8, -8), slice(8, -8))
    for frequency in (0.1, 0.3, 0.5):
        x = wave(33, frequency)
        fine = wave(65, frequency / 2)
        assert (doubled(x) - fine)[inside].abs().max() <= 0.01
        assert (halved(doubled(x)) - x)[inside].abs().max() <= 0.01
    fast = wave(65, 0.9)  # 1.8 times the highest frequency of the coarse grid
    assert halved(fast)[inside].abs().max() <= 0.01
    assert fast[..., ::2, ::2][inside].abs().max() >= 0.9  # without the filter, it becomes a slow wave


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        ({"layer": "relu"}, torch.relu),
        ({"layer": "elu", "alpha": 0.5}, lambda x: torch.nn.functional.elu(x, 0.5)),
        ({"layer": "leaky_relu", "negative_slope": 0.2}, lambda x: torch.nn.functional.leaky_relu(x, 0.2)),
    ],
)
def test_an_antialiased_nonlinearity_is_computed_on_the_fine_grid(layer, function, dtype, exactness, random):
    x = random.normal(size=(2, 4, 7, 6))
    net = gequi.equivariant_network(C4, "regular", [{**layer, "antialiased": True}], seed=1, dtype=dtype)
    expected = halved(function(doubled(torch.tensor(x)))).numpy()
    np.testing.assert_allclose(gequi.predict(net, x), expected, atol=exactness)
    with torch.no_grad():
        np.testing.assert_allclose(net(torch.tensor(x, dtype=net.dtype)).numpy(), expected, atol=exactness)
    assert np.abs(gequi.predict(net, x) - function(torch.tensor(x)).numpy()).max() > 0.1


def test_an_antialiased_nonlinearity_reaches_as_far_as_its_window_says():
    net = gequi.equivariant_network(C4, "regular", [{"layer": "relu", "antialiased": True}], seed=1, dtype="float64")
    x = np.ones((1, 4, 41, 41))
    near, far = x.copy(), x.copy()
    reach = net.steps[0].window.padding
    near[..., 20 + reach], far[..., 20 + reach + 1] = -5, -5
    changes = [np.abs(gequi.predict(net, each) - gequi.predict(net, x))[..., 20].max() for each in (near, far)]
    assert changes[0] > 1e-12
    assert changes[1] < 1e-12


# ---- angles between those of the pixel grid -------------------------------------------------------------


def turned_waves(n, angle):
    """Waves below 0.3 of Nyquist's frequency in a disc, drawn as they are turned counter-clockwise: no interpolation."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[(n - 1) / 2 : -n / 2 : -1, :n]
    x = x - (n - 1) / 2
    radius = np.hypot(x, y) / (0.45 * n)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    value = 0
    for _ in range(12):
        k, direction, phase = 0.3 * np.pi * random.uniform() ** 0.5, *random.uniform(0, 2 * np.pi, 2)
        value = value + np.cos(k * (np.cos(direction) * along + np.sin(direction) * across) + phase)
    return (value * np.cos(np.pi / 2 * radius.clip(max=1)) ** 2)[None, None]


def error_at(net, element, n=33):
    """The rms of f(g x) - g f(x) in the disc, relative to f(x). Images are drawn; the output is turned with a spline."""
    g = gequi.groups.elements(net.space)[element]
    upright, turned = (turned_waves(n, angle) for angle in (0, 2 * np.pi * element / 16))
    value = gequi.predict(net, upright)
    return length(gequi.predict(net, turned) - act(value, net.out_type, g)) / length(value)


@pytest.mark.parametrize("nonlinearity", ["relu", "elu"])
@pytest.mark.parametrize("element", [1, 2], ids=["22.5", "45"])
def test_the_options_bring_the_error_between_the_pixels_below_one_percent(nonlinearity, element):
    def network(enlarge, antialiased):
        layers = [{"layer": "enlarge"}] * enlarge
        for _ in range(3):
            layers += [conv({"regular": 2}), {"layer": nonlinearity, "antialiased": antialiased}]
        return gequi.equivariant_network(C16, "trivial", layers, seed=1, dtype="float64")

    errors = {key: error_at(network(*map(bool, key)), element) for key in np.ndindex(2, 2)}
    assert errors[1, 1] <= 0.01
    assert errors[1, 1] < min(errors[0, 1], errors[1, 0])
    assert errors[0, 0] > max(0.02, errors[0, 1], errors[1, 0])


# ---- equivariant_resnet ---------------------------------------------------------------------------------


def small(space=C4, **options):
    return gequi.equivariant_resnet(
        space, **{"widths": (8, 16), "blocks": 1, "enlarge": True, "classes": 3, "seed": 1, **options}
    )


@pytest.mark.parametrize("options", [{}, {"antialiased": True, "nonlinearity": "elu"}, {"enlarge": False, "blocks": 0}])
@pytest.mark.parametrize("space", [C4, gequi.gspace("flipRot2dOnR2", N=4)], ids=["C4", "D4"])
def test_the_network_is_invariant_to_quarter_turns(space, options, dtype, exactness, random):
    size = 13 if options.get("enlarge") is False else 12  # enlarged, every size is odd
    x = random.normal(size=(2, 1, size, size))
    net = small(space, **options)
    assert max(row["error"] for row in gequi.equivariance_error(net, x, dtype=dtype)) <= exactness
    value = gequi.predict(net, x)
    assert value.shape == gequi.output_shape(net, x.shape) == (2, 3)
    assert np.abs(value[0] - value[1]).max() > 1e-3


def test_strides_that_are_not_symmetric_are_named(random):
    with pytest.warns(gequi.errors.ExactnessWarning, match="breaks exact equivariance"):
        gequi.predict(small(enlarge=False), random.normal(size=(1, 1, 12, 12)))


def test_the_options_are_layers_of_the_recipe():
    def kinds(**options):
        return [layer["layer"] for layer in small(**options).recipe["layers"]]

    block = ["conv", "batch_norm", "relu"]
    assert kinds(blocks=0) == ["mask", "enlarge", *block, "avg_pool", *block, "global_avg_pool", "group_pool", "dense"]
    assert kinds(blocks=0, widths=8, margin=None, enlarge=False, nonlinearity="elu", output="probabilities") == [
        "conv", "batch_norm", "elu", "global_avg_pool", "group_pool", "dense", "softmax"]  # fmt: skip
    assert kinds(blocks=2).count("residual") == 4
    layers = small(kernel_size=7, antialiased=True, blocks=0, margin=2).recipe["layers"]
    assert [layer["kernel_size"] for layer in layers if layer["layer"] == "conv"] == [7, 7]
    assert [layer["antialiased"] for layer in layers if layer["layer"] == "relu"] == [True, True]
    assert layers[0]["margin"] == 2


def test_the_mask_keeps_the_corners_out(random):
    x = random.normal(size=(1, 1, 15, 15))
    corner = x.copy()
    corner[..., 0, 0] += 5
    changes = [
        np.abs(gequi.predict(net, x) - gequi.predict(net, corner)).max()
        for net in (small(margin=4), small(margin=None))
    ]
    assert changes[0] < 0.05 * changes[1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: small(None), InputError, "`space` must be a gspace"),
        (lambda: small(gequi.gspace("rot2dOnR2", N=-1)), InputError, "`space` must be a gspace on the plane with a finite"),
        (lambda: small(gequi.gspace("octaOnR3")), InputError, "`space` must be a gspace on the plane with a finite"),
        (lambda: small(widths=(8, 6)), InputError, "`widths` must give layers .* of the group, 4; one is 6 wide"),
        (lambda: small(widths=()), InputError, "`widths` must have at least one number"),
        (lambda: small(blocks=-1), InputError, "`blocks` must be at least 0"),
        (lambda: small(kernel_size=4), InputError, "`kernel_size` must be odd"),
        (lambda: small(nonlinearity="rel"), InputError, "`nonlinearity` must be one of .* Did you mean 'relu'"),
        (lambda: small(enlarge=2), InputError, "`enlarge` must be"),
        (lambda: small(antialiased="yes"), InputError, "`antialiased` must be"),
        (lambda: small(margin=-1), InputError, "`margin` must be at least 0"),
        (lambda: small(channels=0), InputError, "`channels` must be at least 1"),
        (lambda: small(classes=0), InputError, "`classes` must be at least 1"),
        (lambda: small(output="logit"), InputError, "`output` must be one of"),
        (
            lambda: gequi.equivariant_network(C4, {"irrep_1": 1}, [{"layer": "relu", "antialiased": True}]),
            FieldError, "layer 1 .relu.: the layer acts on each channel alone",
        ),
        (
            lambda: gequi.equivariant_network(gequi.gspace("no_base_space", group="so3_group"), "trivial",
                                              [{"layer": "relu", "antialiased": True}]),
            FieldError, "the layer works on images and volumes",
        ),
        (
            lambda: gequi.predict_points(
                gequi.equivariant_network(C4, "regular", [{"layer": "relu", "antialiased": True}], seed=1),
                np.ones((1, 4, 3)), np.eye(3, 2)),
            InputError, "layer 1 .relu.: `relu` needs the grid of an image",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_the_name_of_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
