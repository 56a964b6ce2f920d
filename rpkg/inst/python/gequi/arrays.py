"""The border to numpy: conversion of inputs and outputs, and the checks of arguments.

No tensor shares memory with an array of the caller. torch ignores numpy's read-only flag, and an array from reticulate
is a view of R's memory, so an in-place operation would overwrite the caller's variable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ._layouts import OF_NUMPY, all_finite, copy_array, empty_tensor
from ._limits import check_memory, largest
from .errors import GequiError, InputError, ShapeError, nearest

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DEVICES = ("auto", "cpu", "cuda")
_MOST_ENTRIES = 10_000


def check_dtype(dtype: object, argument: str = "dtype") -> torch.dtype:
    """Return the torch type of the name of a floating-point type, "float32" or "float64"."""
    if isinstance(dtype, torch.dtype):
        dtype = str(dtype).removeprefix("torch.")
    return DTYPES[check_choice(dtype, argument, DTYPES)]


def check_device(device: object, argument: str = "device") -> torch.device:
    """Return the torch device of a name: "cpu", "cuda", or "auto", which is "cuda" if available, otherwise "cpu"."""
    name = check_choice(device, argument, DEVICES)
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError(
            "`{argument}` is {device!r}, but torch finds no CUDA device here; use {instead!r}.",
            argument, device=name, instead="cpu",
        )  # fmt: skip
    return torch.device(("cuda" if available else "cpu") if name == "auto" else name)


def check_choice(value: object, argument: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`. Otherwise raise an error that lists them and suggests the nearest."""
    names = list(choices)
    if isinstance(value, str) and value in names:
        return value
    raise InputError(
        "`{argument}` must be one of {choices:list}; got {value!r}.{hint}",
        argument, choices=names, value=value, hint=nearest(value, names),
    )  # fmt: skip


def scalar(value: object) -> Any:
    """Return the Python number of a numpy scalar or an array with one value. Other values are returned unchanged."""
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value


