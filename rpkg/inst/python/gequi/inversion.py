"""Inverse problems: finding an input with a given output, by gradient descent on the input.

If f is invariant under a group, f(g x) = f(x), an inverse problem has an orbit of solutions. The descent finds a
solution near the start, which may differ from the input that produced the target.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ._progress import Progress, check_progress
from .arrays import as_array, as_numpy, as_tensor, check_choice, check_dtype, check_integer, check_number
from .errors import GequiWarning, InputError, Message, ShapeError
from .fields import check_features
from .images import image_composition
from .networks import EquivariantNetwork, evaluating, output_shape, with_dtype

LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "norm": lambda value, target: torch.linalg.vector_norm(value - target),
    "squared": lambda value, target: (value - target).square().sum(),
    "mean_squared": lambda value, target: (value - target).square().mean(),
}


def invert_input(
    f: Any,
    target: Any,
    start: Any,
    steps: int = 300,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    loss: str | Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = "norm",
    dtype: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Find an input x near `start` with f(x) close to `target`, by gradient descent on loss(f(x), target).

    The loss is not monotone; the x with the smallest loss is returned, also if the descent is interrupted or leaves the
    domain of f. The descent stops at a loss of exactly 0.

    Args:
        f: str, list, network or callable: the map to invert: the name of an image operation, such as "image_value"; a
            composition of image operations, as a list of steps such as ["normalize_columns", {"op": "gram_image"}] (see
            `image_composition`); a network; or any function from tensor to tensor that torch can differentiate,
            including `normalize_image()` and related functions.
        target: array: the desired output f(x), with the shape of f(start).
        start: array (row, column), or (batch, channel, row, column) for a network: the initial x. For an equivariant
            network with one channel, an image (row, column) is a batch of one.
        steps: int: the number of steps, at least 0.
        learning_rate: float: the learning rate. 1e-3 suits "adam" with images in [0, 1]; 1 suits "lbfgs".
        optimizer: str: "adam" or "sgd" with the defaults of torch, or "lbfgs" with a line search (strong Wolfe
            conditions), which requires a smooth loss ("squared" instead of "norm").
        loss: str or callable: "norm" (the Euclidean norm of f(x) - target, as in the poster), "squared" (its square),
            "mean_squared", or a function of two tensors, the value and the target, that returns a tensor of one number.
        dtype: str: "float32" or "float64". None uses the type of the network, and float32 otherwise. An equivariant
            network of another type is converted; another network of another type is refused.
        progress: callable: called at each iterate with a dict: `step`, `steps` and `loss`. The descent ends if it
            returns False or raises KeyboardInterrupt.

    Returns:
        a dict:
        "solution": the best x, in the shape of `start`; "value": f(solution);
        "loss": the losses at the start and after each step, float64 (steps taken + 1);
        "best_step": the number of steps to the solution (0 is the start); "best_loss";
        "stopped": the reason for stopping: "steps", "exact" (the loss is 0), "progress", "interrupted" or, with a
        GequiWarning, "outside" (a step left the domain of f, or the loss was not finite).

    Raises:
        InputError: an argument of the wrong kind, an f that torch cannot differentiate, or an f that does not accept
            `start`.
        ShapeError: a target that does not have the shape of f(start).

    Source:
        Mishka (Michael Bukatin), "Multiplying monochrome images as matrices", JuliaCon 2021; related to feature
        inversion (Mahendran and Vedaldi, CVPR 2015) and DeepDream.

    Example:
        >>> import gequi
        >>> image = gequi.sample_image("volcano")
        >>> upside_down = image[::-1]
        >>> target = gequi.image_value(image)
        >>> found = gequi.invert_input("image_value", target, start=upside_down, steps=0, dtype="float64")
        >>> bool(found["best_loss"] < 1e-10)  # the order of the rows does not matter: a solution already
        True
    """
    steps = check_integer(steps, "steps", minimum=0)
    rate = check_number(learning_rate, "learning_rate", minimum=0)
    make_optimizer = OPTIMIZERS[check_choice(optimizer, "optimizer", OPTIMIZERS)]
    measure = loss if callable(loss) else LOSSES[check_choice(loss, "loss", LOSSES)]
    check_progress(progress)
    shape = as_array(start, "start").shape
    if isinstance(f, EquivariantNetwork):
        f, start = _fit_network(f, start, dtype)
    function, modules = _differentiable(f)
    precision = _precision(modules, dtype)
    x = as_tensor(start, "start", dtype=precision).requires_grad_()
    wanted = as_tensor(target, "target", dtype=precision)

    with contextlib.ExitStack() as predicting:
        for module in modules:
            predicting.enter_context(evaluating(module))
        record = _Record(x, steps, progress)

        def evaluate() -> torch.Tensor:
            value = function(x)
            if not record.losses:
                _check_fit(value, wanted)
            return measure(value, wanted)

        record.stopped = _descend(evaluate, record, make_optimizer(x, rate), steps)
        with torch.no_grad():
            value = function(record.best)
    return {
        "solution": as_numpy(record.best).reshape(shape),
        "value": as_numpy(value),
        "loss": np.array(record.losses),
        "best_step": record.best_step,
        "best_loss": record.losses[record.best_step],
        "stopped": record.stopped,
    }


