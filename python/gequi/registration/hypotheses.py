"""From matches to a few linear maps: every strong match votes for one, and the votes that agree are fitted.

No random draws. A linear map is (axis, axis + 1): moving = A[:, :-1] fixed + A[:, -1], in pixels, for images and for
volumes. Rotations are fitted by singular values.

Source: Schonemann 1966 and Umeyama 1991 (the rotation nearest to a matrix), Tukey's and Cauchy's robust weights.
"""

from __future__ import annotations

import math

import torch

from ..geometry.grids import Size, kind_of
from ..geometry.rotations import nearest_rotation
from .descriptors import Matches

SEEDS = 400  # matches that are tried as a rigid map each
GATE = 0.8  # radians by which a match's own turn may differ from the map's
ROUNDS = 60  # of reweighted least squares: after 30, one fit in some has not come to rest, and rounding decides
SCALES = (0.7, 1.4)


def hypotheses(
    matches: Matches, count: int, unit: float, size: Size, rigid: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best distinct similarities, the best first: (count or fewer, axis, axis + 1), and the votes for each.

    Each of the heaviest matches is a rigid map: its places and its turn. All are refined at once by weighted least
    squares with Tukey's weights of a shrinking tolerance; of those that agree only the best is kept.

    Args:
        unit: pixels that count as one in the tolerances.
        size: of the fixed image: two maps are distinct that differ by more than 10 units, in the mean of a few points.
        rigid: turns and shifts only.
    """
    x, y = matches.fixed, matches.moving
    axes = x.shape[1]
    seeds = matches.weight.argsort(descending=True)[:SEEDS]
    inner = matches.rotation[seeds]
    maps = torch.cat([inner, (y[seeds, :, None] - inner @ x[seeds, :, None])], 2)
    far = torch.cdist(x[seeds], x)
    turns = matches.rotation.flatten(1)
    for tolerance, slack in ((14.0, 0.12), (9.0, 0.0), (6.0, 0.0)):
        limit = tolerance * unit + slack * far
        rotation = maps[:, :, :-1].flatten(1)
        # the trace of a turn by an angle is 2 cos(angle), plus 1 in a volume
        cosine = (rotation @ turns.mT / _scale(maps)[:, None] - (axes - 2)) / 2
        weight = matches.weight * (1 - (_miss(maps, x, y) / limit) ** 2).clamp_min(0) ** 2
        weight = weight * (cosine - math.cos(GATE)).clamp_min(0)
        maps = _similarity(x, y, weight, maps, rigid)
    votes = (matches.weight * (1 - (_miss(maps, x, y) / (6 * unit)) ** 2).clamp_min(0)).sum(1)
    landing = probes(size, 0.7, x) @ maps[:, :, :-1].mT + maps[:, None, :, -1]
    kept = _distinct(votes, landing, 10 * unit, count)
    return maps[kept], votes[kept]


def probes(size: Size, reach: float, like: torch.Tensor) -> torch.Tensor:
    """Points from the middle of an image towards both ends of each axis, by a part of the way: (point, axis)."""
    axes = len(size)
    middle = torch.tensor([(n - 1) / 2 for n in size], **kind_of(like))
    ends = torch.cat([-torch.eye(axes, **kind_of(like)), torch.eye(axes, **kind_of(like))])
    return middle + reach * middle * ends


def _distinct(votes: torch.Tensor, landing: torch.Tensor, apart: float, count: int) -> list[int]:
    """The numbers of the most voted maps whose probes (map, probe, axis) land further apart than `apart`."""
    near = (landing[:, None] - landing[None]).norm(dim=-1).mean(-1) <= apart
    near = near.cpu()
    kept: list[int] = []
    for number in votes.argsort(descending=True).tolist():
        if not bool(near[number, kept].any()):
            kept.append(number)
        if len(kept) == count:
            break
    return kept


def fit_affine(start: torch.Tensor, matches: Matches, unit: float, size: Size, ridge: float = 8.0) -> torch.Tensor:
    """Affine maps (map, axis, axis + 1) from each start, by 60 rounds of reweighted least squares.

    The weights are the square of Cauchy's. A ridge, in units squared, draws the linear part towards the similarity in
    the current fit, not in the start, so that starts in one basin end at the same map: without that the result would
    hang on which of two near-duplicates won.
    """
    centre = torch.tensor([(n - 1) / 2 for n in size], **kind_of(start))
    places = matches.fixed - centre
    x = torch.cat([places, torch.ones_like(matches.weight)[:, None]], 1)
    penalty = torch.diag(torch.ones_like(x[0])) * (ridge * unit**2)
    penalty[-1] = 0
    current = _recentred(start, centre)
    for _ in range(ROUNDS):
        weight = _robust(current, places, matches, unit)
        pull = penalty * weight.sum(1)[:, None, None]
        weighted = (x * weight[..., None]).mT
        similar = _similar_part(current)
        similar[:, :, -1] = 0
        solved = torch.linalg.solve(weighted @ x + pull, weighted @ matches.moving + pull @ similar.mT)
        current = solved.mT
    # the matches of a symmetric body may agree on its mirror image, which is no map of this search
    mirrored = torch.linalg.det(current[:, :, :-1]) <= 0
    return torch.where(mirrored[:, None, None], start, _recentred(current, -centre))


def fit_similarity(start: torch.Tensor, matches: Matches, unit: float, rigid: bool) -> torch.Tensor:
    """The same for similarities, or for turns and shifts only."""
    current = start
    for _ in range(ROUNDS):
        weight = _robust(current, matches.fixed, matches, unit)
        current = _similarity(matches.fixed, matches.moving, weight, current, rigid)
    return current


def nearest_linear(maps: torch.Tensor, transform: str, centre: torch.Tensor) -> torch.Tensor:
    """The nearest map of a kind, "affine", "similarity" or "rigid", that agrees with each map at `centre`."""
    if transform == "affine":
        return maps
    return _recentred(_similar_part(_recentred(maps, centre), transform == "rigid"), -centre)


def _miss(maps: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """How far each map (map, ...) sends points x from points y, both (point, axis): (map, point)."""
    return (maps[:, :, :-1] @ x.T + maps[:, :, -1:] - y.T).square().sum(1).sqrt()


def _robust(current: torch.Tensor, places: torch.Tensor, matches: Matches, unit: float) -> torch.Tensor:
    return matches.weight / (1 + (_miss(current, places, matches.moving) / (5 * unit)) ** 2) ** 2


def _scale(maps: torch.Tensor) -> torch.Tensor:
    """The factor of length of similarities."""
    return maps[:, :, :-1].square().sum((1, 2)).div(maps.shape[1]).sqrt().clamp_min(1e-6)


def _similarity(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, before: torch.Tensor, rigid: bool
) -> torch.Tensor:
    """Weighted least squares of y = s R x + t for each row of weights; as `before` where these determine no turn."""
    middle_x, middle_y = x.mean(0), y.mean(0)
    x, y = x - middle_x, y - middle_y  # moments about these lose no digits
    total = weight.sum(1, keepdim=True).clamp_min(1e-9)
    mean_x, mean_y = weight @ x / total, weight @ y / total
    mixed = (weight @ (y[:, :, None] * x[:, None]).flatten(1) / total).unflatten(1, (y.shape[1], -1))
    spread = (weight @ x.square().sum(1, keepdim=True) / total)[:, 0] - mean_x.square().sum(1)
    fitted = (mixed - mean_y[:, :, None] * mean_x[:, None]) / spread.clamp_min(1e-6)[:, None, None]
    rotation = nearest_rotation(fitted)
    length = (rotation * fitted).sum((1, 2))
    scale = torch.ones_like(length) if rigid else length.clamp(*SCALES)
    inner = torch.where((length > 1e-3)[:, None, None], rotation * scale[:, None, None], before[:, :, :-1])
    shift = mean_y + middle_y - (inner @ (mean_x + middle_x)[..., None])[..., 0]
    return torch.cat([inner, shift[..., None]], 2)


def _similar_part(maps: torch.Tensor, rigid: bool = False) -> torch.Tensor:
    """The maps with their linear parts' nearest similarities."""
    inner = maps[:, :, :-1]
    rotation = nearest_rotation(inner)
    scale = 1.0 if rigid else (rotation * inner).sum((1, 2), keepdim=True) / maps.shape[1]
    return torch.cat([rotation * scale, maps[:, :, -1:]], 2)


def _recentred(maps: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """The same maps of x - centre."""
    return torch.cat([maps[:, :, :-1], (maps[:, :, -1] + maps[:, :, :-1] @ centre)[:, :, None]], 2)
