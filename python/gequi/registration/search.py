"""The search of a registration: attention, hypotheses, their verification, and the dense step from coarse to fine.

Everything here works on a pair of images, or of volumes, on pixels of one size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from ..geometry.filters import local_normalize
from ..geometry.grids import Size, area_resample, cubic_resample, kind_of, masked_area_resample
from ..geometry.linalg import vector_norm
from ..networks import EquivariantNetwork
from .dense import Level, Pair, coarser
from .descriptors import (
    Descriptor,
    Matches,
    PlanarDescriptor,
    SphericalDescriptor,
    Tokens,
    designed,
    designed_for_volumes,
)
from .descriptors.kinds import RINGS, SPHERES, WIDE_RINGS, WIDE_SPHERES
from .hypotheses import fit_affine, fit_similarity, hypotheses

REPEATS = 0.4  # least correlation of an image with itself, shifted, that counts as a repeat
SECOND_CHANCE = 0.72  # confidence below which the wider settings are tried too


@dataclass(frozen=True)
class Attempt:
    """How one descriptor finds its matches, and how many hypotheses of them are verified in how many steps."""

    rings: tuple[tuple[float, float], ...] = RINGS  # of a volume, spheres
    sigma: float = 1.0  # of a volume, the window of its local normalisation
    sharpness: float = 40.0
    hypotheses: int = 8
    steps: int = 8


@dataclass(frozen=True)
class Plan:
    """The attempts and the levels of the search, for images or for volumes."""

    usual: int  # pixels along a side, for which the lengths in pixels are set
    unit: float  # pixels that count as one in the tolerances of hypotheses and in the distance of rivals
    # what a rival may lack of a perfect score, so many times what the best lacks and more: at the coarsest level, and
    # where one of the rivals is chosen
    coarse_rivalry: tuple[float, float]
    fine_rivalry: tuple[float, float]
    ridge: float  # units squared: how far affine hypotheses are drawn towards similarities
    top: int  # at the usual size there are 2^top pixels to a cell of the coarsest level
    decided: int  # levels below the coarsest one where one of the rivals is chosen
    first: Attempt
    second: tuple[Attempt, ...]

    def scale(self, pair: Pair) -> float:
        """How many times larger the images are than usual."""
        longest = [max(pair.fixed_size), max(pair.moving_size)]
        return max(1.0, min(longest) / self.usual, max(longest) / (2 * self.usual))

    def coarsest(self, scale: float) -> int:
        """The number of the coarsest level."""
        return max(self.top, round(self.top + math.log2(scale)))


PLANS = {
    2: Plan(
        usual=128,
        unit=1.0,
        coarse_rivalry=(2.0, 0.08),
        fine_rivalry=(2.0, 0.05),
        ridge=8.0,
        top=2,
        decided=2,
        first=Attempt(),
        second=(
            Attempt(WIDE_RINGS, sharpness=20.0, hypotheses=12, steps=12),
            Attempt(sigma=1.6, sharpness=20.0, hypotheses=12, steps=12),
        ),
    ),
    3: Plan(
        usual=56,
        unit=0.5,
        coarse_rivalry=(2.0, 0.05),
        fine_rivalry=(1.5, 0.02),  # a wrong map of a brain reaches 0.86 where the right one has 1, 0.67 where it has 0.86
        ridge=128.0,
        top=1,
        decided=1,
        first=Attempt(SPHERES, 4.0),
        second=(
            Attempt(WIDE_SPHERES, 4.0, sharpness=20.0, hypotheses=12, steps=12),
            Attempt(SPHERES, 6.0, sharpness=20.0, hypotheses=12, steps=12),
        ),
    ),
}


@dataclass
class Found:
    """Hypotheses: linear maps (map, axis, axis + 1), velocities (map, axis, *size), scores, and the level of these."""

    linear: torch.Tensor
    velocity: torch.Tensor
    scores: torch.Tensor
    level: Level

    @property
    def confidence(self) -> float:
        return float(self.scores.max())

    def take(self, numbers: Sequence[int]) -> Found:
        chosen = list(numbers)
        return Found(self.linear[chosen], self.velocity[chosen], self.scores[chosen], self.level)


def register(
    pair: Pair, transform: str, encoder: EquivariantNetwork | None = None
) -> tuple[Found, torch.Tensor, list[float]]:
    """The best map at the finest level, the linear maps that rival it, and the confidence of all of these.

    Rivals at the coarsest level, maps far from the best that score almost as well, are followed to pixels of the
    usual size, where what repeats in a texture can be told apart: there the best is chosen.
    """
    plan = PLANS[len(pair.fixed_size)]
    scale = plan.scale(pair)
    top, unit = plan.coarsest(scale), plan.unit * scale
    found = verify(pair, plan, scale, transform, plan.first, encoder)
    if found.confidence < SECOND_CHANCE:
        for attempt in plan.second if encoder is None else plan.second[:1]:  # the others differ in the descriptor
            other = verify(pair, plan, scale, transform, attempt, encoder)
            found = other if other.confidence > found.confidence else found
    found = with_repeats(pair, found, transform, unit)
    found = found.take(rivals(found, unit, plan.coarse_rivalry))
    confidence, others = found.scores, found.linear[:0]
    field_step = max(1.0, max(pair.fixed_size) / plan.usual)
    for number in reversed(range(top)):
        level = Level(pair, float(2**number), scale, field_step)
        velocity = cubic_resample(found.velocity, level.field)
        refined = refine_hypotheses(level, found.linear, velocity, transform, level.stage.steps)
        found = Found(*refined, found.scores, level)
        if number == top - plan.decided and len(found.linear) > 1:
            found.scores = level.score(found.linear, found.velocity)
            kept = rivals(found, unit, plan.fine_rivalry)
            confidence, others = confidence[kept], found.linear[kept[1:]]
            found = found.take(kept[:1])
    return found, others, confidence.clamp_min(0).tolist()


def with_repeats(pair: Pair, found: Found, transform: str, unit: float) -> Found:
    """The hypotheses and, where an image repeats itself, the best one moved by each repeat, refined and scored too."""
    best = found.linear[found.scores.argmax()]
    level = found.level
    shifts = repeats(level.fixed, level.mask, level.steps, 10 * unit)
    inner = [torch.cat([best[:, :-1], best[:, -1:] + best[:, :-1] @ shift[:, None]], 1) for shift in shifts]
    moving, mask = (area_resample(x, level.moving_cells) for x in (pair.moving, pair.moving_mask))
    steps = [n / m for n, m in zip(level.moving_image, level.moving_cells, strict=True)]
    outer = [
        torch.cat([best[:, :-1], best[:, -1:] + shift[:, None]], 1) for shift in repeats(moving, mask, steps, 10 * unit)
    ]
    if not inner + outer:
        return found
    linear = torch.stack(inner + outer)
    linear, velocity = refine_hypotheses(level, linear, level.start(len(linear)), transform, level.stage.steps)
    scores = level.score(linear, velocity)
    return Found(
        torch.cat([found.linear, linear]),
        torch.cat([found.velocity, velocity]),
        torch.cat([found.scores, scores]),
        level,
    )


def repeats(image: torch.Tensor, mask: torch.Tensor, steps: Sequence[float], least: float) -> list[torch.Tensor]:
    """Shifts (axis) in pixels, longer than `least`, at which an image is most like itself: 4 or fewer."""
    windows = [max(4 / step, 1.5) for step in steps]
    normal = (mask * local_normalize(image, mask, windows, 0.02)[0])[0, 0]
    size = [2 * n - 1 for n in normal.shape]
    spectra = [torch.fft.rfftn(x, size) for x in (normal, normal**2, mask[0, 0])]

    def correlate(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.fft.fftshift(torch.fft.irfftn(a.conj() * b, size))

    energy = correlate(spectra[1], spectra[2]) * correlate(spectra[2], spectra[1])
    alike = correlate(spectra[0], spectra[0]) / energy.clamp_min(1e-6).sqrt()
    alike = alike * (correlate(spectra[2], spectra[2]) >= 0.25 * float(mask.sum()))
    largest = {2: functional.max_pool2d, 3: functional.max_pool3d}[len(size)]
    peaks = (alike == largest(alike[None], 3, 1, 1)[0]) & (alike > REPEATS)
    places = [
        (torch.arange(n, device=image.device) - n // 2).to(image.dtype) * step
        for n, step in zip(size, steps, strict=True)
    ]
    shifts = torch.cartesian_prod(*places)
    kept = (peaks.flatten() & (shifts.norm(dim=1) > least)).nonzero()[:, 0]
    return [shifts[i] for i in kept[alike.flatten()[kept].argsort(descending=True)][:4].tolist()]


def rivals(found: Found, unit: float, rivalry: tuple[float, float]) -> list[int]:
    """The best map's number, then those of up to 3 that score almost as well, far from it and from each other.

    Far is more than 10 units in the mean where the fixed image shows edges: two linear maps that the dense step brings
    to one map there are no rivals.
    """
    least = 1 - rivalry[0] * (1 - found.confidence) - rivalry[1]
    level = found.level
    maps = level.map(found.linear, found.velocity).flatten(2)
    weight = (level.mask * vector_norm(level.fixed_slope, 1, keepdim=True)).flatten()
    weight = weight / weight.sum()
    kept: list[int] = []
    for number in found.scores.argsort(descending=True).tolist():
        near = [vector_norm(maps[number] - maps[other], 0) @ weight <= 10 * unit for other in kept]
        if not kept or (not any(near) and float(found.scores[number]) >= least):
            kept.append(number)
    return kept[:4]


def verify(
    pair: Pair, plan: Plan, scale: float, transform: str, attempt: Attempt, encoder: EquivariantNetwork | None = None
) -> Found:
    """Hypotheses from the attention of the two images, each refined at the coarsest level and scored there."""
    matches = attend(pair, scale, attempt, encoder)
    linear, _, _ = propose(pair, plan, scale, transform, attempt, matches)
    return check(pair, plan, scale, transform, attempt, linear)


def propose(
    pair: Pair, plan: Plan, scale: float, transform: str, attempt: Attempt, matches: Matches
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The linear maps fitted to matches, the similarities from which the fits start, and the votes for these."""
    unit, rigid = plan.unit * scale, transform == "rigid"
    voted, votes = hypotheses(matches, attempt.hypotheses, unit, pair.fixed_size, rigid)
    if transform in ("dense", "affine"):
        return fit_affine(voted, matches, unit, pair.fixed_size, plan.ridge), voted, votes
    return fit_similarity(voted, matches, unit, rigid), voted, votes


