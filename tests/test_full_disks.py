"""Every writer on a full disk: the error names the path, the previous file is unchanged, and no other file remains.

As root the disk is one of 2 MB. Everywhere a process that may write no more bytes (RLIMIT_FSIZE) stands for one.
"""

import contextlib
import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

import gequi
from gequi.errors import GequiError, InputError
from gequi.folders import prediction
from gequi.training import cluster

LAYERS = [
    {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "relu"}, {"layer": "global_avg_pool"},
    {"layer": "group_pool"}, {"layer": "dense", "units": 2},
]  # fmt: skip
X = np.random.default_rng(1).normal(size=(20, 1, 9, 9))
Y = np.arange(20) % 2
OPTIONS = {"epochs": 2, "batch_size": 10, "seed": 5}


def network(seed=1):
    return gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", LAYERS, seed=seed)


# ---- disks ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(place):
    """Whether a disk of 2 MB could be put there, for a while."""
    options = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    root = os.geteuid() == 0 and subprocess.run(options, capture_output=True).returncode == 0
    try:
        yield root
    finally:
        if root:
            subprocess.run(["umount", "-l", str(place)], check=True)  # -l: an array may still be mapped there


def may_mount():
    with tempfile.TemporaryDirectory() as folder, small_disk(folder) as root:
        return root


@contextlib.contextmanager
def filled(disk):
    """The disk without any space left, for a while."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def forbidden():
    """This process and those that it starts may write nothing to files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(params=["disk", "limit"] if may_mount() else ["limit"])
def place(request, tmp_path):
    """A folder, and what fills its disk for a while."""
    if request.param == "limit":
        (tmp_path / "folder").mkdir()
        yield tmp_path / "folder", forbidden
        return
    (disk := tmp_path / "disk").mkdir()
    with small_disk(disk):
        (disk / "folder").mkdir()
        yield disk / "folder", lambda: filled(disk)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def refused(folder, full, call, name):
    """That a call is refused on a full disk, with its path, and that the folder stays as it was."""
    before = contents(folder)
    with full():
        with pytest.raises(GequiError) as caught:
            call()
        assert contents(folder) == before
    assert str(folder / name) in str(caught.value)
    assert any(words in str(caught.value) for words in ("No space left on device", "File too large"))
    return caught.value


# ---- writers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    image = gequi.sample_image("cat")[50:114, 150:210]
    return gequi.register_images(image, image, transform="rigid")


WRITERS = {
    "save_model": lambda found, path: gequi.save_model(network(), path),
    "write_image.png": lambda found, path: gequi.write_image(X[0, 0], path, limits=(-9, 9)),
    "write_transform.tfm": lambda found, path: gequi.write_transform(found, path, overwrite=True),
    "write_transform.mha": lambda found, path: gequi.write_transform(
        dataclasses.replace(found, map=gequi.identity_map((64, 60)) + 1.5), path, overwrite=True
    ),
    "export_model.pt": lambda found, path: gequi.export_model(network(), path, (1, 1, 9, 9), format="torchscript"),
}


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_stays_as_it_was(place, found, name, there):
    folder, full = place
    write = WRITERS[name]
    if there:
        write(found, folder / name)
    refused(folder, full, lambda: write(found, folder / name), name)
    write(found, folder / name)
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("devices", [1, 2])
def test_a_training_stops_and_its_checkpoint_stays(place, there, devices):
    folder, full = place
    path = folder / "run.gequi"
    options = {**OPTIONS, "devices": devices, "checkpoint": path}
    if there:
        gequi.fit(network(), X, Y, **{**options, "epochs": 1, "devices": 1})
    error = refused(folder, full, lambda: gequi.fit(network(), X, Y, **options), "run.gequi")
    assert error.argument == "checkpoint"
    assert [each.name for each in folder.iterdir()] == (["run.gequi"] if there else [])


def image_files(folder, count, size):
    (images := folder / "images").mkdir()
    for number in range(count):
        gequi.write_image(np.random.default_rng(number).random((size, size)), images / f"{number:02}.png")
    return gequi.image_files(sorted(images.iterdir()), Y[:count])


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("data", ["array", "files"])
def test_a_job_is_written_whole_or_not_at_all(place, tmp_path, data, there):
    folder, full = place
    x = X if data == "array" else image_files(tmp_path, 20, 9)
    if there:
        (folder / "job").mkdir()
    refused(folder, full, lambda: gequi.prepare_job(folder / "job", network(), x, Y, **OPTIONS), "job")
    assert (folder / "job").exists() is there
    gequi.prepare_job(folder / "job", network(), x, Y, **OPTIONS)


def test_a_job_of_more_images_than_the_disk_holds_ends_no_process(place, tmp_path):
    """In a process of its own: an array that is mapped to a disk without space ends it with SIGBUS."""
    folder, _ = place
    image_files(tmp_path, 20, 200)
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_full_disks as t
files = t.gequi.image_files(sorted(t.Path({str(tmp_path / "images")!r}).iterdir()), t.Y)
try:
    t.gequi.prepare_job({str(folder / "job")!r}, t.network(), files, t.Y, **t.OPTIONS)
except t.InputError as error:
    sys.exit(str(error))
"""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, 2**21))

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1, done
    assert str(folder / "job") in done.stderr
    assert list(folder.iterdir()) == []


def test_predictions_are_written_whole_or_not_at_all(place, tmp_path):
    folder, full = place
    image_files(tmp_path, 4, 9)
    prepare = [folder / "job", network(), tmp_path / "images"]
    refused(folder, full, lambda: gequi.prepare_prediction(*prepare), "job")
    assert list(folder.iterdir()) == []
    gequi.prepare_prediction(*prepare)
    refused(folder, full, lambda: prediction.work(folder / "job"), "job/part-1-of-1.safetensors")
    prediction.work(folder / "job")
    alone = gequi.predict_folder(network(), tmp_path / "images")
    np.testing.assert_array_equal(gequi.collect_prediction(folder / "job")["output"], alone["output"])


def test_the_result_of_a_job_is_written_whole_or_not_at_all(place):
    folder, full = place
    gequi.prepare_job(folder, network(), X, Y, **OPTIONS)
    refused(folder, full, lambda: cluster.work(folder), "progress.json")
    with pytest.raises(InputError, match="holds no job that is done"):
        gequi.collect_job(folder, network())
    cluster.work(folder)
    alone, collected = network(), network()
    gequi.fit(alone, X, Y, **OPTIONS)
    gequi.collect_job(folder, collected)
    for name, value in gequi.get_weights(alone).items():
        assert torch.equal(torch.from_numpy(value), torch.from_numpy(gequi.get_weights(collected)[name]))


def test_a_worker_without_space_for_its_log_is_an_error_too(place, monkeypatch, tmp_path):
    """`predict_folder()` with several processes, whose folder is in the temporary directory."""
    folder, full = place
    image_files(tmp_path, 4, 9)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    refused(folder, full, lambda: gequi.predict_folder(network(), tmp_path / "images", devices=2), "gequi-job-")
    assert list(folder.iterdir()) == []
