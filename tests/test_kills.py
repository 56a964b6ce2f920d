"""What is left where a process is killed at any moment: a short run of tests/benchmarks/kills.py, which has the table."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "benchmarks" / "kills.py"


def test_what_is_killed_goes_on_and_files_are_whole(capsys):
    """In a process of its own: it forks those that it kills."""
    done = subprocess.run(
        [sys.executable, PROGRAM, "--each", "3", "--places", "25"], capture_output=True, text=True, timeout=300
    )
    with capsys.disabled():
        print("", done.stdout, sep="\n", end="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 10
