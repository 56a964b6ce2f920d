"""jobs: folders that define the work of several processes, and these processes."""

import errno
import os
import signal
import subprocess
import sys
import sysconfig

import numpy as np
import pytest
import torch

from gequi import jobs
from gequi._files import this_writer, write_file
from gequi.errors import InputError, TrainingError
from gequi.jobs import _running

# ---- folders --------------------------------------------------------------------------------------------


def test_a_temporary_folder_is_new_and_goes_when_the_work_is_done(tmp_path):
    (tmp_path / "run.job").mkdir()
    with jobs.temporary_folder(tmp_path / "run") as folder, jobs.temporary_folder(tmp_path / "run") as other:
        assert folder != other
        assert folder.parent == other.parent == tmp_path
        assert folder.name.startswith("run.job-")
        (folder / "model").write_text("much")
    assert [path.name for path in tmp_path.iterdir()] == ["run.job"]
    with jobs.temporary_folder() as folder:
        assert folder.name.startswith("gequi-job-")
    assert not folder.exists()


@pytest.mark.parametrize("sums", ["all", {"pipe": ""}, "outside"])
def test_a_job_reads_no_file_but_those_of_its_folder(tmp_path, sums):
    (tmp_path / "other").write_text("of someone else")
    (place := tmp_path / "job").mkdir()
    os.mkfifo(place / "pipe")
    if sums == "outside":
        sums = {"../other": jobs.file_checksum(tmp_path / "other")}
    jobs.write_plain(place / "job.json", {"checksums": sums})
    with pytest.raises(InputError, match="is damaged: its checksum does not agree"):
        jobs.read_job(place)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_of_a_temporary_folder_the_logs_stay_after_a_failure(tmp_path, error):
    def fail(*names):
        with jobs.temporary_folder(tmp_path / "run") as folder:
            for name in names:
                (folder / name).write_text("much")
            raise error

    with pytest.raises(error):
        fail("model")
    assert list(tmp_path.iterdir()) == []  # no worker has reported
    with pytest.raises(error):
        fail("model", "worker-0.log")
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [jobs.MARKER, "worker-0.log"]


def test_a_folder_without_the_marker_is_left_alone(tmp_path):
    with jobs.temporary_folder(tmp_path / "run") as folder:
        (folder / "thesis.txt").write_text("years of work")
        (folder / jobs.MARKER).unlink()
    assert (folder / "thesis.txt").exists()


def test_where_no_folder_can_be_made_the_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match="`checkpoint`: cannot create a folder next to '.*run'"):
        with jobs.temporary_folder(tmp_path / "none" / "run"):
            pass


def test_a_job_is_written_and_read(tmp_path):
    jobs.write_job(tmp_path, {"a": [1, None]})
    assert jobs.read_job(tmp_path) == {"a": [1, None]}
    for text in ("[1]", "{", ""):
        (tmp_path / "job.json").write_text(text)
        assert jobs.read_job(tmp_path) is None
    assert jobs.read_job(tmp_path / "none") is None
    with pytest.raises(InputError, match="`folder`: .* is not empty"):
        jobs.empty_folder(tmp_path)
    assert jobs.empty_folder(str(tmp_path / "none")) == tmp_path / "none"


def test_a_job_that_was_changed_or_cut_is_refused(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"data")
    jobs.write_job(tmp_path, {"epochs": 3})
    text = (tmp_path / "job.json").read_text()
    (tmp_path / "job.json").write_text(text.replace('"epochs": 3', '"epochs": 2'))
    with pytest.raises(InputError, match=r"job\.json' is damaged: its checksum does not agree"):
        jobs.read_job(tmp_path)
    (tmp_path / "job.json").write_text(text)
    (tmp_path / "x.npy").write_bytes(b"datb")
    with pytest.raises(InputError, match=r"x\.npy' is damaged: its checksum does not agree"):
        jobs.read_job(tmp_path)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("no")])
def test_a_job_that_cannot_be_written_leaves_nothing(tmp_path, error):
    folder = tmp_path / "job"
    expected = InputError if isinstance(error, OSError) else ValueError

    def write():
        with jobs.written_whole(folder):
            (folder / "model").write_text("much")
            raise error

    with pytest.raises(expected, match="No space left|no"):
        write()
    assert not folder.exists()


