"""One table of the speed of gequi and gequiR beside others: python tests/benchmarks/table.py [--full] [--only WORD ...]

Each row is a ratio of CPU times (or a memory, or a time) with its target, and whether it passes. The rows come from the
function `rows(full)` of the programs in `PROGRAMS`, and from the programs in R. Each program runs in a process of its
own, on one thread; its peak memory is a row. The table is also written as JSON, to .cache/benchmarks.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from support.rows import Row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAMS = ("border.py", "border.R", "starting.py", "predicting.py", "training_speed.py", "maps.py", "laws.py")
MARK = "row: "  # begins the lines of a program that are rows


def run_program(name: str, full: bool) -> None:
    """Print the rows of one program of Python."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for row in importlib.import_module(name).rows(full):
        print(MARK + json.dumps(dataclasses.asdict(row)), flush=True)


def rows_of(program: str, full: bool) -> Iterator[Row]:
    """Run a program in a process of its own and yield its rows and its peak memory.

    Raises:
        RuntimeError: if the program fails. The message contains its last lines.
    """
    if program.endswith(".R"):
        command = ["Rscript", "--vanilla", str(HERE / program), *(["--full"] if full else [])]
    else:
        command = [sys.executable, __file__, "--program", program.removesuffix(".py"), *(["--full"] if full else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if line.startswith(MARK):
            yield Row(**json.loads(line.removeprefix(MARK)))
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{program} failed: " + " | ".join(said.strip().splitlines()[-3:]))
    yield Row(f"memory of {program}", "none", usage.ru_maxrss / 1024, None, "MB")


def shown(row: Row) -> str:
    """A row as a line."""
    target = "" if row.target is None else f"{row.target:8.2f}"
    verdict = {True: "pass", False: "FAIL", None: ""}[row.passed]
    taken = "" if row.milliseconds is None else f"{row.milliseconds:10.2f}"
    return f"{row.name:46.46s} {row.peer:20.20s} {row.value:9.2f} {row.unit:2s} {target:>8s} {verdict:4s} {taken:>10s}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more sizes and repeats")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names of programs")
    parser.add_argument("--json", type=Path, default=ROOT / ".cache" / "benchmarks.json")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.program:
        return run_program(chosen.program, chosen.full)
    began, found, failed = time.time(), [], []
    print(f"{'':46s} {'beside':20s} {'value':>9s}    {'target':>8s} {'':4s} {'ms':>10s}")
    for program in PROGRAMS:
        if chosen.only and not any(word in program for word in chosen.only):
            continue
        try:
            for row in rows_of(program, chosen.full):
                found.append(row)
                print(shown(row), flush=True)
        except RuntimeError:
            failed.append(program)
            traceback.print_exc(limit=0)
    table = [{**dataclasses.asdict(row), "passed": row.passed} for row in found]
    about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(
        json.dumps({**about, "seconds": time.time() - began, "failed": failed, "rows": table}, indent=1)
    )
    judged = [row.passed for row in found if row.passed is not None]
    print(f"{sum(judged)} of {len(judged)} targets are reached; {time.time() - began:.0f} s; written to {chosen.json}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    return None


if __name__ == "__main__":
    main()
