"""Candidates from matches: each strong match votes for a linear map, and maps are fitted to the votes that agree.

No random numbers are used. A linear map is (axis, axis + 1): moving = A[:, :-1] fixed + A[:, -1], in pixels, for images
and for volumes. Rotations are fitted by singular value decomposition.

Source: Umeyama 1991 (similarities from points), Tukey's and Cauchy's robust weights.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch

from ..geometry.grids import Size, kind_of
from ..geometry.rotations import nearest_rotation
from .descriptors import Matches
from .presets import Preset
from .transforms import image_center, recentered, similar_part, translations


class Candidates(NamedTuple):
    """Linear maps (map, axis, axis + 1), the similarities from which the fits started, and their votes (map)."""

    linear: torch.Tensor
    similarities: torch.Tensor
    votes: torch.Tensor


def fit_candidates(
    matches: Matches, size: Size, transform: str, count: int, preset: Preset, scale: float
) -> Candidates:
    """Fit at most `count` linear maps on which matches agree, in decreasing order of votes.

    Args:
        size: the size of the fixed image.
        scale: the size of the images relative to the usual size.
    """
    unit, rigid = preset.unit * scale, transform == "rigid"
    if transform == "translation":
        return fit_translation(matches, count, preset, unit)
    similarities, votes = vote(matches, size, count, preset, unit, rigid)
    if transform in ("deformable", "affine"):
        linear = fit_affine(similarities, matches, size, preset, unit)
    else:
        linear = fit_similarity(similarities, matches, preset, unit, rigid)
    # most fits from one basin converge to one map
    landing = _landing(linear, size, preset)
    kept = _distinct(votes, landing, preset.same * unit, count)
    return Candidates(linear[kept], similarities[kept], votes[kept])


def vote(
    matches: Matches, size: Size, count: int, preset: Preset, unit: float, rigid: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best distinct similarities in decreasing order, (count or fewer, axis, axis + 1), and their votes.

    Each of the matches with the largest weights defines a rigid map by its positions and its rotation. All maps are
    refined at once by weighted least squares with Tukey's weights of decreasing tolerance. Of maps that agree, only the
    best is kept.

    Args:
        size: the size of the fixed image. Two maps are distinct if they differ by more than some units, in the mean
            over a few points.
        unit: the pixels per unit of the tolerances.
        rigid: whether to allow only rotations and shifts.
    """
    x, y = matches.fixed, matches.moving
    axes = x.shape[1]
    seeds = matches.weight.argsort(descending=True)[: preset.seeds]
    inner = matches.rotation[seeds]
    maps = torch.cat([inner, (y[seeds, :, None] - inner @ x[seeds, :, None])], 2)
    far = torch.cdist(x[seeds], x)
    rotations = matches.rotation.flatten(1)
    for tolerance, slack in preset.seed_tolerances:
        limit = tolerance * unit + slack * far
        rotation = maps[:, :, :-1].flatten(1)
        # the trace of a rotation by an angle is 2 cos(angle), plus 1 in a volume
        cosine = (rotation @ rotations.mT / _scale(maps)[:, None] - (axes - 2)) / 2
        weight = matches.weight * (1 - (_distances(maps, x, y) / limit) ** 2).clamp_min(0) ** 2
        weight = weight * (cosine - math.cos(preset.rotation_gate)).clamp_min(0)
        maps = _least_squares_similarity(x, y, weight, maps, preset.scales, rigid)
    distance = _distances(maps, x, y) / (preset.vote_tolerance * unit)
    votes = (matches.weight * (1 - distance**2).clamp_min(0)).sum(1)
    kept = _distinct(votes, _landing(maps, size, preset), preset.apart * unit, count)
    return maps[kept], votes[kept]


def _landing(maps: torch.Tensor, size: Size, preset: Preset) -> torch.Tensor:
    """Map the probes of an image: (map, probe, axis)."""
    return probes(size, preset.probe_reach, maps) @ maps[:, :, :-1].mT + maps[:, None, :, -1]


def probes(size: Size, reach: float, like: torch.Tensor) -> torch.Tensor:
    """Return points from the center of an image towards both ends of each axis, part of the way: (point, axis)."""
    axes = len(size)
    center = image_center(size, kind_of(like))
    ends = torch.cat([-torch.eye(axes, **kind_of(like)), torch.eye(axes, **kind_of(like))])
    return center + reach * center * ends


def _distinct(votes: torch.Tensor, landing: torch.Tensor, apart: float, count: int) -> list[int]:
    """Select the maps with the most votes whose mapped probes (map, probe, axis) differ by more than `apart`."""
    near = (landing[:, None] - landing[None]).norm(dim=-1).mean(-1) <= apart
    near = near.cpu()
    kept: list[int] = []
    for number in votes.argsort(descending=True).tolist():
        if not bool(near[number, kept].any()):
            kept.append(number)
        if len(kept) == count:
            break
    return kept


