"""A ready classifier, and networks of attention on sets of points."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .._escnn import GSpace
from ..arrays import as_array, as_numpy, check_choice, check_integer, own_tensor
from ..errors import InputError, ShapeError
from ..fields import show_fields
from ..layers._plan import Step, odd
from ..networks import EquivariantNetwork, check_network, equivariant_network, evaluating, with_dtype
from .kinds import points_in_place_of_pixels


def gsa_network(
    space: GSpace,
    input: Any = "trivial",
    units: int = 10,
    fields: int = 8,
    blocks: int = 2,
    heads: int = 2,
    key_dim: int | None = None,
    frequencies: int = 2,
    window: int | None = None,
    dropout: float = 0.0,
    qk_norm: bool = True,
    positions: str = "additive",
    mlp_ratio: float = 2.0,
    patch_size: int = 1,
    size: Any = None,
    pool: str = "mean",
    seed: int | None = None,
    dtype: str = "float32",
) -> EquivariantNetwork:
    """A classifier of images by group self-attention: its outputs do not change when the image is turned.

    lifting_attention to `fields` regular fields, `blocks` times group_attention_block, then the mean over all points
    and the mean (or maximum) over all poses, and one linear layer to `units` numbers. With `patch_size` above 1, a
    convolution to regular fields with that kernel size and stride stands in place of lifting_attention.

    Args:
        space: a gspace of the plane with a finite group.
        input: the fields of the image, such as "trivial" for a grey and `{"trivial": 3}` for a colour image.
        units: numbers that come out, such as classes.
        fields: regular fields inside.
        blocks: number of residual blocks.
        heads: heads of each attention.
        key_dim: features of a head; None is fields / heads.
        frequencies: Fourier features of positions for each head and pair of opposite elements; 0 for none.
        window: side of the neighbourhood that a point attends to, in patches, odd; None is the whole image.
        dropout: probability that a value of a layer's output is set to 0 in training.
        qk_norm: whether queries and keys have a bounded length.
        positions: "additive" or "rotary", as in `layer_kinds()`.
        mlp_ratio: hidden units of a block's two-layer map for each field.
        patch_size: side of a patch, pixels, odd.
        size: side of the images, pixels, or (row, column); needed with patches, which must cover it exactly, or
            turning the image would not turn the patches.
        pool: "mean" or "max", over poses.
        seed, dtype: as in `equivariant_network()`.

    Returns:
        an equivariant network; its `recipe` lists the layers.

    Raises:
        InputError: a size that patches do not cover, or a value an option cannot take.
        FieldError: a gspace that is not of the plane, or continuous.

    Source:
        Romero & Cordonnier 2021 (arXiv 2010.00977), put right; residual blocks as in Vaswani et al. 2017.

    Example:
        >>> import gequi
        >>> net = gsa_network(gequi.gspace("rot2dOnR2", N=4), units=10, seed=1)
        >>> gequi.predict(net, np.zeros((2, 1, 7, 7))).shape
        (2, 10)
    """
    layers = gsa_layers(
        units, fields, blocks, heads, key_dim, frequencies, window, dropout, qk_norm, positions, mlp_ratio, patch_size,
        size, pool,
    )  # fmt: skip
    return equivariant_network(space, input, layers, seed, dtype)


def gsa_layers(
    units: Any, fields: Any, blocks: Any, heads: Any, key_dim: Any, frequencies: Any, window: Any, dropout: Any,
    qk_norm: Any, positions: Any, mlp_ratio: Any, patch_size: Any, size: Any, pool: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """The layers of `gsa_network()`, as a recipe has them."""
    patch = check_integer(patch_size, "patch_size", minimum=1)
    attention = {
        "heads": heads, "key_dim": key_dim, "frequencies": frequencies, "window": window, "dropout": dropout,
        "qk_norm": qk_norm, "positions": positions,
    }  # fmt: skip
    regular = [("regular", check_integer(fields, "fields", minimum=1))]
    lifting: dict[str, Any] = {"layer": "lifting_attention", "fields": regular, **attention}
    if patch > 1:
        _check_patches(odd(patch, "patch_size"), size)
        lifting = {"layer": "conv", "fields": regular, "kernel_size": patch, "stride": patch}
    block = {"layer": "group_attention_block", **attention, "mlp_ratio": mlp_ratio}
    return [
        lifting,
        *[block] * check_integer(blocks, "blocks", minimum=0),
        {"layer": "global_avg_pool"},
        {"layer": "group_pool", "reduction": check_choice(pool, "pool", ("mean", "max"))},
        {"layer": "dense", "units": units},
    ]


def _check_patches(patch: int, size: Any) -> None:
    if size is None:
        raise InputError("`size` is missing: with patches, the side of the images must be known.", "size")
    for length in np.asarray(size).reshape(-1).tolist():
        if check_integer(length, "size", minimum=1) % patch:
            raise InputError(
                f"`size` must be divisible by patch_size = {patch}, so that turning the image turns its patches; "
                f"got {length}.",
                "size",
            )


# ---- sets of points ---------------------------------------------------------------------------------

# What treats each point alone, or all alike: the layers that need no grid.
_WITHOUT_GRID = {
    "batch_norm", "dense", "dropout", "elu", "field_dropout", "flatten", "fourier_elu", "gated_nonlinearity",
    "global_avg_pool", "group_attention", "group_attention_block", "group_pool", "leaky_relu", "lifting_attention",
    "linear", "norm_nonlinearity", "norm_pool", "relu", "residual", "restrict",
}  # fmt: skip


def predict_points(network: EquivariantNetwork, x: Any, points: Any, dtype: str | None = None) -> np.ndarray:
    """What a network of attention layers makes of features at points instead of pixels.

    Points can be turned by any angle, so the law holds exactly for every element of the group: for features of
    which no channel changes, predict(x, g points) = rho(g) predict(x, points).

    Args:
        network: from `equivariant_network()` or `gsa_network()`, of attention layers without a window and layers that
            treat each point alone or average over all.
        x: features (batch, channel, point).
        points: coordinates (point, 2) or (batch, point, 2): x to the right, y up, the distance of two pixels being 1.
        dtype: "float32" or "float64"; None is the network's own.

    Returns:
        (batch, channel, point), or (batch, channel) where the network ends without extent.

    Raises:
        InputError: a layer that needs a grid (named).
        ShapeError: channels or points that do not fit.

    Example:
        >>> import gequi
        >>> net = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=8), "trivial", seed=1, layers=[
        ...     {"layer": "lifting_attention", "fields": {"regular": 2}}])
        >>> predict_points(net, np.ones((1, 1, 5)), np.eye(5, 2)).shape
        (1, 16, 5)
    """
    network = check_network(network)
    network = network if dtype is None else with_dtype(network, dtype)
    _need_no_grid(network.steps)
    features = as_array(x, "x", ndim=3, axes="(batch, channel, point)")
    if features.shape[1] != network.in_type.size:
        raise ShapeError(
            f"`x` must have {network.in_type.size} channels on its axis 'channel' ({show_fields(network.in_type)}); "
            f"got {features.shape[1]}, shape {features.shape}.",
            "x",
        )
    places = as_array(points, "points", ndim=(2, 3), axes="(point, 2) or (batch, point, 2)")
    places = places[None] if places.ndim == 2 else places
    batch, _, count = features.shape
    if places.shape not in ((1, count, 2), (batch, count, 2)):
        raise ShapeError(
            f"`points` must have the shape {(count, 2)} or {(batch, count, 2)}, as `x` has {count} points in a batch "
            f"of {batch}; got {np.shape(points)}.",
            "points",
        )
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    token = points_in_place_of_pixels.set(own_tensor(places, torch.float64).to(device))
    try:
        with evaluating(network), torch.no_grad():
            out = network(own_tensor(features, network.dtype).to(device)[..., None])
    finally:
        points_in_place_of_pixels.reset(token)
    return as_numpy(out[..., 0] if out.ndim == 4 else out)


def _need_no_grid(steps: list[Step]) -> None:
    for step in steps:
        if step.kind not in _WITHOUT_GRID:
            raise InputError(f"{step.name}: `{step.kind}` needs the grid of an image; points have none.", "network")
        for branch in step.branches:
            _need_no_grid(branch)
