"""The presets of a registration for images and for volumes: every number that was set by hand.

The comment above each group of fields names the benchmark that set it. Numbers without such a record in the history of
the repository are called not tuned. The benchmarks are in tests/benchmarks. Lengths are in pixels (voxels) of images of
the usual size; they are scaled in proportion for larger images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..geometry.grids import Size
from ..networks import EquivariantNetwork
from .descriptors import Descriptor, PlanarDescriptor, SphericalDescriptor, designed, designed_for_volumes
from .descriptors.kinds import RINGS, SPHERES, WIDE_RINGS, WIDE_SPHERES


@dataclass(frozen=True)
class Stage:
    """Settings of the Gauss-Newton steps for cells of `cell` pixels and more.

    Attributes:
        cell: the smallest cells, in pixels of images of the usual size.
        window: the standard deviation of the window of local normalization, in pixels.
        noise_floor: the minimum variance of a residual. At large cells, most residuals are unknown shifts instead of
            noise: a low floor would trust accidental agreement.
        steps: the number of steps. A map that is far off is corrected from its border inwards, a little with each step.
            Most steps are therefore taken where they are cheap and an edge is still several cells wide.
        cg_steps: the number of conjugate gradient steps in each deformable step, which are relatively cheap for many
            cells.
    """

    cell: float
    window: float
    noise_floor: float
    steps: int
    cg_steps: int


@dataclass(frozen=True)
class Attempt:
    """The settings of a descriptor, and the number of candidates that are fitted to its matches and verified.

    Attributes:
        rings: the radius and the smoothing of each ring (sphere) of the designed descriptor, in pixels.
        window: of the designed descriptor, in pixels: for an image, the smoothing before gradients are computed; for a
            volume, the window of its local normalization.
        sharpness: the sharpness of the attention.
        candidates: the maximum number of candidates.
        steps: the number of Gauss-Newton steps of each candidate at the coarsest level.
    """

    rings: tuple[tuple[float, float], ...]
    window: float
    sharpness: float = 40.0
    candidates: int = 8
    steps: int = 8


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The settings of the registration of images, or of volumes."""

    # ---- descriptors and the search. The attempts are not tuned
    usual: int  # pixels along a side of images of the usual size
    unit: float  # pixels to a unit, in which candidates and alternatives are compared
    descriptor: Callable[[EquivariantNetwork], Descriptor]  # of an encoder
    encoder: Callable[[Attempt, bool, str], EquivariantNetwork]  # the designed one, for any contrast or not, in a dtype
    first: Attempt
    second: tuple[Attempt, ...]  # what is tried next
    ladder: tuple[float, ...] = (1.4, 0.7, 2.0, 0.5)  # scales of the moving image that are tried last

    # ---- the evidence that a map is right: see `evidence.Weights`. Fitted by registration_evidence.py
    # on images, and checked by it on volumes; `any_contrast` was lowered by hand from -1.29, since structure is tried too
    evidence_deformable: tuple[float, ...]
    evidence_linear: tuple[float, ...]
    # of the search back, at most: with 12, registration_evidence.py and real_pairs.py accept wrong maps; where both images
    # repeat themselves, 6 do not hold the inverse of a map of the chessboard in registration_claims.py
    back_candidates: int = 6
    back_candidates_of_repeats: int
    # what the detail under the map adds: see `detail.Weights`; None adds nothing. Fitted by registration_evidence.py
    # on maps of images, on which window, tile and reach were chosen as well, among two or three values each
    evidence_detail: tuple[float, float, float] | None
    # what is subtracted where it comes from a smooth outline: see `detail.OutlineWeights`. Fitted by the same script
    evidence_outline: tuple[float, float, float] | None
    detail_window: float = 3.0  # pixels: of the local normalization
    detail_tile: int = 8  # cells along a side
    detail_reach: int = 8  # cells by which the moving image is shifted
    detail_near: float = 1.0  # cells: up to here a shift belongs to the map
    detail_beside: float = 2.5  # cells: beyond this it does not
    corner_ring: tuple[float, float] = (3.5, 5.2)  # cells: shifts along an edge; one of two that were tried
    clear: float = 3.0  # the logarithm of the odds from which nothing else is tried: a probability of 0.95
    most_round_trip: float = 0.02  # of the longer side, up to which an alternative counts as inverted

    # ---- candidates. Not tuned, with two exceptions: `fit_rounds` is 60 because after 30 some fits have not converged
    # and rounding decides between near-duplicates; the `ridge` of volumes was raised from 8 to 128 on volumes.py
    seeds: int = 400  # the number of matches that are tried as a rigid map each
    rotation_gate: float = 0.8  # radians by which the rotation of a match may differ from that of the map
    # Tukey's tolerance in each round of reweighting: units, and units for each unit of distance from the seed
    seed_tolerances: tuple[tuple[float, float], ...] = ((14.0, 0.12), (9.0, 0.0), (6.0, 0.0))
    vote_tolerance: float = 6.0  # units within which a match votes for a map
    scales: tuple[float, float] = (0.7, 1.4)  # the smallest and the largest scale of a similarity
    probe_reach: float = 0.7  # maps are compared at points this part of the way from the center to the border
    fit_rounds: int = 60  # of reweighted least squares
    fit_tolerance: float = 5.0  # units: of Cauchy's weights
    ridge: float  # units squared: the strength with which affine candidates are drawn towards similarities

    # ---- alternatives. What an alternative may lack of a perfect score: a multiple of what the best map lacks, and a
    # constant; at the coarsest level and where the best of them is chosen. Set by hand, for images on the chessboards of
    # registration_claims.py (part "periodic"), for volumes on volumes.py: a wrong map of a brain reaches 0.86 where the
    # right one has 1, and 0.67 where it has 0.86
    coarse_tolerance: tuple[float, float]
    fine_tolerance: tuple[float, float]
    # not tuned
    apart: float = 10.0  # units by which two maps, and two candidates, must differ to be distinct
    same: float = 0.05  # units within which two candidates are the same map
    most_alternatives: int = 3
    repeat_correlation: float = 0.4  # of an image with itself, shifted, from which it counts as repeating itself
    repeat_window: float = 4.0  # pixels: of the local normalization before
    repeat_floor: float = 0.02  # the least standard deviation in it
    repeat_overlap: float = 0.25  # the least share of the image that overlaps with itself
    most_repeats: int = 4

    # ---- levels. Not tuned
    top: int  # at the usual size a cell of the coarsest level has 2^top pixels
    decided: int  # levels below the coarsest one where the best of the alternatives is chosen
    least_cells: int = 4  # along a side
    upsampling: int = 3  # the moving image is refined by a cubic spline this many times, then read linearly

    # ---- Gauss-Newton steps. The stages, the modes and the noise window of images: registration.py, the success at 512
    # pixels above all; the rest is not tuned, and for volumes all of it
    stages: tuple[Stage, ...]
    modes: int  # along each axis, the lowest frequencies that are solved exactly; a quarter of the velocity's cells at most
    noise_window: float = 4.0  # pixels: of the variance of the residuals
    contrast_floor: float = 0.05  # the least standard deviation, for images in about [0, 1]
    least_window: float = 1.5  # cells: of all windows
    sign_window: float = 5.0  # pixels: of the local correlation that determines the sign of contrast
    sign_floor: float = 0.01  # the squared correlation at which the sign becomes uncertain
    # the structure of an image for the contrast "any" (structure.py). Not tuned; the edges of registration.py are
    # drawn with a smoothing as wide as `structure_window`
    structure_window: float = 1.0  # pixels: of the smoothing before the gradient
    structure_floor: float = 0.01  # the least range of the gradient's length over a window that is stretched to [0, 1]
    # curves from the gray levels of one image to those of the other (tones.py). Not tuned
    tones: int = 48  # gray levels of a curve
    tone_window: float = 1.0  # of its smoothing, in these gray levels
    tone_reach: float = 8.0  # of its smoothing where hardly a pixel has such a gray level
    tone_floor: float = 0.1  # the least range of toned gray levels that is stretched to [0, 1]
    equalized_tones: int = 256  # gray levels between which the pixels are spread evenly
    equalized_window: float = 2.0  # of the smoothing of the histogram, in these gray levels
    comparison_gain: float = (
        0.05  # by which the score of structure or of toned gray levels must be better than that of the gray levels
    )
    # the prior's precision is stiffness (|k|^4 + membrane |k|^2), and constant where |k|^2 is below `lowest`
    stiffness: float = 30.0
    membrane: float = 1e-4
    lowest: float = 0.01  # |k|^2 in multiples of (pi / the longest side)^2, half a wave along it

    # ---- the score. Not tuned
    score_window: float = 4.0  # pixels: of the local normalization
    score_floor: float = 0.02  # the least standard deviation in it
    score_overlap: float = 0.5  # the share of the smaller image below which the score falls

    # ---- the claimed uncertainty. Set by hand, for images on registration_claims.py (part "claims"), for volumes on the
    # pairs of volumes.py. `calibration_linear`, `least_uncertainty` and `claim_modes` are not tuned
    claim_modes: int  # cosines along the longest side, whose covariance is computed
    # the prior of the claim, as a share of that of the steps. Their prior takes true maps for 3 to 4 times smaller than
    # they are: it serves a map that is known, but tells too little of one that nothing determines. Set on silhouettes
    # (registration_claims.py, part "silhouettes"); for volumes not tuned
    claim_prior: float
    claim_noise_floor: float = 0.002  # as that of the stages, which is set for robustness: clean pairs have less noise
    calibration: float  # a factor of the standard deviation
    growth: float  # the power of the scale with which the factor grows: finer cells are less independent
    calibration_linear: float = 2.0  # of linear maps, whose equations take neighboring cells for independent
    least_uncertainty: float = 0.02  # pixels, from interpolation
    # the error of the model, where the images only resemble each other: model_error (1 - rho)^model_power sqrt(scale sd).
    # Set on stained sections with landmarks (real_pairs.py) and held against generated pairs (registration_claims.py,
    # part "claims"); for volumes not tuned, but checked by volumes.py
    model_error: float
    model_power: float = 1.5
    model_window: float = 3.0  # pixels: of the local normalization before rho
    model_reach: float = 5.0  # pixels: of the window of rho
    # beyond the fixed image. Set on extrapolation.py; for volumes not tuned
    extrapolation_reach: float = 0.25  # of the image's mean side: the distance at which the deviation has doubled
    extrapolation_bend: float = 1.5  # the slope of the error for each pixel, as a multiple of the map's bend

    def scale(self, fixed: Size, moving: Size) -> float:
        """Return the size of the images relative to the usual size, at least 1."""
        longest = [max(fixed), max(moving)]
        return max(1.0, min(longest) / self.usual, max(longest) / (2 * self.usual))

    def coarsest(self, scale: float) -> int:
        """Return the number of the coarsest level for images of this relative size."""
        return max(self.top, round(self.top + math.log2(scale)))

    def stage(self, cell: float) -> Stage:
        """Return the stage for cells of this many pixels."""
        return next(stage for stage in self.stages if cell >= stage.cell)


