"""folders: registration of pairs of images in files, in one process or several, without repeating finished pairs."""

import contextlib
import csv
import os
import runpy
import shlex
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import gequi
from gequi import folders
from gequi.errors import InputError, ShapeError
from gequi.folders import _pool, registration

IMAGE = gequi.sample_image("cat")[50:98, 150:198]
OPTIONS = {"transform": "rigid"}


@pytest.fixture
def images(tmp_path):
    """Create a folder with a fixed image, two rotated images and a constant one."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name, image in {"fixed": IMAGE, "one": IMAGE.T[::-1], "two": IMAGE[::-1, ::-1], "flat": IMAGE * 0}.items():
        np.save(folder / f"{name}.npy", image)
    return folder


def register(images, results, **options):
    return gequi.register_folder(images, results, images / "fixed.npy", **{**OPTIONS, **options})


def times(results):
    return {file.name: file.stat().st_mtime_ns for file in (results / "rows").iterdir()}


def test_the_table_says_what_register_images_says_and_a_bad_image_is_a_row(images, tmp_path):
    rows = register(images, tmp_path / "out")
    assert [row["pair"] for row in rows] == ["flat", "one", "two"]
    expected = gequi.register_images(IMAGE.T[::-1], IMAGE, **OPTIONS)
    assert rows[1]["probability"] == expected.probability
    assert rows[1]["rotation"] == expected.decomposition["rotation"]
    assert rows[1]["similarity_after"] == expected.metrics["similarity_after"]
    np.testing.assert_allclose(gequi.read_transform(rows[1]["map"]).map, expected.map, atol=1e-6)
    np.testing.assert_array_equal(np.load(rows[1]["warped"]), expected.warped)
    assert rows[0]["condition"] == "InputError"
    assert "constant" in rows[0]["message"]
    assert rows[0]["map"] is None
    written = list(csv.DictReader((tmp_path / "out" / "registrations.csv").open()))
    assert written[1]["map"] == "maps/one.nii.gz"
    assert float(written[1]["probability"]) == expected.probability


def test_only_what_is_missing_is_registered_again(images, tmp_path):
    out = tmp_path / "out"
    told = []
    first = register(images, out)
    before = times(out)
    assert register(images, out, progress=told.append) == first
    assert (times(out), told) == (before, [])
    (out / "maps" / "one.nii.gz").write_bytes(b"cut")  # a damaged result, and an image that has changed
    np.save(images / "flat.npy", IMAGE.T[:, ::-1])
    rows = register(images, out, progress=told.append)
    assert {name for name, time in times(out).items() if time != before[name]} == {"one.json", "flat.json"}
    assert [(each["done"], each["total"]) for each in told] == [(1, 2), (2, 2)]
    assert [row["condition"] for row in rows] == [None] * 3


def test_an_interrupt_keeps_what_is_done(images, tmp_path):
    def stop(told):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        register(images, tmp_path / "out", progress=stop)
    assert len(list(csv.DictReader((tmp_path / "out" / "registrations.csv").open()))) == 1
    with pytest.raises(InputError, match="is not finished; 1 of 3 pairs are done"):
        gequi.collect_registration(tmp_path / "out")


def test_a_job_array_does_the_same_and_the_table_is_that_of_one_process(images, tmp_path, monkeypatch):
    job = tmp_path / "job"
    lines = gequi.prepare_registration(job, images, images / "fixed.npy", nodes=2, metadata={"by": "me"}, **OPTIONS)
    assert shlex.split(lines["sbatch"])[:3] == ["sbatch", "--array", "0-1"]
    assert shlex.split(lines["sbatch"])[-1].endswith(f"-m gequi.folders {job}")
    assert folders.registration_job(job)["metadata"] == {"by": "me"}
    for task in (1, 2):
        for name, value in {"MIN": 1, "COUNT": 2, "ID": task}.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        registration.work(job)
    found, alone = gequi.collect_registration(job), register(images, tmp_path / "out")
    for one, other in zip(found, alone, strict=True):
        for name in set(one) - {"seconds", "map", "warped"}:
            assert one[name] == other[name]


def test_a_process_that_is_killed_loses_no_other_task(tmp_path):
    def kill_once(task):  # a function in a function is sent itself, such that the processes do not import gequi
        """End the process at the first call for task 2, and at each for task 3."""
        folder, number = task
        mark = Path(folder, f"{number}.begun")
        if number == 3 or (number == 2 and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        Path(folder, f"{number}.done").touch()

    done = []
    tasks = [(str(tmp_path), number) for number in range(6)]
    lost = _pool.run_in_processes(kill_once, tasks, 2, lambda: done.append(1))
    assert lost == [tasks[3]]
    assert sorted(file.name for file in tmp_path.glob("*.done")) == [f"{number}.done" for number in (0, 1, 2, 4, 5)]
    assert len(done) == 5


def workers_of_this_process():
    """The processes of loky that this process has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"LokyProcess" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.slow  # test_a_process_that_is_killed_loses_no_other_task is the fast case
def test_two_processes_make_the_table_of_one_although_a_process_is_killed(images, tmp_path):
    expected = register(images, tmp_path / "alone")
    killed = []

    def kill(told):
        if not killed:
            killed.extend(workers_of_this_process()[:1])
            os.kill(killed[0], signal.SIGKILL)

    np.save(images / "three.npy", IMAGE.T)  # more pairs than processes
    found = register(images, tmp_path / "out", workers=2, mirror="search", progress=kill)
    assert killed
    assert [row["pair"] for row in found] == ["flat", "one", "three", "two"]
    assert [row["condition"] for row in found] == ["InputError", None, None, None]
    assert [found[1]["rotation"], found[3]["rotation"]] == pytest.approx(
        [row["rotation"] for row in expected[1:]], abs=0.1
    )
    assert not list((tmp_path / "out").rglob("*.part"))


def test_the_module_of_workers_goes_on_with_a_job_of_registrations(images, tmp_path, monkeypatch):
    job = tmp_path / "job"
    gequi.prepare_registration(job, images, images / "fixed.npy", **OPTIONS)
    settings = folders.registration_job(job)
    registration.register_pair(job, settings, settings["pairs"][0])
    before = times(job)
    monkeypatch.setattr(sys, "argv", ["gequi.folders", str(job)])
    runpy.run_module("gequi.folders", run_name="__main__")
    assert {name: time for name, time in times(job).items() if name in before} == before
    assert len(gequi.collect_registration(job)) == 3


@pytest.mark.parametrize(
    ("table", "kind", "message"),
    [
        ([{"moving": "a.npy"}], InputError, "`images` has no fixed image"),
        ([{"moving": "a.npy", "fixed": "b.npy", "angle": 3}], InputError, "unknown column 'angle'"),
        ([{"moving": "a.npy", "fixed": "b.npy", "transform": "rigd"}], InputError, "Did you mean 'rigid'"),
        ([{"moving": "a.npy", "fixed": "b.npy", "pair": "../up"}], InputError, "cannot be the name of a file"),
        ([{"moving": "a.npy", "fixed": "b.npy", "pair": "x"}] * 2, InputError, "two pairs have the name 'x'"),
        ({"moving": ["a.npy", "b.npy"], "fixed": ["c.npy"]}, ShapeError, "columns of one length"),
        ("nowhere", InputError, "must be a table with the columns moving and fixed"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, table, kind, message):
    with pytest.raises(kind, match=message):
        gequi.register_folder(table, tmp_path / "out")


def test_a_folder_of_something_else_is_refused(images):
    with pytest.raises(InputError, match="is not empty and holds no registrations"):
        register(images, images)
