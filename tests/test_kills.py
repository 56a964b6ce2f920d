"""A short run of tests/benchmarks/kills.py, which kills processes at random moments and checks what remains."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "benchmarks" / "kills.py"


@pytest.mark.slow
def test_what_is_killed_goes_on_and_files_are_whole(capsys):
    """The program runs in its own process, because it forks the processes that it kills."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--each", "3", "--places", "25"], capture_output=True, text=True, timeout=300
    )
    with capsys.disabled():
        print("", done.stdout, sep="\n", end="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 10
