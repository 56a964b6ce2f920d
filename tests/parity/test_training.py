"""training: the same seed gives the same weights and the same history from both languages, to the bit."""

import numpy as np
import pytest
import rpy2.robjects as ro

import gequi
from gequi.training import _jobs

OPTIONS = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "seed": 3, "validation": 0.25}


@pytest.fixture
def examples(random):
    return random.normal(size=(24, 1, 7, 7)), np.arange(24) % 10


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("options", [{}, {"augment": "rotation", "schedule": "one_cycle"}, {"class_weights": "balanced"}])
def test_fit(r, both, same, examples, options):
    theirs, ours = both()
    x, y = examples
    history = gequi.fit(ours, x, y, **OPTIONS, **options)
    fitted = r.fit(theirs, x, ro.IntVector(y + 1), **OPTIONS, **options)
    same(without_times(r.value(fitted.rx2("history"))), without_times(history))
    same(
        r.value(r.get_weights(fitted)),
        {name: np.atleast_1d(weight).astype(np.float64) for name, weight in gequi.get_weights(ours).items()},
    )
    same(r.value(r.predict(fitted, x, type="class")), [int(k) + 1 for k in gequi.predict(ours, x).argmax(1)])


def test_fit_of_numbers_with_options_of_the_optimiser(r, both, same, examples, random):
    theirs, ours = both()
    x, y = examples[0], random.normal(size=(24, 10))
    options = {**OPTIONS, "optimizer": {"optimizer": "sgd", "momentum": 0.5}, "loss": "huber"}
    history = gequi.fit(ours, x, y, **options)
    fitted = r.fit(theirs, x, y, **options)
    same(without_times(r.value(fitted.rx2("history"))), without_times(history))


def test_evaluate(r, both, examples):
    theirs, ours = both()
    x, y = examples
    assert r.value(r.evaluate(theirs, x, ro.IntVector(y + 1))) == [gequi.evaluate(ours, x, y)]


def test_the_same_errors_but_that_r_counts_classes_from_one(r, both, examples):
    theirs, ours = both()
    x, y = examples[0], np.arange(24) % 11
    with pytest.raises(gequi.errors.InputError, match="from 0 to 9, one for each output of the network; got 10"):
        gequi.fit(ours, x, y)
    condition = r.code("tryCatch(fit(network, x, y), error = identity)", network=theirs, x=x, y=ro.IntVector(y + 1))
    assert "from 1 to 10, one for each output of the network; got 11" in r.code("conditionMessage(e)", e=condition)[0]


def test_prepare_job_and_collect_job(r, both, same, examples, tmp_path):
    theirs, ours = both()
    x, y = examples
    labels = ro.FactorVector(ro.StrVector([f"class {k}" for k in y]))
    folders = [tmp_path / "r", tmp_path / "python"]
    lines = r.prepare_job(str(folders[0]), theirs, x, labels, about={"by": "R"}, **OPTIONS)
    expected = gequi.training.prepare_job(folders[1], ours, x, y, **OPTIONS)
    same(r.value(lines), {key: line.replace(str(folders[1]), str(folders[0])) for key, line in expected.items()})
    for folder in folders:
        _jobs.work(folder, gequi.training._fit)
    fitted = r.collect_job(str(folders[0]), theirs)
    history = gequi.collect_job(folders[1], ours)
    same(without_times(r.value(fitted.rx2("history"))), without_times(history))
    same(r.value(r.predict(fitted, x, type="raw")), gequi.predict(ours, x).astype(np.float64))
    assert set(r.code("levels(predict(fitted, x))", fitted=fitted, x=x)) == {f"class {k}" for k in y}
