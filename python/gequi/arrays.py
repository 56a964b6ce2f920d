"""The border: numpy (and what numpy takes) in, numpy out, and the checks that everything passes on its way.

No tensor ever shares memory with an array that came in: torch ignores numpy's read-only flag, and an array
that reticulate hands over is a view on R's own memory, so an in-place operation would overwrite the caller's
variable.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from .errors import InputError, ShapeError, listing, nearest

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DEVICES = ("cpu", "cuda")


def check_dtype(dtype: object, argument: str = "dtype") -> torch.dtype:
    """The torch type of a floating-point type's name, "float32" or "float64"."""
    if isinstance(dtype, torch.dtype):
        dtype = str(dtype).removeprefix("torch.")
    return DTYPES[check_choice(dtype, argument, DTYPES)]


def check_device(device: object, argument: str = "device") -> torch.device:
    """The torch device of a name, "cpu" or "cuda", where this machine has it."""
    name = check_choice(device, argument, DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(f"`{argument}` is 'cuda', but torch finds no CUDA device here; use 'cpu'.", argument)
    return torch.device(name)


def check_choice(value: object, argument: str, choices: Iterable[str]) -> str:
    """`value`, where it is one of `choices`; else an error that lists them and names the nearest."""
    names = list(choices)
    if isinstance(value, str) and value in names:
        return value
    raise InputError(f"`{argument}` must be one of {listing(names)}; got {value!r}.{nearest(value, names)}", argument)


def scalar(value: object) -> Any:
    """The Python number in a numpy scalar or an array of one value; anything else as it is."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value


def check_integer(value: object, argument: str, minimum: int | None = None, maximum: int | None = None) -> int:
    """`value` as an int. 4.0 is as good as 4; 4.7, True, "4" and NaN are refused, never cut."""
    number = scalar(value)
    if not isinstance(number, int | float) or isinstance(number, bool) or number != number // 1:
        raise InputError(f"`{argument}` must be a whole number; got {value!r}.", argument)
    integer = int(number)
    if (minimum is not None and integer < minimum) or (maximum is not None and integer > maximum):
        limits = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise InputError(f"`{argument}` must be {limits}; got {integer}.", argument)
    return integer


def check_index(value: object, argument: str, count: int) -> int:
    """`value` as an index of one of `count` things, from 0. Messages count as the caller's language does."""
    number = scalar(value)
    if not isinstance(number, int | float) or isinstance(number, bool) or number != number // 1:
        raise InputError("`{argument}` must be a whole number; got {value:index}.", argument, value=number)
    if not 0 <= number < count:
        raise InputError(
            "`{argument}` must be from {first:index} to {last:index}; got {value:index}.",
            argument, first=0, last=count - 1, value=int(number),
        )  # fmt: skip
    return int(number)


def check_number(value: object, argument: str, minimum: float | None = None, maximum: float | None = None) -> float:
    """`value` as a finite float within the limits."""
    number = scalar(value)
    if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
        raise InputError(f"`{argument}` must be a finite number; got {value!r}.", argument)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        limits = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise InputError(f"`{argument}` must be {limits}; got {number!r}.", argument)
    return float(number)


def check_flag(value: object, argument: str) -> bool:
    """`value` as a bool; 0 and 1 are refused, since they are more often a slip than a wish."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InputError(f"`{argument}` must be true or false; got {value!r}.", argument)


def as_array(
    x: Any, argument: str, *, ndim: int | Sequence[int] | None = None, axes: str = "", finite: bool = True
) -> np.ndarray:
    """`x` as a numeric numpy array (a view where numpy gives one), after the checks that every array passes.

    Args:
        x: anything `numpy.asarray` takes, or a tensor.
        argument: the argument's name, for the messages.
        ndim: the number of axes, or the numbers of axes, that are accepted.
        axes: what the axes are, for the message: "(batch, channel, row, column)".
        finite: refuse NaN and infinite values.

    Raises:
        ShapeError: wrong number of axes, or an axis of size 0.
        InputError: not numeric, or not finite.
    """
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise InputError(f"`{argument}` must be an array of numbers; numpy says: {error}", argument) from error
    if array.dtype.kind not in "fiub":
        kind = {"U": "text", "S": "text", "c": "complex numbers"}.get(array.dtype.kind, f"{array.dtype} values")
        raise InputError(f"`{argument}` must be an array of numbers; got {kind}.", argument)
    if ndim is not None:
        allowed = [ndim] if isinstance(ndim, int) else list(ndim)
        if array.ndim not in allowed:
            wanted = " or ".join(str(n) for n in allowed)
            raise ShapeError(
                f"`{argument}` must have {wanted} axes{' ' + axes if axes else ''}; "
                f"got {array.ndim} axes, shape {array.shape}.",
                argument,
            )
    if array.size == 0:
        raise ShapeError(f"`{argument}` is empty: its shape is {array.shape}.", argument)
    if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(array.size - np.isfinite(array).sum())
        raise InputError(
            f"`{argument}` must be finite; {bad} of its {array.size} values are NaN or infinite.", argument
        )
    return array


def as_tensor(
    x: Any,
    argument: str,
    *,
    dtype: torch.dtype = torch.float32,
    ndim: int | Sequence[int] | None = None,
    axes: str = "",
    finite: bool = True,
) -> torch.Tensor:
    """`x` as a contiguous tensor in memory of its own; arguments and errors as in `as_array`."""
    return own_tensor(as_array(x, argument, ndim=ndim, axes=axes, finite=finite), dtype)


def own_tensor(array: np.ndarray, dtype: torch.dtype, device: torch.device | None = None) -> torch.Tensor:
    """A contiguous copy of `array` as a tensor: one buffer of the wanted type, whatever the strides of `array`."""
    if any(stride < 0 for stride in array.strides) or not array.dtype.isnative:
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if array.dtype.kind in "ub" and array.dtype.itemsize > 1:  # torch copies from few unsigned types
        array = array.astype(np.int64)
    tensor = torch.empty(array.shape, dtype=dtype, device=device)
    with warnings.catch_warnings():  # torch warns of read-only memory, which copy_() only reads
        warnings.simplefilter("ignore", UserWarning)
        tensor.copy_(torch.from_numpy(array))
    return tensor


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as a numpy array."""
    return tensor.detach().cpu().numpy()
