"""A classifier of images by group self-attention."""

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
    seed: int | None = None,
    dtype: str = "float32",
) -> EquivariantNetwork:
    """A classifier of images by group self-attention: its outputs do not change when the image is rotated.

    lifting_attention to `fields` regular fields, `blocks` times group_attention_block, then the mean over all points
    and the mean (or maximum) over all poses, and one linear layer to `units` numbers. With `patch_size` above 1, a
    convolution to regular fields with that kernel size and stride replaces lifting_attention.

    Args:
        space: a gspace of the plane with a finite group.
        input: the fields of the image, such as "trivial" for a grayscale and `{"trivial": 3}` for a colour image.
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
            rotating the image would not rotate the patches.
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
        raise InputError("`{argument}` is missing: with patches, the side of the images must be known.", "size")
    for length in entries(size):
        if check_integer(length, "size", minimum=1) % patch:
            raise InputError(
                "`{argument}` must be divisible by patch_size = {patch}, so that rotating the image rotates its patches; "
                "got {length}.",
                "size", patch=patch, length=length,
            )  # fmt: skip