def _descend(evaluate: Callable[[], torch.Tensor], record: _Record, optimizer_step: Step, steps: int) -> str:
    """Run the optimizer, record each iterate, and return the reason for stopping."""
    first = True

    def inside() -> torch.Tensor:
        try:
            return evaluate()
        except InputError as error:
            if not record.losses:
                own = error.argument in ("f", "target", "loss")
                raise (error if own else error.about("start")) from error
            raise _outside(len(record.losses), error) from error

    def loss_and_slope() -> torch.Tensor:
        nonlocal first
        loss = inside()
        if first:  # a line search evaluates several times per step; the first evaluation is the iterate
            record.note(loss)
            first = False
        (record.x.grad,) = torch.autograd.grad(loss, record.x)  # of the input alone, not of a network's parameters
        return loss

    try:
        for _ in range(steps):
            first = True
            optimizer_step(loss_and_slope)
        with torch.set_grad_enabled(steps == 0):  # the first evaluation is checked for its graph
            record.note(inside())
    except _Stop as stop:
        return stop.reason
    except KeyboardInterrupt:
        if not record.losses:
            raise
        return "interrupted"
    return "steps"


class _Stop(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Record:
    """The losses so far, and the iterate with the smallest loss."""

    def __init__(self, x: torch.Tensor, steps: int, progress: Progress | None) -> None:
        self.x, self.steps, self.progress = x, steps, progress
        self.best, self.best_step = x.detach().clone(), 0
        self.losses: list[float] = []
        self.stopped = ""

    def note(self, loss: torch.Tensor) -> None:
        step, number = len(self.losses), float(loss.detach())
        if not math.isfinite(number):
            if step == 0:
                template = "`{argument}` gives a loss of {loss}; a finite one is needed."
                raise InputError(template, "start", loss=number)
            raise _outside(step, GequiWarning("The loss is {loss}.", loss=number))
        self.losses.append(number)
        if number < self.losses[self.best_step]:
            self.best.copy_(self.x.detach())
            self.best_step = step
        told = {"step": step, "steps": self.steps, "loss": number}
        if self.progress is not None and self.progress(told) is False:
            raise _Stop("progress")
        if number == 0:
            raise _Stop("exact")


def _outside(step: int, reason: Message) -> _Stop:
    left = "The descent left the domain of `f` at step {step}, and stopped; the best input before it is returned. "
    warnings.warn(GequiWarning(left, step=step).because(reason), stacklevel=4)
    return _Stop("outside")


# ---- optimizers -----------------------------------------------------------------------------------------

Step = Callable[[Callable[[], torch.Tensor]], Any]
"""One step: it asks for the loss, which leaves its slope in `x.grad`, and moves x."""


def _adam(x: torch.Tensor, rate: float, decay: float = 0.9, decay_of_squares: float = 0.999) -> Step:
    """Adam (Kingma and Ba, ICLR 2015), with results identical to torch.optim.Adam.

    The first construction of torch.optim.Adam takes seconds, because it loads the compiler of torch.
    """
    mean, squares, count = torch.zeros_like(x), torch.zeros_like(x), 0

    def step(loss_and_slope: Callable[[], torch.Tensor]) -> None:
        nonlocal count
        loss_and_slope()
        count += 1
        slope = _slope(x)
        with torch.no_grad():
            mean.lerp_(slope, 1 - decay)
            squares.mul_(decay_of_squares).addcmul_(slope, slope, value=1 - decay_of_squares)
            scale = (squares.sqrt() / (1 - decay_of_squares**count) ** 0.5).add_(1e-8)
            x.addcdiv_(mean, scale, value=-rate / (1 - decay**count))

    return step


def _sgd(x: torch.Tensor, rate: float) -> Step:
    """Plain gradient descent."""

    def step(loss_and_slope: Callable[[], torch.Tensor]) -> None:
        loss_and_slope()
        with torch.no_grad():
            x.add_(_slope(x), alpha=-rate)

    return step


def _lbfgs(x: torch.Tensor, rate: float) -> Step:
    """L-BFGS of torch, one iteration per step, with a line search that satisfies the strong Wolfe conditions."""
    return torch.optim.LBFGS([x], lr=rate, max_iter=1, line_search_fn="strong_wolfe").step


def _slope(x: torch.Tensor) -> torch.Tensor:
    assert x.grad is not None
    return x.grad


OPTIMIZERS: dict[str, Callable[[torch.Tensor, float], Step]] = {"adam": _adam, "sgd": _sgd, "lbfgs": _lbfgs}


# ---- what can be inverted -------------------------------------------------------------------------------


def _differentiable(f: Any) -> tuple[Callable[[torch.Tensor], torch.Tensor], list[torch.nn.Module]]:
    """Return `f` as a function from tensor to tensor, and the networks in it."""
    if isinstance(f, torch.nn.Module):
        return f, [f]
    if callable(f):
        return f, []
    if not isinstance(f, str | Mapping | list | tuple):
        raise InputError(
            "`{argument}` must be the name of an image operation, a list of steps, a network, or a function of a "
            "tensor; got {value!r:.80}.",
            "f", value=f,
        )  # fmt: skip
    return image_composition(f), [step for step in f if isinstance(step, torch.nn.Module)]


def _fit_network(network: EquivariantNetwork, start: Any, dtype: str | None) -> tuple[EquivariantNetwork, np.ndarray]:
    """Return the network in the requested type, and `start` with its axes, after the checks of `predict()`."""
    array = check_features(start, network.in_type, "start")
    output_shape(network, array.shape)  # refuses an image too small, warns of a layer that breaks exactness
    return network if dtype is None else with_dtype(network, dtype), array


def _check_fit(value: Any, target: torch.Tensor) -> None:
    if not isinstance(value, torch.Tensor):
        raise InputError("`{argument}` must return a tensor; got {type}.", "f", type=type(value).__name__)
    if not value.requires_grad:
        template = "`{argument}` must be differentiable: its result does not depend on its input through torch."
        raise InputError(template, "f")
    if value.shape != target.shape:
        template = "`{argument}` must have the shape of f(start), {wanted}; got {shape}."
        raise ShapeError(template, "target", wanted=tuple(value.shape), shape=tuple(target.shape))


def _precision(modules: list[torch.nn.Module], dtype: str | None) -> torch.dtype:
    """Return the requested type, or the type of the networks, which must agree."""
    own = {p.dtype for module in modules for p in module.parameters() if p.is_floating_point()}
    wanted = check_dtype(dtype) if dtype is not None else own.pop() if own else torch.float32
    if own - {wanted}:
        template = "`{argument}` must be that of the network, {own}; got {wanted}."
        raise InputError(template, "dtype", own=str(own.pop()), wanted=str(wanted))
    return wanted