def fit_affine(start: torch.Tensor, matches: Matches, size: Size, preset: Preset, unit: float) -> torch.Tensor:
    """Fit affine maps (map, axis, axis + 1) from each start, by iteratively reweighted least squares.

    The weights are the square of Cauchy's. A ridge term draws the linear part towards the similarity of the current
    fit, not of the start, so starts in one basin converge to the same map. Otherwise the result would depend on which
    of two near-duplicates is kept.
    """
    center = image_center(size, kind_of(start))
    positions = matches.fixed - center
    x = torch.cat([positions, torch.ones_like(matches.weight)[:, None]], 1)
    penalty = torch.diag(torch.ones_like(x[0])) * (preset.ridge * unit**2)
    penalty[-1] = 0
    current = recentered(start, center)
    for _ in range(preset.fit_rounds):
        weight = _robust_weights(current, positions, matches, preset, unit)
        pull = penalty * weight.sum(1)[:, None, None]
        weighted = (x * weight[..., None]).mT
        similar = similar_part(current)
        similar[:, :, -1] = 0
        solved = torch.linalg.solve(weighted @ x + pull, weighted @ matches.moving + pull @ similar.mT)
        current = solved.mT
    # the matches of a symmetric body may agree on its mirror image, which this search does not consider
    mirrored = torch.linalg.det(current[:, :, :-1]) <= 0
    return torch.where(mirrored[:, None, None], start, recentered(current, -center))


def fit_similarity(start: torch.Tensor, matches: Matches, preset: Preset, unit: float, rigid: bool) -> torch.Tensor:
    """Fit similarities, or rotations and shifts only, as `fit_affine()` does."""
    current = start
    for _ in range(preset.fit_rounds):
        weight = _robust_weights(current, matches.fixed, matches, preset, unit)
        current = _least_squares_similarity(matches.fixed, matches.moving, weight, current, preset.scales, rigid)
    return current


def fit_translation(matches: Matches, count: int, preset: Preset, unit: float) -> Candidates:
    """Fit shifts from the matches that are hardly rotated: a mode is a weighted mean."""
    x, y = matches.fixed, matches.moving
    cosine = (matches.rotation.diagonal(dim1=1, dim2=2).sum(1) - (x.shape[1] - 2)) / 2
    upright = matches.weight * (cosine - math.cos(preset.rotation_gate)).clamp_min(0)
    matches = replace(matches, weight=upright)
    shifts = (y - x)[upright.argsort(descending=True)[: preset.seeds]]
    for tolerance, _ in preset.seed_tolerances:
        away = torch.cdist(shifts, y - x) / (tolerance * unit)
        weight = upright * (1 - away**2).clamp_min(0) ** 2
        total = weight.sum(1, keepdim=True)
        shifts = torch.where(total > 0, weight @ (y - x) / total.clamp_min(1e-9), shifts)
    distance = torch.cdist(shifts, y - x) / (preset.vote_tolerance * unit)
    votes = (upright * (1 - distance**2).clamp_min(0)).sum(1)
    kept = _distinct(votes, shifts[:, None], preset.apart * unit, count)
    voted = shifts = shifts[kept]
    for _ in range(preset.fit_rounds):
        weight = _robust_weights(translations(shifts), x, matches, preset, unit)
        shifts = weight @ (y - x) / weight.sum(1, keepdim=True).clamp_min(1e-9)
    return Candidates(translations(shifts), translations(voted), votes[kept])


def _distances(maps: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the distances (map, point) between x mapped by each map (map, ...) and y, both (point, axis)."""
    return (maps[:, :, :-1] @ x.T + maps[:, :, -1:] - y.T).square().sum(1).sqrt()


def _robust_weights(
    current: torch.Tensor, positions: torch.Tensor, matches: Matches, preset: Preset, unit: float
) -> torch.Tensor:
    distance = _distances(current, positions, matches.moving) / (preset.fit_tolerance * unit)
    return matches.weight / (1 + distance**2) ** 2


def _scale(maps: torch.Tensor) -> torch.Tensor:
    """Return the scale of similarities: (map)."""
    return maps[:, :, :-1].square().sum((1, 2)).div(maps.shape[1]).sqrt().clamp_min(1e-6)


def _least_squares_similarity(
    x: torch.Tensor,
    y: torch.Tensor,
    weight: torch.Tensor,
    before: torch.Tensor,
    scales: tuple[float, float],
    rigid: bool,
) -> torch.Tensor:
    """Solve y = s R x + t by weighted least squares for each row of weights; `before` if no rotation is determined."""
    center_x, center_y = x.mean(0), y.mean(0)
    x, y = x - center_x, y - center_y  # centering avoids cancellation
    total = weight.sum(1, keepdim=True).clamp_min(1e-9)
    mean_x, mean_y = weight @ x / total, weight @ y / total
    mixed = (weight @ (y[:, :, None] * x[:, None]).flatten(1) / total).unflatten(1, (y.shape[1], -1))
    spread = (weight @ x.square().sum(1, keepdim=True) / total)[:, 0] - mean_x.square().sum(1)
    fitted = (mixed - mean_y[:, :, None] * mean_x[:, None]) / spread.clamp_min(1e-6)[:, None, None]
    rotation = nearest_rotation(fitted)
    length = (rotation * fitted).sum((1, 2))
    scale = torch.ones_like(length) if rigid else length.clamp(*scales)
    inner = torch.where((length > 1e-3)[:, None, None], rotation * scale[:, None, None], before[:, :, :-1])
    shift = mean_y + center_y - (inner @ (mean_x + center_x)[..., None])[..., 0]
    return torch.cat([inner, shift[..., None]], 2)
