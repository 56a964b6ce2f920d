"""Workers of jobs, forked from a process that has imported their modules, because importing takes 8 seconds.

Tests of what workers do use the fixture `forked_workers`. For each module that workers run, one test starts it as jobs do.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.popen_forkserver
import os
import runpy
import subprocess
import sys
from typing import Any

import pytest

# As they are before R starts in this process, which may put the standard library of another Python on the path.
PATHS = list(sys.path)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["gequi.training._engine", "torchmetrics.classification", "gequi.folders"])


class Popen:
    """A worker, with the methods of `subprocess.Popen` that `jobs` uses."""

    def __init__(self, command: list[str], stdout: Any, env: dict[str, str], **options: Any) -> None:
        python, flag, module, folder = command
        assert (python, flag) == (sys.executable, "-m")
        self._process = CONTEXT.Process(target=work, args=(module, folder, stdout.name, env))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", PATHS)
            self._process.start()

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode


DEVNULL = subprocess.DEVNULL


def work(module: str, folder: str, log: str, environment: dict[str, str]) -> None:
    """What `python -m MODULE FOLDER` does."""
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment["PYTHONPATH"].split(os.pathsep)
    sys.argv = [module, folder]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
