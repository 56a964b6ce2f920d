"""canonicalize() and fit_canonicalizer(): a network finds the pose of an input, which a foreign model never sees."""

import numpy as np
import pytest
import torch
from torch import nn

import gequi
from gequi.errors import FieldError, InputError, ShapeError
from gequi.symmetry import moved, neighbors
from gequi.training.canonicalizing import _Batches, prior_loss

C4 = gequi.gspace("rot2dOnR2", N=4)
C8 = gequi.gspace("rot2dOnR2", N=8)
D4 = gequi.gspace("flipRot2dOnR2", N=4)
OCTA = gequi.gspace("octaOnR3")


def pose_network(space, dtype="float64", fields="trivial", output="regular"):
    layers = [{"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "relu"},
              {"layer": "conv", "fields": output, "kernel_size": 3}, {"layer": "global_avg_pool"}]  # fmt: skip
    return gequi.equivariant_network(space, fields, layers, seed=2, dtype=dtype)


def plain(channels, dimension=2, dtype=torch.float64, pool=False, inputs=1):
    """A network without symmetry."""
    torch.manual_seed(3)
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dimension]
    layers = [convolution(inputs, 5, 3, padding=1), nn.ReLU(), convolution(5, channels, 3, padding=1)]
    model = nn.Sequential(*layers, *([nn.Flatten(), nn.LazyLinear(channels)] if pool else []))
    model(torch.zeros(2, inputs, *[7] * dimension))
    return model.to(dtype)


def worst(model, x, *options, **named):
    """The largest error of the elements that map the grid onto itself."""
    return max(row["error"] for row in gequi.equivariance_error(model, x, *options, **named) if row["exact"])


@pytest.mark.parametrize(
    ("space", "output", "dimension"),
    [(C4, "trivial", 2), (C8, {"trivial": 2}, 2), (D4, "trivial", 2), (C4, "irrep_1", 2), (C8, "regular", 2), (D4, "irrep_1,1", 2),
     (OCTA, "irrep_1", 3)],
)  # fmt: skip
def test_every_model_becomes_equivariant_to_rounding(space, output, dimension, dtype, random):
    channels = gequi.field_type(space, output).size
    model = plain(channels, dimension, getattr(torch, dtype))
    x = random.normal(size=(3, 1, *[7] * dimension))
    assert worst(model, x, space, "trivial", output) > 0.1
    mended = gequi.canonicalize(model, pose_network(space, dtype), output=output)
    assert mended.refine == (output in ("trivial", {"trivial": 2}))
    assert worst(mended, x) <= (1e-4 if dtype == "float32" else 1e-11)


def test_scores_of_classes_become_invariant_and_vectors_turn_with_the_input(random):
    x = random.normal(size=(4, 1, 7, 7))
    scores = gequi.canonicalize(plain(3, pool=True), pose_network(D4), output={"trivial": 3})
    vectors = gequi.canonicalize(plain(2, pool=True), pose_network(C4), output="irrep_1")
    quarter = np.rot90(x, 1, (2, 3))
    np.testing.assert_allclose(gequi.predict(scores, quarter), gequi.predict(scores, x), atol=1e-11)
    np.testing.assert_allclose(gequi.predict(scores, x[..., ::-1]), gequi.predict(scores, x), atol=1e-11)
    turned = gequi.predict(vectors, x) @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(gequi.predict(vectors, quarter), turned, atol=1e-11)


def test_the_model_sees_the_input_in_one_pose(random):
    """The pose is undone: for a pose that is known, the model gets the image that was turned."""
    network = pose_network(C8)
    seen = []
    model = gequi.canonicalize(lambda x: seen.append(x) or x, network, output="trivial", refine=False)
    x = random.normal(size=(5, 1, 9, 9))
    number = gequi.predict(network, x)[:, :, 0, 0].argmax(1)
    assert len(set(number.tolist())) > 2
    result = gequi.predict(model, x)
    type_ = gequi.field_type(C8, "trivial")
    for place, k in enumerate(number):
        upright = gequi.transform_field(x[place : place + 1], type_, (-int(k)) % 8)
        np.testing.assert_allclose(seen[0][place : place + 1], upright, atol=1e-12)
        np.testing.assert_allclose(result[place : place + 1], gequi.transform_field(upright, type_, int(k)), atol=1e-12)


