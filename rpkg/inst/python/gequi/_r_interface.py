"""The interface between R and Python: the functions that R may call, and their results.

R calls gequi only through `call()`, which knows the public functions and those in `PRIVATE_FUNCTIONS`, each with its
arguments. R never reads an attribute of a Python object. What R stores of a gspace, a field type or a model is plain
data, which the functions at the end of this module return together with the object.

Errors and warnings of gequi are returned as data and not raised: their classes, and the parts of their message. R
formats the message with its own conventions (it counts from 1 and writes NULL for None).
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import inspect
import re
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from . import __all__ as PUBLIC_FUNCTIONS, fields as _fields, groups, networks, saving, symmetry
from ._escnn import GSpace
from ._layouts import BLOCK, copy_array
from ._recipes import choose_seed
from .arrays import check_dtype
from .errors import GequiError, GequiWarning, Message

# name -> the module of the function, and its arguments. A module is loaded at the first call of one of its functions.
PRIVATE_FUNCTIONS = {
    "all_finite": "_layouts:all_finite(array)",
    "as_grayscale": "pictures:as_grayscale(x, argument)",
    "at_intervals": "_progress:at_intervals(progress, seconds)",
    "broadcast_call": "axes:broadcast_call(f, axis, spec, *operands)",
    "carry": "registration.result:carry(registration, method, newdata, **options)",
    "choose_interpolation": "registration.warping:choose_interpolation(kind, type, interpolation, argument)",
    "copy_network": "networks:copy_network(network)",
    "count_parameters": "tracing:count_parameters(model)",
    "describe_group_mean": "templates:describe_group_mean(mean)",
    "describe_image_files": "folders:describe_image_files(images)",
    "describe_network": "_r_interface:describe_network(network, input_shape)",
    "describe_registration": "registration.result:describe_registration(registration)",
    "describe_stack": "stacks:describe_stack(stack)",
    "describe_transform": "registration.transform_files.transform:describe_transform(transform)",
    "describe_registrations": "_r_interface:describe_registrations(found)",
    "encoder_history": "encoders:history(network)",
    "equivariance_maps": "symmetry:equivariance_maps(f, x, element, field, space, input, output, dtype)",
    "examine_targets": "training:examine_targets(model, x, y, loss)",
    "extend_plan": "_r_interface:extend_plan(plan, layer)",
    "gsa_layers": "architectures:gsa_layers(units, fields, blocks, heads, key_dim, frequencies, window, dropout, "
    "qk_norm, positions, mlp_ratio, patch_size, size, pool, attention)",
    "job_metadata": "training:job_metadata(folder)",
    "lay_out_diagram": "tracing:lay_out(trace, depth)",
    "laid_over": "plots:laid_over(registration, slice, axis, squares)",
    "make_conformal": "_r_interface:make_conformal(model, x, y, **options)",
    "make_field_type": "_r_interface:make_field_type(space, fields)",
    "make_group_mean": "templates:make_group_mean(plain)",
    "make_gspace": "_r_interface:make_gspace(name, **options)",
    "make_registration": "registration.result:make_registration(plain)",
    "make_stack": "stacks:make_stack(plain)",
    "make_transform": "registration.transform_files.transform:make_transform(plain)",
    "measure_products": "_r_interface:measure_products()",
    "model_to_bytes": "saving:model_to_bytes(model, metadata)",
    "nifti_axes": "pictures:nifti_axes(size, header)",
    "predict_classes": "training:predict_classes(model, x, type, batch_size, precision, progress)",
    "prediction_job": "folders:prediction_job(folder)",
    "read_model_bytes": "_r_interface:read_model_bytes(data, name)",
    "read_model_file": "_r_interface:read_model_file(path)",
    "recipe_of_model": "_r_interface:recipe_of_model(model)",
    "resnet_layers": "architectures:resnet_layers(space, channels, classes, widths, blocks, kernel_size, enlarge, nonlinearity, "
    "antialiased, margin, output)",
    "restore_conformal": "symmetry:restore_conformal(model, space, input, classes, known, method, level, threshold, count)",
    "shown_group_mean": "plots:shown_group_mean(mean, type, slice, axis)",
    "shown_stack": "stacks:shown_stack(stack, type, axis, position)",
    "start_plan": "_r_interface:start_plan(space, input, layers, seed, dtype)",
    "stretched": "plots:stretched(image)",
    "vit_layers": "architectures:vit_layers(space, size, output, variant, patch_size, stem, dense, pool, width, blocks, "
    "heads, key_dim, window, dropout, qk_norm, learn_frequencies, mlp_ratio)",
    "warp_stack": "stacks:warp_stack(stack, newdata, **options)",
    "write_to_r": "_r_interface:write_to_r(source, target)",
}


@functools.cache
def function_of(name: str) -> Callable[..., Any]:
    """Return the function that R calls by this name.

    Raises:
        LookupError: if the name is not declared.
    """
    if name in PUBLIC_FUNCTIONS:
        return _attribute("gequi", name)
    if name not in PRIVATE_FUNCTIONS:
        raise LookupError(f"{name!r} is no function that R may call; gequi/_r_interface.py declares those.")
    module, function = PRIVATE_FUNCTIONS[name].partition("(")[0].split(":")
    return _attribute(f"gequi.{module}", function)


def arguments_of(name: str) -> list[str]:
    """Return the names of the arguments of a function; "*..." and "**..." stand for arguments with any name."""
    if name in PRIVATE_FUNCTIONS:
        return re.findall(r"\*{0,2}\w+", PRIVATE_FUNCTIONS[name].partition("(")[2])
    parameters = inspect.signature(function_of(name)).parameters.values()
    return [_STARS.get(each.kind, "") + each.name for each in parameters]


_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def _attribute(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def call(function: str, /, *arguments: Any, **options: Any) -> dict[str, Any]:
    """Call a declared function.

    Args:
        function: its name in the table.
        *arguments, **options: what it takes.

    Returns:
        `value` (None after an error); `shape`, its sizes if it is a large array of floats, which R takes by
        `write_to_r()`, otherwise None; `warnings`, a list of dicts `kinds`, `pieces`; `error`, None or a dict
        `kinds`, `pieces`, `argument`, `traceback`. `kinds` are the names of the classes, the nearest first; `pieces`
        are those of `errors.Message.pieces()`.

    Raises:
        LookupError: a name that is not declared.
        Exception: every error that is not a GequiError, as it is. Other warnings are passed on as they are.

    Example:
        >>> call("gspace", "rot2dOnR3", N=0)["error"]["kinds"]
        ['InputError', 'GequiError']
    """
    target = function_of(function)
    value, error = None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GequiWarning)
        try:
            value = target(*_raising(arguments), **_raising(options))
        except GequiError as raised:
            error = _error_as_data(raised)
    ours = []
    for warning in caught:
        if isinstance(warning.message, GequiWarning):
            ours.append(_as_data(warning.message, GequiWarning))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return {"value": value, "shape": _shape_of_large(value), "warnings": ours, "error": error}


def _shape_of_large(value: Any) -> list[int] | None:
    large = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > BLOCK
    return list(value.shape) if large else None


def write_to_r(source: np.ndarray, target: np.ndarray) -> None:
    """Writes an array into memory of R: `target` is the read-only view of an array that R has allocated for it."""
    memory = (ctypes.c_byte * target.nbytes).from_address(target.ctypes.data)
    copy_array(source, np.ndarray(target.shape, target.dtype, memoryview(memory), strides=target.strides))


def _raising(value: Any) -> Any:
    """Wrap functions of R, which return a value to report an error, so that the error is raised here."""
    if type(value) in (list, tuple):
        return type(value)(_raising(each) for each in value)
    if type(value) is dict:
        return {key: _raising(each) for key, each in value.items()}
    if getattr(value, "__module__", None) != "rpytools.call":
        return value

    @functools.wraps(value)
    def function_of_r(*arguments: Any, **options: Any) -> Any:
        answer = value(*arguments, **options)
        if isinstance(answer, dict) and answer.get("failed_in_r") is True:
            raise RuntimeError("a function of R has failed")  # R has kept its error
        return answer

    return function_of_r


def _as_data(message: Message, root: type) -> dict[str, Any]:
    kinds = [each.__name__ for each in type(message).__mro__ if issubclass(each, root)]
    return {"kinds": kinds, "pieces": _fit_integers(message.pieces())}


def _error_as_data(error: GequiError) -> dict[str, Any]:
    text = "".join(traceback.format_exception(error))
    return {**_as_data(error, GequiError), "argument": error.argument, "traceback": text}


def describe_registrations(found: Sequence[Any]) -> dict[str, Any]:
    """Return the `registrations` of many pairs, and the `errors` of those that failed, as `call()` returns errors."""
    return {
        "registrations": [None if isinstance(each, GequiError) else each for each in found],
        "errors": [_error_as_data(each) if isinstance(each, GequiError) else None for each in found],
    }


def _fit_integers(value: Any) -> Any:
    """Convert integers beyond the range of R's integers to floats; reticulate would convert them to 0."""
    if isinstance(value, Mapping):
        return {key: _fit_integers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_fit_integers(each) for each in value]
    return float(value) if isinstance(value, int) and not -(2**31) < value < 2**31 else value


