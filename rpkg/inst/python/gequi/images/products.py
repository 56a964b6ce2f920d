"""Images multiplied as matrices."""

from __future__ import annotations

from typing import Any

import torch

from ..arrays import check_flag
from ..errors import ShapeError
from ._border import at_border, has_tensor
from .normalize import Weights, check_weights, scale_image, weigh


def image_product(
    a: Any, b: Any, rows: Weights | None = "exp", columns: Weights | None = "exp", normalize: bool = True
) -> Any:
    """Multiply two images as matrices: normalize_image(normalize_rows(a, rows) @ normalize_columns(b, columns)).

    Args:
        a: left image (row, inner).
        b: right image (inner, column).
        rows: what `normalize_rows` does to `a`: "exp", "plus_one", "identity" or a function; None leaves `a` as it is.
        columns: what `normalize_columns` does to `b`; None leaves `b` as it is.
        normalize: scale the product to [0, 1].

    Returns:
        image (row, column).

    Raises:
        ShapeError: the columns of `a` and the rows of `b` differ in number; not matrices.
        InputError: weights that are negative, or all 0 in a row or column.

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021.

    Example:
        >>> image_product([[1, 0]], [[1, 2], [3, 4]], rows=None, columns=None, normalize=False).tolist()
        [[1.0, 2.0]]
        >>> image_product([[0, 2], [2, 0]], [[0, 1], [2, 1]], "plus_one", "plus_one").tolist()
        [[1.0, 0.5], [0.0, 0.5]]
    """
    on_graph = has_tensor(a, b)
    left, right = (
        None if f is None else check_weights(f, argument, on_graph)
        for f, argument in ((rows, "rows"), (columns, "columns"))
    )
    check_flag(normalize, "normalize")

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if a.shape[1] != b.shape[0]:
            template = "`{argument}` must have as many rows as `a` has columns, {wanted}; got {rows}, shape {shape}."
            raise ShapeError(template, "b", wanted=a.shape[1], rows=b.shape[0], shape=tuple(b.shape))
        result = (a if left is None else weigh(a, 1, left, "rows")) @ (
            b if right is None else weigh(b, 0, right, "columns")
        )
        return scale_image(result) if normalize else result

    return at_border(product, {"a": a, "b": b})


def gram_image(a: Any) -> Any:
    """Compute the inner products of all pairs of columns: normalize_image(t(a) @ a).

    Args:
        a: image (row, column).

    Returns:
        symmetric image (column, column) in [0, 1].

    Raises:
        ShapeError: not a matrix, or empty.
        InputError: values that are not finite.

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021.

    Example:
        >>> gram_image([[1, 0], [1, 2]]).tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    return at_border(_gram_image, {"a": a})


def _gram_image(a: torch.Tensor) -> torch.Tensor:
    return scale_image(a.T @ a)


def image_value(a: Any, f: Weights = "plus_one") -> Any:
    """Compute gram_image(normalize_image(normalize_columns(a, f))), the value of an image.

    The result is invariant to permutations of the rows, value(P a) = value(a), more generally to any orthogonal Q with
    Q 1 = 1 that is applied to normalize_columns(a, f). With "plus_one", it is also invariant to a positive factor on a
    column of a + 1. It is equivariant to permutations of the columns: value(a P) = t(P) value(a) P.

    Args:
        a: image (row, column).
        f: as in `normalize_columns`.

    Returns:
        symmetric image (column, column) in [0, 1].

    Raises:
        InputError: weights f(a) that are negative (with "plus_one", a pixel below -1), or a column of zeros.
        ShapeError: not a matrix, or empty.

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021.

    Example:
        >>> image_value([[0, 1], [2, 1]]).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
        >>> image_value([[2, 1], [0, 1]]).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    weights = check_weights(f, "f", has_tensor(a))
    return at_border(lambda image: _gram_image(scale_image(weigh(image, 0, weights, "f"))), {"a": a})
