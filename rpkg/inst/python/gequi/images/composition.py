"""Functions of an image as plain data: a list of the steps that they are composed of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..arrays import as_array, check_choice, own_tensor
from ..errors import InputError
from .normalize import normalize_columns, normalize_image, normalize_rows, signed_image
from .products import gram_image, image_product, image_value
from .warp import oscillatory_warp

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
    """Create a function of one image from plain data: the name of an operation, or a list of steps.

    A step is a name, a mapping {"op": name, ...} with the arguments of the operation, or (in Python) a function of a
    tensor. An image argument is "input" (the argument of the function), "step k" (the result of step k, counted from
    1), a number or a matrix. The first image argument that is omitted is the result of the previous step. For example,
    ["normalize_columns", "gram_image"] is a chain, and

        [{"op": "signed_image", "x": "input"}, {"op": "transpose", "x": "input"},
         {"op": "image_product", "a": "step 1", "b": "step 2", "rows": "plus_one"}]

    is F(Z) * G(Z). The result of the function is the result of the last step.

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
        raise InputError("`{argument}` is an empty list of steps; at least one is needed.", argument)
    program = [_read_step(entry, number, argument) for number, entry in enumerate(entries, start=1)]

    def composed(image: torch.Tensor) -> torch.Tensor:
        results = {"input": image}
        for number, (function, operands, options) in enumerate(program, start=1):
            images = [
                results[o] if isinstance(o, str) else own_tensor(o, image.dtype, argument=argument) for o in operands
            ]
            results[f"step {number}"] = function(*images, **options)
        return results[f"step {len(program)}"]

    return composed


def _read_step(entry: Any, number: int, argument: str) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """Return a step as its function, its images (references or arrays) and its options."""
    previous = "input" if number == 1 else f"step {number - 1}"
    if callable(entry):
        return entry, [previous], {}
    step = {"op": entry} if isinstance(entry, str) else entry
    if not isinstance(step, Mapping) or "op" not in step:
        raise InputError(
            "`{argument}`, step {number}: must be the name of an operation or a mapping with {key!r}; got {step!r:.80}.",
            argument, number=number, key="op", step=entry,
        )  # fmt: skip
    name = check_choice(step["op"], argument, OPERATIONS)
    parameters = list(inspect.signature(OPERATIONS[name]).parameters)
    unknown = [key for key in step if key != "op" and key not in parameters]
    if unknown:
        raise InputError(
            "`{argument}`, step {number}: {operation!r} takes {parameters:list}; got {unknown:list}.",
            argument, number=number, operation=name, parameters=parameters, unknown=unknown,
        )  # fmt: skip
    images = [parameter for parameter in parameters if parameter in IMAGE_ARGUMENTS]
    if len(images) - sum(key in step for key in images) > 1:
        template = "`{argument}`, step {number}: {operation!r} needs the images {images:list}."
        raise InputError(template, argument, number=number, operation=name, images=images)
    operands = [_read_operand(step.get(image, previous), number, image, argument) for image in images]
    return OPERATIONS[name], operands, {key: step[key] for key in step if key != "op" and key not in images}


def _read_operand(operand: Any, number: int, image: str, argument: str) -> Any:
    if not isinstance(operand, str):
        return as_array(operand, f"{argument}$step {number}${image}", ndim=(0, 2), axes="(row, column)")
    known: Sequence[str] = ["input", *(f"step {k}" for k in range(1, number))]
    if operand not in known:
        raise InputError(
            "`{argument}`, step {number}: `{image}` must be a matrix or one of {known:list}; got {operand!r}.",
            argument, number=number, image=image, known=known, operand=operand,
        )  # fmt: skip
    return operand
