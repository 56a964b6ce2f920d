"""jobs: both languages write the same folders, and fetch the same results from them."""

import numpy as np
import pytest
import rpy2.robjects as ro

import gequi
from gequi import jobs
from gequi.training import cluster

OPTIONS = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, "seed": 3, "validation": 0.25}


@pytest.fixture
def examples(random):
    return random.normal(size=(24, 1, 7, 7)), np.arange(24) % 10


def without_times(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_prepare_job_and_collect_job(r, both, same, examples, tmp_path):
    theirs, ours = both()
    x, y = examples
    labels = ro.FactorVector(ro.StrVector([f"class {k}" for k in y]))
    folders = [tmp_path / "r", tmp_path / "python"]
    lines = r.prepare_job(str(folders[0]), theirs, x, labels, metadata={"by": "R"}, **OPTIONS)
    expected = gequi.prepare_job(folders[1], ours, x, y, **OPTIONS)
    same(r.value(lines), {key: line.replace(str(folders[1]), str(folders[0])) for key, line in expected.items()})
    written = [
        {**jobs.read_job(folder), "metadata": None, "x": None, "y": None, "checksums": None} for folder in folders
    ]
    assert written[0] == {**written[1], "loss": "cross_entropy"}
    assert gequi.training.job_metadata(folders[0])["by"] == "R"
    for folder in folders:
        cluster.work(folder)
    fitted = r.collect_job(str(folders[0]), theirs)
    history = gequi.collect_job(folders[1], ours)
    same(without_times(r.value(fitted.rx2("history"))), without_times(history))
    same(r.value(r.predict(fitted, x, type="raw")), gequi.predict(ours, x).astype(np.float64))
    assert set(r.code("levels(predict(fitted, x))", fitted=fitted, x=x)) == {f"class {k}" for k in y}


def test_the_same_options_are_refused_with_the_same_words(r, both, examples, tmp_path):
    theirs, ours = both()
    x, y = examples
    for options in ({"epoch": 2}, {"epochs": 0}, {"batch_size": 1, "devices": 2}):
        with pytest.raises(gequi.errors.InputError) as caught:
            gequi.prepare_job(tmp_path / "job", ours, x, y, **options)
        given = ", ".join(f"{name} = {value}" for name, value in options.items())
        message = r.code(
            f"tryCatch(prepare_job(folder, network, x, y, {given}), error = conditionMessage)",
            folder=str(tmp_path / "job"), network=theirs, x=x, y=ro.IntVector(y + 1),
        )[0]  # fmt: skip
        assert message.replace('"', "'") == str(caught.value)
