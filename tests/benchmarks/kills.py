"""Kills processes at random moments, checks what is left, and prints a table.

    python tests/benchmarks/kills.py [--each 30] [--places 200] [--seed 1]

Work that goes on (a training with a checkpoint, a folder of predictions, a folder of registrations, a job) is killed with SIGKILL at a random moment
and done again: the result must be that of work that nothing killed, to the bit. A writer that writes two files in turn
under one name is killed too: one of the two files must be there, complete, and the next write must leave nothing else.
A job folder whose writer is killed must be complete or be refused. Finally, a checkpoint is damaged by one bit and by a
cut, at 200 places each: `fit()` must refuse it with an error of gequi that names the file.

Each line counts the outcomes. The program fails if there is any other outcome.
"""

import argparse
import dataclasses
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import gequi
from gequi.errors import GequiError
from gequi.folders import prediction, registration
from gequi.training import cluster

LAYERS = [
    {"layer": "conv", "fields": {"regular": 2}, "kernel_size": 3}, {"layer": "batch_norm"}, {"layer": "relu"},
    {"layer": "global_avg_pool"}, {"layer": "group_pool"}, {"layer": "dense", "units": 2},
]  # fmt: skip
X = np.random.default_rng(1).normal(size=(40, 1, 9, 9))
Y = np.arange(40) % 2
OPTIONS = {"epochs": 12, "batch_size": 10, "seed": 5}


def network(seed: int = 1) -> torch.nn.Module:
    return gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", LAYERS, seed=seed)


def weights_of(model: torch.nn.Module) -> bytes:
    return b"".join(value.tobytes() for _, value in sorted(gequi.get_weights(model).items()))


