"""An image classifier based on group self-attention."""

from __future__ import annotations

from typing import Any

from .._escnn import GSpace
from ..arrays import check_choice, check_integer, entries
from ..errors import InputError
from ..layers.plan import odd
from ..networks import EquivariantNetwork, equivariant_network


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
    attention: str = "posewise",
    seed: int | None = None,
    dtype: str = "float32",
) -> EquivariantNetwork:
    """Create an image classifier based on group self-attention, whose output is invariant to rotations and reflections.

    The network consists of `lifting_attention` to `fields` regular fields, `blocks` times `posewise_attention_block` (or
    `group_attention_block`), the mean over all pixels, the mean or maximum over the group, and a linear layer. If
    `patch_size` is above 1, a convolution with this kernel size and stride replaces the lifting attention.

    Args:
        space: a gspace of the plane with a finite group.
        input: str or mapping: the fields of the image, such as "trivial" for grayscale or `{"trivial": 3}` for color.
        units: int: the number of outputs, such as classes.
        fields: int: the number of regular fields in the hidden layers.
        blocks: int: the number of residual blocks.
        heads: int: the number of attention heads.
        key_dim: int: the number of features per head, even for posewise attention. None is fields / heads.
        frequencies: int: the number of Fourier features of the position, per head and pair of opposite group elements,
            in the lifting attention and in pairwise attention. 0 uses no positions there.
        window: int: the side of the neighborhood that a token attends to, in patches. Must be odd. None is the whole
            image.
        dropout: float: the probability of setting an output value of a layer to 0 during training.
        qk_norm: bool: whether to normalize queries and keys to bounded length.
        positions: str: "additive" or "rotary", in the lifting attention and in pairwise attention. The positions of
            posewise attention are rotary.
        mlp_ratio: int: the number of hidden units of the perceptron of a block, per field.
        patch_size: int: the side of a patch in pixels. Must be odd.
        size: int or tuple (row, column): the size of the images in pixels. Required if `patch_size` is above 1, to
            check that the patches cover the image exactly; otherwise rotating the image would not rotate the patches.
        pool: str: "mean" or "max", the pooling over the group.
        attention: str: "posewise", where each pose attends to all positions, or "pairwise", where it attends to all
            poses, as in Romero & Cordonnier. Pairwise attention compares |G| times as many pairs.
        seed, dtype: as in `equivariant_network()`.

    Returns:
        an equivariant network; its `recipe` lists the layers.

    Raises:
        InputError: a size that the patches do not cover, or an invalid option.
        FieldError: a gspace that is not a finite group of the plane.

    Source:
        Romero & Cordonnier 2021 (arXiv 2010.00977), with a correction; posewise attention: Islam et al. 2025 (arXiv
        2510.03511); residual blocks as in Vaswani et al. 2017.

    Example:
        >>> import gequi, numpy as np
        >>> net = gsa_network(gequi.gspace("rot2dOnR2", N=4), units=10, seed=1)
        >>> gequi.predict(net, np.zeros((2, 1, 7, 7))).shape
        (2, 10)
    """
    layers = gsa_layers(
        units, fields, blocks, heads, key_dim, frequencies, window, dropout, qk_norm, positions, mlp_ratio, patch_size,
        size, pool, attention,
    )  # fmt: skip
    return equivariant_network(space, input, layers, seed, dtype)


def gsa_layers(
    units: Any, fields: Any, blocks: Any, heads: Any, key_dim: Any, frequencies: Any, window: Any, dropout: Any,
    qk_norm: Any, positions: Any, mlp_ratio: Any, patch_size: Any, size: Any, pool: Any, attention: Any,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the layers of `gsa_network()` as a recipe."""
    patch = check_integer(patch_size, "patch_size", minimum=1)
    shared = {"heads": heads, "key_dim": key_dim, "window": window, "dropout": dropout, "qk_norm": qk_norm}
    pairwise = {**shared, "frequencies": frequencies, "positions": positions}
    regular = [("regular", check_integer(fields, "fields", minimum=1))]
    lifting: dict[str, Any] = {"layer": "lifting_attention", "fields": regular, **pairwise}
    if patch > 1:
        _check_patches(odd(patch, "patch_size"), size)
        lifting = {"layer": "conv", "fields": regular, "kernel_size": patch, "stride": patch}
    block: dict[str, Any] = {"layer": "group_attention_block", **pairwise, "mlp_ratio": mlp_ratio}
    if check_choice(attention, "attention", ("posewise", "pairwise")) == "posewise":
        block = {"layer": "posewise_attention_block", **shared, "mlp_ratio": mlp_ratio}
    return [
        lifting,
        *[block] * check_integer(blocks, "blocks", minimum=0),
        {"layer": "global_avg_pool"},
        {"layer": "group_pool", "reduction": check_choice(pool, "pool", ("mean", "max"))},
        {"layer": "dense", "units": units},
    ]


def _check_patches(patch: int, size: Any) -> None:
    if size is None:
        raise InputError("`{argument}` is missing: with patches, the side of the images must be known.", "size")
    for length in entries(size):
        if check_integer(length, "size", minimum=1) % patch:
            raise InputError(
                "`{argument}` must be divisible by patch_size = {patch}, so that rotating the image rotates its patches; "
                "got {length}.",
                "size", patch=patch, length=length,
            )  # fmt: skip
