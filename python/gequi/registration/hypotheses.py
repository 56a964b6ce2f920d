"""From matches to a few linear maps: every strong match votes for one, and the votes that agree are fitted.

No random draws. A linear map is (2, 3): moving = A[:, :2] fixed + A[:, 2], in pixels (row, column); complex numbers
row + i column make a similarity y = a x + t.
"""

from __future__ import annotations

import math

import torch

from .grids import Size
from .matching import Matches

SEEDS = 400  # matches that are tried as a rigid map each
GATE = 0.8  # radians by which a match's own turn may differ from the map's
SCALES = (0.7, 1.4)


def hypotheses(matches: Matches, count: int, unit: float, size: Size, rigid: bool = False) -> torch.Tensor:
    """The best distinct similarities, the best first: (count or fewer, 2, 3).

    Each of the heaviest matches is a rigid map: its places and its turn. All are refined at once by weighted least
    squares with Tukey's weights of a shrinking tolerance; of those that agree only the best is kept.

    Args:
        unit: pixels that count as one in the tolerances.
        size: of the fixed image: two maps are distinct that differ by more than 10 units, in the mean of 4 points.
        rigid: turns and shifts only.
    """
    x, y = _complex(matches.fixed), _complex(matches.moving)
    turns = torch.polar(torch.ones_like(matches.turn), matches.turn)
    seeds = matches.weight.argsort(descending=True)[:SEEDS]
    a = turns[seeds]
    t = y[seeds] - a * x[seeds]
    far = (x - x[seeds, None]).abs()
    for tolerance, slack in ((14.0, 0.12), (9.0, 0.0), (6.0, 0.0)):
        limit = tolerance * unit + slack * far
        miss = (a[:, None] * x + t[:, None] - y).abs()
        turned = turns * a[:, None].conj()
        agreement = (turned.real / turned.abs().clamp_min(1e-6) - math.cos(GATE)).clamp_min(0)
        weight = matches.weight * (1 - (miss / limit) ** 2).clamp_min(0) ** 2 * agreement
        a, t = _similarity(x, y, weight, a, rigid)
    miss = (a[:, None] * x + t[:, None] - y).abs()
    votes = (matches.weight * (1 - (miss / (6 * unit)) ** 2).clamp_min(0)).sum(1)
    centre, reach = [(n - 1) / 2 for n in size], [0.35 * n for n in size]
    probes = torch.tensor(
        [[centre[0] + s * reach[0], centre[1]] for s in (-1, 1)]
        + [[centre[0], centre[1] + s * reach[1]] for s in (-1, 1)],
        dtype=matches.weight.dtype,
    )
    landing = a[:, None] * _complex(probes) + t[:, None]
    kept = _distinct(votes, torch.stack([landing.real, landing.imag], -1), 10 * unit, count)
    return _matrices(a[kept], t[kept])


def _distinct(votes: torch.Tensor, landing: torch.Tensor, apart: float, count: int) -> list[int]:
    """The numbers of the most voted maps whose probes (map, probe, axis) land further apart than `apart`."""
    near = (landing[:, None] - landing[None]).norm(dim=-1).mean(-1) <= apart
    kept: list[int] = []
    for number in votes.argsort(descending=True).tolist():
        if not bool(near[number, kept].any()):
            kept.append(number)
        if len(kept) == count:
            break
    return kept


def fit_affine(start: torch.Tensor, matches: Matches, unit: float, size: Size) -> torch.Tensor:
    """Affine maps (map, 2, 3) from each start, 30 rounds of reweighted least squares (the square of Cauchy's weight).

    A ridge draws the linear part towards the similarity in the current fit, not in the start, so that starts in one
    basin end at the same map: without that the result would hang on which of two near-duplicates won.
    """
    ones = torch.ones_like(matches.weight)[:, None]
    centre = torch.tensor([(n - 1) / 2 for n in size], dtype=start.dtype)
    x = torch.cat([matches.fixed - centre, ones], 1)
    ridge = torch.diag(torch.tensor([8.0, 8.0, 0.0], dtype=start.dtype) * unit**2)
    current = _recentred(start, centre)
    for _ in range(30):
        weight = _robust(current, x, matches, unit)
        pull = ridge * weight.sum(1)[:, None, None]
        weighted = (x * weight[..., None]).mT
        similar = _matrices(*_similar_part(current))
        similar[:, :, 2] = 0
        solved = torch.linalg.solve(weighted @ x + pull, weighted @ matches.moving + pull @ similar.mT)
        current = solved.mT
    return _recentred(current, -centre)


def fit_similarity(start: torch.Tensor, matches: Matches, unit: float, size: Size, rigid: bool) -> torch.Tensor:
    """The same for similarities, or for turns and shifts only."""
    ones = torch.ones_like(matches.weight)[:, None]
    points = torch.cat([matches.fixed, ones], 1)
    x, y = _complex(matches.fixed), _complex(matches.moving)
    current = start
    for _ in range(30):
        weight = _robust(current, points, matches, unit)
        current = _matrices(*_similarity(x, y, weight, _similar_part(current)[0], rigid))
    return current


def _robust(current: torch.Tensor, points: torch.Tensor, matches: Matches, unit: float) -> torch.Tensor:
    miss = (points @ current.mT - matches.moving).norm(dim=2)
    return matches.weight / (1 + (miss / (5 * unit)) ** 2) ** 2


def _similarity(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, before: torch.Tensor, rigid: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted least squares of y = a x + t for each row of weights; `before` where the weights determine no turn."""
    total = weight.sum(1, keepdim=True).clamp_min(1e-9)
    mean_x, mean_y = ((weight * z).sum(1, keepdim=True) / total for z in (x, y))
    dx, dy = x - mean_x, y - mean_y
    a = (weight * dy * dx.conj()).sum(1) / (weight * dx.abs() ** 2).sum(1).clamp_min(1e-6)
    length = a.abs()
    scale = torch.ones_like(length) if rigid else length.clamp(*SCALES)
    a = torch.where(length > 1e-3, a / length.clamp_min(1e-6) * scale, before)
    return a, (mean_y[:, 0] - a * mean_x[:, 0])


def _complex(points: torch.Tensor) -> torch.Tensor:
    return torch.complex(points[..., 0].contiguous(), points[..., 1].contiguous())


def _matrices(a: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """y = a x + t as (map, 2, 3)."""
    return torch.stack([torch.stack([a.real, -a.imag, t.real], 1), torch.stack([a.imag, a.real, t.imag], 1)], 1)


def _similar_part(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The similarity nearest to each linear part, as (a, t)."""
    real = (maps[:, 0, 0] + maps[:, 1, 1]) / 2
    imaginary = (maps[:, 1, 0] - maps[:, 0, 1]) / 2
    return torch.complex(real, imaginary), _complex(maps[:, :, 2])


def _recentred(maps: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """The same maps of x - centre."""
    shift = maps[:, :, 2] + maps[:, :, :2] @ centre
    return torch.cat([maps[:, :, :2], shift[:, :, None]], 2)


def nearest_linear(maps: torch.Tensor, transform: str, centre: torch.Tensor) -> torch.Tensor:
    """The nearest map of a kind, "affine", "similarity" or "rigid", that agrees with each map at `centre`."""
    if transform == "affine":
        return maps
    about = _recentred(maps, centre)
    a, t = _similar_part(about)
    if transform == "rigid":
        a = a / a.abs().clamp_min(1e-9)
    return _recentred(_matrices(a, t), -centre)