# ---- objects and what R keeps of them -------------------------------------------------------------------


def make_gspace(name: str, **options: Any) -> dict[str, Any]:
    """Return a gspace as `handle` together with its description."""
    space = groups.gspace(name, **options)
    row = next(row for row in groups.gspaces() if row["name"] == name)
    return {
        "handle": space,
        "group": str(space.fibergroup),
        "dimension": row["dimension"],
        "symmetry": row["symmetry"],
        "finite": space.fibergroup.order() > 0,
        "elements": len(groups.elements(space)),
    }


def describe_network(network: Any, input_shape: Any = None) -> list[dict[str, Any]]:
    """Return the table of `networks.describe_network()`. FLOPs are float, as integers in R have 32 bits."""
    rows = networks.describe_network(network, input_shape)
    return [{key: float(x) if key == "flops" and x is not None else x for key, x in row.items()} for row in rows]


def make_field_type(space: GSpace, fields: Any) -> dict[str, Any]:
    """Return a field type: `handle`, `size`, and a table `rows` of its representations with counts and sizes."""
    made = _fields.field_type(space, fields)
    rows, last = [], 0
    for name, count in _fields.describe_fields(made):
        last += count
        rows.append({"representation": name, "count": count, "size": made.representations[last - 1].size})
    return {"handle": made, "size": made.size, "rows": rows}


