"""Registration of many pairs of images in files."""

from __future__ import annotations

import csv
import functools
import io
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import jobs
from .._files import check_metadata, check_path, shown, write_file
from .._progress import check_progress, counted
from ..arrays import check_choice, check_dtype, check_flag, check_integer
from ..errors import InputError
from ._pairs import check_dimension, check_pairs
from ._pool import run_in_processes
from ._registering import COLUMNS, RESULTS, Row, finished_row, register_pair

MODULE = "gequi.folders"  # what a worker runs
TABLE = "registrations.csv"
KILLED = "Its process was killed twice, perhaps for lack of memory. Another call registers this pair again."


def register_folder(
    images: Any,
    folder: Any,
    fixed: Any = None,
    dimension: int = 2,
    spacing: Any = None,
    moving_spacing: Any = None,
    transform: str = "deformable",
    contrast: str = "same",
    mirror: bool | str = False,
    mask: str = "auto",
    min_probability: float = 0.5,
    warped: bool = True,
    dtype: str = "float32",
    device: str = "auto",
    workers: int = 1,
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> list[Row]:
    """Register many pairs of images in files, and write the results to a folder.

    Each pair is registered by `register_images()`, and its results are written before the next pair begins. A second
    call with the same folder registers only the pairs that are missing: those whose images, options or results have
    changed, or whose process was killed. A pair that fails becomes a row of the table with the error.

    Args:
        images: the pairs: a folder, or a list of file paths, whose images are each registered to `fixed`; or a table
            with one row per pair, as a list of dicts, a dict of columns, a data frame of pandas or the path of a .csv
            file. Its columns are `moving` and `fixed`, the paths; `pair`, the name of the pair, by default that of the
            moving file; and the options `spacing`, `moving_spacing`, `transform`, `contrast`, `mirror`, `mask` and
            `min_probability`. A missing value is replaced by the argument of this function. Paths in a .csv file are
            relative to its folder. Images are .npy, .png, .jpg, .tif and .bmp files. Colors are converted to grayscale.
        folder: str: the folder of the results. It must be empty or contain results of this function.
        fixed: str: the path of the fixed image of all pairs that do not name one. It is not registered to itself.
        dimension: int: 2 for images, 3 for volumes. The pages of a TIFF file are the slices of a volume.
        spacing, moving_spacing, transform, contrast, mirror, mask, min_probability, dtype, device: as in
            `register_images()`.
        warped: bool: whether to write the warped images.
        workers: int: the number of processes. If a process is killed, the pairs that were being registered are repeated
            in this call.
        progress: callable: called after each pair with a dict of `done`, `total` (the number of pairs that this call
            registers) and `seconds_left`.

    Returns:
        a list with one dict per pair, which is also written to `registrations.csv`: `pair`, `moving` and `fixed`;
        `probability`; `rotation` (degrees), `scale` and `mirror` of the linear part; `similarity_before`,
        `similarity_after`, `uncertainty` (the median), `folds`, `overlap`, `others` (the number of other maps that fit
        almost as well) and `seconds`; `condition` and `message`, the class and the text of the error of a pair that
        failed; `map`, the path of the map, a NIfTI displacement field that `read_transform()` reads; and `warped`, the
        path of the warped image, an array in a .npy file. The file contains paths relative to the folder.

    Raises:
        InputError: a table without pairs, an unknown column or option, equal names, or a folder that contains something
            else or cannot be written. Errors of a single pair are not raised.
        ShapeError: columns of different lengths.

    Source:
        see `register_images()`. Processes: loky.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from gequi import sample_image
        >>> image = sample_image("cat")[50:114, 150:214]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/fixed.npy", image)
        ...     np.save(f"{folder}/turned.npy", image.T[::-1])
        ...     np.save(f"{folder}/flat.npy", np.ones((64, 64)))
        ...     table = register_folder(folder, f"{folder}/results", f"{folder}/fixed.npy", transform="rigid")
        >>> [(row["pair"], row["rotation"] and round(row["rotation"]), row["condition"]) for row in table]
        [('flat', None, 'InputError'), ('turned', 90, None)]
    """
    check_progress(progress)
    count = check_integer(workers, "workers", minimum=1)
    place = _place(folder)
    job = _job(
        images, fixed, dimension, warped, dtype, device, spacing=spacing, moving_spacing=moving_spacing,
        transform=transform, contrast=contrast, mirror=mirror, mask=mask, min_probability=min_probability,
    )  # fmt: skip
    with jobs.written_to(place):
        jobs.write_plain(place / "job.json", job)
        missing = [pair for pair in job["pairs"] if finished_row(place, job, pair) is None]
        work_on = functools.partial(register_pair, place, job | {"pairs": []})
        tell, done, lost = counted(progress, len(missing)), iter(range(1, len(missing) + 1)), []

        def finished() -> None:
            tell(next(done))

        try:
            if count == 1:
                for pair in missing:
                    work_on(pair)
                    finished()
            elif missing:
                lost = run_in_processes(work_on, missing, min(count, len(missing)), finished)
        finally:  # also after Ctrl-C
            rows = _table(place, job, [pair["pair"] for pair in lost])
    return _with_paths(place, rows)


def prepare_registration(
    folder: Any,
    images: Any,
    fixed: Any = None,
    dimension: int = 2,
    spacing: Any = None,
    moving_spacing: Any = None,
    transform: str = "deformable",
    contrast: str = "same",
    mirror: bool | str = False,
    mask: str = "auto",
    min_probability: float = 0.5,
    warped: bool = True,
    dtype: str = "float32",
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Write a job that registers many pairs of images on several machines with access to the same folders.

    Args:
        folder: str: the folder of the job and its results, which must be empty.
        images, fixed, dimension, spacing, moving_spacing, transform, contrast, mirror, mask, min_probability, warped,
            dtype, device: as in `register_folder()`.
        devices: int: the number of processes on each machine.
        nodes: int: the number of machines.
        metadata: dict: plain data to store with the job.

    Returns:
        a dict of alternative commands: `torchrun` and `srun`, as from `prepare_job()`, and `sbatch`, which submits an
        array of devices * nodes SLURM jobs of one process each. Running a command again registers the pairs that are
        missing. `collect_registration()` then reads the table.

    Raises:
        InputError, ShapeError: the errors of `register_folder()`, or a folder that is not empty.

    Source:
        see `register_folder()`.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = tempfile.mkdtemp()
        >>> table = [{"moving": "a.png", "fixed": "b.png"}, {"moving": "c.png", "fixed": "d.png"}]
        >>> lines = prepare_registration(folder, table, nodes=2, devices=4)
        >>> lines["srun"].split(" /")[0], lines["sbatch"].split(" --wrap")[0]
        ('srun --nodes 2 --ntasks-per-node 4', 'sbatch --array 0-7')
    """
    place = jobs.empty_folder(folder)
    count = check_integer(devices, "devices", minimum=1)
    machines = check_integer(nodes, "nodes", minimum=1)
    job = _job(
        images, fixed, dimension, warped, dtype, device, spacing=spacing, moving_spacing=moving_spacing,
        transform=transform, contrast=contrast, mirror=mirror, mask=mask, min_probability=min_probability,
    )  # fmt: skip
    with jobs.written_whole(place):
        jobs.write_job(place, {**job, "devices": count, "nodes": machines, "metadata": check_metadata(metadata)})
    lines = jobs.command_lines(place, MODULE, machines, count)
    alone = lines["srun"].partition(f"--ntasks-per-node {count} ")[2]
    return {**lines, "sbatch": f"sbatch --array 0-{machines * count - 1} --wrap {shlex.quote(alone)}"}


def collect_registration(folder: Any) -> list[Row]:
    """Read the table of a finished job, and write it to `registrations.csv` in its folder.

    Args:
        folder: str: the folder of the job, from `prepare_registration()`, or that of `register_folder()`.

    Returns:
        the table of `register_folder()`.

    Raises:
        InputError: a folder without such a job, or a job that is not finished; the message states the number of pairs
            that are done.

    Source:
        see `register_folder()`.

    Example:
        >>> import tempfile
        >>> collect_registration(tempfile.mkdtemp())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gequi.errors.InputError: `folder`: ... holds no registrations.
    """
    place = check_path(folder, "folder")
    job = registration_job(place)
    rows = [finished_row(place, job, pair) for pair in job["pairs"]]
    done = [row for row in rows if row is not None]
    if len(done) < len(rows):
        raise InputError(
            "`{argument}`: {folder} is not finished; {done} of {total} pairs are done.",
            "folder", folder=shown(folder), done=len(done), total=len(rows),
        )  # fmt: skip
    with jobs.written_to(place):
        _write_table(place, done)
    return _with_paths(place, done)


def registration_job(folder: Any) -> dict[str, Any]:
    """Return the settings of a registration job: `pairs`, `dimension`, `metadata`, ..."""
    return jobs.read_job_of(folder, "pairs", "registrations")


def work(folder: Path) -> None:
    """Register the part of the pairs of a job that belongs to this process, except those that are done."""
    job = registration_job(folder)
    rank, processes = _place_in_array()
    for pair in jobs.Part(rank, processes).slice(job["pairs"]):
        register_pair(folder, job, pair)


def _place_in_array() -> tuple[int, int]:
    """Return the number of this process and the number of processes, also in a SLURM array of jobs."""
    first, count = os.environ.get("SLURM_ARRAY_TASK_MIN"), os.environ.get("SLURM_ARRAY_TASK_COUNT")
    if first is None or count is None:
        return jobs.place_in_group()
    return int(os.environ["SLURM_ARRAY_TASK_ID"]) - int(first), int(count)


# ---- what all do ----------------------------------------------------------------------------------------


def _job(
    images: Any, fixed: Any, dimension: Any, warped: Any, dtype: Any, device: Any, **options: Any
) -> dict[str, Any]:
    """Check the arguments and return the job as plain data."""
    axes = check_dimension(dimension)
    return {
        "dimension": axes,
        "warped": check_flag(warped, "warped"),
        "dtype": str(check_dtype(dtype)).removeprefix("torch."),
        "device": check_choice(device, "device", jobs.DEVICES),
        "pairs": check_pairs(images, fixed, options, axes),
    }


def _place(folder: Any) -> Path:
    """Return the path of a folder of results, which must be empty or hold registrations."""
    place = check_path(folder, "folder")
    if place.is_dir() and any(place.iterdir()):
        try:
            registration_job(place)
        except InputError as error:
            raise InputError(
                "`{argument}`: {folder} is not empty and holds no registrations.", "folder", folder=shown(folder)
            ) from error
    elif place.exists():
        jobs.empty_folder(folder)
    return place


def _table(folder: Path, job: Mapping[str, Any], killed: list[str]) -> list[Row]:
    """Write the rows of the pairs that are done to the table, and return them."""
    rows = []
    for pair in job["pairs"]:
        row = finished_row(folder, job, pair)
        if row is None and pair["pair"] in killed:
            row = {name: pair.get(name) for name in COLUMNS} | {"condition": "TrainingError", "message": KILLED}
        rows += [] if row is None else [row]
    _write_table(folder, rows)
    return rows


def _write_table(folder: Path, rows: list[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: row[name] for name in COLUMNS} for row in rows)
    write_file(folder / TABLE, text.getvalue().encode())


def _with_paths(folder: Path, rows: list[Row]) -> list[Row]:
    """Return the rows with the paths of the results."""
    return [{**row, **{kind: row[kind] and os.path.join(folder, row[kind]) for kind in RESULTS}} for row in rows]