def test_folders_of_failed_jobs_go_when_their_process_has_ended(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    machine, alive = this_writer()
    for name, text in [("dead0000", f"{machine} {dead.pid}"), ("alive000", f"{machine} {alive}"), ("empty000", "")]:
        folder = tmp_path / f"run.job-{name}"
        folder.mkdir()
        (folder / jobs.MARKER).write_text(text)
        (folder / "worker-0.log").touch()
    (tmp_path / "run.job-thesis00").mkdir()  # without the marker
    with jobs.temporary_folder(tmp_path / "run"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "run.job-alive000", "run.job-empty000", "run.job-thesis00",
    ]  # fmt: skip


def test_command_lines_start_a_process_for_each_device(tmp_path):
    lines = jobs.command_lines(tmp_path / "a job", "gequi.training", 3, 4)
    assert lines["srun"] == f"srun --nodes 3 --ntasks-per-node 4 {sys.executable} -m gequi.training '{tmp_path}/a job'"
    assert lines["torchrun"].startswith("torchrun --nnodes 3 --nproc-per-node 4 ")


# ---- parts ----------------------------------------------------------------------------------------------


def test_processes_know_their_place_from_torchrun_or_slurm(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert jobs.place_in_group() == (0, 1)
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_NTASKS", "5")
    assert jobs.place_in_group() == (2, 5)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert jobs.place_in_group() == (1, 3)


@pytest.mark.parametrize("processes", [1, 2, 3, 7, 20])
def test_parts_are_all_of_a_batch_once_and_even(processes):
    values = np.arange(13)
    parts = [jobs.Part(rank, processes).slice(values) for rank in range(processes)]
    np.testing.assert_array_equal(np.concatenate(parts), values)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    owned = [jobs.Part(rank, processes).of(values) for rank in range(processes)]
    assert [counts for _, counts in owned] == [len(part) > 0 for part in parts]
    assert all(len(own) for own, _ in owned)
    assert jobs.Part().total([1.0], torch.device("cpu")) == [1.0]


# ---- workers --------------------------------------------------------------------------------------------

WORKER = """
import os, sys, time
from pathlib import Path
from gequi import jobs
folder, rank = Path(sys.argv[1]), jobs.place_in_group()[0]
job = jobs.read_job(folder)
report = jobs.report_to(folder)
if rank == job["fails"]:
    sys.exit("I fail")
for step in range(1, job["steps"] + 1):
    goes_on = report({"step": step}) if rank == 0 else not (folder / "stop").exists()
    if not goes_on:
        break
    time.sleep(0.05)
(folder / f"done-{rank}").write_text(f"{step} of {os.environ['WORLD_SIZE']}")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module for workers to run."""
    (tmp_path / "some_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    return "some_worker"


def test_the_last_report_of_workers_that_have_ended_is_passed_on(tmp_path):
    class Worker:
        """A worker that reports and ends between two looks at its state."""

        states = iter((None, 0))

        def poll(self):
            state = next(self.states)
            write_file(tmp_path / "progress.json", b'{"step": %d}' % (1 if state is None else 2))
            return state

    told = []
    _running._wait(tmp_path, [Worker()], told.append, "")
    assert told == [{"step": 1}, {"step": 2}]


def test_workers_do_a_job_and_report(tmp_path, module):
    told = []
    with jobs.temporary_folder(tmp_path / "run") as folder:
        jobs.write_job(folder, {"steps": 2, "fails": None})
        jobs.run_workers(folder, module, 2, told.append)
        assert [(folder / f"done-{rank}").read_text() for rank in range(2)] == ["2 of 2"] * 2
        assert told[-1] == {"step": 2}


def test_workers_stop_when_they_are_asked_to(tmp_path, module, forked_workers):
    with jobs.temporary_folder(tmp_path / "run") as folder:
        jobs.write_job(folder, {"steps": 2000, "fails": None})
        jobs.run_workers(folder, module, 2, lambda info: info["step"] < 3)
        assert int((folder / "done-0").read_text().split()[0]) < 2000


def test_a_worker_that_fails_takes_the_others_with_it_and_its_last_words_are_told(
    tmp_path, module, monkeypatch, forked_workers
):
    workers, start = [], _running._start
    monkeypatch.setattr(_running, "_start", lambda *where: workers.append(start(*where)) or workers[-1])
    jobs.write_job(tmp_path, {"steps": 2000, "fails": 1})
    with pytest.raises(
        TrainingError,
        match=r"worker 2 of 2 ended with status 1; its log is '(.*)'\. Try again\. Its last words: I fail",
    ):
        jobs.run_workers(tmp_path, module, 2, advice=" Try again.")
    assert "I fail" in (tmp_path / "worker-1.log").read_text()
    assert all(worker.poll() is not None for worker in workers)


def test_workers_load_the_libpython_of_this_process_although_r_puts_the_systems_first(monkeypatch):
    monkeypatch.setattr(sysconfig, "get_config_var", {"LIBDIR": "/own/lib", "Py_ENABLE_SHARED": 1}.get)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/lib/R/lib:/usr/lib")
    assert jobs.environment_of_workers(2)["LD_LIBRARY_PATH"] == "/own/lib:/usr/lib/R/lib:/usr/lib"
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert "LD_LIBRARY_PATH" not in jobs.environment_of_workers(2)


def test_of_workers_that_ended_together_the_one_that_was_killed_is_named():
    killed, failed, aborted = (1, -signal.SIGKILL), (0, 1), (2, -signal.SIGABRT)
    assert min([aborted, failed, killed], key=_running._likely_a_consequence) == killed
    assert min([aborted, failed], key=_running._likely_a_consequence) == failed