def _image_encoder(attempt: Attempt, any_contrast: bool, dtype: str) -> EquivariantNetwork:
    return designed(any_contrast, attempt.rings, attempt.window, dtype)


def _volume_encoder(attempt: Attempt, any_contrast: bool, dtype: str) -> EquivariantNetwork:
    return designed_for_volumes(any_contrast, attempt.rings, attempt.window, dtype)


IMAGES = Preset(
    usual=128,
    unit=1.0,
    descriptor=PlanarDescriptor,
    encoder=_image_encoder,
    first=Attempt(RINGS, 1.0),
    second=(
        Attempt(WIDE_RINGS, 1.0, sharpness=20.0, candidates=12, steps=12),
        Attempt(RINGS, 1.6, sharpness=20.0, candidates=12, steps=12),
    ),
    back_candidates_of_repeats=12,
    evidence_deformable=(-2.72, -2.0, -13.83, -3.22, 2.85, 6.85),
    evidence_linear=(-6.25, -1.87, -6.68, -1.59, 10.17, 0.0),
    evidence_detail=(-15.3, 4.7, 5.3),
    evidence_outline=(-32.5, 45.2, 27.1),
    ridge=8.0,
    coarse_tolerance=(2.0, 0.08),
    fine_tolerance=(2.0, 0.05),
    top=2,
    decided=2,
    stages=(
        Stage(cell=3.0, window=7.0, noise_floor=1.0, steps=8, cg_steps=6),
        Stage(cell=1.5, window=5.0, noise_floor=0.3, steps=8, cg_steps=6),
        Stage(cell=0.75, window=3.0, noise_floor=0.03, steps=16, cg_steps=6),
        Stage(cell=0.375, window=3.0, noise_floor=0.03, steps=4, cg_steps=20),
        Stage(cell=0.0, window=3.0, noise_floor=0.03, steps=2, cg_steps=20),
    ),
    modes=12,
    claim_modes=16,
    claim_prior=1 / 16,
    model_error=5.0,
    calibration=0.95,
    growth=0.6,
)