def check(pair: Pair, plan: Plan, scale: float, transform: str, attempt: Attempt, linear: torch.Tensor) -> Found:
    """Linear maps refined at the coarsest level and scored there."""
    level = Level(pair, float(2 ** plan.coarsest(scale)), scale, max(pair.fixed_size) / plan.usual)
    linear, velocity = refine_hypotheses(level, linear, level.start(len(linear)), transform, attempt.steps)
    return Found(linear, velocity, level.score(linear, velocity), level)


def attend(pair: Pair, scale: float, attempt: Attempt, encoder: EquivariantNetwork | None = None) -> Matches:
    """The matches of the two images, averaged to the usual size; their positions are in pixels of the images.

    `encoder` describes images; None is the designed one, with the attempt's rings and sigma.
    """
    descriptor = descriptor_of(pair, attempt, encoder)
    return descriptor.match(*tokens_of(pair, scale, descriptor), attempt.sharpness)


def descriptor_of(pair: Pair, attempt: Attempt, encoder: EquivariantNetwork | None = None) -> Descriptor:
    """The descriptor of an attempt, or that of an encoder."""
    dtype = str(pair.fixed.dtype).removeprefix("torch.")
    if len(pair.fixed_size) == 3:
        return SphericalDescriptor(
            encoder or designed_for_volumes(pair.any_contrast, attempt.rings, attempt.sigma, dtype)
        )
    return PlanarDescriptor(encoder or designed(pair.any_contrast, attempt.rings, attempt.sigma, dtype))