def make_conformal(model: Any, x: Any, y: Any, **options: Any) -> dict[str, Any]:
    """The sets of a calibrated model: `handle`, and the plain data from which `restore_conformal()` makes them again."""
    made = symmetry.conformal_sets(model, x, y, **options)
    return {
        "handle": made,
        "input": [list(pair) for pair in _fields.describe_fields(made.averaged.in_type)],
        "classes": made.classes,
        "known": made.averaged.model.known,
        "threshold": made.threshold,
        "count": made.count,
    }


def recipe_of_model(model: nn.Module) -> dict[str, Any]:
    """Return the recipe of a model, from which the model can be created again."""
    recipe: dict[str, Any] = model.recipe  # type: ignore[assignment]
    return recipe


def read_model_file(path: Any) -> dict[str, Any]:
    """Return a saved model: `handle`, and the stored `metadata`."""
    metadata = saving.describe_model_file(path)["metadata"]
    return {"handle": saving.load_model(path), "metadata": metadata}


def read_model_bytes(data: bytes, name: str) -> dict[str, Any]:
    """Read the bytes of `model_to_bytes()` as a model file; messages call it `name`."""
    metadata = saving.describe_model_bytes(data, name)["metadata"]
    return {"handle": saving.model_from_bytes(data, name), "metadata": metadata}


# ---- a network that grows by a layer at a time ----------------------------------------------------------


def start_plan(
    space: GSpace, input: Any, layers: Sequence[Any] = (), seed: int | None = None, dtype: str = "float32"
) -> dict[str, Any]:
    """Check a recipe. Return its `plan`, the table `rows` of its layers, and its `seed`, drawn if it was None."""
    check_dtype(dtype)
    seed = choose_seed(seed)
    plan = networks.plan_network(space, input, layers)
    return {"plan": plan, "rows": plan.rows(), "seed": seed}


def extend_plan(plan: networks.Plan, layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `plan` with one more layer, and the `row` of this layer in the table."""
    longer = plan.extend(layer)
    return {"plan": longer, "row": longer.row(len(longer.steps))}


# ---- the speed of torch ---------------------------------------------------------------------------------


def measure_products() -> dict[str, Any]:
    """Measure the speed of matrix products in torch, and whether it is too low: R may have replaced torch's BLAS.

    A matrix product keeps numbers in registers, while an elementwise product reads and writes each number. With the
    BLAS of torch, the matrix product performs five to ten times as many operations per second as the elementwise
    product. With the reference BLAS, the default of R, it performs fewer than half as many. Both are measured on one
    thread, so the comparison does not depend on the load of the machine.

    Returns:
        `gigaflops` of a product of two 256 x 256 matrices in float32, and `slow`.
    """
    n, length = 256, 2**15
    matrix, vector = torch.ones(n, n), torch.ones(length)
    product, sums = torch.empty(n, n), torch.empty(length)
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        matrices = 2 * n**3 / _least_seconds(lambda: torch.mm(matrix, matrix, out=product), 3)
        elements = 2 * length / _least_seconds(lambda: torch.addcmul(vector, vector, vector, out=sums), 20)
    finally:
        if threads > 1:
            torch.set_num_threads(threads)
    return {"gigaflops": matrices / 1e9, "slow": matrices < elements}


def _least_seconds(action: Callable[[], object], repeats: int) -> float:
    """Return the shortest of several times. The others include disturbances or the first call."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
