"""Planning: the layers of a recipe become typed steps before anything is built.

A *kind* of layer is a function from the type of the preceding features and its options to a `Step`, which contains the
type of the output, the change of the image size, and a function that builds the layer. Planning is fast, so R checks
the recipe at each pipe. The layers are built once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .._escnn import FieldType, GroupElement, GSpace, escnn
from .._limits import LARGEST_STEERABLE_KERNEL
from .._recipes import unknown_option
from ..arrays import check_integer
from ..errors import FieldError, GequiError, InputError, ShapeError, nearest
from ..fields import field_type, show_fields

Size = tuple[int, ...]
Flops = Callable[[Size, Size], int]  # of one image, from the sizes before and after a layer


def no_products(before: Size, after: Size) -> int:
    """Return the FLOPs of a layer without products of matrices."""
    return 0


@dataclass(frozen=True)
class Window:
    """A window that slides over an axis, of a convolution or a pooling layer."""

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def _room(self, length: int) -> int:
        return length + 2 * self.padding - self.dilation * (self.kernel_size - 1) - 1

    def after(self, length: int) -> int:
        """Return the number of positions of the window on an axis; it is less than 1 if the window does not fit."""
        return self._room(length) // self.stride + 1

    def left_over(self, length: int) -> int:
        """Return the number of pixels at the far end that no window reaches, or 0 if the windows are symmetric.

        A rotation by 90 degrees, or a reflection, maps the windows onto themselves only if they lie symmetrically on
        the axis: (length + 2 padding - dilation (kernel_size - 1) - 1) must be divisible by the stride.
        """
        return self._room(length) % self.stride


@dataclass
class Step:
    """A planned layer: its effect on types and sizes, a function that builds it, and its plain form."""

    out_type: FieldType
    build: Callable[[], nn.Module]
    plain: Callable[[Any], nn.Module]  # plain form of the built layer in evaluation mode: see plain.py
    window: Window | None = None
    resize: Callable[[int], int] | None = None
    spatial: bool = True  # False: the output has no spatial axes
    never_exact: str = ""  # reason if it breaks exact equivariance at every size
    branches: list[list[Step]] = field(default_factory=list)  # of a residual or a skip layer
    flops: Flops | None = no_products  # None: not known
    to_subgroup: Callable[[GroupElement], GroupElement | None] | None = None
    kind: str = ""
    name: str = ""
    in_type: FieldType | None = None

    def make(self) -> nn.Module:
        """Build the layer. Errors begin with its name."""
        try:
            return self.build()
        except GequiError as error:
            raise named(error, self.name) from error.__cause__

    def after(self, size: Size) -> Size:
        """Return the spatial size after the layer."""
        if not self.spatial:
            if any(length != 1 for length in size):
                raise ShapeError(
                    "{layer}: `{kind}` needs features without spatial extent, one value per channel; these features "
                    "extend over {size}. Put a global_avg_pool before it.",
                    "x", layer=self.name, kind=self.kind, size=size,
                )  # fmt: skip
            return ()
        if self.branches:
            return self._after_branches(size)
        if self.resize:
            return tuple(self.resize(length) for length in size)
        if self.window is None:
            return size
        result = tuple(self.window.after(length) for length in size)
        if any(length < 1 for length in result):
            raise ShapeError(
                "{layer}: features of size {size} are smaller than its window of {kernel_size} "
                "(padding {padding}, dilation {dilation}).",
                "x", layer=self.name, size=size, kernel_size=self.window.kernel_size, padding=self.window.padding,
                dilation=self.window.dilation,
            )  # fmt: skip
        return result

    def _after_branches(self, size: Size) -> Size:
        results = []
        for branch in self.branches:
            through = size
            for step in branch:
                through = step.after(through)
            results.append(through)
        for other in results[1:]:
            if other != results[0]:
                raise ShapeError(
                    "{layer}: the branches end with different sizes, {first} and {other}; pad the convolutions "
                    "inside (padding = (kernel_size - 1) / 2), and use images whose size is divisible by the strides "
                    "inside.",
                    "layers", layer=self.name, first=results[0], other=other,
                )  # fmt: skip
        return results[0]

    def count_flops(self, size: Size) -> int | None:
        """Return the multiplications and additions of the products of matrices for one image, and None if not known."""
        if not self.branches:
            return None if self.flops is None else self.flops(size, self.after(size))
        total = 0
        for branch in self.branches:
            through = size
            for step in branch:
                count = step.count_flops(through)
                if count is None:
                    return None
                total, through = total + count, step.after(through)
        return total

    def inexact(self, size: Size) -> list[dict[str, Any]]:
        """Return the layers inside that break exact equivariance on features of this size, with the reason."""
        if self.branches:
            found = []
            for branch in self.branches:
                through = size
                for step in branch:
                    found += step.inexact(through)
                    through = step.after(through)
            return found
        if self.never_exact:
            return [{"layer": self.name, "kind": self.kind, "size": size, "reason": self.never_exact}]
        lengths = sorted({n for n in size if self.window is not None and self.window.left_over(n)})
        if not lengths or self.window is None:
            return []
        window, length = self.window, lengths[0]
        reason = (
            f"its windows do not lie symmetrically on {length} pixels: {length} + 2 * {window.padding} - "
            f"{window.dilation * (window.kernel_size - 1) + 1} is not divisible by the stride {window.stride}"
        )
        return [{"layer": self.name, "kind": self.kind, "size": size, "reason": reason}]


@dataclass(frozen=True)
class Kind:
    """A kind of layer: its planning function, and its options from the signature of this function."""

    name: str
    summary: str
    plan: Callable[..., Step]
    options: dict[str, inspect.Parameter]


_kinds: dict[str, Kind] = {}


def kind(function: Callable[..., Step]) -> Callable[..., Step]:
    """Register a planning function `plan_<kind>(before, *, options)` as a kind of layer."""
    name = function.__name__.removeprefix("plan_")
    parameters = dict(list(inspect.signature(function).parameters.items())[1:])
    parameters.pop("prefix", None)  # not an option: prefix of the names of layers inside a layer
    summary = (inspect.getdoc(function) or "").split("\n")[0]
    _kinds[name] = Kind(name, summary, function, parameters)
    return function


def layer_kinds() -> list[dict[str, Any]]:
    """List the kinds of layers and their options. This function never fails.

    Returns:
        list of dict: a table with one dict per option of a kind: `kind`, `summary` (of the kind), `option`, `default`
        (None if the option is required or has no default) and `required`. A kind without options has one row with
        `option` None.

    Example:
        >>> sorted({row["kind"] for row in layer_kinds()})[:3]
        ['avg_pool', 'batch_norm', 'conv']
    """
    rows = []
    for each in sorted(_kinds.values(), key=lambda each: each.name):
        options: list[inspect.Parameter | None] = [*each.options.values()] or [None]
        for option in options:
            required = option is not None and option.default is inspect.Parameter.empty
            rows.append(
                {
                    "kind": each.name,
                    "summary": each.summary,
                    "option": option.name if option else None,
                    "default": None if option is None or required else option.default,
                    "required": required,
                }
            )
    return rows


def plan_layers(
    before: FieldType, layers: Sequence[Mapping[str, Any]], argument: str = "layers", prefix: str = ""
) -> list[Step]:
    """Plan a list of layers. Each layer is checked against the output of the previous one.

    Raises:
        InputError: for an unknown kind, option or value. The message names the layer.
        FieldError: if a layer does not accept the fields of the previous layer.
    """
    steps: list[Step] = []
    for number, layer in enumerate(check_layers(layers, argument), start=1):
        steps.append(plan_layer(before, layer, number, argument, prefix))
        before = steps[-1].out_type
    return steps


def check_layers(layers: object, argument: str = "layers") -> Sequence[Any]:
    """Return `layers` if it is a list; otherwise raise an InputError."""
    if isinstance(layers, Mapping | str) or not isinstance(layers, Sequence):
        raise InputError(
            "`{argument}` must be a list of layers, such as {example!r}; got {layers!r:.80}.",
            argument, example={"layer": "relu"}, layers=layers,
        )  # fmt: skip
    return layers


def plan_layer(before: FieldType, layer: Any, number: int, argument: str = "layers", prefix: str = "") -> Step:
    """Plan one layer. Errors begin with its name, such as "layer 2 (conv)". Layers are counted from 1."""
    if not isinstance(layer, Mapping) or not isinstance(layer.get("layer"), str):
        raise InputError(
            "layer {number} must be a mapping with a kind and its options, such as {example!r}; got {layer!r:.80}.",
            argument, number=f"{prefix}{number}", example={"layer": "relu"}, layer=layer,
        )  # fmt: skip
    kind = layer["layer"]
    name = f"layer {prefix}{number} ({kind})"
    if kind not in _kinds:
        raise InputError(
            "{name}: `{argument}` must be one of {choices:list}; got {kind!r}.{hint}",
            "layer", name=name, choices=sorted(_kinds), kind=kind, hint=nearest(kind, _kinds),
        )  # fmt: skip
    chosen = _kinds[kind]
    options = {key: value for key, value in layer.items() if key != "layer" and value is not None}
    try:
        for key in options:
            if key not in chosen.options:
                raise unknown_option(key, kind, chosen.options)
        for key, parameter in chosen.options.items():
            if key not in options and parameter.default is inspect.Parameter.empty:
                raise InputError("`{argument}` is missing.", key)
        if "prefix" in inspect.signature(chosen.plan).parameters:
            options["prefix"] = f"{prefix}{number}."
        step = chosen.plan(before, **options)
    except GequiError as error:
        raise named(error, name) from error.__cause__
    step.kind, step.name, step.in_type = kind, name, before
    return step


def named(error: GequiError, name: str) -> GequiError:
    """Put the name of the layer before the error, unless a layer inside this layer has added its name."""
    return error if str(error).startswith("layer ") else error.within("{inside}: ", inside=name)


# ---- what the kinds share -------------------------------------------------------------------------------


def fields_after(before: FieldType, fields: Any) -> FieldType:
    """Return the type of a layer's option `fields` on the gspace of the preceding features."""
    return field_type(before.gspace, fields)


