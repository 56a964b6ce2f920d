"""Times of starting, in CPU seconds of new processes. Run: python tests/benchmarks/starting.py

`import gequi` beyond torch's own import, the first network of a group with the bases on disk (the first process fills the
cache), and `library(gequiR)`. Medians of several processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from support.rows import Row

TORCH = "import torch"
GEQUI = "import torch, gequi"
NETWORK = (
    "import torch, gequi; conv = {{'layer': 'conv', 'fields': 'regular', 'kernel_size': 3}}; "
    "layers = [conv, {{'layer': 'batch_norm'}}, {{'layer': 'relu'}}, conv]; "
    "gequi.equivariant_network(gequi.gspace({space}), 'trivial', layers, seed=1)"
)
SPACES = {"icosahedral": ("'icoOnR3'", 2.0), "octahedral": ("'octaOnR3'", None), "C8": ("'rot2dOnR2', N=8", None)}


def seconds(*command: str) -> float:
    """CPU seconds of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} failed")
    return usage.ru_utime + usage.ru_stime


def median(repeats: int, *command: str) -> float:
    return statistics.median(seconds(*command) for _ in range(repeats))


def rows(full: bool) -> Iterator[Row]:
    repeats = 7 if full else 3
    python = (sys.executable, "-c")
    both = [(seconds(*python, TORCH), seconds(*python, GEQUI)) for _ in range(repeats)]
    torch, gequi = (statistics.median(column) for column in zip(*both, strict=True))
    yield Row("import gequi, beyond torch", "none", gequi - torch, 1.2, "s")
    for name, (space, target) in SPACES.items():
        command = (*python, NETWORK.format(space=space))
        seconds(*command)  # its bases are on disk from now on
        yield Row(f"first network, {name}, bases on disk", "none", median(repeats, *command) - gequi, target, "s")
    r = [(seconds("Rscript", "--vanilla", "-e", "1"), seconds("Rscript", "--vanilla", "-e", "library(gequiR)"))
         for _ in range(repeats)]  # fmt: skip
    yield Row("library(gequiR)", "none", statistics.median(b - a for a, b in r), 0.15, "s")


if __name__ == "__main__":
    for row in rows(full=True):
        print(f"{row.name:46s} {row.value:6.2f} {row.unit}", flush=True)