def averaged(pair: Pair, sizes: Sequence[Size]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The fixed and the moving image and their masks, averaged to these sizes."""
    return [
        (masked_area_resample(image, mask, size), area_resample(mask, size))
        for image, mask, size in zip((pair.fixed, pair.moving), (pair.fixed_mask, pair.moving_mask), sizes, strict=True)
    ]


def tokens_of(pair: Pair, scale: float, descriptor: Descriptor) -> tuple[Tokens, Tokens]:
    """The tokens of the fixed and of the moving image; their positions are in pixels of the images."""
    sizes = [descriptor.fitting_size(coarser(size, scale)) for size in (pair.fixed_size, pair.moving_size)]
    fixed, moving = (descriptor.describe(*part) for part in averaged(pair, sizes))
    fixed.positions, moving.positions = in_pixels(pair, sizes, fixed.positions, moving.positions)
    return fixed, moving


def in_pixels(pair: Pair, sizes: Sequence[Size], *positions: torch.Tensor) -> list[torch.Tensor]:
    """Positions (token, axis) in the averaged fixed and moving image, in pixels of the images."""
    ratios = zip((pair.fixed_size, pair.moving_size), sizes, strict=True)
    return [
        (at + 0.5) * torch.tensor([n / m for n, m in zip(*ratio, strict=True)], **kind_of(at)) - 0.5
        for at, ratio in zip(positions, ratios, strict=True)
    ]


def refine_hypotheses(
    level: Level, linear: torch.Tensor, velocity: torch.Tensor, transform: str, steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear maps and their velocities after so many steps at one level."""
    for _ in range(steps):
        if transform == "dense":
            velocity = level.dense_step(linear, velocity)
        else:
            linear = level.linear_step(linear, transform)
    return linear, velocity