def convolution_flops(before: FieldType, after: FieldType, kernel_size: int, groups: int = 1) -> Flops:
    """Return the FLOPs of a convolution, for each position of its window."""
    products = before.size * after.size * kernel_size**before.gspace.dimensionality // groups
    return lambda _, size: 2 * products * math.prod(size)


def blur_flops(before: FieldType, kernel_size: int) -> Flops:
    """Return the FLOPs of a convolution of each channel with one kernel."""
    return lambda _, size: 2 * before.size * kernel_size**before.gspace.dimensionality * math.prod(size)


def dimension_of(before: FieldType, *allowed: int) -> int:
    """Return the dimension of the base space, which must be one of `allowed`."""
    dimension = before.gspace.dimensionality
    if dimension not in allowed:
        names = {0: "vectors (no base space)", 2: "images", 3: "volumes"}
        raise FieldError(
            "the layer works on {allowed}; the features before it are {found}.",
            "layers", allowed=" and ".join(names[d] for d in allowed), found=names[dimension],
        )  # fmt: skip
    return int(dimension)


def need_pointwise(before: FieldType) -> None:
    """Raise a FieldError for fields on which a pointwise map is not equivariant."""
    for representation in before.representations:
        if "pointwise" not in representation.supported_nonlinearities:
            raise FieldError(
                "the layer acts on each channel alone, which is equivariant only on fields whose channels the group "
                "permutes (trivial, regular, quotient); the fields before it are {fields}. Use norm_nonlinearity, "
                "gated_nonlinearity or fourier_elu, which suit every field.",
                "layers", fields=show_fields(before),
            )  # fmt: skip


def without_base(space: GSpace) -> GSpace:
    """Return the gspace of the same group without a base space, for features without spatial axes."""
    return escnn.gspaces.no_base_space(space.fibergroup)


def odd(value: object, argument: str) -> int:
    """Check an odd kernel size. An even kernel has no central pixel that the group preserves."""
    size = check_integer(value, argument, minimum=1, maximum=LARGEST_STEERABLE_KERNEL)
    if size % 2 == 0:
        raise InputError(
            "`{argument}` must be odd, so that the kernel has a central pixel, which the group keeps in place; got {size}.",
            argument, size=size,
        )  # fmt: skip
    return size
