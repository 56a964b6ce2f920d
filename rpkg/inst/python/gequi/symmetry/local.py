"""The local equivariance error: the derivative of f(g x) - g f(x) for the smallest motions g, by Lie derivatives."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .._escnn import FieldType, GSpace, float_type
from ..arrays import as_array, as_numpy, check_choice, check_dtype, entries, own_tensor
from ..errors import InputError, ShapeError
from ..fields import parse_fields
from ..geometry.grids import pixel_grid
from ..geometry.sampling import grid_sample
from ..layers.plain import plain_layers
from ..networks import EquivariantNetwork, evaluating, predict, with_dtype
from .averaging import SymmetrizedModel
from .canonical import CanonicalizedModel
from .foreign import FunctionModule, as_module, module_type, with_type
from .generators import MOTIONS, generate, velocity
from .measures import image_lengths, length, mean_and_interval
from .tangents import contributions, stages_of

STEP = 1e-4  # of the central differences for models that have no derivatives, whose error is that of its square
AT_ONCE = 16  # images


def local_equivariance_error(
    model: Any,
    x: Any,
    by: str = "model",
    motions: Any = None,
    space: GSpace | None = None,
    input: Any = None,
    output: Any = None,
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """Measure how fast a model loses equivariance under small rotations, scalings and translations, also by layer.

    With T_t a motion by t, the Lie derivative of the model f is L f(x) = d/dt T_t^-1 f(T_t x) at t = 0. It is 0 if f is
    equivariant. The error is its length relative to that of the output, per unit of t:

        error = mean over the images of |L f(x)| / |f(x)|

    |.| is the root mean square over the disc that no rotation leaves. Images are the cubic splines through their pixels.
    For the rotation by a small angle a, `rms` of `equivariance_error()` is about |a| times the error of "rotation".

    With `by` = "layer", the derivative is the sum of the contributions of the layers. Each contribution is propagated to
    the output by the layers after it. A layer is listed only if the output depends on the input through this layer alone.
    A block with a shortcut is therefore one layer.

    Args:
        model: a model of any kind that `symmetrize()` accepts. For models without derivatives, such as functions,
            predictors and files, differences of steps of 1e-4 are used.
        x: array (batch, channel, row, column), or (row, column): images, or a single one with one channel.
        by: str: "model" or "layer", for networks and torch modules.
        motions: str or list of str, optional: of "rotation" (per radian), "scale" (per unit of the logarithm), "x" and
            "y" (per pixel of the input). None measures all.
        space: GSpace, optional: a gspace of the plane, for `input` and `output`. Networks declare their own.
        input: dict, list or FieldType, optional: the fields of `x`. None takes all channels as trivial.
        output: dict, list or FieldType, optional: the fields of the output. None takes all channels as trivial.
        dtype: str, optional: "float32" or "float64". None uses the type of the model, and "float64" for functions.

    Returns:
        list of dict: a table with one dict per motion, and by layer one per motion and layer: `motion`, `unit`, with
        "layer" `layer` (its number) and `name`, and `error` with `error_low` and `error_high` (the 95 % interval of the
        mean by Student's t; None for one image). The operations after the last layer are called "output".

    Raises:
        InputError, FieldError: for a model without layers, an unknown motion, or an output that is 0 inside the disc.
        ShapeError: if `x` is not images, or the output is neither images nor (batch, channel).

    Source:
        Gruver, Finzi, Goldblum and Wilson (2023), The Lie derivative for measuring learned equivariance, arXiv
        2210.02984.

    Example:
        >>> import gequi, numpy as np
        >>> x = gequi.sample_image("volcano")[None, None, :61, :61]
        >>> rows = local_equivariance_error(np.square, x)
        >>> [row["motion"] for row in rows]
        ['rotation', 'scale', 'x', 'y']
        >>> local_equivariance_error(lambda x: x * np.arange(61), x, motions="y")[0]["error"] < 1e-6
        True
    """
    check_choice(by, "by", ("model", "layer"))
    chosen = list(MOTIONS) if motions is None else [check_choice(each, "motions", MOTIONS) for each in entries(motions)]
    if not chosen:
        raise InputError("`{argument}` is empty; {none!r} is the default.", "motions", none=None)
    array = as_array(x, "x", ndim=(2, 4), axes="(row, column) or (batch, channel, row, column)")
    array = array[None, None] if array.ndim == 2 else array
    module, kept, types = _prepared(model, space, input, output, dtype)
    exact = not any(isinstance(part, FunctionModule | torch.jit.ScriptModule) for part in module.modules())
    if by == "layer" and not exact:
        raise InputError(
            "`{argument}` = {layer!r} is for networks and torch modules, which have layers.", "by", layer="layer"
        )
    kind = next((part.kind.dtype for part in module.modules() if isinstance(part, FunctionModule)), module_type(module))
    value = predict(module, array)
    _check_output(array, value, types)
    parts: dict[tuple[str, str], list[np.ndarray]] = {}
    with evaluating(module):
        for start in range(0, len(array), AT_ONCE):
            images = own_tensor(array[start : start + AT_ONCE], kind, argument="x")
            output_part = torch.as_tensor(value[start : start + AT_ONCE])
            stages = stages_of(module, images, kept) if by == "layer" else []
            for motion in chosen:
                found = _lie_derivatives(module, images, output_part, motion, types, stages, exact)
                names = [stage.name for stage in stages] + ["output"]
                for name, each in zip(names, found, strict=True):
                    parts.setdefault((motion, name), []).append(image_lengths(as_numpy(each)))
    return _table(parts, length(value), by)


def _table(parts: dict[tuple[str, str], list[np.ndarray]], scale: float, by: str) -> list[dict[str, Any]]:
    table = []
    numbers: dict[str, int] = {}
    for (motion, name), lengths in parts.items():
        place = numbers[motion] = numbers.get(motion, -1) + 1
        values = np.concatenate(lengths) / scale
        if name == "output" and by == "layer" and not values.any():
            continue  # the last layer is the output
        row: dict[str, Any] = {"motion": motion, "unit": MOTIONS[motion]}
        table.append(
            {**row, **({"layer": place, "name": name} if by == "layer" else {}), **mean_and_interval(values, "error")}
        )
    return table


def _lie_derivatives(
    module: nn.Module, x: torch.Tensor, value: torch.Tensor, motion: str, types: Sequence[FieldType | None],
    stages: Any, exact: bool,
) -> list[torch.Tensor]:  # fmt: skip
    """Return the contributions of the stages and of what follows, which without stages is the whole derivative."""
    stride = x.shape[2] / value.shape[2] if value.ndim == 4 else 1.0
    stride = stages[-1].stride if stages and value.ndim == 4 else max(1.0, round(stride)) if stride >= 1 else stride
    end = generate(value, motion, types[1], stride)
    if not exact:
        moved = [_moved(x, motion, sign * STEP, types[0]) for sign in (1, -1)]
        with torch.no_grad():
            forward, back = (module(each) for each in moved)
        return [(forward - back) / (2 * STEP) - end]
    return contributions(module, x, motion, generate(x, motion, types[0]), stages, end)


def _moved(x: torch.Tensor, motion: str, step: float, fields: FieldType | None) -> torch.Tensor:
    """Return images moved by a small step along a straight line. The spline is mirrored at the ends."""
    size = tuple(x.shape[2:])
    points = pixel_grid(size, torch.float64)[None] - step * velocity(size, motion)[None]
    last = torch.tensor(size, dtype=torch.float64).reshape(1, 2, 1, 1) - 1
    points = last - (last - points.abs()).abs()
    sampled = grid_sample(x.double(), points.expand(len(x), -1, -1, -1), "cubic", "border")
    turned = sampled if fields is None else sampled + step * (
        generate(sampled, motion, fields) - generate(sampled, motion)
    )  # fmt: skip
    return turned.to(x)


def _prepared(
    model: Any, space: Any, input: Any, output: Any, dtype: Any
) -> tuple[nn.Module, dict[nn.Module, FieldType], tuple[FieldType | None, FieldType | None]]:
    """Return a module of plain tensors, the fields of its layers, and the fields of its input and output."""
    wanted = None if dtype is None else check_dtype(dtype)
    if isinstance(model, EquivariantNetwork | SymmetrizedModel | CanonicalizedModel):
        for name, given in (("space", space), ("input", input), ("output", output)):
            if given is not None:
                raise InputError("`{argument}` is declared by the network; leave it out.", name)
        types = model.in_type, model.out_type
        if model.in_type.gspace.dimensionality != 2:
            raise InputError("`{argument}` must be a network of the plane.", "model")
        if isinstance(model, EquivariantNetwork):
            return *_layers_of(model, wanted), types
        return model if wanted is None else with_type(model, wanted), {}, types
    found: list[FieldType | None] = []
    for name, fields in (("input", input), ("output", output)):
        if fields is not None and not isinstance(fields, FieldType):
            if space is None:
                raise InputError("`{argument}` is missing: `{fields:name}` needs it.", "space", fields=name)
            fields = parse_fields(space, fields, name)
        found.append(fields)
    module = as_module(model, "model")
    return module if wanted is None else with_type(module, wanted), {}, (found[0], found[1])


def _layers_of(network: EquivariantNetwork, dtype: torch.dtype | None) -> tuple[nn.Module, dict[nn.Module, FieldType]]:
    """Return the plain layers of a network, one module per layer, and the fields after each."""
    source = network if dtype is None else with_dtype(network, str(dtype).removeprefix("torch."))
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    fields: dict[nn.Module, FieldType] = {}
    with torch.no_grad(), float_type(source.dtype), evaluating(source):
        for number, (step, layer) in enumerate(zip(source.steps, source.layers, strict=True), start=1):
            plain = plain_layers([step], [layer])
            if plain:
                part = nn.Sequential(*plain) if len(plain) > 1 else plain[0]
                parts[f"{number} {step.kind}"] = part
                fields[part] = step.out_type
    return nn.Sequential(parts).requires_grad_(False), fields


def _check_output(x: np.ndarray, value: np.ndarray, types: Sequence[FieldType | None]) -> None:
    if value.ndim not in (2, 4):
        raise ShapeError(
            "`{argument}` must return images or (batch, channel); it returned shape {shape}.",
            "model",
            shape=value.shape,
        )
    for argument, fields, channels in (("input", types[0], x.shape[1]), ("output", types[1], value.shape[1])):
        if fields is not None and fields.size != channels:
            raise ShapeError(
                "`{argument}` must have as many channels as the features, {channels}; got {size}.",
                argument, channels=channels, size=fields.size,
            )  # fmt: skip
        if fields is not None and fields.gspace.dimensionality not in (0, 2):
            raise InputError("`{argument}` must be fields of the plane.", argument)
    if not length(value):
        raise InputError("`{argument}` gives an output of zeros inside the disc, so no relative error is defined.", "x")
