"""equivariance_error() beside predict(), on one thread. Run: python tests/benchmarks/laws.py

The error for the 8 elements of a group takes at least 9 predictions: of the image, and of each transformed image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from support.rows import Row, compared, in_turn

import gequi

CONV = {"layer": "conv", "fields": {"regular": 4}, "kernel_size": 3, "padding": 1}
LAYERS = [*[CONV, {"layer": "batch_norm"}, {"layer": "relu"}] * 2, {**CONV, "fields": {"regular": 1}}]


def rows(full: bool) -> Iterator[Row]:
    space = gequi.gspace("rot2dOnR2", N=8)
    network = gequi.equivariant_network(space, "trivial", LAYERS, seed=1)
    for size in (33, 65, 129) if full else (65,):
        for batch in (1, 8):
            x = np.random.default_rng(0).standard_normal((batch, 1, size, size), dtype=np.float32)
            works = {
                "error": lambda x=x: gequi.equivariance_error(network, x),
                "predict": lambda x=x: gequi.predict(network, x),
            }
            timed = in_turn(works, budget=4.0)
            name = f"equivariance_error, C8, {batch} of {size} x {size}"
            yield compared(name, "predict", timed, "error", "predict", 10.0)


if __name__ == "__main__":
    for row in rows(full=True):
        print(f"{row.name:46s} {row.value:6.2f}", flush=True)
