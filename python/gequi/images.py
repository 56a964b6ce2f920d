"""Images as matrices: normalised, multiplied, warped, and composed; and samples to do it with.

Convention. An image is a matrix (row, column); row 0 is the top. Every operation takes what `numpy.asarray` takes
and returns a numpy array: float32 where all its images are float32, else float64. A torch tensor comes back as a
tensor on torch's graph, so a function composed of these operations is differentiable as it stands.

The operations are those of Mishka (Michael Bukatin), "Multiplying monochrome images as matrices: A * B and
softmax", JuliaCon 2021 (virtual poster).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import torch

from .arrays import as_array, as_numpy, check_choice, check_flag, check_number, own_tensor
from .errors import InputError, ShapeError, listing

Weights = str | Callable[[Any], Any]

# ---- samples --------------------------------------------------------------------------------------------

_SAMPLES: list[dict[str, Any]] = [
    {"name": "volcano", "rows": 87, "columns": 61, "shows": "heights in metres on Maunga Whau, Auckland",
     "licence": "GPL-2 | GPL-3", "source": "R: datasets::volcano"},
    {"name": "camera", "rows": 512, "columns": 512, "shows": "a photographer and his camera",
     "licence": "CC0", "source": "scikit-image: camera(), by Lav Varshney"},
    {"name": "cat", "rows": 300, "columns": 451, "shows": "a cat",
     "licence": "CC0", "source": "scikit-image: chelsea() in grey, by Stefan van der Walt"},
    {"name": "retina", "rows": 352, "columns": 352, "shows": "a human retina, round on black",
     "licence": "CC0", "source": "scikit-image: retina(), green, a quarter of the size, by Mikael Häggström"},
    {"name": "cell", "rows": 240, "columns": 240, "shows": "a cell in saline, its optical phase",
     "licence": "CC0", "source": "scikit-image: cell(), a part, by Paul Müller et al."},
]  # fmt: skip


def sample_image(name: str | None = None) -> Any:
    """An image that comes with the package, or the table of them.

    Args:
        name: "volcano", "camera", "cat", "retina" or "cell"; None for the table.

    Returns:
        float64 matrix (row, column): the photographs and micrographs in [0, 1] (the stored whole numbers divided by
        255), and "volcano", R's `datasets::volcano`, in metres (94 to 195), as R has it. For None, a list of
        dicts: name, rows, columns, shows, licence, source.

    Raises:
        InputError: no image of that name.

    Source:
        data/README.md beside this file says where each image comes from and how it was cut.

    Example:
        >>> sample_image("camera").shape
        (512, 512)
        >>> [row["name"] for row in sample_image()]
        ['volcano', 'camera', 'cat', 'retina', 'cell']
    """
    if name is None:
        return [dict(row) for row in _SAMPLES]
    check_choice(name, "name", [row["name"] for row in _SAMPLES])
    with (
        resources.as_file(resources.files(__package__) / "data" / "sample_images.npz") as path,
        np.load(path, allow_pickle=False) as samples,
    ):
        image = samples[name].astype(np.float64)
    return image if name == "volcano" else image / 255


# ---- the border -----------------------------------------------------------------------------------------


def _at_border(operation: Callable[..., torch.Tensor], images: Mapping[str, Any]) -> Any:
    """`operation` on images by name of argument: tensors stay on the graph, all else comes and goes as numpy."""
    tensors = [image for image in images.values() if isinstance(image, torch.Tensor)]
    if tensors:
        return operation(*(_check_tensor(image, name, tensors[0].dtype) for name, image in images.items()))
    arrays = [as_array(image, name, ndim=2, axes="(row, column)") for name, image in images.items()]
    dtype = torch.float32 if all(array.dtype == np.float32 for array in arrays) else torch.float64
    result = as_numpy(operation(*(own_tensor(array, dtype) for array in arrays)))
    if not np.isfinite(result).all():
        name = next(iter(images))
        raise InputError(
            f"`{name}` has values too large to compute with in {result.dtype}: the result is not finite.", name
        )
    return result


def _check_tensor(image: Any, name: str, dtype: torch.dtype) -> torch.Tensor:
    if not isinstance(image, torch.Tensor):
        return own_tensor(as_array(image, name, ndim=2, axes="(row, column)"), dtype)
    if image.ndim != 2 or image.numel() == 0:
        raise ShapeError(f"`{name}` must be a matrix (row, column); got shape {tuple(image.shape)}.", name)
    return image


def _check_weights(f: Any, argument: str, tensors: bool) -> Weights:
    """`f` by name or as a function, which gets what the caller gave: an array, or a tensor."""
    if not callable(f):
        return check_choice(f, argument, WEIGHTS)
    if tensors:
        return f

    def on_arrays(x: torch.Tensor) -> torch.Tensor:
        weights = as_array(f(as_numpy(x)), f"{argument}(x)")
        if weights.shape != tuple(x.shape):
            raise ShapeError(
                f"`{argument}` must return an array of the shape of its input, {tuple(x.shape)}; got {weights.shape}.",
                argument,
            )
        return own_tensor(weights, x.dtype)

    return on_arrays


def _has_tensor(*images: Any) -> bool:
    return any(isinstance(image, torch.Tensor) for image in images)


# ---- one image ------------------------------------------------------------------------------------------


def normalize_image(x: Any) -> Any:
    """The image scaled to [0, 1]: (x - min x) / (max x - min x). A constant image becomes 0.

    Args:
        x: image (row, column).

    Returns:
        an image of the same size.

    Raises:
        ShapeError: not a matrix, or empty.
        InputError: values that are not finite.

    Example:
        >>> normalize_image([[1, 2], [3, 5]]).tolist()
        [[0.0, 0.25], [0.5, 1.0]]
    """
    return _at_border(_normalize_image, {"x": x})


def _normalize_image(x: torch.Tensor) -> torch.Tensor:
    shifted = x - x.min()
    largest = shifted.max()
    return shifted / torch.where(largest > 0, largest, 1.0)


def signed_image(x: Any) -> Any:
    """The image scaled to [-1, 1]: 2 normalize_image(x) - 1. A constant image becomes -1.

    Args:
        x: image (row, column).

    Returns:
        an image of the same size.

    Raises:
        ShapeError: not a matrix, or empty.
        InputError: values that are not finite.

    Example:
        >>> signed_image([[1, 2], [3, 5]]).tolist()
        [[-1.0, -0.5], [0.0, 1.0]]
    """
    return _at_border(lambda image: 2 * _normalize_image(image) - 1, {"x": x})


WEIGHTS = ("exp", "plus_one", "identity")


def normalize_rows(x: Any, f: Weights = "exp") -> Any:
    """Each row as weights that sum to 1: f(x)[i, j] / sum over j of f(x)[i, j].

    Args:
        x: image (row, column).
        f: "exp" (the softmax of each row), "plus_one" (x + 1, the poster's cheap stand-in), "identity" (x itself), or
            a function of the whole image.

    Returns:
        an image of the same size; each row sums to 1.

    Raises:
        InputError: weights f(x) that are negative (with "plus_one", a pixel below -1), or a row of zeros.
        ShapeError: not a matrix, empty, or a function that changes the shape.

    Example:
        >>> normalize_rows([[0, 2], [1, 1]], "plus_one").tolist()
        [[0.25, 0.75], [0.5, 0.5]]
    """
    weights = _check_weights(f, "f", _has_tensor(x))
    return _at_border(lambda image: _normalize(image, 1, weights, "f"), {"x": x})


def normalize_columns(x: Any, f: Weights = "exp") -> Any:
    """Each column as weights that sum to 1: f(x)[i, j] / sum over i of f(x)[i, j].

    Args:
        x: image (row, column).
        f: "exp" (the softmax of each column), "plus_one" (x + 1, the poster's cheap stand-in), "identity" (x itself),
            or a function of the whole image.

    Returns:
        an image of the same size; each column sums to 1.

    Raises:
        InputError: weights f(x) that are negative (with "plus_one", a pixel below -1), or a column of zeros.
        ShapeError: not a matrix, empty, or a function that changes the shape.

    Example:
        >>> normalize_columns([[0, 1], [2, 1]], "plus_one").tolist()
        [[0.25, 0.5], [0.75, 0.5]]
    """
    weights = _check_weights(f, "f", _has_tensor(x))
    return _at_border(lambda image: _normalize(image, 0, weights, "f"), {"x": x})


def _normalize(x: torch.Tensor, axis: int, f: Weights, argument: str) -> torch.Tensor:
    if f == "exp":
        return torch.softmax(x, axis)
    weights = f(x) if callable(f) else x + 1 if f == "plus_one" else x
    totals = weights.sum(axis, keepdim=True)
    least, least_total = float(weights.detach().min()), float(totals.detach().min())
    if least < 0 or least_total == 0:
        line = ("column", "row")[axis]
        named = "the function's" if callable(f) else f"{f!r}"
        found = f"the least is {least:.6g}" if least < 0 else f"a {line} sums to 0"
        hint = " (x + 1: no pixel may be below -1)" if f == "plus_one" else ""
        raise InputError(
            f"`{argument}` must give weights that are not negative and not all 0 in a {line}; "
            f"with {named} weights{hint}, {found}.",
            argument,
        )
    return weights / totals


# ---- products -------------------------------------------------------------------------------------------


def image_product(
    a: Any, b: Any, rows: Weights | None = "exp", columns: Weights | None = "exp", normalize: bool = True
) -> Any:
    """Two images multiplied as matrices: normalize_image(normalize_rows(a, rows) @ normalize_columns(b, columns)).

    With rows = "exp", columns = None and normalize = False it is attention, softmax(a) b, for the logits a and the
    values b.

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

    Example:
        >>> image_product([[1, 0]], [[1, 2], [3, 4]], rows=None, columns=None, normalize=False).tolist()
        [[1.0, 2.0]]
        >>> image_product([[0, 2], [2, 0]], [[0, 1], [2, 1]], "plus_one", "plus_one").tolist()
        [[1.0, 0.5], [0.0, 0.5]]
    """
    on_graph = _has_tensor(a, b)
    left, right = (
        None if f is None else _check_weights(f, argument, on_graph)
        for f, argument in ((rows, "rows"), (columns, "columns"))
    )
    check_flag(normalize, "normalize")

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if a.shape[1] != b.shape[0]:
            raise ShapeError(
                f"`b` must have as many rows as `a` has columns, {a.shape[1]}; got {b.shape[0]}, "
                f"shape {tuple(b.shape)}.",
                "b",
            )
        result = (a if left is None else _normalize(a, 1, left, "rows")) @ (
            b if right is None else _normalize(b, 0, right, "columns")
        )
        return _normalize_image(result) if normalize else result

    return _at_border(product, {"a": a, "b": b})


def gram_image(a: Any) -> Any:
    """The products of all pairs of columns, as an image: normalize_image(t(a) @ a).

    Args:
        a: image (row, column).

    Returns:
        symmetric image (column, column) in [0, 1].

    Raises:
        ShapeError: not a matrix, or empty.
        InputError: values that are not finite.

    Example:
        >>> gram_image([[1, 0], [1, 2]]).tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    return _at_border(_gram_image, {"a": a})


def _gram_image(a: torch.Tensor) -> torch.Tensor:
    return _normalize_image(a.T @ a)


def image_value(a: Any, f: Weights = "plus_one") -> Any:
    """The poster's value(A): gram_image(normalize_image(normalize_columns(a, f))).

    What it does not see: the order of the rows, value(P a) = value(a); more generally any orthogonal Q with Q 1 = 1,
    applied to normalize_columns(a, f); and, with "plus_one", a positive scaling of any column of a + 1. What it
    carries along: the order of the columns, value(a P) = t(P) value(a) P. The inner normalize_image changes nothing,
    since the columns sum to 1: it adds to t(a) a no more than a constant and a factor.

    Args:
        a: image (row, column).
        f: as in `normalize_columns`.

    Returns:
        symmetric image (column, column) in [0, 1].

    Raises:
        InputError: weights f(a) that are negative (with "plus_one", a pixel below -1), or a column of zeros.
        ShapeError: not a matrix, or empty.

    Example:
        >>> image_value([[0, 1], [2, 1]]).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
        >>> image_value([[2, 1], [0, 1]]).tolist()
        [[1.0, 0.0], [0.0, 0.0]]
    """
    weights = _check_weights(f, "f", _has_tensor(a))
    return _at_border(lambda image: _gram_image(_normalize_image(_normalize(image, 0, weights, "f"))), {"a": a})


# ---- the warp -------------------------------------------------------------------------------------------


def oscillatory_warp(a: Any, amplitude: float = -10, period: float = 8 * math.pi) -> Any:
    """Columns moved up and down by a sine: out[r, c] = a[r + amplitude sin(2 pi (c + 1) / period), c].

    Between two rows the value is interpolated linearly; beyond the first and the last row it is that row's.

    Args:
        a: image (row, column).
        amplitude: in pixels. The default is the poster's warp.
        period: of the sine, in pixels along a row; above 0. The default is the poster's sin(column / 4), with columns
            counted from 1.

    Returns:
        an image of the same size.

    Raises:
        InputError: an amplitude that is not a finite number, a period that is not above 0.
        ShapeError: not a matrix, or empty.

    Example:
        >>> oscillatory_warp([[1, 1], [2, 2], [4, 4]], amplitude=0.5, period=4).round(12).tolist()
        [[1.5, 1.0], [3.0, 2.0], [4.0, 4.0]]
    """
    shift = check_number(amplitude, "amplitude")
    length = check_number(period, "period")
    if length <= 0:
        raise InputError(f"`period` must be above 0; got {length!r}.", "period")

    def warp(image: torch.Tensor) -> torch.Tensor:
        # positions in float64 whatever the image: the same pixels in both types
        height, width = image.shape
        columns = torch.arange(1, width + 1, dtype=torch.float64)
        rows = torch.arange(height, dtype=torch.float64)[:, None]
        position = (rows + shift * torch.sin(columns * (2 * math.pi / length))).clamp(0, height - 1)
        above = position.floor().long().clamp(max=max(height - 2, 0))
        part = (position - above).to(image.dtype)
        below = (above + 1).clamp(max=height - 1)
        return image.gather(0, above) * (1 - part) + image.gather(0, below) * part

    return _at_border(warp, {"a": a})


# ---- compositions as plain data -------------------------------------------------------------------------

OPERATIONS: dict[str, Callable[..., Any]] = {
    "normalize_image": normalize_image,
    "signed_image": signed_image,
    "normalize_rows": normalize_rows,
    "normalize_columns": normalize_columns,
    "image_product": image_product,
    "gram_image": gram_image,
    "image_value": image_value,
    "oscillatory_warp": oscillatory_warp,
    "transpose": lambda x: x.T,
    "matrix_product": lambda a, b: a @ b,
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "abs": lambda x: x.abs(),
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "tanh": lambda x: x.tanh(),
}
"""What a composition can be made of. Arguments named x, a or b are images; the others are options."""

IMAGE_ARGUMENTS = ("x", "a", "b")


def image_composition(steps: Any, argument: str = "f") -> Callable[[torch.Tensor], torch.Tensor]:
    """A function of one image from plain data: the name of an operation, or a list of steps.

    A step is a name, a mapping {"op": name, ...} of the operation's arguments, or (in Python) a function of a tensor.
    An image argument is "input" (the function's argument), "step k" (what the k-th step returned, counted from 1), a
    number or a matrix; the first one that is left out is what the step before returned. So
    ["normalize_columns", "gram_image"] is a chain, and

        [{"op": "signed_image", "x": "input"}, {"op": "transpose", "x": "input"},
         {"op": "image_product", "a": "step 1", "b": "step 2", "rows": "plus_one"}]

    is F(Z) * G(Z). The last step's result is the function's.

    Args:
        steps: the name, or the list of steps.
        argument: the argument's name, for the messages.

    Returns:
        a function from a tensor (row, column) to a tensor, differentiable.

    Raises:
        InputError: an unknown operation or option, a missing image, a reference to a step that is not before.
    """
    entries = [steps] if isinstance(steps, str | Mapping) else list(steps)
    if not entries:
        raise InputError(f"`{argument}` is an empty list of steps; at least one is needed.", argument)
    program = [_read_step(entry, number, argument) for number, entry in enumerate(entries, start=1)]

    def composed(image: torch.Tensor) -> torch.Tensor:
        results = {"input": image}
        for number, (function, operands, options) in enumerate(program, start=1):
            images = [results[o] if isinstance(o, str) else own_tensor(o, image.dtype) for o in operands]
            results[f"step {number}"] = function(*images, **options)
        return results[f"step {len(program)}"]

    return composed


def _read_step(entry: Any, number: int, argument: str) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """A step as its function, its images (references, or arrays) and its options."""
    previous = "input" if number == 1 else f"step {number - 1}"
    if callable(entry):
        return entry, [previous], {}
    step = {"op": entry} if isinstance(entry, str) else entry
    if not isinstance(step, Mapping) or "op" not in step:
        raise InputError(
            f"`{argument}`, step {number}: must be the name of an operation or a mapping with 'op'; got {entry!r:.80}.",
            argument,
        )
    name = check_choice(step["op"], argument, OPERATIONS)
    parameters = list(inspect.signature(OPERATIONS[name]).parameters)
    unknown = [key for key in step if key != "op" and key not in parameters]
    if unknown:
        raise InputError(
            f"`{argument}`, step {number}: {name!r} takes {listing(parameters)}; got {listing(unknown)}.", argument
        )
    images = [parameter for parameter in parameters if parameter in IMAGE_ARGUMENTS]
    if len(images) - sum(key in step for key in images) > 1:
        raise InputError(f"`{argument}`, step {number}: {name!r} needs the images {listing(images)}.", argument)
    operands = [_read_operand(step.get(image, previous), number, image, argument) for image in images]
    return OPERATIONS[name], operands, {key: step[key] for key in step if key != "op" and key not in images}


def _read_operand(operand: Any, number: int, image: str, argument: str) -> Any:
    if not isinstance(operand, str):
        return as_array(operand, f"{argument}$step {number}${image}", ndim=(0, 2), axes="(row, column)")
    known: Sequence[str] = ["input", *(f"step {k}" for k in range(1, number))]
    if operand not in known:
        raise InputError(
            f"`{argument}`, step {number}: `{image}` must be a matrix or one of {listing(known)}; got {operand!r}.",
            argument,
        )
    return operand
