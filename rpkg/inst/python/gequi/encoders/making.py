"""Creating encoders: the designed encoders, a trained one, and encoders trained on the images of the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

import numpy as np

from ..arrays import as_array, check_choice, check_integer, check_number
from ..errors import InputError, ShapeError
from ..groups import gspace
from ..networks import (
    EquivariantNetwork,
    choose_seed,
    copy_network,
    equivariant_network,
    get_weights,
    plan_network,
    set_weights,
)
from ..registration.descriptors import (
    CONTRASTS,
    DEGREE,
    POSES,
    designed,
    designed_for_volumes,
    designed_layers,
    designed_volume_layers,
)
from ..saving import model_from_bytes
from ..training import fit
from .loss import AttentionLoss, Deadline, ImageLoss, VolumeLoss
from .pairs import ImagePairs, PairMaker, VolumePairs

READY = {"multimodal": "registration_multimodal.safetensors"}  # made by tests/benchmarks/encoder.py

EPOCH = 50  # steps to a row of the history
LEARNED_RINGS = ((0.0, 2.0), (4.0, 2.0), (8.0, 3.0), (14.0, 4.5), (20.0, 6.0))
LEARNED_SPHERES = ((2.0, 0.8), (4.0, 1.0), (6.0, 1.3), (8.0, 1.6), (10.0, 2.0), (13.0, 2.6))
HIDDEN = 32  # regular fields inside the learned part
HIDDEN_IRREPS = 16  # of each degree


@dataclass(frozen=True)
class _Images:
    """The differences between images and volumes as training data."""

    axes: str
    smallest: int  # pixels along a side
    pairs: type[PairMaker]
    loss: type[AttentionLoss]
    learning_rate: float


_IMAGES = {
    2: _Images("(row, column) or (row, column, channel)", 48, ImagePairs, ImageLoss, 1e-3),
    3: _Images("(depth, row, column) or (depth, row, column, channel)", 24, VolumePairs, VolumeLoss, 5e-3),
}


def registration_encoder(
    images: Any = None,
    contrast: str = "same",
    dimension: int = 2,
    steps: int = 600,
    minutes: float = 10.0,
    learning_rate: float | None = None,
    seed: int | None = None,
    device: str = "auto",
    progress: Callable[[dict[str, Any]], Any] | None = None,
) -> EquivariantNetwork:
    """Create or train a network that describes an image at each token and in each pose.

    An encoder of images is an equivariant network from one trivial field to regular fields of the rotation group C_16
    of the plane, with one token every 4 pixels, in the element order of escnn. The features in pose g are the regular
    fields, cyclically shifted by g. It expects values from 0 to 1 and about 128 pixels per side. An encoder of volumes
    maps one trivial field to irreps of degree 0 to 3 of the rotations of space, with one token every 4 voxels. It
    expects values from 0 to 1 and about 56 voxels per side.

    `register_images()` uses the designed encoders by default. The designed encoder of images consists of
    `oriented_gradients`, which computes the directions of edges, and `ring_descriptor`, which samples them on rings
    around each token. The designed encoder of volumes consists of `local_normalization`, which removes slowly varying
    brightness and contrast, and `sphere_descriptor`, which samples the result on spheres around each token in spherical
    harmonics.

    A trained encoder has more rings or spheres and two learned pointwise convolutions. It is trained on pairs that are
    generated from `images`: parts of an image, and the same parts rotated by a random angle and warped, each with
    random brightness, contrast, noise and sharpness. For contrast "any", pairs are also transformed by random intensity
    curves, to edges, and to a few labels.

    Equivariance is exact up to rounding for quarter turns. For other rotations it is limited by the interpolation of a
    rotated grid of tokens.

    Args:
        images: list of arrays (row, column) or (row, column, channel), or of volumes (depth, row, column) or (depth,
            row, column, channel). The channels are aligned images of the same object in several modalities. Images need
            at least 48 pixels per side, volumes 24 voxels. None returns the designed encoder. "multimodal" returns an
            encoder of images that was trained on pictures with contrast "any" and is included in gequi.
        contrast: str: "same", or "any" for images with different contrast or of different modalities, as in
            `register_images()`.
        dimension: int: 2 for images or 3 for volumes.
        steps: int: the number of training steps with 4 pairs each.
        minutes: float: the maximum training time in minutes.
        learning_rate: float: the maximum of the one-cycle schedule. None is 0.001 for images and 0.005 for volumes.
        seed: int: the seed of the initial weights and of the pairs. None draws a seed.
        device: str: "cpu", "cuda" (GPU) or "auto".
        progress: callable: called with a dict about ten times per second. The training ends if it returns False.

    Returns:
        a network, as returned by `equivariant_network()`, for the argument `encoder` of `register_images()`. A trained
        encoder has a `history` as from `fit()`, with one dict per 50 steps.

    Raises:
        ShapeError: `images` that are not images or are too small.
        InputError: a constant image, an invalid option, or options of training without `images`.
        SetupError: lightning, which training requires, is not installed.

    Source:
        SIFT (Lowe 2004) and DAISY (Tola, Lepetit and Fua 2010); in volumes Kazhdan, Funkhouser and Rusinkiewicz 2003;
        InfoNCE (van den Oord, Li and Vinyals 2018).

    Example:
        >>> from gequi import equivariance_error, output_shape, sample_image
        >>> encoder = registration_encoder()
        >>> [(len(fields), fields.gspace.fibergroup.name) for fields in (encoder.in_type, encoder.out_type)]
        [(1, 'C16'), (17, 'C16')]
        >>> image = sample_image("cat")[None, None, 100:164, 200:264]
        >>> rows = equivariance_error(encoder, image)
        >>> max(row["error"] for row in rows if row["exact"]) < 1e-4
        True
        >>> output_shape(registration_encoder(dimension=3), (1, 1, 24, 28, 32))
        (1, 80, 6, 7, 8)
    """
    any_contrast = check_choice(contrast, "contrast", CONTRASTS) == "any"
    dimension = check_integer(dimension, "dimension", minimum=2, maximum=3)
    steps = check_integer(steps, "steps", minimum=1)
    minutes = check_number(minutes, "minutes", minimum=0)
    if images is None:
        return copy_network(designed(any_contrast) if dimension == 2 else designed_for_volumes(any_contrast))
    if isinstance(images, str):
        return _ready_encoder(images, dimension)
    return train(
        _check_images(images, dimension), any_contrast, dimension, steps, minutes, learning_rate, choose_seed(seed),
        device, progress,
    )  # fmt: skip


def history(network: EquivariantNetwork) -> list[dict[str, Any]]:
    """Return the training history of an encoder, with one dict per 50 steps."""
    return list(getattr(network, "history", []))


def _ready_encoder(name: str, dimension: int) -> EquivariantNetwork:
    """Load an encoder that is included in gequi."""
    file = READY[check_choice(name, "images", READY)]
    if dimension != 2:
        raise InputError(
            "`{argument}` {name!r} is an encoder of images; `{dimension:name}` must be 2.",
            "images",
            name=name,
            dimension="dimension",
        )
    model = model_from_bytes((resources.files("gequi") / "data" / file).read_bytes(), f"the encoder {name!r}")
    return cast(EquivariantNetwork, model)


def _check_images(images: Any, dimension: int) -> list[np.ndarray]:
    """Check training images and return them as (*size, channel)."""
    wanted = _IMAGES[dimension]
    given = images if isinstance(images, list | tuple) else [images]
    checked = []
    for number, image in enumerate(given):
        array = as_array(image, "images", ndim=(dimension, dimension + 1), axes=wanted.axes)
        array = array[..., None] if array.ndim == dimension else array
        if min(array.shape[:-1]) < wanted.smallest:
            raise ShapeError(
                "`{argument}` must have at least {least} pixels along each side; image {number} has the shape {shape}.",
                "images",
                least=wanted.smallest,
                number=number + 1,
                shape=array.shape[:-1],
            )
        space = tuple(range(dimension))
        if (array.min(space) == array.max(space)).any():
            raise InputError("`{argument}` must not be constant; image {number} is.", "images", number=number + 1)
        checked.append(array)
    if not checked:
        raise InputError("`{argument}` contains no images.", "images")
    return checked


# ---- training -------------------------------------------------------------------------------------------


def train(
    images: list[np.ndarray],
    any_contrast: bool,
    dimension: int,
    steps: int,
    minutes: float,
    learning_rate: float | None,
    seed: int,
    device: str,
    progress: Callable[[dict[str, Any]], Any] | None,
) -> EquivariantNetwork:
    """Train an encoder on images (*size, channel), and return it with its `history`."""
    network = learning_network(any_contrast, dimension, seed)
    kind = _IMAGES[dimension]
    batches = min(steps, EPOCH)
    network.history = fit(
        network,
        kind.pairs(images, network, any_contrast, seed),
        loss=kind.loss(network, seed),
        epochs=-(-steps // batches),
        batches=batches,
        learning_rate=kind.learning_rate if learning_rate is None else learning_rate,
        schedule="one_cycle",
        seed=seed,
        device=device,
        progress=Deadline(minutes, progress),
    )
    return network


def learning_network(any_contrast: bool, dimension: int, seed: int) -> EquivariantNetwork:
    """Create an encoder before training. Its last weights are small, so it is close to the designed descriptor."""
    if dimension == 2:
        space, layers = gspace("rot2dOnR2", N=POSES), learned_layers(any_contrast)
    else:
        space, layers = gspace("rot3dOnR3", maximum_frequency=DEGREE), learned_volume_layers(any_contrast)
    network = equivariant_network(space, "trivial", layers, seed=seed)
    last = [name for name in get_weights(network) if name.endswith("weights")][-1]
    set_weights(network, {last: 0.1 * get_weights(network)[last]})
    return network


def learned_layers(any_contrast: bool) -> list[dict[str, Any]]:
    """Return the layers of a trainable encoder of images: the designed ones with more rings, and a learned residual."""
    before = designed_layers(any_contrast, LEARNED_RINGS)
    fields = len(plan_network(gspace("rot2dOnR2", N=POSES), "trivial", before).out_type)
    learned = [
        {"layer": "conv", "fields": {"regular": HIDDEN}, "kernel_size": 1},
        {"layer": "relu"},
        {"layer": "conv", "fields": {"regular": fields}, "kernel_size": 1},
    ]
    return [*before, {"layer": "residual", "layers": learned}]


def learned_volume_layers(any_contrast: bool) -> list[dict[str, Any]]:
    """Return the layers of a trainable encoder of volumes: the designed ones, more spheres, and a learned residual."""

    def irreps(count: int) -> dict[str, int]:
        return {f"irrep_{degree}": count for degree in range(DEGREE + 1)}

    learned = [
        {"layer": "conv", "fields": irreps(HIDDEN_IRREPS), "kernel_size": 1},
        {"layer": "norm_nonlinearity"},
        {"layer": "conv", "fields": irreps(len(LEARNED_SPHERES)), "kernel_size": 1},
    ]
    return [*designed_volume_layers(any_contrast, LEARNED_SPHERES), {"layer": "residual", "layers": learned}]
