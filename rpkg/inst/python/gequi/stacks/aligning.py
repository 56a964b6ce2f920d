"""Alignment of a stack of serial sections."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._progress import check_progress, counted
from ..arrays import as_numpy, check_choice, check_device, check_dtype, check_integer, check_number
from ..errors import GequiError, UnrelatedImagesError
from ..geometry.grids import pixel_grid
from ..geometry.sampling import INTERPOLATIONS
from ..registration.descriptors import CONTRASTS
from ..registration.register import MASKS, check_mirror
from ..registration.series import check_series
from ..registration.warping import carry_pixels, check_fill
from ._bends import Bends, find_bends
from ._pairs import Pair, at_points, bridging_pairs, distrusted, near_pairs, register_pair
from ._poses import Pose, best_connected, connected, find_poses
from ._quality import fits, outliers, similarities
from .result import Stack, carried

TRANSFORMS = ("deformable", "rigid")
PAIR = ("probability", "deviation", "mirrored")
ROUNDS = 2  # in which poor sections are found without those of the round before, at most


def register_stack(
    images: Any,
    transform: str = "deformable",
    contrast: str = "same",
    mirror: bool | str = "search",
    mask: str = "auto",
    reach: int = 2,
    min_probability: float = 0.5,
    interpolation: str = "cubic",
    fill: float | None = math.nan,
    dtype: str = "float32",
    device: str = "auto",
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> Stack:
    """Align a stack of serial sections: two-dimensional images of consecutive slices of one block.

    Each section may be turned by any angle, shifted, turned over and deformed. Near sections are registered with
    `register_images()`, each with the next ones up to `reach` apart, so that a torn or missing section is bridged. All
    pairs together give the turn, the shift and the side of each section. Pairs that contradict the others lose their
    weight.

    The deformation of a section is estimated relative to its neighbors only: the sections were deformed one by one, so
    deformations are taken as independent, with a mean of 0 along the stack. What neighbors have in common, as
    a structure that runs obliquely through the block, is kept and does not add up along the stack. The two variances
    that this requires are estimated from the stack itself.

    Args:
        images: list of arrays (row, column), the sections in their order; or an array (section, row, column); or a
            mapping whose keys name the sections. Each side must have at least 16 pixels. The sizes may differ. A
            section may be constant; it is marked as failed.
        transform: str: "deformable", or "rigid" for turns, shifts and sides only.
        contrast: str: "same" or "any", as in `register_images()`.
        mirror: bool or str: whether sections may show the other side: "search" tries both sides of each pair, False
            neither. True is for stacks in which every second section is turned over.
        mask: str: "auto" or "none", as in `register_images()`.
        reach: int: each section is registered with the next `reach` sections. Where a gap is longer, pairs over it are
            added.
        min_probability: float: the minimum probability of a pair. Pairs below it are not used.
        interpolation: str: the interpolation of `volume`: "cubic", "linear" or "nearest".
        fill: float: the value of `volume` more than half a pixel outside a section. None uses the nearest pixel.
        dtype: str: "float32" or "float64", the precision of the registrations.
        device: str: "cpu", "cuda" or "auto".
        progress: callable: called after each pair with a dict of `done`, `total` and `seconds_left`.

    Returns:
        a `Stack`. Its attributes are `volume`, `maps`, `table`, `pairs` and `reference`; its methods are `warp()`,
        `summary()` and `plot()`.

    Raises:
        ShapeError: fewer than 2 sections, a section that is not (row, column), or a side of fewer than 16 pixels.
        InputError: values that are not finite, or an unknown option.
        UnrelatedImagesError: no pair of sections can be registered.

    Source:
        none for the whole. The turns follow from a linear system (Singer 2011, angular synchronization). A prior
        against the addition of errors along a stack: Saalfeld et al. 2012, elastic volume reconstruction.

    Example:
        >>> from gequi import register_stack, sample_image
        >>> image = sample_image("cat")[50:114, 150:214]
        >>> sections = [image, image.T[::-1], image[::-1, ::-1]]
        >>> turns = [row["rotation"] for row in register_stack(sections, "rigid", mirror=False).table]
        >>> [round(turn - turns[0]) % 360 for turn in turns]
        [0, 90, 180]
    """
    kind_of_map = check_choice(transform, "transform", TRANSFORMS)
    check_choice(contrast, "contrast", CONTRASTS)
    check_mirror(mirror)
    check_choice(interpolation, "interpolation", INTERPOLATIONS)
    check_choice(mask, "mask", MASKS)
    check_number(min_probability, "min_probability", 0, 1)
    check_dtype(dtype)
    check_device(device)
    value, apart = check_fill(fill), check_integer(reach, "reach", minimum=1)
    listener = check_progress(progress)
    sections, names = check_series(images, "section", (2,))
    options = {
        "contrast": contrast,
        "mirror": mirror,
        "mask": mask,
        "min_probability": min_probability,
        "dtype": dtype,
        "device": device,
    }
    block = _Block(sections, options, apart, kind_of_map == "deformable")
    aligned = block.align(listener)
    kept = {"transform": transform, "contrast": contrast, "interpolation": interpolation, "fill": value}
    return _as_stack(block, aligned, names, kept)


@dataclass(frozen=True)
class _Aligned:
    """The state of a stack: its reference, poses and deformations, maps and similarities."""

    reference: int
    poses: dict[int, Pose]
    bends: Bends
    maps: dict[int, np.ndarray]
    fit: dict[int, float]
    poor: set[int]


class _Block:
    """The sections of a block and their pairs, while they are aligned."""

    def __init__(self, sections: list[np.ndarray], options: dict[str, Any], reach: int, deformable: bool) -> None:
        self.sections, self.options, self.reach, self.deformable = sections, options, reach, deformable
        self.shapes = [section.shape for section in sections]
        self.found: dict[tuple[int, int], Pair | GequiError] = {}

    @property
    def pairs(self) -> list[Pair]:
        return [found for found in self.found.values() if isinstance(found, Pair)]

    def align(self, progress: Callable[[dict[str, Any]], Any] | None) -> _Aligned:
        self.register(near_pairs(len(self.sections), self.reach), progress)
        if not self.pairs:
            raise UnrelatedImagesError(
                "`{argument}` has no pair of its {total} sections that could be registered. The first error: {reason}",
                "images", total=len(self.sections), reason=str(next(iter(self.found.values()))),
            )  # fmt: skip
        self.bridge(set(), progress)
        aligned = self.solve(set())
        for _ in range(ROUNDS):
            poor = aligned.poor
            self.bridge(poor, progress)
            aligned = self.solve(poor)
            if aligned.poor == poor:
                break
        return aligned

    def register(self, wanted: Sequence[tuple[int, int]], progress: Callable[[dict[str, Any]], Any] | None) -> None:
        tell = counted(progress, len(wanted))
        for number, pair in enumerate(wanted):
            self.found[pair] = register_pair(self.sections, pair, self.options)
            tell(number + 1)

    def bridge(self, poor: set[int], progress: Callable[[dict[str, Any]], Any] | None) -> None:
        """Register pairs over the gaps that poor or failed sections leave, if these divide the stack."""
        sound = [pair for pair in self.pairs if not {pair.first, pair.second} & poor]
        if sound:
            parts = [part for part in connected(len(self.sections), sound) if not poor.issuperset(part)]
            wanted = bridging_pairs(parts, set(self.found), self.reach)
            if wanted:
                self.register(wanted, progress)

    def solve(self, poor: set[int]) -> _Aligned:
        pairs = distrusted(self.pairs, poor)
        reference = best_connected(len(self.sections), pairs)
        poses = find_poses(self.shapes, pairs, reference)
        bends = find_bends(self.shapes, pairs if self.deformable else [], poses, reference, poor)
        pixels = pixel_grid(self.shapes[reference], bends.fields[reference].dtype)
        maps = {}
        for section, pose in poses.items():
            moved = pixels + at_points(bends.fields[section], self.shapes[reference], pixels)
            maps[section] = as_numpy(pose.forward(moved))
        aligned = [
            carry_pixels(self.sections[k], maps[k], "linear", math.nan) if k in maps else None
            for k in range(len(self.sections))
        ]
        table = similarities(aligned, self.reach, self.options["contrast"] == "any")
        for k in poor:
            others = [i for i in range(len(table)) if i != k]
            table[others, k] = np.nan  # a section is not measured by poor ones
        fit = fits(table, sorted(poses))
        return _Aligned(reference, poses, bends, maps, fit, poor | outliers(fit))


def _as_stack(block: _Block, aligned: _Aligned, names: list[str] | None, kept: dict[str, Any]) -> Stack:
    sections, size = block.sections, block.shapes[aligned.reference]
    lost = np.full((2, *size), np.nan)
    maps = np.stack([aligned.maps.get(k, lost) for k in range(len(sections))])
    rows = [_row(k, block, aligned) for k in range(len(sections))]
    if names is not None:
        rows = [{**row, "section": name} for row, name in zip(rows, names, strict=True)]
    return Stack(
        volume=carried(sections, maps, kept["interpolation"], kept["fill"]),
        maps=maps,
        table=rows,
        pairs=[_pair_row(pair, found, aligned) for pair, found in sorted(block.found.items(), key=lambda one: one[0])],
        reference=aligned.reference,
        spread=aligned.bends.spread,
        drift=aligned.bends.drift,
        images=sections,
        names=names,
        **kept,
    )


def _row(section: int, block: _Block, aligned: _Aligned) -> dict[str, Any]:
    own = [pair for pair in block.pairs if section in (pair.first, pair.second)]
    plain: dict[str, Any] = {"section": section, "status": "failed", "pairs": len(own)}
    pose = aligned.poses.get(section)
    if pose is None or (not own and len(aligned.poses) > 1):
        return {**plain, **dict.fromkeys(("mirrored", "rotation", "shift_row", "shift_column", "bend", "similarity"))}
    bend = aligned.bends.fields[section].square().sum(0).mean().sqrt()
    similarity = aligned.fit[section]
    return {
        **plain,
        "status": "poor" if section in aligned.poor else "aligned",
        "mirrored": pose.mirrored,
        "rotation": pose.degrees,
        "shift_row": pose.shift.real,
        "shift_column": pose.shift.imag * (-1 if pose.mirrored else 1),
        "bend": float(bend),
        "similarity": None if math.isnan(similarity) else similarity,
    }


def _pair_row(pair: tuple[int, int], found: Pair | GequiError, aligned: _Aligned) -> dict[str, Any]:
    failed = isinstance(found, GequiError)
    told = dict.fromkeys(PAIR) if isinstance(found, GequiError) else {name: getattr(found, name) for name in PAIR}
    residual = aligned.bends.residuals.get(pair)
    return {"first": pair[0], "second": pair[1], **told, "residual": residual, "error": str(found) if failed else None}
