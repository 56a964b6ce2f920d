"""Laws on random networks, attention, maps and registrations. Samples from FIRST on are in the slow tier."""

import functools
import hashlib
import os
import random as randomness
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

import gequi
from gequi.errors import ExactnessWarning, FieldError, GequiError, ShapeError
from gequi.layers import plan_layers
from gequi.saving import model_from_bytes, model_to_bytes

FIRST, BOTH = 12, 200  # samples in the first tier, and in both


def samples(first=FIRST, both=BOTH):
    slow = [pytest.param(number, marks=pytest.mark.slow) for number in range(first, both)]
    return pytest.mark.parametrize("number", [*range(first), *slow])


# ---- random networks ------------------------------------------------------------------------------------

PLANE = [("rot2dOnR2", {"N": n}) for n in (1, 2, 3, 4, 4, 6, 8, -1)] + [("flip2dOnR2", {}), ("trivialOnR2", {})]
PLANE += [("flipRot2dOnR2", {"N": n}) for n in (1, 2, 3, 4, 4, 6, -1)]
SPACE = [("octaOnR3", {}), ("dihedralOnR3", {"N": 2}), ("rot2dOnR3", {"N": 4}), ("mirOnR3", {}), ("invOnR3", {}),
         ("conicalOnR3", {"N": 2}), ("rot3dOnR3", {"maximum_frequency": 1})]  # fmt: skip
POINTWISE = [{"layer": kind} for kind in ("relu", "elu", "leaky_relu")]


def random_fields(draw, space, most=3):
    names = [row["name"] for row in gequi.representations(space)]
    return {name: draw.randint(1, 2) for name in draw.sample(names, draw.randint(1, min(most, len(names))))}


