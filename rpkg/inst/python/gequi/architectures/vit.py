"""A vision transformer whose output is equivariant to rotations and reflections."""

from __future__ import annotations

from typing import Any

from .._escnn import FieldType, GSpace
from ..arrays import check_choice, check_flag, check_integer, entries
from ..errors import FieldError, InputError
from ..fields import parse_fields
from ..groups import check_gspace
from ..networks import EquivariantNetwork, equivariant_network
from .parts import Layers

# Width (channels) and number of blocks, as in Dosovitskiy et al. 2021 and Touvron et al. 2021.
VARIANTS = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12)}
HEAD_FIELDS = 64  # fields of a head, if `heads` is not given: the features per head of the plain networks


def equivariant_vit(
    space: GSpace,
    size: Any,
    input: Any = "trivial",
    output: Any = (("trivial", 10),),
    variant: str = "tiny",
    patch_size: int = 4,
    stem: str | None = None,
    dense: bool = False,
    pool: str = "max",
    width: int | None = None,
    blocks: int | None = None,
    heads: int | None = None,
    key_dim: int | None = None,
    window: int | None = None,
    dropout: float = 0.0,
    qk_norm: bool = True,
    learn_frequencies: bool = True,
    mlp_ratio: float = 4.0,
    seed: int | None = None,
    dtype: str = "float32",
) -> EquivariantNetwork:
    """Create a vision transformer that commutes with rotations and reflections, for images or volumes.

    Each patch becomes one token of width / |G| regular fields, where |G| is the order of the group. `blocks` times
    `posewise_attention_block` follow, whose positions are rotary and relative, then `token_norm`. The output is a list
    of fields for the whole image, or with `dense` for each pixel:

    - trivial fields are invariant: classes of an image, or the classes of its pixels, which move with the image;
    - other fields turn with the image: "irrep_1" of C_N ("irrep_1,1" of D_N) is a vector in the plane.

    With as many channels as a plain vision transformer, the blocks have 1 / |G| of its parameters.

    Args:
        space: a gspace of the plane or of space with a finite group.
        size: int or tuple (row, column) or (depth, row, column): the size of the images in pixels, which the patches
            must cover exactly; otherwise rotating the image would not rotate the patches. None is allowed for
            `patch_size` 1, as for `predict_points()`.
        input: str or mapping: the fields of the image, such as "trivial" for grayscale or `{"trivial": 3}` for color.
        output: str or mapping: the fields of the output, such as `{"trivial": 10}` for 10 classes.
        variant: str: "tiny", "small" or "base": a width of 192, 384 or 768 channels, and 12 blocks.
        patch_size: int: the side of a patch in pixels. Odd, for a group with elements that do not map the pixel grid
            onto itself. A power of 2 for the stem "convolutions".
        stem: str: "patches", one linear map per patch, or "convolutions": steerable convolutions with batch
            normalization and ReLU, each followed by the mean of 2 x 2 pixels, which learn faster from few images
            (tests/benchmarks/equivariant_vit.py). None is "convolutions" for images with a `patch_size` of 2, 4, 8, ...,
            and "patches" otherwise.
        dense: bool: whether the output has one value per pixel, such as a segmentation, instead of one per image.
        pool: str: "max" or "mean", the pooling over the group. It applies to trivial output fields of the whole image.
            With the mean, the head is linear and learns more slowly (tests/benchmarks/equivariant_vit.py).
        width: int: the number of channels of a token, a multiple of the order of the group. None is that of `variant`,
            rounded to an even number of fields.
        blocks: int: the number of blocks. None is that of `variant`.
        heads: int: the number of attention heads per pose. None is one for each 64 fields.
        key_dim: int: the number of features per head, even. None is fields / heads.
        window: int: the side of the neighborhood that a token attends to, in patches. Must be odd. None is the whole
            image.
        dropout: float: the probability of setting an output value of a layer to 0 during training.
        qk_norm: bool: whether to normalize queries and keys to bounded length.
        learn_frequencies: bool: whether training changes the frequencies of the positions.
        mlp_ratio: float: the number of hidden fields of the perceptron of a block, per field.
        seed, dtype: as in `equivariant_network()`.

    Returns:
        an equivariant network; its `recipe` lists the layers.

    Raises:
        InputError: a size that the patches do not cover, a width that the order of the group does not divide, or an
            invalid option.
        FieldError: a gspace that is not a finite group of the plane or of space, or unknown fields.

    Source:
        Dosovitskiy et al. 2021 (arXiv 2010.11929); convolutional stems: Xiao et al. 2021 (arXiv 2106.14881); the blocks:
        Islam et al. 2025 (arXiv 2510.03511), Octic Vision Transformers 2025 (arXiv 2505.15441).

    Example:
        >>> import gequi, numpy as np
        >>> space = gequi.gspace("flipRot2dOnR2", N=4)
        >>> net = equivariant_vit(space, 16, output={"trivial": 3}, width=32, blocks=1, seed=1)
        >>> x = np.random.default_rng(1).normal(size=(2, 1, 16, 16))
        >>> bool(np.allclose(gequi.predict(net, x), gequi.predict(net, np.rot90(x, axes=(2, 3))), atol=1e-5))
        True
    """
    layers = vit_layers(
        space, size, output, variant, patch_size, stem, dense, pool, width, blocks, heads, key_dim, window, dropout,
        qk_norm, learn_frequencies, mlp_ratio,
    )  # fmt: skip
    return equivariant_network(space, input, layers, seed, dtype)


