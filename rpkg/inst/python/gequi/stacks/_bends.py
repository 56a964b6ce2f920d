"""The deformation of each section, relative to its neighbors.

A section k shows the position x of the volume at P_k(x + u_k(x)), where P_k is its pose. A pair says how much two
deformations differ, u_j - u_i = r, with the variance that it claims. Adding up these differences along the stack would
let their errors grow, and would also straighten what runs obliquely through the block. But the sections were deformed
one by one: the u_k are independent, with a mean of 0 and one variance. With this prior, the estimate of each u_k is its
difference from the sections around it, and what neighbors have in common remains in the volume.

Both variances come from the stack itself. Along the path of the sums, the power of the steps at the frequency w is
4 sin(w / 2)^2 s + d: s is the variance of the deformations, and d is the error that each step adds, of the registration
and of structures that do not run straight. The likelihood gives both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import dst
from scipy.interpolate import interp1d
from scipy.linalg import cho_factor, cho_solve

from ..geometry.sampling import grid_sample
from ._pairs import Pair, at_points, nodes_of, steps_of
from ._poses import Pose

ROUNDS = 3  # each pair is read where the deformations of the round before lead; changes then are below 0.01 pixels
LEAST_BEND = 0.1  # pixels, the standard deviation of the deformations at least
LEAST_SECTIONS = 8  # that tell the two variances apart, roughly
NO_PRIOR = 1e8  # pixels squared
RATIOS = np.logspace(-6, 2, 161)  # of d and s, among which the likelihood is largest


@dataclass(frozen=True)
class Bends:
    """The deformations of the sections.

    Attributes:
        fields: for each section, its deformation (axis, *nodes) in pixels of the reference.
        residuals: for each pair, the root mean square of the difference that the deformations do not explain.
        spread: the standard deviation of the deformations, in pixels.
        drift: the standard deviation of the error that each step from one section to the next adds, in pixels.
    """

    fields: dict[int, torch.Tensor]
    residuals: dict[tuple[int, int], float]
    spread: float
    drift: float


class _Network:
    """The pairs between the sections that have a pose, as a linear system."""

    def __init__(self, pairs: Sequence[Pair], poses: Mapping[int, Pose], poor: Set[int]) -> None:
        self.members = sorted(poses)
        self.number = {section: place for place, section in enumerate(self.members)}
        self.pairs = [
            pair for pair in pairs
            if pair.first in poses and pair.mirrored == poses[pair.first].mirrored ^ poses[pair.second].mirrored
        ]  # fmt: skip
        self.good = [self.number[section] for section in self.members if section not in poor]
        self.i, self.j = (
            np.array([self.number[getattr(p, end)] for p in self.pairs], dtype=int) for end in ("first", "second")
        )
        each = np.arange(len(self.pairs))
        self.rows = np.zeros((len(self.pairs), len(self.members)))
        self.rows[each, self.j], self.rows[each, self.i] = 1, -1
        self.weighted = self.rows / np.array([pair.deviation**2 for pair in self.pairs]).reshape(-1, 1)

    def solve(self, told: torch.Tensor, prior: float, scale: float = 1.0) -> torch.Tensor:
        """The mean of the deformations, given the differences, the prior and a factor on all variances of pairs."""
        precision = self.rows.T @ self.weighted / scale + np.eye(len(self.members)) / prior
        right = self.weighted.T @ told.flatten(1).numpy() / scale
        solved = cho_solve(cho_factor(precision), right)
        return torch.from_numpy(solved).reshape(len(self.members), *told.shape[1:])

    def step_variance(self) -> float:
        """The variance that one step adds to the path, as the pairs claim it."""
        covariance = np.linalg.pinv(self.rows.T @ self.weighted)
        lag = max(1, len(self.members) // 4)
        one = np.arange(len(self.members) - lag)
        other = one + lag
        growth = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
        return float(np.median(growth)) / lag

    def powers(self, path: torch.Tensor, weights: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The mean squares of the steps of a path at each frequency along the stack, and what white deformations add.

        The sine transform makes the steps of independent deformations independent as well. A section that does not fit
        lies between its neighbors here.
        """
        share = weights / weights.square().sum().sqrt()
        known = (path[self.good] * share).flatten(1).numpy()
        full = interp1d(self.good, known, axis=0, fill_value="extrapolate")(np.arange(len(path)))
        steps = dst(np.diff(full, axis=0), type=1, axis=0, norm="ortho")
        frequencies = np.arange(1, len(path)) * np.pi / len(path)
        return (steps**2).sum(1), 4 * np.sin(frequencies / 2) ** 2


