"""training: learning, reproducibility, stopping and resuming."""

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import gequi
from gequi import jobs
from gequi.errors import FieldError, InputError, ModelFileError, ShapeError, TrainingError
from gequi.fields import act
from gequi.geometry.rotations import rotation_matrix
from gequi.groups import elements
from gequi.jobs import _running
from gequi.training import _optimizers, _prepare, _run, _seeds, cluster, collect_job, evaluation, prepare_job
from gequi.training._augment import Augmentation, move, represent_rotations
from gequi.training._tasks import Task
from gequi.training.options import OPTIONS as OPTION_NAMES, FitOptions

C4 = gequi.gspace("rot2dOnR2", N=4)
CONV = {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}
HEAD = [{"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 2}]
CLASSIFIER = [CONV, {"layer": "batch_norm"}, {"layer": "relu"}, *HEAD]
OPTIONS = {"epochs": 3, "batch_size": 10, "learning_rate": 0.01, "seed": 5}
TASKS = ["classification", "segmentation", "binary", "regression", "field"]


def network(layers=CLASSIFIER, **options):
    return gequi.equivariant_network(C4, **{"input": "trivial", "layers": layers, "seed": 1, **options})


def stripes(count=32, size=7, seed=0):
    """Images with thin or with broad stripes in any direction, and which they are."""
    random = np.random.default_rng(seed)
    kinds = np.arange(count) % 2
    angles, phases = random.random((2, count, 1, 1)) * 2 * np.pi
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    waves = np.cos((1 + kinds[:, None, None]) * (np.cos(angles) * rows + np.sin(angles) * columns) + phases)
    return waves[:, None], kinds


def example_of(task, count=12, dtype="float32"):
    """A network and examples for each task."""
    x, kinds = stripes(count)
    if task == "classification":
        return network(dtype=dtype), x, kinds
    pixels = (x[:, 0] > 0).astype(int)
    if task == "segmentation":
        return (
            network([{**CONV, "padding": 1}, {**CONV, "fields": {"trivial": 2}, "padding": 1}], dtype=dtype),
            x,
            pixels,
        )
    if task == "binary":
        return network([{**CONV, "fields": "trivial", "padding": 1}], dtype=dtype), x, pixels[:, None].astype(float)
    if task == "regression":
        return network([CONV, *HEAD], dtype=dtype), x, np.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], 1)
    slopes = np.stack(np.gradient(x[:, 0], axis=(2, 1)), 1) * np.array([1.0, -1.0])[:, None, None]  # y points up
    return network([{**CONV, "fields": {"irrep_1": 1}, "padding": 1}], dtype=dtype), x, slopes


LOSS = {"binary": "binary_cross_entropy"}


def same_weights(a, b, tolerance=0.0):
    ours, theirs = gequi.get_weights(a), gequi.get_weights(b)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        np.testing.assert_allclose(weight, theirs[name], rtol=0, atol=tolerance, err_msg=name)