def vit_layers(
    space: Any, size: Any, output: Any, variant: Any, patch_size: Any, stem: Any, dense: Any, pool: Any, width: Any,
    blocks: Any, heads: Any, key_dim: Any, window: Any, dropout: Any, qk_norm: Any, learn_frequencies: Any,
    mlp_ratio: Any,
) -> Layers:  # fmt: skip
    """Return the layers of `equivariant_vit()` as a recipe."""
    fields, count = _width(space, variant, width, blocks)
    patch = check_integer(patch_size, "patch_size", minimum=1)
    halvings = patch.bit_length() - 1
    if stem is None:
        stem = "convolutions" if space.dimensionality == 2 and patch == 1 << halvings > 1 else "patches"
    if check_choice(stem, "stem", ("patches", "convolutions")) == "convolutions" and patch != 1 << halvings:
        raise InputError(
            "`{argument}` must be a power of 2 for the stem 'convolutions'; got {patch}.", "patch_size", patch=patch
        )
    _check_size(space, size, patch)
    heads = _heads(fields) if heads is None else heads
    block = {
        "layer": "posewise_attention_block", "heads": heads, "key_dim": key_dim, "window": window, "dropout": dropout,
        "qk_norm": qk_norm, "learn_frequencies": learn_frequencies, "mlp_ratio": mlp_ratio,
    }  # fmt: skip
    tokens: Layers = [*[block] * count, {"layer": "token_norm"}]
    out_type = parse_fields(space, output, "output")
    regular = {"regular": fields}
    check_choice(pool, "pool", ("mean", "max"))
    dense = check_flag(dense, "dense")
    if stem == "patches":
        embedding = {"layer": "patch_embedding", "fields": regular, "patch_size": patch}
        last = [{"layer": "patch_expansion", "fields": output, "patch_size": patch}]
        return [embedding, *tokens, *(last if dense else _head(out_type, output, pool))]
    first, *rest = _convolutions(fields, halvings)
    if not dense:
        return [*first, *(layer for part in rest for layer in part), *tokens, *_head(out_type, output, pool)]
    return _with_skip(first, [layer for part in rest for layer in part], tokens, patch, output)


def _width(space: Any, variant: Any, width: Any, blocks: Any) -> tuple[int, int]:
    """Return the number of fields and of blocks."""
    order = check_gspace(space).fibergroup.order()
    if order < 1 or space.dimensionality == 0:
        raise FieldError(
            "`{argument}` must be a gspace of the plane or of space with a finite group; got {space}.",
            "space", space=str(space),
        )  # fmt: skip
    channels, count = VARIANTS[check_choice(variant, "variant", tuple(VARIANTS))]
    count = count if blocks is None else check_integer(blocks, "blocks", minimum=0)
    if width is None:
        return 2 * max(1, round(channels / (2 * order))), count
    width = check_integer(width, "width", minimum=1)
    if width % order:
        raise InputError(
            "`{argument}` must be divisible by the order of the group, {order}; got {width}.",
            "width", order=order, width=width,
        )  # fmt: skip
    return width // order, count


def _heads(fields: int) -> int:
    """Return the largest number of heads of at least 64 fields, whose number of features is even."""
    return max((n for n in range(1, fields // HEAD_FIELDS + 1) if fields % (2 * n) == 0), default=1)


def _check_size(space: GSpace, size: Any, patch: int) -> None:
    if size is None:
        if patch == 1:
            return
        raise InputError("`{argument}` is missing: with patches, the size of the images must be known.", "size")
    lengths = [check_integer(each, "size", minimum=1) for each in entries(size)]
    if len(lengths) not in (1, space.dimensionality):
        raise InputError(
            "`{argument}` must have 1 or {dimension} numbers; got {size!r}.",
            "size", dimension=space.dimensionality, size=lengths,
        )  # fmt: skip
    for length in lengths:
        if length % patch:
            raise InputError(
                "`{argument}` must be divisible by patch_size = {patch}, so that rotating the image rotates its patches; "
                "got {length}.",
                "size", patch=patch, length=length,
            )  # fmt: skip


def _convolution(fields: int) -> Layers:
    conv = {"layer": "conv", "fields": {"regular": fields}, "kernel_size": 3, "padding": 1, "bias": False}
    return [conv, {"layer": "batch_norm"}, {"layer": "relu"}]


def _convolutions(fields: int, halvings: int) -> list[Layers]:
    """Return the stem in parts: the layers at full size, those at half the size, and so on."""
    counts = [max(1, fields >> (halvings - number)) for number in range(halvings)] or [max(1, fields // 2)]
    half: Layers = [{"layer": "avg_pool", "kernel_size": 2}]
    parts = [_convolution(counts[0]), *(half + _convolution(count) for count in counts[1:])]
    last: Layers = [{"layer": "conv", "fields": {"regular": fields}, "kernel_size": 3, "padding": 1}]
    return [*parts, (half if halvings else []) + last]


def _with_skip(first: Layers, rest: Layers, tokens: Layers, patch: int, output: Any) -> Layers:
    """Return the layers of a dense output that joins the tokens with the features of the stem at full size."""
    fields = first[0]["fields"]
    expansion = {"layer": "patch_expansion", "fields": fields, "patch_size": patch}
    below = {"layer": "skip", "layers": [*rest, *tokens, expansion]}
    return [*first, below, *_convolution(fields["regular"]), {"layer": "conv", "fields": output, "kernel_size": 1}]


def _head(out_type: FieldType, output: Any, pool: str) -> Layers:
    mean: Layers = [{"layer": "global_avg_pool"}]
    if all(field.is_trivial() for field in out_type.representations):
        return [*mean, {"layer": "group_pool", "reduction": pool}, {"layer": "dense", "units": out_type.size}]
    return [*mean, {"layer": "flatten"}, {"layer": "linear", "fields": output}]