def check_integer(value: object, argument: str, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return `value` as an int. 4.0 is accepted; 4.7, True, "4" and NaN raise an error.

    If `maximum` is None, the limit of the argument in `_limits.LARGEST` is used.
    """
    number = scalar(value)
    if not isinstance(number, int | float) or isinstance(number, bool) or number != number // 1:
        raise InputError("`{argument}` must be a whole number; got {value!r}.", argument, value=value)
    _check_limits(int(number), argument, minimum, maximum)
    if maximum is None:
        _check_limits(int(number), argument, None, largest(argument))
    return int(number)


def check_index(value: object, argument: str, count: int, from_end: bool = False) -> int:
    """Return `value` as the index of one of `count` items, from 0. Messages count as the language of the caller does.

    With `from_end`, -1 is the last item, as for the axes of an array.
    """
    number = scalar(value)
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise InputError("`{argument}` must be a whole number; got {value!r}.", argument, value=value)
    if number != number // 1:
        raise InputError("`{argument}` must be a whole number; got {value:index}.", argument, value=number)
    first = -count if from_end else 0
    if not first <= number < count:
        raise InputError(
            "`{argument}` must be from {first:index} to {last:index}; got {value:index}.",
            argument, first=first, last=count - 1, value=int(number),
        )  # fmt: skip
    return int(number) % count


def entries(values: Any) -> list[Any]:
    """Return the values of an argument that is one value, a list or an array, as a list in their order."""
    if isinstance(values, torch.Tensor | np.ndarray) and np.prod(values.shape, dtype=float) > _MOST_ENTRIES:
        return [values]  # the check of the first entry raises an error
    if isinstance(values, torch.Tensor):
        return [values] if values.layout != torch.strided or values.device.type == "meta" else entries(values.tolist())
    if isinstance(values, np.ndarray):
        return list(values.reshape(-1).tolist())
    return list(values) if isinstance(values, list | tuple | range) else [values]


def axes_of(x: Any) -> int:
    """Return the number of axes, as numpy counts them, or 0 if numpy cannot convert the value to an array."""
    try:
        return np.ndim(x)
    except Exception:
        return 0


def check_number(value: object, argument: str, minimum: float | None = None, maximum: float | None = None) -> float:
    """Return `value` as a finite float within the limits."""
    number = scalar(value)
    if not isinstance(number, int | float) or isinstance(number, bool) or not _is_finite(number):
        raise InputError("`{argument}` must be a finite number; got {value!r}.", argument, value=value)
    _check_limits(number, argument, minimum, maximum)
    return float(number)


def _is_finite(number: float) -> bool:
    """Return whether a number is a finite float. Integers outside the range of float64 are not."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def check_positive(value: object, argument: str) -> float:
    """Return `value` as a finite float greater than 0."""
    number = check_number(value, argument)
    if number <= 0:
        raise InputError("`{argument}` must be greater than 0; got {value!r}.", argument, value=number)
    return number


def _check_limits(number: float, argument: str, minimum: float | None, maximum: float | None) -> None:
    if (minimum is None or number >= minimum) and (maximum is None or number <= maximum):
        return
    limits = "at least {minimum}" if maximum is None else "from {minimum} to {maximum}"
    limits = "at most {maximum}" if minimum is None else limits
    template = "`{argument}` must be " + limits + "; got {value!r}."
    raise InputError(template, argument, minimum=minimum, maximum=maximum, value=number)


def check_flag(value: object, argument: str) -> bool:
    """Return `value` as a bool. 0 and 1 raise an error, because they are usually a mistake."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InputError("`{argument}` must be true or false; got {value!r}.", argument, value=value)


def check_function(f: Any, argument: str) -> Any:
    """Return `f` if it is a function of arrays; otherwise raise an InputError. Modules are functions of tensors."""
    if isinstance(f, torch.nn.Module):
        template = (
            "`{argument}` must be a function of arrays; got a network or module, which predict() applies to them."
        )
        raise InputError(template, argument)
    if not callable(f):
        raise InputError("`{argument}` must be a function of arrays; got {value!r:.80}.", argument, value=f)
    return f


def as_array(
    x: Any,
    argument: str,
    *,
    ndim: int | Sequence[int] | None = None,
    axes: str = "",
    finite: bool = True,
    flags: bool = False,
) -> np.ndarray:
    """Convert `x` to a numeric numpy array (a view if numpy returns one) and check it.

    Args:
        x: array: any value that `numpy.asarray` accepts, or a tensor.
        argument: str: the name of the argument for error messages.
        ndim: int or list of int, optional: the accepted numbers of axes.
        axes: str: the meaning of the axes for error messages: "(batch, channel, row, column)".
        finite: bool: whether NaN and infinite values raise an error.
        flags: bool: whether logical values are kept. Otherwise they are converted to 1.0 and 0.0.

    Raises:
        ShapeError: for a wrong number of axes or an axis of size 0.
        InputError: for values that are not numeric or not finite.
    """
    if isinstance(x, torch.Tensor):
        x = _numpy_of(x, argument)
    if isinstance(x, np.ma.MaskedArray):  # numpy.asarray() would use the values under the mask
        raise InputError("`{argument}` is a masked array; fill it, as by its method `filled()`.", argument)
    try:
        array = np.asarray(x)
    except GequiError:
        raise
    except Exception as error:  # objects can raise any exception
        template = "`{argument}` must be an array of numbers; numpy says: {reason}"
        raise InputError(template, argument, reason=str(error)) from error
    if array.dtype.kind not in "fiub":
        kind = {"U": "text", "S": "text", "c": "complex numbers"}.get(array.dtype.kind, f"{array.dtype} values")
        raise InputError("`{argument}` must be an array of numbers; got {kind}.", argument, kind=kind)
    if ndim is not None:
        allowed = [ndim] if isinstance(ndim, int) else list(ndim)
        if array.ndim not in allowed:
            raise ShapeError(
                "`{argument}` must have {wanted}{axes}; got shape {shape}, number of axes: {ndim}.",
                argument, wanted="1 axis" if allowed == [1] else f"{' or '.join(str(n) for n in allowed)} axes",
                axes=f" {axes}" if axes else "", ndim=array.ndim, shape=array.shape,
            )  # fmt: skip
    if array.size == 0:
        raise ShapeError("`{argument}` is empty: its shape is {shape}.", argument, shape=array.shape)
    check_memory(array.size, argument)  # a view may have more values than the machine has bytes
    if finite and array.dtype.kind == "f" and not all_finite(array):
        bad = int(array.size - np.isfinite(array).sum())
        template = "`{argument}` must be finite; {bad} of its {size} values are NaN or infinite."
        raise InputError(template, argument, bad=bad, size=array.size)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # torch has no long double
        return as_float(array, "float64", argument)
    return array.astype(np.float64) if array.dtype.kind == "b" and not flags else array


def check_dense(tensor: torch.Tensor, argument: str) -> None:
    """Raise an InputError for tensors that are sparse, complex or without values."""
    if tensor.device.type == "meta":
        raise InputError("`{argument}` is a tensor without values, on the device 'meta'.", argument)
    if tensor.layout != torch.strided:
        raise InputError("`{argument}` is a sparse tensor; make it dense, as by its method `to_dense()`.", argument)
    if tensor.is_complex():
        raise InputError("`{argument}` must be an array of numbers; got {kind}.", argument, kind="complex numbers")


def _numpy_of(tensor: torch.Tensor, argument: str) -> np.ndarray:
    """Return the values of a tensor of any type."""
    check_dense(tensor, argument)
    values = tensor.detach().cpu().resolve_neg()
    return as_numpy(values.float() if values.dtype == torch.bfloat16 else values)  # numpy has no bfloat16


def _as_finite_as(before: np.ndarray, after: np.ndarray, argument: str | None, dtype: str) -> np.ndarray:
    """Return `after` if the conversion to a narrower type has kept all finite values of `before` finite."""
    if np.isinf(after).any() and (np.isinf(after) & ~np.isinf(before)).any():
        name = "`{argument}`" if argument else "An array"
        raise InputError(name + " is too large for {dtype}; its largest value is {value:g}.", argument,
                         dtype=dtype, value=float(np.abs(before[np.isfinite(before)]).max()))  # fmt: skip
    return after


def as_float(array: np.ndarray, dtype: np.dtype | str, argument: str) -> np.ndarray:
    """Copy an array to a floating-point type, "float32" or "float64", that must represent its finite values."""
    with np.errstate(over="ignore"):
        return _as_finite_as(array, array.astype(dtype), argument, str(dtype))


def check_result(result: np.ndarray, argument: str) -> np.ndarray:
    """Return `result` if it is finite. Otherwise raise an error for `argument`, whose values are too large."""
    if not all_finite(result):
        template = "`{argument}` has values too large to compute with in {dtype}: the result is not finite."
        raise InputError(template, argument, dtype=str(result.dtype))
    return result


def check_magnitude(array: np.ndarray, argument: str, dtype: torch.dtype) -> None:
    """Raise an InputError for values whose squares `dtype` cannot represent. Used where distances are computed."""
    if not np.abs(array, dtype=np.float64).max() < math.sqrt(torch.finfo(dtype).max):
        template = "`{argument}` has values too large to compute with in {dtype}: their squares are not finite."
        raise InputError(template, argument, dtype=str(dtype).removeprefix("torch."))


def as_tensor(
    x: Any,
    argument: str,
    *,
    dtype: torch.dtype = torch.float32,
    ndim: int | Sequence[int] | None = None,
    axes: str = "",
    finite: bool = True,
) -> torch.Tensor:
    """Convert `x` to a contiguous tensor that owns its memory. Arguments and errors are those of `as_array`."""
    return own_tensor(as_array(x, argument, ndim=ndim, axes=axes, finite=finite), dtype, argument=argument)


def own_tensor(
    array: np.ndarray, dtype: torch.dtype, device: torch.device | None = None, argument: str | None = None
) -> torch.Tensor:
    """Copy `array` to a contiguous tensor of the given type, for any strides of `array`.

    Raises:
        InputError: if `dtype` cannot represent a finite value. `argument` is the name of the array.
    """
    if array.dtype.kind == "u" and not dtype.is_floating_point and array.max(initial=0) >= 2**63:
        template = ("`{argument}`" if argument else "An array") + " is too large for {dtype}."
        raise InputError(template, argument, dtype="int64")
    copied = empty_tensor(array.shape, dtype if dtype in OF_NUMPY else torch.float32)
    copy_array(array, copied.numpy())
    tensor = copied.to(dtype=dtype, device=device)
    narrower = dtype.is_floating_point and array.dtype.kind == "f" and array.dtype.itemsize > dtype.itemsize
    if narrower and not all_finite(as_numpy(copied if dtype in OF_NUMPY else tensor.float())):
        _as_finite_as(array, as_numpy(tensor.float()), argument, str(dtype).removeprefix("torch."))
    return tensor


class LazyArray:
    """An array that is read in parts, for example from many files. Only the indexed values are read."""

    shape: tuple[int, ...]
    dtype = np.dtype(np.float32)
    targets: np.ndarray | None = None  # targets of the examples, for training

    def read(self, indexes: np.ndarray) -> np.ndarray:
        """Read the values at indexes along the first axis."""
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.read(np.atleast_1d(np.arange(len(self))[index]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read(np.arange(len(self))).astype(dtype or self.dtype)


_openers: list[Callable[[Any], LazyArray | None]] = []


def opener(function: Callable[[Any], LazyArray | None]) -> Callable[[Any], LazyArray | None]:
    """Register a function for `opened()`. It returns None for values that it does not open."""
    _openers.append(function)
    return function


def opened(x: Any) -> Any:
    """Open a folder or list of files as an array; see `folders.image_files()`. Other values are returned unchanged."""
    return next((found for found in (each(x) for each in _openers) if found is not None), x)


def freeze_arrays(instance: object) -> None:
    """Replace the arrays of a frozen dataclass by read-only views, so that they cannot be modified by accident."""
    for name, value in vars(instance).items():
        if isinstance(value, np.ndarray):
            view = value.view()
            view.flags.writeable = False
            object.__setattr__(instance, name, view)


def as_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Convert a tensor to a numpy array."""
    return tensor.detach().cpu().numpy()