def without_times(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


# ---- what is learned ------------------------------------------------------------------------------------


def test_a_classifier_learns_to_tell_stripes_apart():
    x, y = stripes(96)
    net = network()
    history = gequi.fit(net, x, y, epochs=25, batch_size=16, learning_rate=0.05, schedule="one_cycle", seed=1)
    assert history[-1]["loss"] < 0.3 < history[0]["loss"]
    assert gequi.evaluate(net, *stripes(40, seed=9))["accuracy"] > 0.9


@pytest.mark.parametrize("task", TASKS)
def test_every_task_lowers_its_loss_and_keeps_the_symmetry(task, dtype):
    net, x, y = example_of(task, dtype=dtype)
    history = gequi.fit(net, x, y, loss=LOSS.get(task), epochs=6, batch_size=4, learning_rate=0.02, seed=1)
    assert history[-1]["loss"] < history[0]["loss"]
    assert gequi.is_equivariant(net, x[:1])
    assert gequi.get_weights(net)["layers.0.weights"].dtype == dtype


def test_training_is_a_plain_loop_of_torch_to_the_bit():
    """The reference: a loop with the same batches and the same optimizer."""
    x, y = stripes(20)
    net, other = network(), network()
    gequi.fit(net, x, y, optimizer={"optimizer": "sgd", "weight_decay": 0.1}, schedule="cosine", **OPTIONS)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    images, classes = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    for step in range(6):
        order = torch.randperm(20, generator=_seeds.generator_for(5, "order", step // 2))
        batch = order[step % 2 * 10 :][:10]
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + np.cos(np.pi * step / 6)) / 2
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(other(images[batch]), classes[batch]).backward()
        optimizer.step()
    same_weights(net, other, 1e-7)


@pytest.mark.parametrize("task", TASKS)
def test_the_loop_on_one_cpu_trains_as_lightning_does_to_the_bit(monkeypatch, task):
    results = []
    for plain in (True, False):
        net, x, y = example_of(task)
        if task == "classification":
            net = network([CONV, {"layer": "batch_norm"}, {"layer": "relu"}, {"layer": "dropout", "p": 0.5}, *HEAD])
        seen = []
        with monkeypatch.context() as patch:
            if not plain:
                patch.setattr("gequi.training.fitting.is_plain", lambda options: False)
            callbacks = {"on_batch_end": lambda info, seen=seen: seen.append((info["step"], info["loss"]))}
            history = gequi.fit(net, x, y, **{**OPTIONS, "batch_size": 5}, validation=0.25, augment="group", device="cpu",
                                callbacks=callbacks)  # fmt: skip
        rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history]
        results.append((rows, seen, gequi.get_weights(net)))
    assert results[0][:2] == results[1][:2]
    assert all(np.array_equal(value, results[1][2][name]) for name, value in results[0][2].items())


def test_training_on_one_cpu_does_not_import_lightning():
    code = """
        import sys, numpy as np, torch, gequi
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        with torch.no_grad():
            gequi.fit(net, np.ones((4, 1, 2, 2)), np.arange(4) % 2, epochs=1, device="cpu")
        assert not {"lightning", "lightning.pytorch", "torchmetrics"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", inspect.cleandoc(code)], check=True)


def test_any_torch_module_is_trained():
    x, y = stripes(20)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(49, 2))
    history = gequi.fit(module, x, y, **OPTIONS)
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_function_is_a_loss():
    _, x, y = example_of("regression")
    ours, theirs = (network([CONV, *HEAD]) for _ in range(2))
    gequi.fit(ours, x, y, loss="mse", **OPTIONS)
    gequi.fit(theirs, x, y, loss=lambda output, target: ((output - target) ** 2).mean(), **OPTIONS)
    same_weights(ours, theirs, 1e-6)


def test_a_function_that_is_the_loss_may_have_targets_of_any_shape():
    x, kinds = stripes()
    targets = np.stack([kinds, 1 - kinds, kinds], 1).astype(float)  # the network has two outputs
    net = network()

    def loss(output, target):
        assert output.shape[1:] == (2,)
        assert target.shape[1:] == (3,)
        return ((output - target[:, :2]) ** 2).mean()

    history = gequi.fit(net, x, targets, loss=loss, validation=0.25, augment="group", **OPTIONS)
    assert history[-1]["loss"] < history[0]["loss"]
    assert [name for name in history[-1] if name.startswith("val_")] == ["val_loss"]
    with pytest.raises(ShapeError, match="`y` must have the shape of the network's output"):
        gequi.fit(net, x, targets, loss="mse", **OPTIONS)


def test_history_has_a_row_an_epoch_with_the_metrics_of_the_task():
    x, y = stripes(20)
    history = gequi.fit(network(), x, y, validation=0.25, schedule="linear", **OPTIONS)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert list(history[0]) == [
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy", "learning_rate", "seconds",
        "stopped",
    ]  # fmt: skip
    rates = [row["learning_rate"] for row in history]  # of the last of two batches
    np.testing.assert_allclose(rates, 0.01 * (1 - np.array([1, 3, 5]) / 6))


def test_validation_examples_are_not_learned_from():
    x, y = stripes(20)
    net, other = network(), network()
    history = gequi.fit(net, x, y, validation=0.25, **OPTIONS)
    order = torch.randperm(20, generator=_seeds.generator_for(5, "validation")).numpy()
    held_out, kept = np.sort(order[:5]), np.sort(order[5:])
    gequi.fit(other, x[kept], y[kept], validation=(x[held_out], y[held_out]), **OPTIONS)
    same_weights(net, other)
    measured = gequi.evaluate(net, x[held_out], y[held_out])
    assert history[-1]["val_loss"] == pytest.approx(measured["loss"], rel=1e-6)
    assert history[-1]["val_accuracy"] == measured["accuracy"]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_optimisers_are_those_of_torch(optimizer):
    options = FitOptions(optimizer=optimizer).checked()
    made = _optimizers.make_optimizer(torch.nn.Linear(1, 1), options.optimizer, 0.5)
    defaults = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    expected = defaults.get(optimizer, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9))([torch.ones(1)], lr=0.5)
    assert made.defaults == expected.defaults


def test_schedules_begin_and_end_where_they_say():
    ends = {name: (f(0.0), f(1.0), max(f(i / 100) for i in range(101))) for name, f in _optimizers.SCHEDULES.items()}
    assert ends["constant"] == (1, 1, 1)
    assert ends["linear"] == (1, 0, 1)
    assert ends["cosine"] == pytest.approx((1, 0, 1))
    assert ends["one_cycle"] == pytest.approx((0.04, 1e-5, 1))


# ---- evaluation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_metrics_are_those_of_scikit_learn(task):
    from sklearn import metrics

    net, x, y = example_of(task)
    found = gequi.evaluate(net, x, y, LOSS.get(task), batch_size=5)
    output = gequi.predict(net, x)
    if task in ("classification", "segmentation"):
        truth, chosen = y.ravel(), output.argmax(1).ravel()
        expected = {"accuracy": metrics.accuracy_score(truth, chosen)}
        if task == "classification":
            expected["balanced_accuracy"] = metrics.balanced_accuracy_score(truth, chosen)
        else:
            expected["mean_iou"] = metrics.jaccard_score(truth, chosen, average="macro")
        logits = np.moveaxis(output, 1, -1).reshape(-1, 2).astype(float)
        probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        expected["loss"] = metrics.log_loss(truth, probability, labels=[0, 1])
    elif task == "binary":
        expected = {"accuracy": metrics.accuracy_score(y.ravel(), output.ravel() > 0)}
        expected["loss"] = metrics.log_loss(y.ravel(), 1 / (1 + np.exp(-output.ravel().astype(float))))
    else:
        truth, output = y.ravel(), output.ravel()
        square = metrics.mean_squared_error(truth, output)
        expected = {"loss": square, "rmse": square**0.5, "mae": metrics.mean_absolute_error(truth, output)}
        expected["r_squared"] = metrics.r2_score(truth, output)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("by", ["all", "class", "confusion"])
def test_evaluation_tells_how_many_examples_are_done(by):
    told, (x, y) = [], stripes(5)
    net = network()
    gequi.evaluate(net, x, y, batch_size=2, by=by, progress=told.append)
    assert [(info["done"], info["total"]) for info in told] == [(2, 5), (4, 5), (5, 5)]
    with pytest.raises(InputError, match="`progress` must be a function; got 3"):
        gequi.evaluate(net, x, y, progress=3)


def test_a_mask_is_two_classes_and_only_what_is_missing_or_ignored_is_left_out():
    net, x, y = example_of("segmentation")
    expected = gequi.evaluate(net, x, y)
    for mask in (y == 1, y.astype(float), y.astype(np.uint8)):
        assert gequi.evaluate(net, x, mask) == expected
    unknown = np.broadcast_to(np.arange(7) < 3, y.shape)
    left_out = gequi.evaluate(net, x, np.where(unknown, -1, y))
    assert left_out != expected
    assert gequi.evaluate(net, x, np.where(unknown, np.nan, y)) == left_out
    assert gequi.evaluate(net, x, np.where(unknown, 9, y), ignore=9) == left_out
    for ignore, targets in ((None, np.where(unknown, np.nan, y)), (9, np.where(unknown, 9.0, y))):
        other = example_of("segmentation")[0]
        gequi.fit(other, x, targets, ignore=ignore, **OPTIONS)
        same = example_of("segmentation")[0]
        gequi.fit(same, x, np.where(unknown, -1, y), **OPTIONS)
        same_weights(other, same)


def test_whole_numbers_are_classes_where_the_model_has_several_outputs():
    net, x, y = example_of("classification")
    assert gequi.evaluate(net, x, y.astype(float)) == gequi.evaluate(net, x, y)
    with pytest.raises(ShapeError, match="must have the shape of the network's output"):
        gequi.evaluate(net, x, y + 0.5)
    with pytest.raises(InputError, match="has no class for image 2: leave that image out"):
        gequi.evaluate(net, x, np.where(np.arange(len(y)) == 2, np.nan, y))
    with pytest.raises(InputError, match="`ignore` is for targets that are classes"):
        gequi.evaluate(net, x, y[:, None] + np.array([0.5, 0.5]), ignore=0)


def test_pixels_without_a_class_count_for_nothing():
    net, x, y = example_of("segmentation")
    masked = np.where(np.arange(7) < 3, -1, y)
    found = gequi.evaluate(net, x, masked)
    chosen = gequi.predict(net, x).argmax(1)
    assert found["accuracy"] == pytest.approx((chosen == y)[..., 3:].mean())
    assert np.isfinite(gequi.evaluate(net, x, np.full_like(y, -1))["loss"])


def test_class_weights_weigh_the_classes():
    task = Task("cross_entropy", (2,), ())
    output, target = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([0, 0, 1])
    output[:, 0] = 1.0
    task.class_weights = torch.tensor([1.0, 3.0])
    total, weight = task.measured(output, target)
    expected = torch.nn.functional.cross_entropy(output, target, torch.tensor([1.0, 3.0], dtype=torch.float64))
    assert float(total / weight) == pytest.approx(float(expected))


def test_balanced_weights_are_the_inverse_of_how_often_a_class_occurs():
    x, y = stripes(20)
    y = (np.arange(20) >= 15).astype(int)
    balanced, given = network(), network()
    gequi.fit(balanced, x, y, class_weights="balanced", **OPTIONS)
    gequi.fit(given, x, y, class_weights=[20 / 30, 20 / 10], **OPTIONS)
    same_weights(balanced, given)


# ---- the same each time ---------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_to_the_bit_and_another_seed_others():
    x, y = stripes(20)
    layers = [CONV, {"layer": "relu"}, {"layer": "dropout", "p": 0.5}, *HEAD]
    nets = [network(layers) for _ in range(3)]
    histories = [
        gequi.fit(net, x, y, augment="rotation", **{**OPTIONS, "seed": seed})
        for net, seed in zip(nets, (5, 5, 6), strict=True)
    ]
    same_weights(nets[0], nets[1])
    assert without_times(histories[0]) == without_times(histories[1])
    with pytest.raises(AssertionError):
        same_weights(nets[0], nets[2])


def test_dropout_is_drawn_anew_at_each_batch(monkeypatch):
    seeds, seed = [], _seeds.seed_layers
    monkeypatch.setattr(_run, "seed_layers", lambda value, device: seeds.append(value) or seed(value, device))
    x, y = stripes(20)
    gequi.fit(network(), x, y, **OPTIONS)
    assert len(set(seeds)) == len(seeds) == 6


def test_layers_are_seeded_as_torch_seeds_them():
    state = torch.random.get_rng_state()
    torch.manual_seed(5)
    expected = torch.rand(3)
    _seeds.seed_layers(5, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)
    torch.random.set_rng_state(state)


def test_no_step_formats_a_traceback(monkeypatch):
    """torch.manual_seed() does, three times, where there is no GPU."""
    formatted, format_stack = [], traceback.format_stack
    monkeypatch.setattr(traceback, "format_stack", lambda *where: formatted.append(1) or format_stack(*where))
    x, y = stripes(20)
    gequi.fit(network(), x, y, **{**OPTIONS, "epochs": 5})  # of two steps each
    assert len(formatted) < 10


def test_training_leaves_the_users_random_numbers_data_and_files_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = stripes(20)
    before = x.copy(), y.copy()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    gequi.fit(network(), x, y, validation=0.2, augment="rotation", **OPTIONS)
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert list(tmp_path.iterdir()) == []


def test_training_says_nothing(capfd):
    x, y = stripes(20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gequi.fit(network(), x, y, validation=0.2, **OPTIONS)
    told = capfd.readouterr()
    assert told.out + told.err == ""


@pytest.mark.parametrize("mode", [True, False])
def test_a_network_keeps_its_mode(mode):
    x, y = stripes(20)
    net = network().train(mode)
    gequi.fit(net, x, y, validation=0.2, **OPTIONS)
    assert all(module.training == mode for module in net.modules())
    direct = net(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    if not mode:
        np.testing.assert_allclose(direct, gequi.predict(net, x), atol=1e-6)


# ---- what does not fit in memory ------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "segmentation", "regression"])
def test_files_are_read_batch_by_batch_and_give_the_same_weights(tmp_path, task):
    net, x, y = example_of(task)
    other = example_of(task)[0]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    gequi.fit(net, x, y, validation=0.2, **OPTIONS)
    gequi.fit(other, str(tmp_path / "x.npy"), tmp_path / "y.npy", validation=0.2, **OPTIONS)
    same_weights(net, other)
    assert gequi.evaluate(net, tmp_path / "x.npy", tmp_path / "y.npy") == gequi.evaluate(net, x, y)


def test_a_function_makes_the_batches():
    x, y = stripes(20)
    asked = []

    def make(number):
        asked.append(number)
        return x[number * 10 : number * 10 + 10], y[number * 10 : number * 10 + 10]

    history = gequi.fit(network(), make, batches=2, **OPTIONS)
    assert asked == [0, *[0, 1] * 3]  # once to see what it makes
    assert len(history) == 3
    assert history[-1]["accuracy"] is not None


def test_a_value_that_is_no_number_in_a_file_is_found(tmp_path):
    x, y = stripes(20)
    x[13, 0, 2, 2] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match="`x` must be finite"):
        gequi.fit(network(), tmp_path / "x.npy", y, **OPTIONS)


# ---- augmentation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "fields", "size"),
    [
        (C4, {"trivial": 1, "regular": 1, "irrep_1": 1}, (6, 6)),
        (gequi.gspace("flipRot2dOnR2", N=4), {"regular": 1, "irrep_1,1": 1}, (5, 5)),
        (gequi.gspace("octaOnR3"), {"trivial": 1, "irrep_1": 1}, (3, 3, 3)),
    ],
)
def test_augmentation_by_the_group_is_its_action(space, fields, size, random):
    net = gequi.equivariant_network(space, fields, [], seed=1)
    made = elements(space)
    x = random.normal(size=(1, net.in_type.size, *size)).repeat(len(made), 0)
    y = torch.tensor(random.normal(size=x.shape[:1] + x.shape[1:]))
    augmentation = Augmentation("group", net, Task("mse", x.shape[1:], x.shape[1:]), len(size))
    moved, targets = augmentation(torch.tensor(x), y, torch.arange(len(made)))
    for number, element in enumerate(made):
        np.testing.assert_allclose(moved[number], act(x[:1], net.in_type, element)[0], atol=1e-6)
        np.testing.assert_allclose(
            targets[number], act(y[number : number + 1].numpy(), net.out_type, element)[0], atol=1e-6
        )


def test_an_image_that_is_not_square_turns_about_its_centre(random):
    x = torch.tensor(random.normal(size=(1, 1, 5, 7)))
    moved = move(x, rotation_matrix(torch.tensor([torch.pi], dtype=torch.float64)))
    np.testing.assert_allclose(moved[0, 0], x[0, 0].flip(0, 1), atol=1e-12)
    quarter = move(x, rotation_matrix(torch.tensor([torch.pi / 2], dtype=torch.float64)))
    np.testing.assert_allclose(quarter[0, 0, :, 1:6], np.rot90(x[0, 0, :, 1:6]), atol=1e-12)
    np.testing.assert_allclose(quarter[0, 0, :, [0, 6]], 0, atol=1e-12)


@pytest.mark.parametrize("fields", [{"trivial": 2}, {"irrep_1": 1, "irrep_2": 1, "trivial": 1}, {"regular": 1}])
def test_turning_fields_by_an_angle_agrees_with_the_group_where_it_has_it(fields):
    kind = gequi.field_type(gequi.gspace("rot2dOnR2", N=5), fields)
    angles = torch.tensor([2 * torch.pi * k / 5 for k in range(5)], dtype=torch.float64)
    matrices = represent_rotations(kind, angles)
    if matrices is None:
        matrices = torch.eye(2).expand(5, 2, 2)
    for matrix, element in zip(matrices, elements(kind.gspace), strict=True):
        np.testing.assert_allclose(matrix, kind.representation(element), atol=1e-12)


def test_a_vector_field_turns_with_its_image():
    """Slopes of a turned ramp are the turned slopes, at an angle that the group does not have."""
    net, _, _ = example_of("field")
    rows, columns = np.indices((31, 31)) - 15.0
    ramp = torch.tensor(np.exp(-(rows**2 + columns**2) / 60) * columns)[None, None]
    slopes = torch.stack([torch.gradient(ramp[:, 0], dim=2)[0], -torch.gradient(ramp[:, 0], dim=1)[0]], 1)
    augmentation = Augmentation("rotation", net, Task("mse", (2, 31, 31), (2, 31, 31)), 2)
    x, y = augmentation(ramp, slopes, torch.tensor([0.7], dtype=torch.float64))
    again = torch.stack([torch.gradient(x[:, 0], dim=2)[0], -torch.gradient(x[:, 0], dim=1)[0]], 1)
    inside = (slice(None), slice(None), slice(6, 25), slice(6, 25))  # the corners turn out of the image
    assert float((y - again)[inside].abs().max()) < 0.1 * float(slopes.abs().max())
    assert float((slopes - again)[inside].abs().max()) > 0.5 * float(slopes.abs().max())


def test_classes_of_pixels_turn_with_the_image_and_are_unknown_outside_it():
    net, x, y = example_of("segmentation")
    augmentation = Augmentation("rotation", net, Task("cross_entropy", (2, 7, 7), (7, 7)), 2)
    count = len(y)
    half = torch.full((count,), torch.pi, dtype=torch.float64)
    moved, classes = augmentation(torch.tensor(x), torch.tensor(y), half)
    np.testing.assert_allclose(moved, x[:, :, ::-1, ::-1], atol=1e-12)
    np.testing.assert_array_equal(classes, y[:, ::-1, ::-1])
    _, classes = augmentation(torch.tensor(x), torch.tensor(y), half / 4)
    assert (classes[:, 0, 0] == -1).all()
    assert set(classes.unique().tolist()) == {-1, 0, 1}


def test_motions_are_drawn_evenly():
    augmentation = Augmentation("group", network(), Task("mse", (2,), (2,)), 2)
    drawn = augmentation.draw(4000, torch.Generator().manual_seed(1))
    assert (np.abs(np.bincount(drawn) - 1000) < 120).all()


@pytest.mark.parametrize(
    ("name", "options", "degrees"),
    [("rot2dOnR2", {"N": 8}, 22.5), ("flipRot2dOnR2", {"N": 4}, 45), ("flip2dOnR2", {}, 8), ("rot2dOnR2", {"maximum_frequency": 2}, 8)],
)  # fmt: skip
def test_jitter_turns_by_half_a_step_of_the_group_and_shifts_by_half_a_pixel(name, options, degrees):
    net = gequi.equivariant_network(gequi.gspace(name, **options), "trivial", [], seed=1)
    augmentation = Augmentation("jitter", net, Task("cross_entropy", (1, 9, 9), (2,)), 2)
    drawn = augmentation.draw(4000, torch.Generator().manual_seed(1)).numpy()
    for column, largest in zip(drawn.T, (np.deg2rad(degrees), 0.5, 0.5), strict=True):
        assert 0.99 * largest < np.abs(column).max() <= largest
        assert abs(column.mean()) < 0.05 * largest
        assert column.std() == pytest.approx(largest / np.sqrt(3), rel=0.03)  # of a uniform distribution
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.06


def test_jitter_moves_an_image_and_its_target_by_the_angle_and_the_shifts():
    net, _, _ = example_of("field")
    rows, columns = np.indices((31, 31)) - 15.0

    def blob(angle, down, right):
        """The image and its slopes at the point from which each pixel of the moved image is taken."""
        y = np.cos(angle) * rows + np.sin(angle) * columns + down
        x = -np.sin(angle) * rows + np.cos(angle) * columns + right
        value = np.exp(-((x - 3) ** 2 + (y + 2) ** 2) / 40)
        slope = [-(x - 3) / 20 * value, (y + 2) / 20 * value]  # x to the right, y up
        turned = [
            np.cos(angle) * slope[0] - np.sin(angle) * slope[1],
            np.sin(angle) * slope[0] + np.cos(angle) * slope[1],
        ]
        return torch.tensor(value)[None, None], torch.tensor(np.stack(turned))[None]

    augmentation = Augmentation("jitter", net, Task("mse", (2, 31, 31), (2, 31, 31)), 2)
    for motion in ((0.3, 0.0, 0.0), (0.0, 0.4, -0.3), (-0.5, 0.25, 0.45)):
        x, y = augmentation(*blob(0, 0, 0), torch.tensor([motion], dtype=torch.float64))
        expected, slopes = blob(*motion)
        inside = (slice(None), slice(None), slice(6, 25), slice(6, 25))
        assert float((x - expected)[inside].abs().max()) < 0.02
        assert float((y - slopes)[inside].abs().max()) < 0.02 * 0.2


def test_a_module_without_a_group_is_jittered_too_and_the_numbers_are_those_of_the_seed():
    x, y = np.random.default_rng(0).normal(size=(12, 1, 7, 7)), np.arange(12) % 2
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(49, 2))
        losses.append(gequi.fit(model, x, y, augment="jitter", **{**OPTIONS, "seed": seed})[-1]["loss"])
    assert losses[0] == losses[1] != losses[2]


# ---- stopping and going on ------------------------------------------------------------------------------


def stopper(steps):
    return lambda told: told["step"] < steps


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_run_that_is_stopped_and_resumed_ends_like_an_unbroken_one(tmp_path, monkeypatch, steps, optimizer):
    monkeypatch.setattr(_run, "REPORT_SECONDS", 0)
    x, y = stripes(30)
    layers = [CONV, {"layer": "batch_norm"}, {"layer": "relu"}, {"layer": "dropout", "p": 0.2}, *HEAD]
    options = {**OPTIONS, "optimizer": optimizer, "schedule": "one_cycle", "augment": "group", "validation": 0.3}
    unbroken = network(layers)
    history = gequi.fit(unbroken, x, y, **options)
    first, second = network(layers), network(layers)
    path = tmp_path / "run.gequi"
    stopped = gequi.fit(first, x, y, checkpoint=path, progress=stopper(steps), **options)
    assert stopped[-1]["stopped"] == "interrupt"
    assert path.exists()
    resumed = gequi.fit(second, x, y, checkpoint=path, **options)
    same_weights(unbroken, second)
    assert without_times(resumed) == without_times(history)
    same_weights(gequi.load_model(path), unbroken)


def test_a_finished_run_is_not_run_again_but_can_be_made_longer(tmp_path):
    x, y = stripes(30)
    path, net, longer = tmp_path / "run.gequi", network(), network()
    gequi.fit(longer, x, y, **OPTIONS)
    first = gequi.fit(net, x, y, checkpoint=path, **{**OPTIONS, "epochs": 2})
    before = path.read_bytes()
    again = network()
    assert gequi.fit(again, x, y, checkpoint=path, **{**OPTIONS, "epochs": 2}) == first
    assert path.read_bytes() == before
    same_weights(net, again)
    assert len(gequi.fit(again, x, y, checkpoint=path, **OPTIONS)) == 3
    same_weights(again, longer)


def test_a_checkpoint_of_another_run_is_refused_with_what_differs(tmp_path):
    x, y = stripes(30)
    path = tmp_path / "run.gequi"
    gequi.fit(network(), x, y, checkpoint=path, **OPTIONS)
    for changed, name in [
        ({"learning_rate": 0.1}, "learning_rate was 0.01, now it is 0.1"),
        ({"batch_size": 5}, "batch_size was 10"),
        ({"x": x + 1}, "data was"),
        ({"model": network(seed=2)}, "recipe was"),
    ]:
        with pytest.raises(InputError, match=f"`checkpoint`: .*belongs to another run: its {name}"):
            gequi.fit(**{"model": network(), "x": x, "y": y, "checkpoint": path, **OPTIONS, **changed})
    gequi.save_model(network(), path)
    with pytest.raises(InputError, match="is a model file, not a checkpoint"):
        gequi.fit(network(), x, y, checkpoint=path, **OPTIONS)
    path.write_bytes(b"")
    with pytest.raises(ModelFileError, match="is cut off"):
        gequi.fit(network(), x, y, checkpoint=path, **OPTIONS)


def test_ctrl_c_stops_after_the_batch_and_keeps_the_network_usable():
    x, y = stripes(30)
    net = network()
    before = signal.getsignal(signal.SIGINT)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    history = gequi.fit(net, x, y, **{**OPTIONS, "epochs": 100000})
    assert history[-1]["stopped"] == "interrupt"
    assert 1 < len(history) < 100000
    assert signal.getsignal(signal.SIGINT) is before
    assert np.isfinite(gequi.predict(net, x)).all()
    gequi.fit(net, x, y, **OPTIONS)


def test_an_interrupt_inside_the_progress_function_stops_the_run_too():
    x, y = stripes(30)

    def interrupted(told):
        raise KeyboardInterrupt

    history = gequi.fit(network(), x, y, progress=interrupted, **OPTIONS)
    assert [row["stopped"] for row in history] == ["interrupt"]


def test_progress_is_told_where_the_run_is():
    x, y = stripes(30)
    told = []
    gequi.fit(network(), x, y, progress=told.append, **OPTIONS)
    assert (told[0]["epoch"], told[0]["batch"], told[0]["step"]) == (1, 1, 1)
    last = told[-1]
    assert {key: last[key] for key in ("epoch", "epochs", "batch", "batches", "step", "steps", "seconds_left")} == {
        "epoch": 3, "epochs": 3, "batch": 3, "batches": 3, "step": 9, "steps": 9, "seconds_left": 0,
    }  # fmt: skip
    assert [row["epoch"] for row in told if "learning_rate" in row] == [1, 2, 3]


def test_patience_stops_and_goes_back_to_the_best_weights():
    x, y = stripes(30)
    net = network()
    wrong = (x, 1 - y)  # what is learned makes these worse
    history = gequi.fit(net, x, y, validation=wrong, patience=2, **{**OPTIONS, "epochs": 50, "learning_rate": 0.05})
    losses = [row["val_loss"] for row in history]
    assert history[-1]["stopped"] == "patience"
    assert len(history) == int(np.argmin(losses)) + 3 < 50
    assert gequi.evaluate(net, *wrong)["loss"] == pytest.approx(min(losses), rel=1e-6)


# ---- callbacks ------------------------------------------------------------------------------------------


class Recorder:
    """A callback that notes what it is told."""

    def __init__(self):
        self.told = []

    def on_epoch_begin(self, info):
        self.told.append(("begin", info))

    def on_epoch_end(self, info):
        self.told.append(("end", info))

    def on_batch_end(self, info):
        self.told.append(("batch", info))


def test_callbacks_are_called_when_an_epoch_begins_a_batch_ends_and_an_epoch_ends():
    x, y = stripes(30)
    recorder, told, order = Recorder(), [], []
    history = gequi.fit(
        network(), x, y, validation=0.2, progress=told.append,
        callbacks=[recorder, {"on_batch_end": order.append, "on_epoch_end": lambda info: order.append(info)}], **OPTIONS,
    )  # fmt: skip
    assert [event for event, _ in recorder.told] == ["begin", "batch", "batch", "batch", "end"] * 3
    assert [info["step"] for _, info in recorder.told][:6] == [0, 1, 2, 3, 3, 3]
    assert [info["batch"] for _, info in recorder.told][:6] == [0, 1, 2, 3, 3, 0]
    assert [info for event, info in recorder.told if event != "begin"] == [
        {**info, "seconds_left": pytest.approx(info["seconds_left"], abs=1)} for info in order
    ]
    begin, batch, end = (
        next(info for event, info in recorder.told if event == each) for each in ("begin", "batch", "end")
    )
    place = {"epoch", "epochs", "batch", "batches", "step", "steps", "seconds_left"}
    assert set(begin) == place
    assert set(batch) == {*place, "loss", "accuracy"}
    assert set(end) == set(told[-1])
    assert without_times([{key: end[key] for key in history[0]}]) == without_times(history[:1])


def test_a_callback_changes_nothing_whatever_it_draws_and_looks_at():
    x, y = stripes(30)
    layers = [CONV, {"layer": "batch_norm"}, {"layer": "relu"}, {"layer": "dropout", "p": 0.2}, *HEAD]
    watched, plain = network(layers), network(layers)
    seen = []

    def look(info):
        torch.rand(3)
        np.random.rand(3)
        seen.append(gequi.evaluate(watched, x, y)["loss"])

    callback = {"on_epoch_begin": look, "on_batch_end": look, "on_epoch_end": look}
    watched_history = gequi.fit(watched, x, y, callbacks=callback, augment="rotation", **OPTIONS)
    history = gequi.fit(plain, x, y, augment="rotation", **OPTIONS)
    same_weights(watched, plain)
    assert without_times(watched_history) == without_times(history)
    assert len(seen) == 15


@pytest.mark.parametrize(
    ("event", "step", "done", "rows"),
    [("on_batch_end", 4, 4, 2), ("on_epoch_end", 3, 3, 1), ("on_epoch_begin", 3, 4, 2)],
)
def test_a_callback_ends_the_run_with_false_and_the_run_can_go_on(tmp_path, event, step, done, rows):
    x, y = stripes(30)
    options = {**OPTIONS, "schedule": "one_cycle", "augment": "jitter", "validation": 0.2, "patience": 3}
    options["batch_size"] = 8
    path, unbroken, stopped, resumed = tmp_path / "run.gequi", network(), network(), network()
    history = gequi.fit(unbroken, x, y, **options)
    recorder = Recorder()
    callbacks = [{event: lambda info: np.bool_(info["step"] != step)}, recorder]
    broken = gequi.fit(stopped, x, y, checkpoint=path, callbacks=callbacks, **options)
    assert (broken[-1]["stopped"], len(broken), recorder.told[-1][1]["step"]) == ("callback", rows, done)
    again = Recorder()
    whole = gequi.fit(resumed, x, y, checkpoint=path, callbacks=again, **options)
    same_weights(unbroken, resumed)
    assert without_times(whole) == without_times(history)
    assert again.told[0][0] == "begin"
    assert (again.told[0][1]["epoch"], again.told[0][1]["batch"]) == (done // 3 + 1, done % 3)


def test_what_a_callback_returns_besides_false_does_not_matter():
    x, y = stripes(30)
    for answer in (None, True, 0, "", [], 1.5):
        callback = {"on_batch_end": lambda info, answer=answer: answer, "on_epoch_end": None}
        assert gequi.fit(network(), x, y, callbacks=callback, **OPTIONS)[-1]["stopped"] == ""


def test_an_interrupt_and_an_error_inside_a_callback():
    x, y = stripes(30)

    def fails(error):
        def callback(info):
            raise error

        return {"on_batch_end": callback}

    assert gequi.fit(network(), x, y, callbacks=fails(KeyboardInterrupt()), **OPTIONS)[-1]["stopped"] == "interrupt"
    with pytest.raises(ZeroDivisionError, match="of mine"):
        gequi.fit(network(), x, y, callbacks=fails(ZeroDivisionError("of mine")), **OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"callbacks": 3},
            "`callbacks` must have at least one of 'on_epoch_begin', 'on_epoch_end', 'on_batch_end'; got 3",
        ),
        ({"callbacks": [{}]}, "`callbacks` must have at least one of"),
        ({"callbacks": print}, "`callbacks` must have at least one of"),
        ({"callbacks": {"on_epoch": print}}, "`callbacks`: unknown event `on_epoch`; .*Did you mean 'on_epoch_end'"),
        ({"callbacks": {"on_epoch_end": 3}}, "`callbacks`: `on_epoch_end` must be a function; got 3"),
        ({"callbacks": Recorder(), "devices": 2}, "`callbacks` cannot be used where several processes train"),
    ],
)
def test_callbacks_that_cannot_be_called_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        fitted(**options)


# ---- runs that are killed -------------------------------------------------------------------------------

WORKER = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
import test_training as t
x, y = t.stripes(40)
print("ready", flush=True)
t.gequi.fit(t.network(), x, y, checkpoint=sys.argv[2], **{**t.OPTIONS, "epochs": int(sys.argv[3])})
"""


def killed_while_training(path, epochs, wait):
    """A process that trains and is killed `wait` seconds after it has written its next checkpoint."""
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(path), str(epochs)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert worker.stdout.readline() == b"ready\n"
    deadline = time.monotonic() + 120
    before = path.stat().st_mtime_ns if path.exists() else 0
    while time.monotonic() < deadline and (not path.exists() or path.stat().st_mtime_ns == before):
        time.sleep(0.001)
    time.sleep(wait)
    worker.kill()
    worker.communicate()


def test_a_process_that_is_killed_leaves_a_checkpoint_that_goes_on(tmp_path):
    """The process is killed once at a random moment. tests/benchmarks/kills.py does this thirty times."""
    x, y = stripes(40)
    path, epochs = tmp_path / "run.gequi", 60
    killed_while_training(path, epochs, time.time_ns() % 50 / 1000)
    gequi.load_model(path)
    unbroken, resumed = network(), network()
    gequi.fit(unbroken, x, y, **{**OPTIONS, "epochs": epochs})
    gequi.fit(resumed, x, y, checkpoint=path, **{**OPTIONS, "epochs": epochs})
    same_weights(unbroken, resumed)


# ---- several processes ----------------------------------------------------------------------------------

NO_NORM = [CONV, {"layer": "relu"}, *HEAD]
SHARED = {**OPTIONS, "augment": "rotation", "optimizer": "sgd", "class_weights": [1, 3], "validation": 0.2}


@pytest.mark.parametrize("how", ["forked", pytest.param("started", marks=pytest.mark.slow)])
def test_two_processes_learn_what_one_does(tmp_path, how, request):
    """The last of the batches has an odd number of examples, and the classes have unequal weights."""
    if how == "forked":
        request.getfixturevalue("forked_workers")
    x, y = stripes(46)
    np.save(tmp_path / "x.npy", x)
    one, two = network(NO_NORM), network(NO_NORM)
    alone = gequi.fit(one, x, y, **SHARED)
    told = []
    together = gequi.fit(two, tmp_path / "x.npy", y, devices=2, progress=told.append, **SHARED)
    same_weights(one, two, 1e-5)
    for ours, theirs in zip(without_times(alone), without_times(together), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert told[-1]["step"] == told[-1]["steps"]


def test_modules_of_other_factories_are_trained_by_several_processes_and_have_checkpoints(tmp_path, forked_workers):
    x, y = stripes(22)
    one, two = (gequi.image_classifier_mlp((1, 7, 7), (4,), 2, seed=1) for _ in range(2))
    gequi.fit(one, x, y, **OPTIONS)
    gequi.fit(two, x, y, devices=2, checkpoint=tmp_path / "run.gequi", **OPTIONS)
    same_weights(one, two, 1e-5)
    same_weights(gequi.load_model(tmp_path / "run.gequi"), two)


@pytest.mark.parametrize("task", [pytest.param("regression", marks=pytest.mark.slow), "segmentation"])
def test_validation_is_shared_by_processes_also_where_they_are_more_than_examples(task, forked_workers):
    (one, x, y), (three, _, _) = example_of(task), example_of(task)
    options = {**OPTIONS, "epochs": 2, "optimizer": "sgd", "validation": (x[:2], y[:2])}
    alone = gequi.fit(one, x, y, **options)
    together = gequi.fit(three, x, y, devices=3, **options)
    for ours, theirs in zip(without_times(alone), without_times(together), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_a_process_measures_its_part_of_the_examples_only(task, monkeypatch):
    net, x, y = example_of(task)
    examples, made = _prepare.examples_of(net, x, y, LOSS.get(task), ("x", "y"))
    monkeypatch.setattr(jobs.Part, "total", lambda self, values, device: values)  # of this process alone
    for rank, own in enumerate((slice(0, 2), slice(2, 4), slice(4, 7), slice(7, 9), slice(9, 12))):
        measured = evaluation.measure(net, examples, made, 4, jobs.Part(rank, 5))
        assert measured == pytest.approx(gequi.evaluate(net, x[own], y[own], LOSS.get(task)), rel=1e-5)


def test_a_worker_that_is_killed_fails_the_run_with_its_log_and_the_run_goes_on_from_its_checkpoint(
    tmp_path, monkeypatch, forked_workers
):
    x, y = stripes(46)
    options = {**SHARED, "epochs": 100}
    workers, start = [], _running._start
    monkeypatch.setattr(_running, "_start", lambda *where: workers.append(start(*where)) or workers[-1])
    path = tmp_path / "run.gequi"

    def murder(told):
        if told["epoch"] > 1:
            workers[1].kill()

    with pytest.raises(
        TrainingError, match=r"worker 2 of 2 was killed by SIGKILL; its log is '(.*worker-1\.log)'"
    ) as caught:
        gequi.fit(network(NO_NORM), x, y, devices=2, checkpoint=path, progress=murder, **options)
    log = Path(str(caught.value).split("'")[1])
    assert log.exists()
    assert log.parent.parent == tmp_path  # of the folder of the job, which was beside the checkpoint, the logs are left
    assert sorted(file.name for file in log.parent.iterdir()) == [".gequi-job", "worker-0.log", "worker-1.log"]
    assert all(worker.poll() is not None for worker in workers)
    unbroken, resumed = network(NO_NORM), network(NO_NORM)
    gequi.fit(unbroken, x, y, **options)
    history = gequi.fit(resumed, x, y, checkpoint=path, **options)  # in one process: a checkpoint does not mind
    assert len(history) == 100
    same_weights(unbroken, resumed, 1e-4)


def test_a_job_is_a_folder_and_lines_that_do_it(tmp_path):
    x, y = stripes(20)
    lines = prepare_job(tmp_path / "job", network(NO_NORM), x, y, nodes=2, devices=4, **OPTIONS)
    assert lines["srun"] == f"srun --nodes 2 --ntasks-per-node 4 {sys.executable} -m gequi.training {tmp_path}/job"
    assert lines["torchrun"].startswith("torchrun --nnodes 2 --nproc-per-node 4 ")
    job = json.loads((tmp_path / "job" / "job.json").read_text())
    assert (job["nodes"], job["devices"], job["seed"], job["epochs"]) == (2, 4, 5, 3)
    same_weights(gequi.load_model(tmp_path / "job" / "model.gequi"), network(NO_NORM))
    np.testing.assert_array_equal(np.load(job["x"]), x)
    with pytest.raises(InputError, match="holds no job that is done"):
        collect_job(tmp_path / "job", network())


def test_fit_takes_the_options_that_jobs_and_checkpoints_know_with_their_defaults():
    parameters = inspect.signature(gequi.fit).parameters
    around = {"model", "x", "y", "progress", "callbacks"}
    ours = {name: each.default for name, each in parameters.items() if name not in around}
    assert list(ours.items()) == [(name, getattr(FitOptions(), name)) for name in OPTION_NAMES]


def test_options_that_are_checked_stay_what_they_are():
    given = FitOptions(
        optimizer={"optimizer": "sgd", "momentum": np.float32(0.5)}, epochs=np.int64(3), seed=2.0, checkpoint="~/a"
    )
    checked = given.checked()
    assert checked.optimizer == {"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.0}
    assert checked.checked() == checked == FitOptions(**json.loads(json.dumps(checked.plain())))
    assert given.epochs == 3
    assert Path(checked.checkpoint).is_absolute()


def test_what_a_job_does_not_know_is_refused_before_anything_is_written(tmp_path):
    x, y = stripes(20)
    for options, message in [
        ({"epoch": 3}, "unknown option `epoch`; the options are 'loss', .*Did you mean 'epochs'"),
        ({"progress": print}, "`progress` cannot be used where several processes train"),
        ({"callbacks": []}, "`callbacks` cannot be used where several processes train"),
        ({"epochs": 0}, "`epochs` must be at least 1"),
        ({"model": "net"}, "`model` must be a network"),
    ]:
        with pytest.raises(InputError, match=message):
            prepare_job(**{"folder": tmp_path / "job", "model": network(), "x": x, "y": y, **options})
    assert list(tmp_path.iterdir()) == []


def test_results_that_were_changed_or_are_of_another_job_are_refused(tmp_path):
    x, y = stripes(20)
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, seed in ((one, 1), (other, 2)):
        prepare_job(folder, network(NO_NORM), x, y, **{**OPTIONS, "seed": seed})
        cluster.work(folder)
    history = (one / "history.json").read_bytes()
    for changed in (b"{}", b"", history.replace(b'"epoch": 1', b'"epoch": 0'), history[:-20]):
        (one / "history.json").write_bytes(changed)
        with pytest.raises(InputError, match="damaged: its checksum does not agree|no history that can be read"):
            collect_job(one, network(NO_NORM))
    for name in ("history.json", "result.gequi"):
        kept = (one / name).read_bytes() if name != "history.json" else history
        (one / name).write_bytes((other / name).read_bytes())
        with pytest.raises(InputError, match="holds results of another job"):
            collect_job(one, network(NO_NORM))
        (one / name).write_bytes(kept)
    collect_job(one, network(NO_NORM))


def test_metadata_that_json_cannot_hold_leave_no_folder(tmp_path):
    x, y = stripes(20)
    with pytest.raises(InputError, match="`metadata` must be plain data that JSON holds"):
        prepare_job(tmp_path / "job", network(NO_NORM), x, y, metadata={"a": object()}, **OPTIONS)
    assert list(tmp_path.iterdir()) == []
    prepare_job(tmp_path / "job", network(NO_NORM), x, y, metadata={"a": np.float32(0.5)}, **OPTIONS)
    assert gequi.training.job_metadata(tmp_path / "job") == {"a": 0.5}


def test_a_job_keeps_metadata(tmp_path):
    x, y = stripes(20)
    prepare_job(tmp_path / "job", network(), x, y, metadata={"by": "me"}, **OPTIONS)
    assert gequi.training.job_metadata(tmp_path / "job") == {"by": "me"}
    with pytest.raises(InputError, match="`folder`: .* holds no job"):
        gequi.training.job_metadata(tmp_path)


def test_a_folder_that_gequi_did_not_make_is_never_removed(tmp_path, forked_workers):
    """A run of several processes leaves no other file beside its checkpoint."""
    x, y = stripes(20)
    mine = tmp_path / "mine.job"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    gequi.fit(network(NO_NORM), x, y, devices=2, checkpoint=tmp_path / "mine", **{**OPTIONS, "epochs": 1})
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine", "mine.job"]


def test_a_worker_that_is_alone_does_a_whole_job(tmp_path):
    x, y = stripes(20)
    prepare_job(tmp_path / "job", network(), x, y, validation=(x, y), **OPTIONS)
    cluster.work(tmp_path / "job")
    ours, theirs = network(), network()
    history = gequi.fit(ours, x, y, validation=(x, y), **OPTIONS)
    assert without_times(collect_job(tmp_path / "job", theirs)) == without_times(history)
    same_weights(ours, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 2}, "`nodes` > 1 needs a launcher"),
        (
            {"devices": 2, "y": np.ones((12, 2)), "loss": torch.nn.functional.mse_loss},
            "`loss` cannot be a function where several",
        ),
        ({"devices": 20}, "`batch_size` must be at least 20"),
        (
            {"devices": 2, "model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(49, 2))},
            "`model` must have a recipe",
        ),
    ],
)
def test_what_several_processes_cannot_do_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        fitted(**options)


# ---- what is refused ------------------------------------------------------------------------------------


def fitted(task="classification", **options):
    net, x, y = example_of(task)
    return gequi.fit(**{"model": net, "x": x, "y": y, **OPTIONS, **options})


def test_a_loss_that_is_no_longer_finite_stops_before_it_reaches_the_weights():
    net, x, y = example_of("regression")
    with pytest.raises(
        InputError, match=r"training has diverged: in epoch \d+, batch \d, the loss is .*Lower `learning_rate`"
    ):
        gequi.fit(net, x, y, optimizer="sgd", **{**OPTIONS, "learning_rate": 1e6, "epochs": 50})
    assert all(np.isfinite(weight).all() for weight in gequi.get_weights(net).values())


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: fitted(model="net"), InputError, "`model` must be a network"),
        (lambda: fitted(x=np.ones((12, 2, 7, 7))), ShapeError, "`x` must have .*channel"),
        (lambda: fitted(x="none.npy"), InputError, r"`x` must be an array or the path of a \.npy file"),
        (lambda: fitted(y=None), InputError, "`y` is missing"),
        (lambda: fitted(y=[0, 1]), ShapeError, r"`y` must have 12 targets, one per example; got shape \(2,\)"),
        (lambda: fitted(y=np.arange(12)), InputError, "`y` must hold classes, whole numbers from 0 to 1, .* got 2"),
        (lambda: fitted(y=-np.arange(12) % 2 * 1.5, loss="cross_entropy"), InputError, "`y` must hold classes.* got 1.5"),
        (lambda: fitted(y=np.ones((12, 3, 3), int)), ShapeError, "`y` must have a class for each pixel|one for each image"),
        (lambda: fitted("segmentation", y=np.ones(12, int)), ShapeError, "`y` has one class per image, but the network"),
        (lambda: fitted("field", y=np.ones((12, 1, 7, 7))), ShapeError, r"`y` must have the shape of the network's output, \(batch, 2, 7, 7\)"),
        (lambda: fitted("binary", loss="cross_entropy", y=np.ones((12, 7, 7), int)), ShapeError, "the network has one output"),
        (lambda: fitted("binary", loss="binary_cross_entropy", y=np.full((12, 1, 7, 7), 0.5)), InputError, "`y` must hold 0 and 1"),
        (lambda: fitted(loss="mes"), InputError, "`loss` must be one of .*'mse'"),
        (lambda: fitted(epochs=0), InputError, "`epochs` must be at least 1"),
        (lambda: fitted(epochs=1.5), InputError, "`epochs` must be a whole number"),
        (lambda: fitted(batch_size=0), InputError, "`batch_size` must be at least 1"),
        (lambda: fitted(learning_rate=-1), InputError, "`learning_rate` must be from 0 to"),
        (lambda: fitted(optimizer="adm"), InputError, "`optimizer` must be one of .*'adam'"),
        (lambda: fitted(optimizer={"optimizer": "sgd", "momentm": 1}), InputError, "sgd has no option 'momentm'.*'momentum'"),
        (lambda: fitted(schedule="step"), InputError, "`schedule` must be one of"),
        (lambda: fitted(validation=2), InputError, "`validation` must be from 0 to 1"),
        (lambda: fitted(validation=0.99), InputError, "leaves none to learn from"),
        (lambda: fitted(validation=(1, 2, 3)), InputError, "`validation` must be a fraction or a pair"),
        (lambda: fitted(validation=(np.ones((2, 1, 7, 7)), [0])), ShapeError, r"`validation\$y` must have 2 targets"),
        (lambda: fitted(augment="flip"), InputError, "`augment` must be one of 'group', 'rotation', 'jitter'"),
        (lambda: fitted(model=torch.nn.Flatten(), y=np.ones((12, 49)), augment="group"), InputError, "requires a network, which declares"),
        (lambda: Augmentation("rotation", network(input="regular", layers=[]), Task("mse", (1,), (1,)), 2), FieldError, "which not all of the fields 1 regular allow"),
        (lambda: Augmentation("rotation", network(), Task("mse", (1,), (1,)), 3), InputError, "rotates images in the plane"),
        (lambda: fitted(class_weights=[1, 2, 3]), ShapeError, "`class_weights` must have 2 numbers"),
        (lambda: fitted(class_weights=[1, -1]), InputError, "`class_weights` must be at least 0"),
        (lambda: fitted(class_weights="even"), InputError, "`class_weights` must be numbers or 'balanced'"),
        (lambda: fitted("regression", class_weights=[1, 2]), InputError, "`class_weights` needs the loss"),
        (lambda: fitted(precision="half"), InputError, "`precision` must be one of 'bfloat16'"),
        (lambda: fitted(device="tpu"), InputError, "`device` must be one of"),
        (lambda: fitted(patience=0), InputError, "`patience` must be at least 1"),
        (lambda: fitted(progress=3), InputError, "`progress` must be a function"),
        (lambda: fitted(batches=3), InputError, "`batches` is for an `x` that is a function"),
        (lambda: fitted(x=lambda i: 1, y=None), InputError, "`batches`, the number of batches in an epoch, is missing"),
        (lambda: fitted(x=lambda i: 1, y=None, batches=1), InputError, "`x`, a function, must return a pair"),
        (lambda: fitted(x=lambda i: 1, batches=1), InputError, "it also returns the targets"),
        (lambda: fitted(model=torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(49, 2)), checkpoint="a"), InputError, "`model` must have a recipe"),
        (lambda: gequi.evaluate(network(), np.ones((2, 1, 7, 7)), [0, 2]), InputError, "`y` must hold classes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_the_confusion_matrix_and_the_measures_of_each_class(random):
    from sklearn.metrics import confusion_matrix, jaccard_score, precision_recall_fscore_support

    net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        {"layer": "global_avg_pool"}, {"layer": "dense", "units": 3}])  # fmt: skip
    gequi.set_weights(net, {"layers.1.weight": [[1.0], [0.0], [-1.0]], "layers.1.bias": [0.0, 0.2, 0.0]})
    x, y = random.normal(size=(40, 1, 1, 1)), random.integers(0, 3, 40)
    predicted = gequi.predict(net, x).reshape(40, 3).argmax(1)
    np.testing.assert_array_equal(gequi.evaluate(net, x, y, by="confusion"), confusion_matrix(y, predicted))
    rows = gequi.evaluate(net, x, y, by="class", batch_size=7)
    expected = precision_recall_fscore_support(y, predicted)
    for name, values in zip(("precision", "recall", "f1", "count"), expected, strict=True):
        np.testing.assert_allclose([row[name] for row in rows], values)
    np.testing.assert_allclose([row["iou"] for row in rows], jaccard_score(y, predicted, average=None))
    with pytest.raises(InputError, match="is required for targets that are not classes"):
        gequi.evaluate(net, x, random.normal(size=(40, 3)), by="class")


def test_pixels_without_a_class_are_not_in_the_confusion_matrix(random):
    net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", seed=1, layers=[
        {"layer": "conv", "fields": {"trivial": 2}, "kernel_size": 1}])  # fmt: skip
    x, y = random.normal(size=(2, 1, 4, 4)), random.integers(0, 2, (2, 4, 4))
    y[0, 0] = -1
    assert gequi.evaluate(net, x, y, by="confusion").sum() == 28