def test_the_angle_between_the_elements_is_that_of_their_probabilities():
    """A stand-in for the scores: the target of an angle is found again as this angle."""
    model = gequi.canonicalize(lambda x: x, pose_network(C8), output="trivial")
    for degrees in (0.0, 10.0, 22.4, 44.9, 100.0, 359.0):
        place, part = divmod(degrees / 45, 1)
        p = np.full(8, 1e-9)
        p[int(place) % 8], p[(int(place) + 1) % 8] = 1 - part + 1e-9, part + 1e-9
        with torch.no_grad():
            for parameter in model.canonicalizer.parameters():
                parameter.zero_()
        scores = torch.tensor(np.log(p))
        model.canonicalizer.register_forward_hook(lambda *_, scores=scores: scores[None, :, None, None])
        matrix = model.poses(torch.zeros(1, 1, 7, 7, dtype=torch.float64))[1][0].numpy()
        angle = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])) % 360
        assert min(abs(angle - degrees), 360 - abs(angle - degrees)) < 1e-4


def test_the_neighbors_of_an_element_are_turned_by_the_smallest_angle():
    before, after = neighbors(C8)
    assert after.tolist() == [1, 2, 3, 4, 5, 6, 7, 0]
    assert before.tolist() == [7, 0, 1, 2, 3, 4, 5, 6]
    for each in neighbors(D4):
        assert sorted(each.tolist()) == list(range(8))
    assert neighbors(D4)[0][neighbors(D4)[1]].tolist() == list(range(8))