VOLUMES = Preset(
    usual=56,
    unit=0.5,
    descriptor=SphericalDescriptor,
    encoder=_volume_encoder,
    first=Attempt(SPHERES, 4.0),
    second=(
        Attempt(WIDE_SPHERES, 4.0, sharpness=20.0, candidates=12, steps=12),
        Attempt(SPHERES, 6.0, sharpness=20.0, candidates=12, steps=12),
    ),
    back_candidates_of_repeats=6,  # which of two near-duplicates comes last would depend on rounding
    evidence_deformable=(-2.72, -2.0, -13.83, -3.22, 2.85, 6.85),
    evidence_linear=(-6.25, -1.87, -6.68, -1.59, 10.17, 0.0),
    evidence_detail=None,
    evidence_outline=None,
    ridge=128.0,
    coarse_tolerance=(2.0, 0.05),
    fine_tolerance=(1.5, 0.02),
    top=1,
    decided=1,
    stages=(
        Stage(cell=0.75, window=5.0, noise_floor=0.03, steps=8, cg_steps=6),
        Stage(cell=0.0, window=5.0, noise_floor=0.03, steps=3, cg_steps=12),
    ),
    modes=5,
    claim_modes=8,
    claim_prior=1.0,
    model_error=6.8,
    calibration=1.7,
    growth=1.25,
)

PRESETS = {2: IMAGES, 3: VOLUMES}


def preset_for(axes: int) -> Preset:
    """Return the preset of images (2 axes) or volumes (3 axes)."""
    return PRESETS[axes]