def started(work: Callable[[], object]) -> int:
    """Fork this process, which has one thread, to do the work, and return the process id."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def killed(work: Callable[[], object], wait: float) -> bool:
    """Kill the work after some seconds, and return whether it was still running."""
    child = started(work)
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def seconds_of(work: Callable[[], object]) -> float:
    """Return the duration of the work without a kill, in seconds."""
    start = time.monotonic()
    assert os.waitpid(started(work), 0)[1] == 0
    return time.monotonic() - start


# ---- work that goes on ------------------------------------------------------------------------------------


def training(folder: Path) -> tuple[Callable[[], object], Callable[[], bytes], list[str]]:
    """A training with a checkpoint. The checkpoint is the result."""

    def work() -> torch.nn.Module:
        model = network()
        gequi.fit(model, X, Y, checkpoint=folder / "run.gequi", **OPTIONS)
        return model

    return work, lambda: weights_of(work()), ["run.gequi"]


def folder_of_predictions(folder: Path) -> tuple[Callable[[], object], Callable[[], bytes], list[str]]:
    """A worker that predicts for the images of a folder."""
    images = folder.parent.parent / "images"
    if not images.exists():
        images.mkdir()
        for number in range(60):
            np.save(images / f"{number:02}.npy", X[number % 40])
    gequi.prepare_prediction(folder, network(), images, batch_size=1)
    files = ["job.json", "model.gequi", "part-1-of-1.safetensors"]
    return lambda: prediction.work(folder), lambda: gequi.collect_prediction(folder)["output"].tobytes(), files


def folder_of_registrations(folder: Path) -> tuple[Callable[[], object], Callable[[], bytes], list[str]]:
    """A worker that registers pairs of images. Finished pairs must not be registered again."""
    images = folder.parent.parent / "pairs"
    if not images.exists():
        images.mkdir()
        for number in range(8):
            np.save(images / f"{number}.npy", gequi.sample_image("cat")[40 + number : 88 + number, 150:198])
    gequi.prepare_registration(folder, images, images / "0.npy", transform="rigid")
    pairs = range(1, 8)
    files = ["job.json", "registrations.csv"]
    for name, end in (("maps", "nii.gz"), ("rows", "json"), ("warped", "npy")):
        files += [name, *(f"{name}/{number}.{end}" for number in pairs)]
    rows = folder / "rows"

    def work() -> None:
        done = {file: file.stat().st_mtime_ns for file in rows.glob("*.json")}
        registration.work(folder)
        assert all(file.stat().st_mtime_ns == time for file, time in done.items()), "a pair was registered again"

    def result() -> bytes:
        table = gequi.collect_registration(folder)
        kept = [
            {name: value for name, value in row.items() if name not in ("seconds", "map", "warped")} for row in table
        ]
        return repr(kept).encode() + b"".join((folder / "maps" / f"{number}.nii.gz").read_bytes() for number in pairs)

    return work, result, files


def job(folder: Path) -> tuple[Callable[[], object], Callable[[], bytes], list[str]]:
    """A worker of a job, which keeps a checkpoint in its folder."""
    gequi.prepare_job(folder, network(), X, Y, checkpoint=folder / "run.gequi", **OPTIONS)

    def result() -> bytes:
        model = network()
        gequi.collect_job(folder, model)
        return weights_of(model)

    files = ["history.json", "job.json", "model.gequi", "progress.json", "result.gequi", "run.gequi", "x.npy", "y.npy"]
    return lambda: cluster.work(folder), result, files


def kill_work(make: Callable[[Path], tuple], place: Path, each: int, moments: random.Random) -> Counter:
    """Kill and resume the work, and count the outcomes."""
    (whole := place / "whole").mkdir()
    work, result, files = make(whole)
    work()
    length = seconds_of(make(_empty(place / "timed"))[0])
    expected, found = result(), Counter()
    for number in range(each):
        work, result, _ = make(_empty(place / f"{number}"))
        found["killed" if killed(work, moments.uniform(0, length)) else "ended before"] += 1
        assert os.waitpid(started(work), 0)[1] == 0, "it does not go on"
        found["the same to the bit" if result() == expected else "OTHER"] += 1
        left = sorted(str(path.relative_to(place / f"{number}")) for path in (place / f"{number}").rglob("*"))
        found["nothing else left" if left == sorted(files) else f"LEFT: {set(left) ^ set(files)}"] += 1
        shutil.rmtree(place / f"{number}")
    return found


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


# ---- files ------------------------------------------------------------------------------------------------


def writers(folder: Path) -> dict[str, tuple[Path, Callable[[int], object], Callable[[Path], object]]]:
    """For each writer: a file, a function that writes one of two contents to it, and one that reads it."""
    pictures = [np.random.default_rng(number).random((200, 200)) for number in range(2)]
    image = gequi.sample_image("cat")[50:114, 150:210]
    found = gequi.register_images(image, image, transform="rigid")
    maps = [dataclasses.replace(found, map=gequi.identity_map(image.shape) + number) for number in range(2)]
    models = [gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=8), "trivial", [
        {"layer": "conv", "fields": {"regular": 30}, "kernel_size": 5},
        {"layer": "conv", "fields": {"regular": 30}, "kernel_size": 5}], seed=number) for number in range(2)]  # fmt: skip
    exported = [network(number) for number in range(2)]
    return {
        "save_model": (folder / "net.gequi", lambda n: gequi.save_model(models[n], folder / "net.gequi"), _bytes),
        "write_image": (
            folder / "a.png",
            lambda n: gequi.write_image(pictures[n], folder / "a.png", limits=(0, 1)),
            _bytes,
        ),
        "write_transform": (
            folder / "field.nii.gz",
            lambda n: gequi.write_transform(maps[n], folder / "field.nii.gz", overwrite=True),
            _bytes,
        ),
        "export_model": (
            folder / "net.pt",
            lambda n: gequi.export_model(exported[n], folder / "net.pt", (1, 1, 9, 9), format="torchscript"),
            lambda path: torch.jit.load(path)(torch.from_numpy(X[:4]).float()).detach().numpy().tobytes(),
        ),  # torch numbers the modules that the process has traced, so the bytes differ
    }


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def kill_writer(
    path: Path, write: Callable[[int], object], read: Callable[[Path], object], each: int, moments: random.Random
) -> Counter:
    """Kill a process that writes two files in turn under one name."""
    contents = []
    for number in range(2):
        write(number)
        contents.append(read(path))
    length = 6 * seconds_of(lambda: write(0))

    def work() -> None:
        while True:
            for number in range(2):
                write(number)

    found: Counter = Counter()
    for number in range(each):
        found["killed" if killed(work, moments.uniform(0, length)) else "ENDED"] += 1
        found["a whole file" if read(path) in contents else "DAMAGED"] += 1
        found["drafts found"] += len(list(path.parent.iterdir())) - 1
        write(number % 2)
        left = [each.name for each in path.parent.iterdir()]
        found["nothing else left" if left == [path.name] else f"LEFT: {left}"] += 1
        found["the next file is there" if read(path) == contents[number % 2] else "NOT WRITTEN"] += 1
    return found


def kill_preparation(place: Path, each: int, moments: random.Random) -> Counter:
    """Kill a process that writes a job folder. The folder must be a complete job or be refused."""
    large = np.random.default_rng(1).normal(size=(4000, 1, 9, 9))
    targets = np.arange(4000) % 2

    def prepare(folder: Path) -> None:
        gequi.prepare_job(folder, network(), large, targets, **OPTIONS)

    length = seconds_of(lambda: prepare(place / "timed"))
    found: Counter = Counter()
    for number in range(each):
        folder = place / f"{number}"
        found[
            "killed" if killed(lambda where=folder: prepare(where), moments.uniform(0, length)) else "ended before"
        ] += 1
        try:
            gequi.training.cluster.read_job(folder)
            found["a whole job"] += 1
        except GequiError as error:
            found["refused" if str(folder) in str(error) else f"UNCLEAR: {error}"] += 1
        shutil.rmtree(folder, ignore_errors=True)
    return found


# ---- a damaged checkpoint ---------------------------------------------------------------------------------


def damage(place: Path, count: int, moments: random.Random) -> Counter:
    """Flip a bit of a checkpoint, and cut it, at many places."""
    path = place / "run.gequi"
    gequi.fit(network(), X, Y, checkpoint=path, **{**OPTIONS, "epochs": 1})
    whole, found = path.read_bytes(), Counter()
    for at in moments.sample(range(len(whole)), count):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << moments.randrange(8)
        for kind, data in (("flipped", bytes(flipped)), ("cut", whole[:at])):
            path.write_bytes(data)
            model = network()
            before = weights_of(model)
            try:
                gequi.fit(model, X, Y, checkpoint=path, **OPTIONS)
                found[f"ACCEPTED, {kind}"] += 1
            except GequiError as error:
                found[f"{kind}: refused" if str(path) in str(error) else f"{kind}: WITHOUT ITS NAME {error}"] += 1
            except Exception as error:
                found[f"FOREIGN, {kind}: {error!r}"] += 1
            if weights_of(model) != before or path.read_bytes() != data:
                found["CHANGED"] += 1
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--each", type=int, default=30, help="kills of each work and writer")
    arguments.add_argument("--places", type=int, default=200, help="places at which the checkpoint is damaged")
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    torch.set_num_threads(1)  # a forked process has no other threads
    warnings.simplefilter("ignore")
    moments, bad = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        lines: dict[str, Callable[[Path], Counter]] = {
            make.__name__.replace("_", " "): lambda where, make=make: kill_work(make, where, given.each, moments)
            for make in (training, folder_of_predictions, folder_of_registrations, job)
        }
        for name in ("save_model", "write_image", "write_transform", "export_model"):
            lines[name] = lambda where, name=name: kill_writer(*writers(where)[name], given.each, moments)
        lines["prepare_job"] = lambda where: kill_preparation(where, given.each, moments)
        lines["a damaged checkpoint"] = lambda where: damage(where, given.places, moments)
        for name, count in lines.items():
            found = count(_empty(place / name.replace(" ", "-")))
            print(f"{name:24}" + ", ".join(f"{what} {number}" for what, number in found.items()), flush=True)
            bad += sum(any(word.isupper() and len(word) > 2 for word in what.split()) for what in found)
    if bad:
        sys.exit(f"{bad} outcomes that must not be")


if __name__ == "__main__":
    main()
