"""Inversion of a 512 x 512 photograph: gequi against the same loop written by hand in torch.

    .venv/bin/python tests/benchmarks/inversion.py [rounds]

The two run in turn, in rounds of 50 steps, so that a change in the machine's speed affects both. Memory is the
growth of a new process at its peak. The poster's descent, 300 steps of Adam, runs at the end.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import gequi

STEPS = 50


def by_hand(target: np.ndarray, start: np.ndarray, steps: int) -> tuple[np.ndarray, list[float]]:
    """The poster's loop, written in plain torch."""

    def normalize(x: torch.Tensor) -> torch.Tensor:
        x = x - x.min()
        return x / x.max()

    def value(a: torch.Tensor) -> torch.Tensor:
        columns = (a + 1) / (a + 1).sum(0)
        columns = normalize(columns)
        return normalize(columns.T @ columns)

    x = torch.tensor(start, dtype=torch.float32, requires_grad=True)
    wanted = torch.tensor(target, dtype=torch.float32)
    optimizer = torch.optim.Adam([x], lr=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.linalg.norm(value(x) - wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return x.detach().numpy(), losses


def by_gequi(target: np.ndarray, start: np.ndarray, steps: int) -> tuple[np.ndarray, list[float]]:
    found = gequi.invert_input("image_value", target, start, steps=steps)
    return found["solution"], list(found["loss"])


def seconds(run: Callable[..., object], *arguments: object) -> float:
    begin = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - begin


def growth(run: Callable[..., object], *arguments: object) -> float:
    """Return the peak growth of the memory of a new process in MiB, after a small run that loads all libraries."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_growth, (run, *arguments))


def _growth(run: Callable[..., object], target: np.ndarray, start: np.ndarray, steps: int) -> float:
    run(target[:8, :8], start[:8, :8], 2)
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak so far is forgotten
    before = _status("VmRSS")
    run(target, start, steps)
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main(rounds: int = 9) -> None:
    start = gequi.sample_image("camera")
    warped = gequi.oscillatory_warp(start)
    target = gequi.image_value(warped)
    hand, own = by_hand(target, start, STEPS)[1], by_gequi(target, start, STEPS)[1]
    np.testing.assert_allclose(own[:STEPS], hand, rtol=1e-4)  # the same descent

    torch.set_num_threads(1)
    times: dict[Callable[..., object], list[float]] = {by_hand: [], by_gequi: []}
    for turn in range(rounds):
        for run in (by_hand, by_gequi) if turn % 2 else (by_gequi, by_hand):
            times[run].append(seconds(run, target, start, STEPS) / STEPS)
    per_step = {run: statistics.median(times[run]) for run in times}
    memory = {run: growth(run, target, start, STEPS) for run in times}
    print(f"512 x 512, float32, {torch.get_num_threads()} threads, median of {rounds} rounds of {STEPS} steps")
    for run in times:
        print(f"{run.__name__:10} {1000 * per_step[run]:7.2f} ms a step, {memory[run]:6.1f} MiB at the peak")
    in_time = statistics.median(own / hand for own, hand in zip(times[by_gequi], times[by_hand], strict=True))
    in_memory = memory[by_gequi] / memory[by_hand]
    print(f"ratio      {in_time:7.3f} in time (wanted: at most 1.05), {in_memory:.3f} in memory")

    begin = time.perf_counter()
    found = gequi.invert_input("image_value", target, start, steps=300)
    distance = {name: np.linalg.norm(found["solution"] - other) for name, other in (("start", start), ("warp", warped))}
    print(
        f"300 steps in {time.perf_counter() - begin:.1f} s: loss {found['loss'][0]:.3f} -> {found['best_loss']:.3f} "
        f"at step {found['best_step']}; distance of the solution to the start {distance['start']:.2f}, to the warp "
        f"{distance['warp']:.2f}, of the warp to the start {np.linalg.norm(warped - start):.2f}"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