def test_points_at_the_border_stay_inside():
    """A turn by a whole circle, with its rounding errors, moves nothing."""
    x = torch.ones(1, 1, 6, 6, dtype=torch.float64)
    angle = 2 * np.pi
    matrix = torch.tensor([[[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]])
    torch.testing.assert_close(moved(x, matrix), x, rtol=0, atol=1e-12)


def test_gradients_reach_the_model_and_not_the_canonicalizer(random):
    network, model = pose_network(C4, "float32"), plain(2, pool=True, dtype=torch.float32)
    mended = gequi.canonicalize(model, network, output={"trivial": 2})
    x = random.normal(size=(16, 1, 7, 7)).astype(np.float32)
    before = gequi.get_weights(network)
    history = gequi.fit(
        mended, x, (x.sum((1, 2, 3)) > 0).astype(int), epochs=5, learning_rate=0.01, seed=1, device="cpu"
    )
    assert history[-1]["loss"] < history[0]["loss"]
    for name, value in gequi.get_weights(network).items():
        np.testing.assert_array_equal(value, before[name])
    assert worst(mended, x) < 1e-4


# ---- training -------------------------------------------------------------------------------------------


def arrows(random, count=96, size=11):
    """Upright images: bright above, with a blob on the left, and noise."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    disc = np.clip((size / 2 - np.hypot(rows, columns)) / 2, 0, 1)
    x = np.exp(-((rows + 2.5) ** 2 + columns**2) / 4) + 0.6 * np.exp(-(rows**2 + (columns + 2.5) ** 2) / 3)
    return (disc * (x + 0.1 * random.normal(size=(count, 1, size, size)))).astype(np.float32)


@pytest.fixture(scope="module")
def pose():
    x = arrows(np.random.default_rng(1))
    return gequi.fit_canonicalizer(x, gequi.gspace("rot2dOnR2", N=8), epochs=12, batch_size=16, seed=1, device="cpu")


def test_a_trained_canonicalizer_finds_angles_between_those_of_its_group(pose):
    x = arrows(np.random.default_rng(2), 12)
    model = gequi.canonicalize(lambda x: x, pose, output="trivial")
    assert pose.history[-1]["loss"] < pose.history[0]["loss"]
    for degrees in (0, 20, 130, 261):
        angle = torch.full((len(x),), np.deg2rad(degrees), dtype=torch.float64)
        matrices = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).reshape(-1, 2, 2)
        found = model.poses(moved(torch.tensor(x), matrices))[1].numpy()
        turned = np.rad2deg(np.arctan2(found[:, 1, 0], found[:, 0, 0])) - degrees
        assert np.abs((turned + 180) % 360 - 180).max() < 12


def test_the_prior_of_an_image_is_the_element_that_moved_it(random):
    x = arrows(random, 8)
    for space in (C8, D4, gequi.gspace("flip2dOnR2")):
        network = pose_network(space, "float32")
        batches = _Batches(x, network, 4, seed=3)
        assert batches.count == 2
        moved_x, target = batches(1)
        assert (moved_x.shape, target.shape) == ((4, 1, 11, 11), (4, len(gequi.group_elements(space))))
        np.testing.assert_allclose(target.sum(1), 1)
        assert (np.count_nonzero(target, axis=1) == (1 if space not in (C8, D4) else 2)).all()
        # The loss is least where the scores are those of the prior.
        best = prior_loss(torch.tensor(np.log(target + 1e-12)), torch.tensor(target))
        entropy = -(target * np.log(target + 1e-12)).sum(1).mean()
        assert float(best) == pytest.approx(entropy, abs=1e-6)
        again = _Batches(x, network, 4, seed=3)(1)
        np.testing.assert_array_equal(again[0], moved_x)


def test_a_network_of_the_user_is_trained_as_a_copy(random):
    x = arrows(random, 8)
    network = pose_network(D4, "float32")
    before = gequi.get_weights(network)
    trained = gequi.fit_canonicalizer(x, network=network, epochs=1, batch_size=4, seed=1, device="cpu")
    assert trained.space == D4
    changed = [not np.array_equal(value, before[name]) for name, value in gequi.get_weights(trained).items()]
    assert any(changed)
    for name, value in gequi.get_weights(network).items():
        np.testing.assert_array_equal(value, before[name])


def test_volumes_have_the_rotations_of_a_cube(random):
    x = random.normal(size=(4, 1, 5, 5, 5)).astype(np.float32)
    network = pose_network(OCTA, "float32")
    trained = gequi.fit_canonicalizer(x, network=network, epochs=1, batch_size=2, seed=1, device="cpu")
    assert gequi.predict(trained, x).shape == (4, 24, 1, 1, 1)


X = np.ones((3, 1, 7, 7))
AVERAGED = [{"layer": "conv", "fields": "regular", "kernel_size": 3}]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"canonicalizer": 3}, InputError, "`canonicalizer` must be a network"),
        ({"canonicalizer": pose_network(C4, output={"regular": 2})}, InputError, "output is one regular field"),
        ({"canonicalizer": pose_network(C4, output="trivial")}, InputError, "output is one regular field"),
        ({"output": None}, InputError, "`output` is missing"),
        ({"output": gequi.field_type(C8, "trivial")}, InputError, "`output` must be of the gspace of"),
        ({"input": {"trivial": 2}}, ShapeError, "`input` must have 1 channels"),
        ({"output": "spin"}, FieldError, "`output`"),
        ({"refine": True, "output": "regular"}, InputError, "`refine` is for groups of at least 3 rotations"),
        ({"refine": 3}, InputError, "`refine` must be"),
        ({"model": 3}, InputError, "`model` must be a network or a function"),
    ],
)  # fmt: skip
def test_what_cannot_be_canonicalized_is_refused(change, kind, message):
    given = {"model": np.square, "canonicalizer": pose_network(C4), "output": "trivial", **change}
    with pytest.raises(kind, match=message):
        gequi.canonicalize(**given)


def test_inputs_and_outputs_that_do_not_fit_are_refused():
    model = gequi.canonicalize(np.square, pose_network(C4), output="trivial")
    with pytest.raises(ShapeError, match="`x` must be square"):
        gequi.predict(model, np.ones((1, 1, 7, 9)))
    with pytest.raises(ShapeError, match="`model` must return features with 2 channels"):
        gequi.predict(gequi.canonicalize(np.square, pose_network(C4), output={"trivial": 2}), X)
    positions = gequi.equivariant_network(C4, "trivial", AVERAGED, seed=1)
    with pytest.raises(ShapeError, match="`canonicalizer` must return one score per element"):
        gequi.predict(gequi.canonicalize(np.square, positions, output="trivial"), X)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"space": gequi.gspace("rot2dOnR2", N=-1)}, InputError, "`space` must have a finite group"),
        ({"space": gequi.gspace("trivialOnR2")}, InputError, "`space` must have a finite group"),
        ({"space": C8, "network": pose_network(C4)}, InputError, "`space` is declared by the network"),
        ({"network": pose_network(C4, output="trivial")}, InputError, "output is one regular field"),
        ({"x": np.ones((3, 1, 7, 8))}, ShapeError, "`x` must be square"),
        ({"x": np.ones((3, 7))}, ShapeError, "`x` must have 4 or 5 axes"),
        ({"batch_size": 0}, InputError, "`batch_size` must be at least 1"),
        ({"epochs": -1}, InputError, "`epochs` must be"),
    ],
)
def test_what_no_canonicalizer_can_learn_from_is_refused(change, kind, message):
    with pytest.raises(kind, match=message):
        gequi.fit_canonicalizer(**{"x": X, "seed": 1, **change})
