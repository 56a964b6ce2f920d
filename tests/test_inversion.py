"""Inverse problems by descent on the input: the numbers of the notebook, stopping, and refused inputs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import gequi
from gequi._progress import at_intervals
from gequi.errors import ExactnessWarning, GequiWarning, InputError, ShapeError
from gequi.images import image_product, image_value, normalize_columns, oscillatory_warp, sample_image, signed_image
from gequi.inversion import invert_input

# The 3 x 3 case of the poster's notebook (Julia): the start, the image behind the target, and what it prints.
START = np.array([[0.749673, 0.286601, 0.689869], [0.378105, 0.743137, 0.302288], [0.515142, 0.466993, 0.72146]])
OTHER = np.array([[0.749673, 0.743137, 0.689869], [0.378105, 0.466993, 0.302288], [0.515142, 0, 0.72146]])
TARGET = image_value(OTHER)
STEP_157 = [[0.602404, 0.223887, 0.608441], [0.516231, 0.832933, 0.381413], [0.398615, 0.326251, 0.642348]]
STEP_628 = [[0.5618, 0.2398, 0.6582], [0.5456, 0.8382, 0.3779], [0.4298, 0.2879, 0.4941]]


# ---- the notebook's case --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_notebooks_3x3_descent_is_met(dtype):
    found = invert_input("image_value", TARGET, START, steps=628, learning_rate=1e-3, dtype=dtype)
    assert found["loss"][0] == pytest.approx(1.10585, abs=1e-5)
    assert found["loss"][1] == pytest.approx(1.09012, abs=1e-5)
    assert found["best_loss"] <= 0.00101
    assert (found["best_step"], found["stopped"], len(found["loss"])) == (628, "steps", 629)
    assert found["solution"].dtype == dtype
    np.testing.assert_allclose(found["solution"], STEP_628, rtol=0, atol=1e-4)
    # a different solution: not the image that the target was made from
    assert np.linalg.norm(found["solution"] - OTHER) == pytest.approx(0.777, abs=5e-4)
    np.testing.assert_allclose(found["value"], image_value(found["solution"]), rtol=0, atol=1e-6)


def test_the_image_before_the_notebooks_step_157_is_met():
    found = invert_input("image_value", TARGET, START, steps=156, dtype="float64")
    assert found["best_step"] == 156
    np.testing.assert_allclose(found["solution"], STEP_157, rtol=0, atol=1e-4)


# ---- equivariant networks -------------------------------------------------------------------------------


def invariant_network(dtype="float32"):
    """Quarter turns and reflections of the photograph do not change the result."""
    return gequi.equivariant_network(
        gequi.gspace("flipRot2dOnR2", N=4), {"trivial": 1}, seed=1, dtype=dtype,
        layers=[
            {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 5}, {"layer": "relu"},
            {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 6},
        ],
    )  # fmt: skip


def feature_network(dtype="float32"):
    return gequi.equivariant_network(
        gequi.gspace("rot2dOnR2", N=4), {"trivial": 1}, seed=1, dtype=dtype,
        layers=[
            {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3, "padding": 1}, {"layer": "relu"},
            {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3, "padding": 1},
        ],
    )  # fmt: skip


def photograph(size=25):
    return sample_image("camera")[100:300:8, 130:330:8][:size, :size]


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("float64", 1e-12)])
def test_every_rotated_and_mirrored_photograph_solves_the_inverse_problem_of_an_invariant_network(dtype, atol):
    network, image = invariant_network(dtype), photograph()
    target = gequi.predict(network, image)
    for turns in range(4):
        for moved in (np.rot90(image, turns), np.rot90(image, turns)[:, ::-1]):
            found = invert_input(network, target, moved, steps=0)
            assert found["best_loss"] <= atol * np.linalg.norm(target)
            assert found["solution"].dtype == dtype
    assert np.linalg.norm(np.rot90(image) - image) > 1
    assert invert_input(network, target, image[::-1] ** 2, steps=0)["best_loss"] > 0.01 * np.linalg.norm(target)


def test_the_features_of_a_photograph_are_inverted_back_to_pixels():
    network, image = feature_network(), photograph()
    found = invert_input(
        network, gequi.predict(network, image), np.full_like(image, 0.5), steps=300, learning_rate=0.03
    )
    assert found["best_loss"] < 0.02 * found["loss"][0]
    assert found["solution"].shape == image.shape
    assert np.corrcoef(found["solution"].ravel(), image.ravel())[0, 1] > 0.99


def test_an_equivariant_network_carries_the_whole_descent_along():
    network, image = feature_network("float64"), photograph()
    space, target = network.space, gequi.predict(network, image)
    start = np.random.default_rng(0).uniform(size=image.shape)
    found = invert_input(network, target, start, steps=20, learning_rate=0.03)
    turned = invert_input(
        network, gequi.transform_field(target, network.out_type, 1), gequi.transform_field(start, network.in_type, 1),
        steps=20, learning_rate=0.03,
    )  # fmt: skip
    np.testing.assert_allclose(turned["loss"], found["loss"], rtol=1e-9)
    np.testing.assert_allclose(
        turned["solution"],
        gequi.transform_field(found["solution"], gequi.field_type(space, {"trivial": 1}), 1),
        atol=1e-9,
    )


def test_a_network_takes_the_wanted_type_and_names_what_does_not_fit_it():
    network, image = feature_network(), photograph()
    found = invert_input(network, gequi.predict(network, image), image, steps=1, dtype="float64")
    assert found["solution"].dtype == np.float64
    assert network.dtype == torch.float32
    with pytest.raises(ShapeError, match="`start` must have 1 on its axis 'channel'"):
        invert_input(network, gequi.predict(network, image), np.ones((1, 2, 9, 9)))
    with pytest.raises(ShapeError, match=r"`target` must have the shape of f\(start\), \(1, 16, 9, 9\)"):
        invert_input(network, gequi.predict(network, image), np.ones((1, 1, 9, 9)))
    strided = gequi.equivariant_network(
        network.space,
        {"trivial": 1},
        seed=1,
        layers=[{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3, "stride": 2}],
    )
    with pytest.warns(ExactnessWarning):
        invert_input(strided, np.zeros((1, 4, 3, 3)), np.ones((8, 8)), steps=1)


# ---- the photograph -------------------------------------------------------------------------------------


def test_the_photograph_of_the_poster_has_a_different_solution_near_its_start():
    start = sample_image("camera")
    warped = oscillatory_warp(start)
    found = invert_input("image_value", image_value(warped), start, steps=300)
    assert found["loss"][0] == pytest.approx(11.01, abs=0.01)
    assert found["best_loss"] <= 0.75
    assert np.linalg.norm(found["solution"] - start) < np.linalg.norm(warped - start)


def test_a_quarter_of_the_photograph_has_a_different_solution_near_its_start():
    start = sample_image("camera")[::4, ::4]
    warped = oscillatory_warp(start, amplitude=-2.5, period=2 * math.pi)
    found = invert_input("image_value", image_value(warped), start, steps=150)
    assert found["best_loss"] < 0.15 * found["loss"][0]
    assert np.linalg.norm(found["solution"] - start) < np.linalg.norm(warped - start)
    assert np.linalg.norm(found["solution"] - warped) > 0.5 * np.linalg.norm(warped - start)


# ---- the orbit ------------------------------------------------------------------------------------------


def test_permuted_rows_solve_the_same_problem_to_1e_12():
    image = sample_image("cat")[:64, :48]
    target = image_value(oscillatory_warp(image))
    permuted = oscillatory_warp(image)[np.random.default_rng(0).permutation(64)]
    found = invert_input("image_value", target, permuted, steps=0, dtype="float64")
    assert found["best_loss"] <= 1e-12 * target.size
    assert np.linalg.norm(permuted - oscillatory_warp(image)) > 1


def test_scaled_columns_solve_the_same_problem():
    image = sample_image("cat")[:64, :48]
    factors = np.random.default_rng(0).uniform(0.5, 2, size=48)
    found = invert_input("image_value", image_value(image), (image + 1) * factors - 1, steps=0, dtype="float64")
    assert found["best_loss"] <= 1e-12 * 48**2


# ---- what is kept ---------------------------------------------------------------------------------------


def test_the_best_iterate_is_kept_where_the_loss_goes_up_again():
    seen = []

    def shifted(x):
        seen.append(x.detach().clone())
        return x - 1

    found = invert_input(shifted, [0.0], [0.0], steps=30, learning_rate=0.15, dtype="float64")
    losses = found["loss"]
    best = int(np.argmin(losses))
    assert 0 < best < 30
    assert losses[best + 1] > losses[best]
    assert found["best_step"] == best
    assert found["best_loss"] == losses[best]
    assert found["solution"] == seen[best]
    assert abs(found["solution"][0] - 1) == pytest.approx(losses[best], abs=1e-15)


def test_where_nothing_is_better_the_start_is_returned():
    found = invert_input(lambda x: x**2, [0.1], [0.1], steps=3, learning_rate=10, optimizer="sgd", loss="squared")
    assert found["best_step"] == 0
    np.testing.assert_allclose(found["solution"], [0.1])


@pytest.mark.parametrize("loss", ["norm", "squared", "mean_squared"])
def test_a_loss_of_0_stops_the_descent_without_nan(loss):
    found = invert_input("signed_image", signed_image(START), START, steps=50, loss=loss, dtype="float64")
    assert (found["stopped"], found["best_step"], found["loss"].tolist()) == ("exact", 0, [0.0])
    np.testing.assert_array_equal(found["solution"], START)


def test_no_steps_is_a_measurement():
    found = invert_input("image_value", TARGET, START, steps=0, dtype="float64")
    assert found["loss"].tolist() == [pytest.approx(1.105852, abs=1e-5)]
    np.testing.assert_array_equal(found["solution"], START)


def test_the_start_and_the_target_are_never_changed():
    start, target = START.copy(), TARGET.copy()
    invert_input("image_value", target, start, steps=3, dtype="float64")["solution"][:] = 0
    np.testing.assert_array_equal(start, START)
    np.testing.assert_array_equal(target, TARGET)


# ---- what stops it --------------------------------------------------------------------------------------


def test_progress_sees_every_iterate_and_stops_the_descent_by_false():
    seen = []

    def watch(info):
        seen.append((info["step"], info["loss"]))
        assert info["steps"] == 100
        return info["step"] < 7 and None

    found = invert_input("image_value", TARGET, START, steps=100, progress=watch)
    assert found["stopped"] == "progress"
    assert [step for step, _ in seen] == list(range(8))
    np.testing.assert_array_equal([loss for _, loss in seen], found["loss"])
    alone = invert_input("image_value", TARGET, START, steps=7)
    np.testing.assert_array_equal(found["solution"], alone["solution"])


@pytest.mark.parametrize("where", ["progress", "f"])
def test_an_interrupt_keeps_the_best_so_far(where):
    calls = 0

    def interrupting(*_):
        nonlocal calls
        calls += 1
        if calls == 12:
            raise KeyboardInterrupt

    def value(x):
        if where == "f":
            interrupting()
        return image_value(x)

    found = invert_input(
        value, TARGET, START, steps=100, progress=interrupting if where == "progress" else None, dtype="float64"
    )
    assert found["stopped"] == "interrupted"
    steps = len(found["loss"]) - 1
    assert steps == (11 if where == "progress" else 10)
    alone = invert_input("image_value", TARGET, START, steps=steps, dtype="float64")
    assert found["best_step"] == steps
    np.testing.assert_array_equal(found["solution"], alone["solution"])


def test_an_interrupt_before_the_first_loss_is_passed_on():
    calls = []

    def value(x):
        calls.append(x)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return image_value(x)

    with pytest.raises(KeyboardInterrupt):
        invert_input(value, TARGET, START)


def test_an_error_of_progress_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        invert_input("image_value", TARGET, START, progress=lambda info: 1 / 0)


def test_a_step_out_of_the_domain_ends_the_descent_with_a_warning_and_the_best_before_it():
    start = np.array([[-0.99, 0.5], [0.5, 0.2]])
    target = normalize_columns([[-1.0, 0.5], [0.5, 0.2]], "plus_one")
    with pytest.warns(GequiWarning, match=r"left the domain of `f` at step .*; .* no pixel may be below -1"):
        found = invert_input([{"op": "normalize_columns", "f": "plus_one"}], target, start, learning_rate=0.05)
    assert found["stopped"] == "outside"
    assert found["best_loss"] == found["loss"].min()


def test_a_loss_that_is_no_longer_finite_ends_the_descent():
    with pytest.warns(GequiWarning, match=r"left the domain .* The loss is (inf|nan)"):
        found = invert_input(lambda x: x**4, [0.0], [2.0], steps=20, learning_rate=1, optimizer="sgd", loss="squared")
    assert found["stopped"] == "outside"
    assert np.isfinite(found["loss"]).all()
    assert np.isfinite(found["solution"]).all()


# ---- what can be inverted -------------------------------------------------------------------------------


def test_a_name_a_composition_and_functions_of_a_tensor_are_the_same_problem():
    arguments = {"target": TARGET, "start": START, "steps": 20, "dtype": "float64"}
    named = invert_input("image_value", **arguments)
    for same in (
        [{"op": "normalize_columns", "f": "plus_one"}, "normalize_image", "gram_image"],
        image_value,
        lambda a: image_product(normalize_columns(a, "plus_one").T, normalize_columns(a, "plus_one"), None, None),
    ):
        found = invert_input(same, **arguments)
        np.testing.assert_allclose(found["solution"], named["solution"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(found["loss"], named["loss"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: [net]])
def test_a_network_is_inverted_in_prediction_mode_and_left_as_it_was(wrap):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(), torch.nn.Tanh())
    network[2].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wanted = torch.randn(2, 3)
    flags = [part.training for part in network.modules()]
    network.eval()
    target = network(wanted).detach()
    for part, training in zip(network.modules(), flags, strict=True):
        part.training = training
    found = invert_input(wrap(network), target, np.zeros((2, 3)), steps=500, learning_rate=0.05)
    assert found["best_loss"] < 0.01 * found["loss"][0]
    assert [part.training for part in network.modules()] == flags
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_networks_own_type_is_the_default_and_no_other_is_taken():
    network = torch.nn.Linear(2, 2).double()
    found = invert_input(network, [0.0, 0.0], [1.0, 1.0], steps=1)
    assert found["solution"].dtype == np.float64
    with pytest.raises(InputError, match=r"`dtype` must be that of the network, torch.float64; got torch.float32"):
        invert_input(network, [0.0, 0.0], [1.0, 1.0], steps=1, dtype="float32")


def test_torchs_random_numbers_are_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    invert_input("image_value", TARGET, START, steps=2)
    assert torch.equal(torch.rand(3), expected)


# ---- optimizers and losses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "rate", "steps", "loss"),
    [("adam", 0.05, 800, "squared"), ("sgd", 0.1, 400, "squared"), ("lbfgs", 1, 30, "squared")],
)
def test_each_optimizer_solves_a_problem_with_one_solution(optimizer, rate, steps, loss):
    matrix = torch.tensor([[2.0, 0.5], [0.3, 1.0]], dtype=torch.float64)
    found = invert_input(
        lambda x: matrix @ x, [1.0, 2.0], [0.0, 0.0], steps, rate, optimizer=optimizer, loss=loss, dtype="float64"
    )
    np.testing.assert_allclose(found["solution"], np.linalg.solve(matrix, [1, 2]), rtol=0, atol=1e-3)


def test_each_optimizer_is_torchs():
    for name, rate, make in (
        ("adam", 0.01, lambda p: torch.optim.Adam(p, lr=0.01)),
        ("sgd", 0.01, lambda p: torch.optim.SGD(p, lr=0.01)),
        ("lbfgs", 2, lambda p: torch.optim.LBFGS(p, lr=2, max_iter=1, line_search_fn="strong_wolfe")),
    ):
        x = torch.from_numpy(START).clone().requires_grad_()
        optimizer, losses = make([x]), []

        def closure(x=x, optimizer=optimizer):
            optimizer.zero_grad()
            loss = torch.linalg.vector_norm(image_value(x) - torch.from_numpy(TARGET))
            loss.backward()
            return loss

        for _ in range(10):
            losses.append(float(optimizer.step(closure).detach()))
        found = invert_input("image_value", TARGET, START, 10, rate, optimizer=name, dtype="float64")
        np.testing.assert_array_equal(found["loss"][:-1], losses)
        np.testing.assert_array_equal(found["solution"], x.detach())


def test_a_descent_does_not_wait_for_torchs_compiler():
    code = "import sys, gequi; gequi.invert_input('gram_image', [[1.0]], [[0.5]], steps=2); print('torch._dynamo' in sys.modules)"
    paths = {**os.environ, "PYTHONPATH": str(Path(gequi.__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_losses_are_what_their_names_say():
    difference = image_value(START) - TARGET
    for loss, expected in (
        ("norm", np.linalg.norm(difference)),
        ("squared", (difference**2).sum()),
        ("mean_squared", (difference**2).mean()),
        (lambda value, target: (value - target).abs().max(), np.abs(difference).max()),
    ):
        found = invert_input("image_value", TARGET, START, steps=0, loss=loss, dtype="float64")
        assert found["best_loss"] == pytest.approx(expected, rel=1e-12)


# ---- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"f": "image_valu"}, InputError, r"`f` must be one of .* Did you mean 'image_value'\?"),
        ({"f": 3}, InputError, "`f` must be the name of an image operation, .* or a function of a tensor; got 3"),
        ({"f": lambda x: x.detach()}, InputError, "`f` must be differentiable"),
        ({"f": lambda x: 1.0}, InputError, "`f` must return a tensor; got float"),
        ({"f": lambda x: torch.log(x - 5)}, InputError, "`start` gives a loss of nan"),
        ({"target": TARGET[:2]}, ShapeError, r"`target` must have the shape of f\(start\), \(3, 3\); got \(2, 3\)"),
        ({"target": [[math.nan]]}, InputError, "`target` must be finite"),
        ({"start": [[math.nan]]}, InputError, "`start` must be finite"),
        ({"start": np.ones(3)}, ShapeError, r"`start` must be a matrix \(row, column\); got shape \(3,\)"),
        ({"start": START - 2}, InputError, "no pixel may be below -1"),
        ({"steps": 4.7}, InputError, "`steps` must be a whole number; got 4.7"),
        ({"steps": -1}, InputError, "`steps` must be at least 0"),
        ({"learning_rate": -1}, InputError, "`learning_rate` must be at least 0"),
        ({"optimizer": "adamw"}, InputError, "`optimizer` must be one of 'adam', 'sgd', 'lbfgs'"),
        ({"loss": "l2"}, InputError, "`loss` must be one of 'norm', 'squared', 'mean_squared'"),
        ({"dtype": "float16"}, InputError, "`dtype` must be one of"),
        ({"progress": True}, InputError, "`progress` must be a function"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_by_name(change, error, message):
    arguments = {"f": "image_value", "target": TARGET, "start": START, **change}
    with pytest.raises(error, match=message):
        invert_input(**arguments)


def test_steps_may_be_a_whole_number_in_any_type():
    assert len(invert_input("image_value", TARGET, START, steps=np.float64(3.0))["loss"]) == 4


def test_a_slow_caller_can_be_asked_at_intervals():
    seen = []
    every = at_intervals(lambda info: seen.append(info["step"]), seconds=1000)
    assert every({"step": 0, "loss": 1.0}) is None
    invert_input("image_value", TARGET, START, steps=5, progress=every)
    assert seen == [0]
    invert_input("image_value", TARGET, START, steps=5, progress=at_intervals(seen.append, seconds=0))
    assert len(seen) == 7
    stopping = at_intervals(lambda info: False, seconds=1000)
    assert invert_input("image_value", TARGET, START, steps=5, progress=stopping)["stopped"] == "progress"
