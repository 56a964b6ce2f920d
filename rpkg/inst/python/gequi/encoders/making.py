"""The encoder that a user asks for: the designed one, a trained one, or one that is trained on the user's own images."""

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
    """What differs between images and volumes to learn from."""

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
    """A network that describes an image at each token in each pose: a designed encoder, or a trained one.

    An encoder of images is an equivariant network from one trivial field to regular fields of the rotations C_16 of the
    plane, with a token every 4 pixels, in escnn's order: the features of a token in pose g are its regular fields rolled
    by g. It takes images between 0 and 1, of about 128 pixels along a side. An encoder of volumes leads from one
    trivial field to irreps of degree 0 to 3 of the rotations of space, with a token every 4 voxels. It takes volumes
    between 0 and 1, of about 56 voxels along a side.

    `register_images()` uses the designed encoders by itself. For images, the first layer, `oriented_gradients`, lifts
    the image to the directions of its edges; the second, `ring_descriptor`, reads these on rings about each token. For
    volumes, the first layer, `local_normalization`, removes brightness and contrast that vary slowly; the second,
    `sphere_descriptor`, reads the result on spheres about each token, in spherical harmonics.

    A trained encoder has more rings or spheres, and two pointwise convolutions that are learned on top. It learns from
    pairs that are made of `images`: parts of an image, and the same parts rotated by any angle and warped. Each has
    brightness, contrast, noise and sharpness of its own. For contrast "any", pairs are also shown through random
    intensity curves, as edges, and as a few labels.

    The law holds up to rounding for quarter turns. For other rotations it holds as far as a rotated grid of tokens can
    be interpolated.

    Args:
        images: a list of at least one image (row, column) or (row, column, channel), or of at least one volume (depth,
            row, column) or (depth, row, column, channel), whose channels show the same thing in several kinds of image,
            pixel on pixel; of at least 48 pixels along a side, or 24 voxels. None gives the designed encoder;
            "multimodal" one of images that was trained on pictures with contrast "any", and comes with gequi.
        contrast: "same", or "any" for images of another contrast, or another kind: see `register_images()`.
        dimension: 2 for an encoder of images, 3 for one of volumes.
        steps: of training, 4 pairs each.
        minutes: after which the training ends early.
        learning_rate: the peak of its one-cycle schedule; None is 0.001 for images and 0.005 for volumes.
        seed: of the initial weights and of the pairs; None draws one.
        device: "cpu", "cuda", or "auto".
        progress: a function that is called with a dict about ten times a second; the training stops where it returns
            False.

    Returns:
        a network, as `equivariant_network()` makes it, that `register_images()` takes as its `encoder`. A trained one
        has a `history`, a dict for every 50 steps, as `fit()` returns it.

    Raises:
        ShapeError: images that are no images, or too small.
        InputError: a constant image; an option out of range; options of training without `images`.
        SetupError: lightning is not installed, which training needs.

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
    """The history of the training of an encoder, a dict for every 50 steps."""
    return list(getattr(network, "history", []))


def _ready_encoder(name: str, dimension: int) -> EquivariantNetwork:
    """An encoder that comes with gequi."""
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
    """Images (*size, channel) to learn from."""
    wanted = _IMAGES[dimension]
    given = images if isinstance(images, list | tuple) else [images]
    checked = []
    for number, image in enumerate(given):
        array = as_array(image, "images", ndim=(dimension, dimension + 1), axes=wanted.axes)
        array = array[..., None] if array.ndim == dimension else array
        if min(array.shape[:-1]) < wanted.smallest:
            raise ShapeError(
                "`{argument}` must have at least {least} pixels along each side; number {number} has the shape {shape}.",
                "images",
                least=wanted.smallest,
                number=number + 1,
                shape=array.shape[:-1],
            )
        space = tuple(range(dimension))
        if (array.min(space) == array.max(space)).any():
            raise InputError(
                "`{argument}` must show something; number {number} is constant.", "images", number=number + 1
            )
        checked.append(array)
    if not checked:
        raise InputError("`{argument}` holds no image to learn from.", "images")
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
    """An encoder that has learned from images (*size, channel), with its `history`."""
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
    """An encoder before its training, near the designed descriptor: its last weights are small."""
    if dimension == 2:
        space, layers = gspace("rot2dOnR2", N=POSES), learned_layers(any_contrast)
    else:
        space, layers = gspace("rot3dOnR3", maximum_frequency=DEGREE), learned_volume_layers(any_contrast)
    network = equivariant_network(space, "trivial", layers, seed=seed)
    last = [name for name in get_weights(network) if name.endswith("weights")][-1]
    set_weights(network, {last: 0.1 * get_weights(network)[last]})
    return network


def learned_layers(any_contrast: bool) -> list[dict[str, Any]]:
    """The layers of an encoder of images to be trained: the designed ones, on more rings, and a learned residual."""
    before = designed_layers(any_contrast, LEARNED_RINGS)
    fields = len(plan_network(gspace("rot2dOnR2", N=POSES), "trivial", before).out_type)
    learned = [
        {"layer": "conv", "fields": {"regular": HIDDEN}, "kernel_size": 1},
        {"layer": "relu"},
        {"layer": "conv", "fields": {"regular": fields}, "kernel_size": 1},
    ]
    return [*before, {"layer": "residual", "layers": learned}]


def learned_volume_layers(any_contrast: bool) -> list[dict[str, Any]]:
    """The layers of an encoder of volumes to be trained: the designed ones, on more spheres, and a learned residual."""

    def irreps(count: int) -> dict[str, int]:
        return {f"irrep_{degree}": count for degree in range(DEGREE + 1)}

    learned = [
        {"layer": "conv", "fields": irreps(HIDDEN_IRREPS), "kernel_size": 1},
        {"layer": "norm_nonlinearity"},
        {"layer": "conv", "fields": irreps(len(LEARNED_SPHERES)), "kernel_size": 1},
    ]
    return [*designed_volume_layers(any_contrast, LEARNED_SPHERES), {"layer": "residual", "layers": learned}]
