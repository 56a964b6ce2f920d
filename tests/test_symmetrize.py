"""symmetrize() and models of other packages: the average over the group makes every model equivariant."""

import numpy as np
import onnx
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

import gequi
from gequi.errors import FieldError, InputError, SetupError, ShapeError

C4 = gequi.gspace("rot2dOnR2", N=4)
C8 = gequi.gspace("rot2dOnR2", N=8)
D4 = gequi.gspace("flipRot2dOnR2", N=4)
OCTA = gequi.gspace("octaOnR3")


def cnn(channels, dimension=2, pool=False, dtype=torch.float64):
    """A plain network without symmetry."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimension]
    torch.manual_seed(3)
    layers = [convolution(1, 6, 3, padding=1), nn.ReLU(), convolution(6, channels, 3, padding=1)]
    pooling = [nn.Flatten(2), nn.AdaptiveAvgPool1d(7), nn.Flatten(), nn.LazyLinear(channels)] if pool else []
    model = nn.Sequential(*layers, *pooling)
    model(torch.zeros(2, 1, *[7] * dimension))
    return model.to(dtype)


def worst(model, x, *options, **named):
    """The largest error of the elements that map the grid onto itself."""
    return max(row["error"] for row in gequi.equivariance_error(model, x, *options, **named) if row["exact"])


@pytest.mark.parametrize(
    ("space", "output", "size"),
    [(C4, "trivial", (9, 9)), (C4, "regular", (9, 12)), (D4, "irrep_1,1", (8, 8)), (D4, "regular", (7, 5)), (C8, "regular", (9, 9)),
     (gequi.gspace("flip2dOnR2"), "regular", (6, 9)), (OCTA, "irrep_1", (5, 5, 5)), (OCTA, "regular", (4, 4, 4))],
)  # fmt: skip
def test_a_symmetrized_network_is_equivariant_to_rounding_for_every_exact_element(space, output, size, random):
    channels = gequi.field_type(space, output).size
    plain = cnn(channels, len(size))
    x = random.normal(size=(2, 1, *size))
    assert worst(plain, x, space, "trivial", output) > 0.1
    model = gequi.symmetrize(plain, space, "trivial", output)
    assert worst(model, x) <= 1e-12
    assert worst(gequi.symmetrize(cnn(channels, len(size), dtype=torch.float32), space, "trivial", output), x) <= 1e-5


def test_scores_of_classes_become_invariant(random):
    x = random.normal(size=(3, 1, 9, 9))
    model = gequi.symmetrize(cnn(5, pool=True), D4, "trivial", {"trivial": 5})
    scores = gequi.predict(model, x)
    for moved in (np.rot90(x, 1, (2, 3)), x[..., ::-1], np.rot90(x[:, :, ::-1], 3, (2, 3))):
        np.testing.assert_allclose(gequi.predict(model, moved), scores, rtol=0, atol=1e-12)


def test_it_is_the_mean_of_the_outputs_moved_back(random):
    x = random.normal(size=(2, 1, 6, 6))
    plain = cnn(1)
    by_hand = np.mean([np.rot90(gequi.predict(plain, np.rot90(x, k, (2, 3))), -k, (2, 3)) for k in range(4)], axis=0)
    model = gequi.symmetrize(plain, C4, "trivial", "trivial")
    np.testing.assert_allclose(gequi.predict(model, x), by_hand, rtol=0, atol=1e-13)


def test_what_is_equivariant_already_stays_as_it_is(random):
    network = gequi.equivariant_network(
        D4, "trivial", [{"layer": "conv", "fields": "regular", "kernel_size": 3}], seed=1, dtype="float64"
    )
    x = random.normal(size=(2, 1, 7, 7))
    np.testing.assert_allclose(
        gequi.predict(gequi.symmetrize(network, D4), x), gequi.predict(network, x), rtol=0, atol=1e-12
    )


def test_a_network_gets_a_larger_group(random):
    layers = [{"layer": "conv", "fields": "regular", "kernel_size": 3}, {"layer": "relu"}, {"layer": "group_pool"}]
    network = gequi.equivariant_network(C4, "trivial", layers, seed=1)
    x = random.normal(size=(2, 1, 7, 7))
    assert worst(network, x, dtype="float64") <= 1e-12
    model = gequi.symmetrize(network, D4)
    assert worst(model, x, dtype="float64") <= 1e-12
    assert len(gequi.equivariance_error(model, x)) == 8
    mirrored = np.abs(gequi.predict(network, x[..., ::-1]) - gequi.predict(network, x)[..., ::-1]).max()
    assert mirrored > 0.01


def test_the_model_is_called_once_and_twice_for_images_that_are_not_square(random):
    for size, calls in (((6, 6), 1), ((6, 8), 2)):
        seen = []
        model = gequi.symmetrize(lambda x, seen=seen: seen.append(x.shape) or x**2, D4, "trivial", "trivial")
        gequi.predict(model, random.normal(size=(3, 1, *size)))
        assert len(seen) == calls
        assert sum(shape[0] for shape in seen) == 8 * 3


def test_gradients_pass_and_fit_trains_the_model_inside(random):
    model = gequi.symmetrize(cnn(2, pool=True, dtype=torch.float32), C4, "trivial", {"trivial": 2})
    x = random.normal(size=(16, 1, 7, 7)).astype(np.float32)
    y = (x.sum((1, 2, 3)) > 0).astype(int)
    history = gequi.fit(model, x, y, epochs=6, learning_rate=0.01, seed=1, device="cpu")
    assert history[-1]["loss"] < history[0]["loss"]
    assert worst(model, x, dtype="float64") <= 1e-12


# ---- models of other programs ---------------------------------------------------------------------------


def onnx_file(path, batch="batch", kind=onnx.TensorProto.FLOAT):
    """A convolution of 3 x 3 to 2 channels."""
    weights = np.random.default_rng(0).normal(size=(2, 1, 3, 3))
    tensor = onnx.helper.make_tensor("w", kind, weights.shape, weights.ravel())
    given, found = (onnx.helper.make_tensor_value_info(n, kind, [batch, c, "h", "w"]) for n, c in (("x", 1), ("y", 2)))
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [given], [found], [tensor]),
        opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9,
    )  # fmt: skip
    onnx.save(model, path)
    return weights


@pytest.mark.parametrize("batch", ["batch", 1, 4])
def test_an_onnx_file_is_measured_and_mended(batch, tmp_path, random):
    weights = onnx_file(tmp_path / "a.onnx", batch)
    x = random.normal(size=(3, 1, 8, 8)).astype(np.float32)
    fields = {"input": "trivial", "output": {"trivial": 2}}
    convolution = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    convolution.weight.data = torch.tensor(weights, dtype=torch.float32)
    theirs = gequi.equivariance_error(tmp_path / "a.onnx", x, C4, **fields)
    ours = gequi.equivariance_error(convolution, x, C4, **fields)
    assert [row["error"] for row in theirs] == pytest.approx([row["error"] for row in ours], abs=1e-5)
    assert worst(gequi.symmetrize(str(tmp_path / "a.onnx"), C4, **fields), x) <= 1e-6
    assert worst(tmp_path / "a.onnx", x, C4, **fields) > 0.1


def test_a_torchscript_file_is_measured_and_mended(tmp_path, random):
    x = random.normal(size=(3, 1, 8, 8))
    plain = cnn(2)
    torch.jit.save(torch.jit.trace(plain, torch.zeros(2, 1, 8, 8, dtype=torch.float64)), tmp_path / "a.pt")
    fields = {"input": "trivial", "output": {"trivial": 2}}
    ours = gequi.equivariance_error(plain, x, C4, **fields)
    theirs = gequi.equivariance_error(str(tmp_path / "a.pt"), x, C4, **fields)
    assert [row["error"] for row in theirs] == pytest.approx([row["error"] for row in ours])
    assert worst(gequi.symmetrize(tmp_path / "a.pt", C4, **fields), x) <= 1e-12


def test_predictors_of_scikit_learn_get_the_pixels_as_features(random):
    x, y = random.normal(size=(40, 1, 4, 4)), np.arange(40) % 3
    flat = x.reshape(40, -1)
    for predictor, columns in ((LogisticRegression().fit(flat, y), 3), (Ridge().fit(flat, y), 1)):
        fields = {"input": "trivial", "output": {"trivial": columns}}
        assert worst(predictor, x, C4, **fields) > 0.01
        model = gequi.symmetrize(predictor, C4, **fields)
        assert worst(model, x) <= 1e-12
        answer = predictor.predict_proba if columns == 3 else lambda a, p=predictor: p.predict(a)[:, None]
        by_hand = np.mean([answer(np.rot90(x, k, (2, 3)).reshape(40, -1)) for k in range(4)], axis=0)
        np.testing.assert_allclose(gequi.predict(model, x), by_hand, rtol=0, atol=1e-12)


class KerasLike:
    """What gequi uses of keras.Model: it is callable, and predict(x, verbose=) takes and returns the channels last."""

    def __call__(self, x):
        raise AssertionError("predict() runs in batches; a call does not")

    def predict(self, x, verbose="auto"):
        assert verbose == 0
        self.seen = x.shape
        return x[:, :, ::-1] * np.arange(1.0, 4)


def test_a_model_of_keras_has_its_channels_last(random):
    model, x = KerasLike(), random.normal(size=(2, 1, 5, 6))
    errors = gequi.equivariance_error(model, x, C4, "trivial", {"trivial": 3})
    assert model.seen == (2, 6, 5, 1)  # of the last element, which exchanges height and width
    same = gequi.equivariance_error(
        lambda x: x[..., ::-1] * np.arange(1.0, 4)[:, None, None], x, C4, "trivial", {"trivial": 3}
    )
    assert [row["error"] for row in errors] == [row["error"] for row in same]


def test_a_module_is_measured_in_the_type_that_is_asked_for(random):
    x, plain = random.normal(size=(2, 1, 5, 5)), nn.Conv2d(1, 1, 1)
    single, double = (worst(plain, x, C4, "trivial", "trivial", dtype=dtype) for dtype in (None, "float64"))
    assert double <= 1e-15
    assert single <= 1e-6
    assert plain.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((np.square, gequi.gspace("rot3dOnR3"), "trivial", "trivial"), InputError, "`space` must have a finite group.*SO"),
        ((np.square, "C4", "trivial", "trivial"), InputError, "`space` must be a gspace"),
        ((np.square, C4), InputError, "`input` is missing: it is required for a model"),
        ((np.square, C4, "trivial"), InputError, "`output` is missing"),
        ((np.square, C4, "trivial", "regulra"), FieldError, "`output` must be one of"),
        ((np.square, C4, gequi.field_type(C8, "trivial"), "trivial"), InputError, "`input` must be of the gspace of `space`"),
        (("model.txt", C4, "trivial", "trivial"), InputError, "`model` must be a network or a function"),
        (("none.onnx", C4, "trivial", "trivial"), InputError, "`model` is a file that cannot be opened"),
        (("none.pt", C4, "trivial", "trivial"), InputError, "`model` is a file that cannot be opened"),
        ((3, C4, "trivial", "trivial"), InputError, "`model` must be a network or a function"),
    ],
)  # fmt: skip
def test_what_cannot_be_averaged_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        gequi.symmetrize(*arguments)


def test_outputs_that_do_not_fit_are_refused(random):
    x = random.normal(size=(1, 1, 5, 7))
    for f, output, kind, message in (
        (np.square, "regular", ShapeError, "`model` must return features with 4 channels .* `output`"),
        (lambda x: x[:, :, :4], "trivial", ShapeError, r"`model` gives outputs of the shapes \(1, 1, 4, 7\)"),
        (lambda x: x * np.nan, "trivial", InputError, r"`model\(x\)` must be finite"),
        (nn.LSTM(7, 2), "trivial", InputError, "`model` must return one tensor; it returned tuple"),
    ):
        model = gequi.symmetrize(f, C4, "trivial", output)
        with pytest.raises(kind, match=message):
            gequi.predict(model, x[:, 0] if isinstance(f, nn.LSTM) else x)
    network = gequi.equivariant_network(
        C4, "regular", [{"layer": "conv", "fields": "trivial", "kernel_size": 3}], seed=1
    )
    with pytest.raises(ShapeError, match="`input` must have 4 channels"):
        gequi.symmetrize(network, D4)


def test_an_onnx_file_without_onnxruntime_says_what_is_missing(tmp_path, monkeypatch):
    onnx_file(tmp_path / "a.onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="`model` is an ONNX file, which needs the Python package onnxruntime"):
        gequi.symmetrize(tmp_path / "a.onnx", C4, "trivial", "trivial")


# ---- inside the disc, and the floor ---------------------------------------------------------------------


def waves(size, count, seed=0):
    """Sums of waves below 0.3 of the Nyquist frequency."""
    generator = np.random.default_rng(seed)
    y, x = np.meshgrid(*[np.arange(size) - (size - 1) / 2] * 2, indexing="ij")
    found = []
    for _ in range(count):
        k, angle, phase = 0.3 * np.pi * generator.uniform(0.3, 1, 9), *generator.uniform(0, 2 * np.pi, (2, 9))
        arguments = k * (np.cos(angle) * x[..., None] + np.sin(angle) * y[..., None]) + phase
        found.append(np.cos(arguments).sum(-1))
    return np.stack(found)[:, None]


def disc(size):
    distance = np.hypot(*np.meshgrid(*[np.arange(size) - (size - 1) / 2] * 2))
    return distance <= (size - 1) / 2 + 1e-9


def test_rms_and_floor_are_those_of_the_definition(random):
    x = random.normal(size=(4, 1, 11, 11))
    within = disc(11)

    def lengths(a):
        return np.sqrt((a[:, :, within] ** 2).mean((1, 2)))

    def f(a):
        return a**2 * np.linspace(0, 1, 11)

    space = C8
    row = gequi.equivariance_error(f, x, space, "trivial", "trivial", elements=[1])[0]
    gray = gequi.field_type(space, "trivial")
    value, moved = f(x), gequi.transform_field(x, gray, 1)
    scale = {name: np.sqrt((lengths(a) ** 2).mean()) for name, a in (("x", x), ("y", value))}
    each = lengths(f(moved) - gequi.transform_field(value, gray, 1)) / scale["y"]
    assert row["rms"] == pytest.approx(each.mean())
    half = 3.182446305284263 * each.std(ddof=1) / 2  # Student's t of 3 degrees of freedom, at 97.5 %
    assert (row["rms_low"], row["rms_high"]) == pytest.approx((max(0, each.mean() - half), each.mean() + half))
    back = lengths(gequi.transform_field(moved, gray, 7) - x) / scale["x"]
    back += lengths(gequi.transform_field(gequi.transform_field(value, gray, 1), gray, 7) - value) / scale["y"]
    assert row["floor"] == pytest.approx(back.mean())


def test_the_floor_explains_the_error_of_a_pointwise_map_and_not_that_of_a_shift():
    """An analytic image has no border and little to interpolate: rms falls to the floor where the map commutes."""
    x = waves(40, count=3)
    for f, lower, upper in ((np.tanh, 0, 2), (lambda a: np.roll(a, 1, 3), 3, np.inf)):
        rows = gequi.equivariance_error(f, x, C8, "trivial", "trivial", elements=[1, 3])
        assert all(lower <= row["rms"] / row["floor"] <= upper for row in rows)
        assert all(row["rms_low"] <= row["rms"] <= row["rms_high"] for row in rows)
    assert rows[0]["floor"] < 0.1 < rows[0]["error"]


def test_exact_elements_have_no_floor_and_one_image_no_interval(random):
    for row in gequi.equivariance_error(np.square, random.normal(size=(1, 1, 6, 6)), C4, "trivial", "trivial"):
        assert (row["floor"], row["rms_low"], row["rms_high"]) == (0.0, None, None)
        assert row["rms"] <= 1e-12


def test_where_the_disc_is_empty_or_its_values_are_zero_there_is_no_relative_error():
    corner = np.zeros((1, 1, 5, 5))
    corner[..., 0, 0] = 1
    for x in (corner, np.ones((1, 1, 2, 2))):
        row = gequi.equivariance_error(np.square, x, C4, "trivial", "trivial")[1]
        assert (row["error"], row["rms"], row["floor"]) == (0.0, None, None)


# ---- which group ----------------------------------------------------------------------------------------


def test_the_largest_group_that_fits_comes_first(random):
    x = random.normal(size=(6, 1, 9, 9))
    weights = random.normal(size=(9, 9))
    plans = {
        "flip2dOnR2": {},
        "rot2dOnR2(N = 2)": {"N": 2},
        "rot2dOnR2(N = 4)": {"N": 4},
        "flipRot2dOnR2(N = 4)": {"N": 4},
    }
    for name, options in plans.items():
        space = gequi.gspace(name.split("(")[0], **options)
        scores = gequi.symmetrize(
            lambda x: np.stack([(np.roll(x, k, 2) * np.roll(x, 2 * k, 3) * weights).sum((1, 2, 3)) for k in (1, 2, 3)], 1),
            space, "trivial", {"trivial": 3},
        )  # fmt: skip
        rows = gequi.symmetry_report(scores, x)
        assert rows[0]["space"] == name
        assert (rows[0]["excess"], rows[0]["changed"]) == (pytest.approx(0, abs=1e-12), 0.0)
        fits = [row["excess"] <= 1e-12 for row in rows]
        assert fits == sorted(fits, reverse=True)
        assert (
            sum(fits)
            == {"flip2dOnR2": 1, "rot2dOnR2(N = 2)": 1, "rot2dOnR2(N = 4)": 2, "flipRot2dOnR2(N = 4)": 5}[name]
        )
        assert rows[-1]["excess"] > 0.05


def test_the_share_of_changed_classes_counts_images_and_not_elements():
    x = np.zeros((4, 1, 5, 5))
    for number, place in enumerate([(2, 2), (0, 2), (2, 4), (2, 2)]):
        x[(number, 0, *place)] = 1

    def upper(x):  # class 0 above the middle, and 1 for the others
        return np.stack([x[:, 0, :2].sum((1, 2)), 0.5 * np.ones(len(x))], 1)

    rows = gequi.symmetry_report(
        upper, x, [C4, gequi.gspace("rot2dOnR2", N=2), gequi.gspace("flip2dOnR2", axis=np.pi / 2)]
    )
    shares = {row["space"]: row["changed"] for row in rows}
    assert sorted(shares.values()) == [0.0, 0.25, 0.5]
    assert rows[0]["changed"] == 0.0
    images = gequi.symmetry_report(np.square, x, C4)
    assert (images[0]["changed"], images[0]["excess"]) == (None, 0.0)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((np.square, np.ones((2, 3))), InputError, "`spaces` is missing: there are candidates for images"),
        ((np.square, np.ones((2, 1, 5, 5)), []), InputError, "`spaces` is empty"),
        ((np.square, np.ones((2, 1, 5, 5)), ["C4"]), InputError, "`spaces` must be a gspace"),
        ((np.square, np.ones(5)), ShapeError, "`x` must have the axes"),
        ((lambda x: x[:, 0, 0, 0], np.ones((2, 1, 5, 5))), ShapeError, "`model` must return features"),
        ((lambda x: x[:, :, :4], np.ones((2, 1, 5, 5))), ShapeError, "`model` gives shape"),
        (("a", np.ones((2, 1, 5, 5))), InputError, "`model` must be a network or a function"),
    ],
)
def test_a_report_that_cannot_be_made_is_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        gequi.symmetry_report(*arguments)