def find_bends(
    shapes: Sequence[Sequence[int]],
    pairs: Sequence[Pair],
    poses: Mapping[int, Pose],
    reference: int,
    poor: Set[int] = frozenset(),
) -> Bends:
    """Find the deformations on the nodes of the reference.

    Args:
        poses: the poses of the sections that are connected with the reference.
        poor: the sections that do not fit, which say nothing about the variances.
    """
    at = nodes_of(shapes[reference])
    network = _Network(pairs, poses, poor)
    bends = torch.zeros(len(poses), *at.shape, dtype=torch.float64)
    spread, drift = 0.0, 0.0
    told = bends[network.i]
    if network.pairs and len(network.good) > 1:
        weights = _weights(network.pairs, poses, shapes, at)
        for _ in range(ROUNDS):
            places = [at + bends[number] for number in network.i]
            told = torch.stack([_difference(*one, poses, shapes) for one in zip(network.pairs, places, strict=True)])
            prior, scale, step = _variances(network, network.solve(told, NO_PRIOR), weights)
            bends = network.solve(told, prior, scale)
        spread, drift = prior**0.5, step**0.5
    missed = (bends[network.j] - bends[network.i] - told).square().sum(1).flatten(1).mean(1).sqrt()
    residuals = {(p.first, p.second): float(miss) for p, miss in zip(network.pairs, missed, strict=True)}
    return Bends(dict(zip(network.members, bends, strict=True)), residuals, spread, drift)


def _variances(network: _Network, path: torch.Tensor, weights: torch.Tensor) -> tuple[float, float, float]:
    """The variance of the deformations, the factor on the variances of the pairs, and the variance of a step.

    The likelihood of the steps is largest for these. The errors of a path are at least those that the pairs claim, and
    these are used for few sections.
    """
    claimed = network.step_variance()
    powers, white = network.powers(path, weights)
    if len(network.good) < LEAST_SECTIONS:
        return max(LEAST_BEND**2, float((powers.mean() - claimed) / white.mean())), 1.0, claimed
    ratios = RATIOS[:, None]
    prior = (powers / (white + ratios)).mean(1)
    misfit = np.log(prior) + np.log(white + ratios).mean(1)
    best = int(misfit.argmin())
    drift = max(claimed, float(RATIOS[best] * prior[best]))
    return max(LEAST_BEND**2, float(prior[best])), drift / claimed, drift


def _weights(
    pairs: Sequence[Pair], poses: Mapping[int, Pose], shapes: Sequence[Sequence[int]], at: torch.Tensor
) -> torch.Tensor:
    """How precisely the pairs know each node of the reference, on the whole."""
    total = torch.zeros(at.shape[1:], dtype=torch.float64)
    for pair in pairs:
        unit = torch.tensor(steps_of(shapes[pair.first]), dtype=torch.float64).reshape(-1, 1, 1)
        points = poses[pair.first].forward(at) / unit
        total += grid_sample(pair.weights[None, None], points[None], padding="zeros")[0, 0]
    return total


def _difference(
    pair: Pair, points: torch.Tensor, poses: Mapping[int, Pose], shapes: Sequence[Sequence[int]]
) -> torch.Tensor:
    """How far the second section of a pair is deformed beyond the first, at points (axis, ...) of the reference."""
    there = at_points(pair.map, shapes[pair.first], poses[pair.first].forward(points))
    return poses[pair.second].backward(there) - points
