"""The border to numpy and R: copies between their layouts, and the memory of predict(). Run: python tests/benchmarks/border.py

It prints ratios of CPU times to a memcpy of the result (medians of repeats in turn, one thread), and the peak memory of
predict() beyond its input and output. `--blocks` shows the ratios for other sizes of a block, from which BLOCK and SIDE
(_layouts.py) are set; `--sizes` the memory for other sizes of a batch and of a part of an array of R, from which
FEATURES_OF_A_BATCH and VALUES_OF_A_PART (networks/prediction.py) are set. Linux only. border.R measures the same from R.
"""

from __future__ import annotations

import argparse
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from support.rows import Row, compared, in_turn

import gequi
from gequi import _layouts
from gequi.arrays import as_tensor, own_tensor
from gequi.networks import prediction

SHAPE = (64, 3, 224, 224)
CONV = {"layer": "conv", "kernel_size": 3, "padding": 1}
NORMS = [{"layer": "batch_norm"}, {"layer": "relu"}]
NETWORKS = {
    "images": [{**CONV, "fields": {"regular": 4}}, *NORMS, {**CONV, "fields": {"regular": 1}}],
    "wide": [{**CONV, "fields": {"regular": 16}}, *NORMS, {**CONV, "fields": {"regular": 1}}],
    "classes": [{**CONV, "fields": {"regular": 8}}, *NORMS, {"layer": "group_pool"}, {"layer": "global_avg_pool"},
                {"layer": "dense", "units": 2}],
}  # fmt: skip


def of_r(values: np.ndarray) -> np.ndarray:
    """A copy in the layout of R, in memory as R has it: R asks for no huge pages."""
    memory = np.frombuffer(mmap.mmap(-1, values.nbytes), values.dtype).reshape(values.shape, order="F")
    memory[...] = values
    return memory


def copies() -> dict[str, Callable[[], object]]:
    tensor = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    array = of_r(tensor.astype(np.float64))

    def back() -> np.ndarray:
        target = np.empty(SHAPE, order="F")
        _layouts.copy_array(tensor, target)
        return target

    return {
        "memcpy of the tensor": tensor.copy,
        "memcpy of the array": lambda: array.copy(order="F"),
        "copied in": lambda: own_tensor(array, torch.float32),
        "checked and copied in": lambda: as_tensor(array, "x"),
        "copied back": back,
        "in rows": lambda: own_tensor(tensor, torch.float32),
    }


def resident(name: str) -> int:
    """Bytes of memory of this process: VmRSS now, or VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def beside(layers: list[dict]) -> float:
    """Megabytes that predict() needs at its peak beside its input and output, in a fork of this process."""
    network = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), {"trivial": 3}, layers, seed=1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        x = np.full(SHAPE, 0.5, order="F")
        gequi.predict(network, x[:1])
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        output = gequi.predict(network, x)
        os.write(writer, str((resident("VmHWM") - before - output.nbytes) / 1e6).encode())
        os._exit(0)
    os.waitpid(child, 0)
    found = float(os.read(reader, 100))
    os.close(reader)
    os.close(writer)
    return found


def rows(full: bool) -> Iterator[Row]:
    timed = in_turn(copies(), budget=8.0 if full else 3.0)
    yield compared(
        "R's layout to a tensor, checked", "memcpy", timed, "checked and copied in", "memcpy of the tensor", 2.5
    )
    yield compared("of this the copy", "memcpy", timed, "copied in", "memcpy of the tensor")
    yield compared("a tensor to R's layout", "memcpy", timed, "copied back", "memcpy of the array", 2.5)
    yield compared("rows of numpy to a tensor", "memcpy", timed, "in rows", "memcpy of the tensor")
    for name, layers in NETWORKS.items():
        yield Row(f"memory of predict(), {name}", "input and output", beside(layers), 64.0, "MB")


def blocks() -> None:
    for block in (2**14, 2**15, 2**16, 2**17, 2**18):
        for side in (2**6, 2**8, 2**10):
            _layouts.BLOCK, _layouts.SIDE = block, side
            timed = in_turn(copies(), least=7)
            there = compared("", "", timed, "copied in", "memcpy of the tensor").value
            back = compared("", "", timed, "copied back", "memcpy of the array").value
            print(f"block {block:7d}  side {side:5d}  in {there:5.2f}  back {back:5.2f}", flush=True)


def sizes() -> None:
    for features in (2**21, 3 * 2**20, 2**22, 2**23):
        for part in (2**20, 2**21, 2**22, 2**23):
            prediction.FEATURES_OF_A_BATCH, prediction.VALUES_OF_A_PART = features, part
            found = "  ".join(f"{name} {beside(layers):5.1f}" for name, layers in NETWORKS.items())
            print(f"features {features / 2**20:3.0f} * 2^20  part {part:8d}  MB: {found}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", action="store_true")
    parser.add_argument("--sizes", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.blocks or chosen.sizes:
        return blocks() if chosen.blocks else sizes()
    for row in rows(full=True):
        print(f"{row.name:40s} {row.value:6.2f} {row.unit}", flush=True)
    return None


if __name__ == "__main__":
    main()