def random_layer(draw, space):
    """Return any layer with random options. It may not fit the features before it.

    token_norm has a large `eps`: divided by the deviation of two channels that are almost equal, rounding would grow.
    """
    size = draw.choice([1, 3, 3, 5]) if space.dimensionality == 2 else draw.choice([1, 3])
    conv = {"layer": "conv", "fields": random_fields(draw, space), "kernel_size": size,
            "padding": draw.choice([0, size // 2]), "stride": draw.choice([1, 1, 1, 2]), "bias": draw.random() < 0.7}  # fmt: skip
    same = {**conv, "padding": size // 2, "stride": 1}
    attention = {"fields": {"regular": 2}, "heads": draw.choice([1, 2]), "window": draw.choice([None, 3]),
                 "qk_norm": draw.random() < 0.5}  # fmt: skip
    return draw.choice([
        conv, conv, conv, same, {"layer": "conv_transposed", "fields": random_fields(draw, space), "kernel_size": 3},
        *POINTWISE, {"layer": "batch_norm", "eps": draw.choice([1e-5, 0.1])}, {"layer": "token_norm", "eps": 0.1},
        {"layer": "norm_nonlinearity", "function": draw.choice(["n_relu", "n_sigmoid", "n_softplus", "squash"])},
        {"layer": "gated_nonlinearity"}, {"layer": "group_pool", "reduction": draw.choice(["max", "mean"])},
        {"layer": "norm_pool"}, {"layer": "avg_pool", "kernel_size": 3, "stride": 1}, {"layer": "avg_pool"},
        {"layer": "max_pool", "kernel_size": 2}, {"layer": "upsample", "scale_factor": 2}, {"layer": "enlarge"},
        {"layer": "mask"}, {"layer": "global_avg_pool"}, {"layer": "flatten"}, {"layer": "dropout"}, {"layer": "softmax"},
        {"layer": "dense", "units": 3}, {"layer": "linear", "fields": random_fields(draw, space)},
        {"layer": "residual", "layers": [same], "shortcut": [{**same, "kernel_size": 1, "padding": 0}]},
        {"layer": "skip", "layers": [same]}, {"layer": "lifting_attention", **attention},
        {"layer": "group_attention", **attention}, {"layer": "posewise_attention", **attention},
        {"layer": "patch_embedding", "fields": {"regular": 1}, "patch_size": 2}, {"layer": "patch_merging"},
    ])  # fmt: skip


def random_recipe(draw):
    """Return the gspace, the input fields and two to five layers that fit each other.

    A layer that does not fit is refused with an error of gequi; any other error fails the test.
    """
    name, options = draw.choice(SPACE if draw.random() < 0.2 else PLANE)
    space = gequi.gspace(name, **options)
    # half the networks begin with images, the others with any fields
    input = {"trivial": draw.randint(1, 3)} if draw.random() < 0.5 else random_fields(draw, space)
    layers, wanted, fields = [], draw.randint(2, 5), gequi.field_type(space, input)
    while len(layers) < wanted:
        layer = random_layer(draw, space)
        try:
            step = plan_layers(fields, [layer])[0]
        except GequiError:
            continue
        fields = step.out_type
        layers.append(layer)
        if fields.gspace.dimensionality == 0:
            break
    return space, input, layers


@functools.cache
def sampled(number):
    """Return a random recipe and an input of a size at which all its layers are exactly equivariant."""
    for attempt in range(1000):
        draw = randomness.Random(f"{number} {attempt}")
        space, input, layers = random_recipe(draw)
        channels = gequi.field_type(space, input).size
        try:
            net = made(space, input, layers)
        except FieldError:  # no kernel between these fields, which is known when the kernels are computed
            continue
        for _ in range(12):
            size = [draw.randint(5, 12 if space.dimensionality == 2 else 7) for _ in range(space.dimensionality)]
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExactnessWarning)
                    gequi.output_shape(net, (1, channels, *size))
            except ShapeError:  # too small for a layer
                continue
            x = np.random.default_rng(number).normal(size=(draw.randint(2, 5), channels, *size))
            if not net.inexact_layers(tuple(size)) and gequi.predict(net, x).any():
                return space, input, layers, x
    raise AssertionError("no random network has an exact size")


def made(space, input, layers, dtype="float32"):
    return gequi.equivariant_network(space, input, layers, seed=3, dtype=dtype)


def relative(found, expected):
    return np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30)


ROUNDING = {"float32": 1e-6, "float64": 1e-12}


@samples()
def test_a_random_network_is_equivariant_to_every_exact_element(number, dtype, exactness):
    space, input, layers, x = sampled(number)
    net = made(space, input, layers, dtype)
    table = [row for row in gequi.equivariance_error(net, x) if row["exact"]]
    assert table
    assert max(row["error"] for row in table) <= exactness, (space.name, input, layers, x.shape)


@samples()
def test_batches_threads_and_files_change_nothing(number, dtype, threads):
    space, input, layers, x = sampled(number)
    net = made(space, input, layers, dtype)
    expected = gequi.predict(net, x)
    np.testing.assert_array_equal(gequi.predict(net, x), expected)
    np.testing.assert_array_equal(gequi.predict(model_from_bytes(model_to_bytes(net)), x), expected)
    assert relative(gequi.predict(net, x, batch_size=1), expected) <= ROUNDING[dtype], (space.name, layers)
    threads(2)
    assert relative(gequi.predict(net, x), expected) <= ROUNDING[dtype]


@pytest.fixture
def threads():
    """threads(n): torch computes with n threads until the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# ---- attention, maps, registrations ---------------------------------------------------------------------


@samples()
def test_random_attention_permutes_with_its_queries_and_ignores_the_order_of_its_context(number, dtype, threads):
    draw, random = randomness.Random(number), np.random.default_rng(number)
    heads, batch, count, others = (draw.randint(1, most) for most in (4, 3, 30, 30))
    module = gequi.multi_head_attention(
        heads * draw.randint(1, 6),
        heads,
        key_dim=draw.choice([None, 2, 5]),
        bias=draw.random() < 0.5,
        seed=1,
        dtype=dtype,
    )
    width = gequi.get_weights(module)["query"].shape[1]
    query, context = random.normal(size=(batch, count, width)), random.normal(size=(batch, others, width))
    expected, p = gequi.predict(module, query, context), random.permutation(count)
    np.testing.assert_array_equal(gequi.predict(module, query[:, p], context), expected[:, p])
    shuffled = context[:, random.permutation(others)]
    assert relative(gequi.predict(module, query, shuffled), expected) <= ROUNDING[dtype]
    assert relative(gequi.predict(module, query, context, batch_size=1), expected) <= ROUNDING[dtype]
    threads(2)
    assert relative(gequi.predict(module, query, context), expected) <= ROUNDING[dtype]


@samples()
def test_a_random_map_is_undone_by_its_inverse_and_composes_as_functions_do(number):
    random = np.random.default_rng(number)
    shape = tuple(random.integers(4, 12, size=random.integers(2, 4)))
    axes = len(shape)
    slope = np.eye(axes) + 0.2 * random.normal(size=(axes, axes))
    waves = ndimage.gaussian_filter(random.normal(size=(axes, *shape)), (0, *[2.0] * axes))
    curved = np.einsum("ij,j...->i...", slope, gequi.identity_map(shape)) + waves
    bent = gequi.identity_map(shape) + ndimage.gaussian_filter(random.normal(size=(axes, *shape)), (0, *[3.0] * axes))
    points = random.uniform(0, np.array(shape) - 1, size=(9, axes))
    pixels = np.indices(shape).reshape(axes, -1).T
    # each pixel of a composition is the one map after the other
    twice = gequi.warp_points(gequi.warp_points(pixels, bent), curved)
    np.testing.assert_allclose(gequi.compose_maps(curved, bent).reshape(axes, -1).T, twice, rtol=0, atol=1e-11)
    back = gequi.invert_map(curved)
    np.testing.assert_allclose(gequi.compose_maps(curved, back), gequi.identity_map(shape), rtol=0, atol=1e-7)
    affine, other = (
        np.einsum("ij,j...->i...", np.eye(axes) + 0.2 * random.normal(size=(axes, axes)), gequi.identity_map(shape))
        + random.normal(size=(axes, *[1] * axes))
        for _ in range(2)
    )  # maps that are interpolated without error compose in any order of brackets
    once = gequi.warp_points(points, gequi.compose_maps(affine, other))
    np.testing.assert_allclose(once, gequi.warp_points(gequi.warp_points(points, other), affine), rtol=0, atol=1e-10)
    np.testing.assert_allclose(
        gequi.warp_points(gequi.warp_points(points, affine), gequi.invert_map(affine)), points, rtol=0, atol=1e-8
    )


def turned(points, shape, turns):
    """Return where np.rot90 takes points of an image."""
    for _ in range(turns):
        points, shape = np.stack([shape[1] - 1 - points[:, 1], points[:, 0]], 1), shape[::-1]
    return points


@samples(2, 20)
def test_a_random_registration_turns_with_its_images_and_swaps_to_the_inverse(number):
    draw = randomness.Random(number)
    image = gequi.sample_image(draw.choice(["cat", "retina"]))
    middle, sides = np.array(image.shape) // 2, (draw.randint(64, 88), draw.randint(64, 88))
    angle, transform = draw.uniform(-40, 40), draw.choice(["rigid", "similarity", "affine", "deformable"])
    turn = ndimage.rotate(image, angle, reshape=False, order=3, mode="nearest")

    def view(picture, side, shift):
        first = middle - side // 2 + shift
        return picture[first[0] : first[0] + side, first[1] : first[1] + side - 5]

    moving, fixed = view(image, sides[0], 0), view(turn, sides[1], draw.randint(-4, 4))

    def register(moving, fixed):
        return gequi.register_images(moving, fixed, transform=transform, dtype="float64", min_probability=0)

    result = register(moving, fixed)
    one, other = draw.randint(0, 3), draw.randint(0, 3)
    again = register(np.rot90(moving, one), np.rot90(fixed, other))
    pixels = np.indices(fixed.shape).reshape(2, -1).T.astype(float)
    there = turned(gequi.warp_points(pixels, result.map), moving.shape, one)
    np.testing.assert_allclose(
        gequi.warp_points(turned(pixels, fixed.shape, other), again.map), there, rtol=0, atol=1e-9
    )
    assert again.probability == pytest.approx(result.probability, abs=1e-3)
    assert result.probability > 0.95
    inside = np.hypot(*(pixels - np.array(fixed.shape) / 2).T) < 0.35 * min(fixed.shape)
    back = gequi.warp_points(gequi.warp_points(pixels, result.map), register(fixed, moving).map)
    assert np.hypot(*(back - pixels)[inside].T).mean() <= 0.3


# ---- processes ------------------------------------------------------------------------------------------


def digest():
    """Return a checksum of the results of networks, attention and a registration."""
    found = [gequi.predict(made(*sampled(number)[:3]), sampled(number)[3]) for number in range(6)]
    image = gequi.sample_image("retina")[60:124, 60:124]
    found.append(gequi.register_images(np.rot90(image), image, transform="affine").map)
    module = gequi.visual_attention(4, heads=2, seed=1)
    found.append(gequi.predict(module, np.random.default_rng(1).normal(size=(2, 4, 6, 7))))
    return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in found)).hexdigest()


def test_fresh_processes_repeat_results_to_the_bit():
    code = "import test_random_laws as laws; print(laws.digest())"
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}, check=False)
        for seed in ("1", "2")
    ]  # fmt: skip
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == 64
