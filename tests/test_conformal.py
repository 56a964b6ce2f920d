"""conformal_sets(): sets of classes that contain the right one with a given probability, in every pose."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import gequi
from gequi.errors import FieldError, InputError, ShapeError

C4 = gequi.gspace("rot2dOnR2", N=4)
D4 = gequi.gspace("flipRot2dOnR2", N=4)
ALONE = gequi.gspace("trivialOnR2")
METHODS = ["lac", "aps"]


def classifier(classes=4, dtype=torch.float64):
    """A plain network without symmetry, which is uncertain."""
    torch.manual_seed(2)
    layers = [nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes)]
    model = nn.Sequential(*layers)
    model(torch.zeros(2, 1, 7, 7))
    return model.to(dtype)


def examples(random, count=60, classes=4):
    return random.normal(size=(count, 1, 7, 7)), random.integers(0, classes, count)


def by_hand(probabilities, method):
    """The scores of all classes, from their definition, one at a time."""
    found = np.empty_like(probabilities)
    for image, row in enumerate(probabilities):
        for y, p in enumerate(row):
            found[image, y] = 1 - p if method == "lac" else sum(each for each in row if each >= p)
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_the_sets_are_those_of_the_definition(method, level, random):
    x, y = examples(random)
    model = classifier()
    sets = gequi.conformal_sets(model, x, y, C4, level, method, rotate=False)
    scores = [gequi.predict(model, np.rot90(x, k, (2, 3)).copy()) for k in range(4)]
    averaged = np.mean([np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in scores], axis=0)
    wanted = by_hand(averaged, method)
    rank = math.ceil((len(y) + 1) * level)
    threshold = sorted(wanted[np.arange(len(y)), y])[rank - 1]
    assert sets.threshold == pytest.approx(threshold, abs=1e-12)
    assert (sets.level, sets.method, sets.classes, sets.count) == (level, method, 4, 60)
    members = wanted <= threshold + 1e-12
    if method == "aps":
        members |= averaged == averaged.max(1, keepdims=True)
    np.testing.assert_array_equal(gequi.predict(sets, x), members)


@pytest.mark.parametrize("method", METHODS)
def test_the_sets_are_the_same_for_an_image_and_the_image_moved(method, dtype, random):
    x, y = examples(random)
    sets = gequi.conformal_sets(classifier(dtype=getattr(torch, dtype)), x, y, D4, 0.6, method, seed=1)
    found = gequi.predict(sets, x)
    assert found.dtype == bool
    assert 0 < found.mean() < 1
    for moved in (np.rot90(x, 1, (2, 3)), np.rot90(x, 3, (2, 3))[..., ::-1], x[:, :, ::-1]):
        np.testing.assert_array_equal(gequi.predict(sets, moved), found)
    alone = gequi.conformal_sets(classifier(dtype=getattr(torch, dtype)), x, y, ALONE, 0.6, method)
    assert (gequi.predict(alone, x) != gequi.predict(alone, np.rot90(x, 1, (2, 3)))).any()


@pytest.mark.parametrize("rotate", [False, True])
def test_the_coverage_is_the_level_for_exchangeable_examples(rotate):
    """The mean over calibrations is between level and level + 1 / (n + 1), whatever the model."""
    level, calibrated, tested, repeats = 0.8, 24, 200, 60
    random = np.random.default_rng(5)
    model = classifier()

    def turned(x):
        matrices = [gequi.field_type(gequi.gspace("rot2dOnR2", N=64), "trivial"), random.integers(0, 64, len(x))]
        parts = [gequi.transform_field(one[None], matrices[0], int(k)) for one, k in zip(x, matrices[1], strict=True)]
        return np.concatenate(parts)

    shares = []
    x_test, y_test = examples(random, tested * 4)
    x_test = turned(x_test) if rotate else x_test
    for repeat in range(repeats):
        x, y = examples(random, calibrated)
        sets = gequi.conformal_sets(model, x, y, C4, level, rotate=rotate, seed=repeat)
        place = random.permutation(len(x_test))[:tested]
        shares.append(gequi.predict(sets, x_test[place])[np.arange(tested), y_test[place]].mean())
    error = 3 * np.std(shares) / math.sqrt(repeats)
    assert level - error <= np.mean(shares) <= level + 1 / (calibrated + 1) + error
    assert error < 0.04


def test_a_set_of_adaptive_scores_is_never_empty_and_a_least_ambiguous_one_may_be(random):
    x = random.normal(size=(200, 1, 7, 7))
    model = nn.Sequential(classifier(), nn.Tanh()).double()
    y = gequi.predict(gequi.symmetrize(model, C4, "trivial", {"trivial": 4}), x).argmax(1)
    y[::20] = (y[::20] + 1) % 4  # right for 95 %
    sizes = {m: gequi.predict(gequi.conformal_sets(model, x, y, C4, 0.6, m, rotate=False), x).sum(1) for m in METHODS}
    assert sizes["aps"].min() >= 1
    assert sizes["lac"].min() == 0
    assert sizes["lac"].mean() < sizes["aps"].mean()


def test_logits_are_told_from_probabilities(random):
    x, y = examples(random)
    logits = classifier()
    answers = {"logits": logits, "probabilities": nn.Sequential(logits, nn.Softmax(1))}
    thresholds = {
        name: gequi.conformal_sets(model, x, y, C4, rotate=False).threshold for name, model in answers.items()
    }
    assert thresholds["logits"] == pytest.approx(thresholds["probabilities"], abs=1e-12)
    again = gequi.conformal_sets(answers["probabilities"], x, y, C4, rotate=False, probabilities=False)
    assert abs(again.threshold - thresholds["logits"]) > 0.01
    with pytest.raises(InputError, match="`probabilities` must be False"):
        gequi.conformal_sets(logits, x, y, C4, probabilities=True)


def test_predictors_and_networks_are_calibrated_too(random):
    x, y = examples(random, 200, 2)
    x = x + 0.4 * y[:, None, None, None]
    fitted = LogisticRegression().fit(x[:100].reshape(100, -1), y[:100])
    sets = gequi.conformal_sets(fitted, x[100:], y[100:], D4, 0.9, rotate=False)
    found = gequi.predict(sets, x[100:])
    assert found[np.arange(100), y[100:]].mean() == pytest.approx(0.91)
    layers = [{"layer": "conv", "fields": "regular", "kernel_size": 3}, {"layer": "global_avg_pool"}, {"layer": "group_pool"},
              {"layer": "dense", "units": 2}]  # fmt: skip
    network = gequi.equivariant_network(C4, "trivial", layers, seed=1)
    assert gequi.conformal_sets(network, x, y, seed=1).averaged.space == C4


def test_the_angles_come_from_the_seed(random):
    x, y = examples(random)
    options = [{"seed": 1}, {"seed": 1}, {"seed": 2}, {"rotate": False}]
    found = [gequi.conformal_sets(classifier(), x, y, C4, **each).threshold for each in options]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    # Mirrors turn nothing, so nothing is turned unless asked for.
    mirror = gequi.gspace("flip2dOnR2")
    assert (
        gequi.conformal_sets(classifier(), x, y, mirror).threshold
        == gequi.conformal_sets(classifier(), x, y, mirror, rotate=False).threshold
    )
    assert (
        gequi.conformal_sets(classifier(), x, y, mirror, rotate=True, seed=1).threshold
        != gequi.conformal_sets(classifier(), x, y, mirror, rotate=False).threshold
    )


def test_vectors_and_volumes_are_calibrated_without_turns(random):
    vectors, y = random.normal(size=(40, 2)), random.integers(0, 3, 40)
    space = gequi.gspace("no_base_space", group="cyclic_group", N=4)
    scores = lambda x: np.stack([x[:, 0], x[:, 1], x[:, 0] * 0], 1)  # noqa: E731
    sets = gequi.conformal_sets(scores, vectors, y, space, input="irrep_1")
    quarter = vectors @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_array_equal(gequi.predict(sets, quarter), gequi.predict(sets, vectors))
    volumes = random.normal(size=(40, 1, 4, 4, 4))
    sets = gequi.conformal_sets(lambda x: x[:, 0, :3, 0, 0], volumes, y, gequi.gspace("octaOnR3"), 0.8)
    np.testing.assert_array_equal(gequi.predict(sets, np.rot90(volumes, 1, (2, 4))), gequi.predict(sets, volumes))


X, Y = np.ones((20, 1, 7, 7)), np.arange(20) % 4


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"level": 0.96}, InputError, "`level` = 0.96 is not possible with 20 examples"),
        ({"level": 0}, InputError, "`level` = 0 is not possible"),
        ({"level": 2}, InputError, "`level` must be from 0 to 1"),
        ({"method": "raps"}, InputError, "`method` must be one of"),
        ({"space": None}, InputError, "`space` is missing"),
        ({"space": gequi.gspace("rot2dOnR2", N=-1)}, InputError, "`space` must have a finite group"),
        ({"y": Y[:5]}, ShapeError, "`y` must have one class for each of the 20 examples"),
        ({"y": Y + 1}, InputError, "`y` must hold classes, whole numbers from 0 to 3, one for each output of the model; got 4"),
        ({"y": Y + 0.5}, InputError, "`y` must hold classes"),
        ({"x": np.ones(20)}, ShapeError, "`x` must have the axes"),
        ({"model": lambda x: x}, ShapeError, "`model` must return scores"),
        ({"model": lambda x: x[:, :, 0, 0]}, ShapeError, "`model` must return scores .* of at least 2 classes"),
        ({"model": 3}, InputError, "`model` must be a network or a function"),
        ({"input": "spin"}, FieldError, "`input`"),
        ({"rotate": 3}, InputError, "`rotate` must be"),
        ({"rotate": True, "space": gequi.gspace("octaOnR3"), "x": np.ones((20, 1, 7, 7, 7))}, InputError, "`rotate` is for images in the plane"),
    ],
)  # fmt: skip
def test_what_cannot_be_calibrated_is_refused(change, kind, message):
    given = {"model": lambda x: x[:, 0, 0, :4] * np.arange(4.0), "x": X, "y": Y, "space": C4, **change}
    with pytest.raises(kind, match=message):
        gequi.conformal_sets(**given)
