"""Every export x every bad value: the valid calls, the bad values, and what comes of each.

This is the one table of the exports: `tests/test_guards.py` makes its calls and takes its arrays from it. `python tests/guards.py` prints the table of counts; with names of exports it is limited to them. Of a valid call one
argument at a time is replaced by each bad value, and each two neighbours are swapped. What may come of it is a result
without NaN, or an error of gequi's own that names the argument; see `outcome_of()`.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import copy
import dataclasses
import datetime
import decimal
import functools
import io
import itertools
import linecache
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from matplotlib.figure import Figure

import gequi

SECONDS, BYTES = 2.0, 500_000_000  # what one call may cost
FOLDER = Path(tempfile.mkdtemp(prefix="gequi-guards-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
RANDOM = np.random.default_rng(5)
C4 = gequi.gspace("rot2dOnR2", N=4)
GREY = {"trivial": 1}
MATRIX = RANDOM.uniform(1, 2, (5, 5))
BATCH = RANDOM.uniform(1, 2, (2, 1, 5, 5))
POINTS = RANDOM.normal(size=(5, 2))
IMAGE = gequi.sample_image("volcano")[:32, :32]


# ---- the valid calls ------------------------------------------------------------------------------------


@functools.cache
def network() -> Any:
    layers = [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}, {"layer": "global_avg_pool"},
              {"layer": "group_pool"}, {"layer": "dense", "units": 2}]  # fmt: skip
    return gequi.equivariant_network(C4, GREY, layers, seed=1)


@functools.cache
def feature_network() -> Any:
    return gequi.equivariant_network(C4, GREY, [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}], seed=1)


@functools.cache
def points_network() -> Any:
    return gequi.equivariant_network(C4, GREY, [{"layer": "lifting_attention", "fields": {"regular": 2}}], seed=1)


@functools.cache
def found() -> Any:
    return gequi.register_images(IMAGE, IMAGE, transform="translation")


@functools.cache
def stack() -> Any:
    return gequi.register_stack([IMAGE, IMAGE], "rigid", mirror=False)


@functools.cache
def group() -> Any:
    return gequi.group_mean([IMAGE, IMAGE], "translation", rounds=1)


@functools.cache
def folder_of_notes() -> Path:
    """A folder of somebody else, with no images in it."""
    folder = FOLDER / "notes"
    folder.mkdir(exist_ok=True)
    (folder / "notes.txt").write_text("not an image")
    return folder


@functools.cache
def folder_of_images() -> Path:
    folder = FOLDER / "images"
    folder.mkdir()
    for number, image in enumerate(BATCH):
        np.save(folder / f"{number}.npy", image.astype(np.float32))
    return folder


@functools.cache
def transform_file() -> str:
    return gequi.write_transform(found(), FOLDER / "a.nii.gz")


@functools.cache
def slide() -> str:
    """A large image of the size of those of found()."""
    import tifffile

    tifffile.imwrite(FOLDER / "slide.tif", np.asarray(IMAGE, np.float32))
    return str(FOLDER / "slide.tif")


@functools.cache
def model_file() -> str:
    return gequi.save_model(network(), FOLDER / "model.gequi")


@functools.cache
def job() -> Path:
    from gequi.training.cluster import work

    gequi.prepare_job(FOLDER / "job", network(), BATCH, np.arange(2), epochs=1, seed=1, device="cpu")
    work(FOLDER / "job")
    return FOLDER / "job"


@functools.cache
def prediction() -> Path:
    from gequi.folders.prediction import work

    gequi.prepare_prediction(FOLDER / "prediction", network(), folder_of_images(), device="cpu")
    work(FOLDER / "prediction")
    return FOLDER / "prediction"


@functools.cache
def registrations() -> Path:
    gequi.register_folder(TABLE, FOLDER / "registrations")
    return FOLDER / "registrations"


_counter = iter(range(10**9))


def new(ending: str = "") -> Path:
    """A path at which there is nothing."""
    return FOLDER / f"new-{next(_counter)}{ending}"


@functools.cache
def pose() -> Any:
    layers = [{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}, {"layer": "global_avg_pool"}]
    return gequi.equivariant_network(C4, GREY, layers, seed=1)


def scores(x: Any) -> Any:
    return np.stack([x.mean((1, 2, 3)), x[:, 0, 0, 0]], 1)


def squares(x: Any) -> Any:
    return x * x


def same(x: Any) -> Any:
    return x


Y = np.arange(2)
OPTIONS_OF_FIT = dict(loss=None, epochs=1, batch_size=2, learning_rate=1e-3, optimizer="adam", schedule="constant",
                      validation=None, augment=None, class_weights=None, ignore=None, precision=None, device="cpu",
                      seed=1, checkpoint=None, patience=None, devices=1, nodes=1, batches=None)  # fmt: skip
MAP = gequi.identity_map((5, 5)) + 0.25
SMALL = {"seed": 1, "dtype": "float32"}
TABLE = [{"moving": "missing-1.png", "fixed": "missing-2.png"}]  # a row with its error, which takes no time
SEARCH = dict(transform="translation", contrast="same", dtype="float32")

# The valid call of each export, all arguments by name. Where an argument has no name of its own (`*operands`), the
# call is made by a function of `CALLS`.
ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "as_dot": lambda: dict(trace=gequi.trace_shapes(network(), (1, 1, 5, 5)), direction="TB"),
    "broadcast_over": lambda: dict(f=same, axis="c", spec="a c -> a c", operand_1=MATRIX),
    "canonicalize": lambda: dict(model=squares, canonicalizer=pose(), input=GREY, output=GREY, refine=True),
    "cayley_table": lambda: dict(space=C4),
    "collect_job": lambda: dict(folder=job(), model=copy.deepcopy(network())),
    "collect_prediction": lambda: dict(folder=prediction()),
    "collect_registration": lambda: dict(folder=registrations()),
    "compose_maps": lambda: dict(outer=MAP, inner=MAP),
    "conformal_sets": lambda: dict(
        model=scores, x=BATCH, y=np.array([0, 1]), space=C4, level=0.5, method="lac", input=GREY, rotate=True,
        probabilities=False, seed=1,
    ),
    "einsum": lambda: dict(spec="i j, j k -> i k", operand_1=MATRIX, operand_2=MATRIX, dtype="float64"),
    "equivariance_error": lambda: dict(f=squares, x=BATCH, space=C4, input=GREY, output=GREY, elements=[1], dtype="float64"),
    "equivariant_network": lambda: dict(
        space=C4, input=GREY, layers=[{"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3}], **SMALL
    ),
    "equivariant_resnet": lambda: dict(
        space=C4, channels=1, classes=2, widths=(4, 8), blocks=1, kernel_size=3, enlarge=False, nonlinearity="elu",
        antialiased=False, margin=1.0, output="logits", **SMALL,
    ),
    "equivariant_vit": lambda: dict(
        space=C4, size=6, input="trivial", output={"trivial": 2}, variant="tiny", patch_size=3, stem="patches", dense=False,
        pool="mean", width=8, blocks=1, heads=1, key_dim=2, window=3, dropout=0.0, qk_norm=True, learn_frequencies=True,
        mlp_ratio=1.0, **SMALL,
    ),
    "evaluate": lambda: dict(model=network(), x=BATCH, y=Y, loss="cross_entropy", batch_size=2, ignore=None, by="all", progress=None),
    "evaluate_registration": lambda: dict(found=found(), landmarks=(MATRIX[:, :2], MATRIX[:, :2]), labels=None),
    "export_model": lambda: dict(model=network(), path=new(".pt"), input_shape=(1, 1, 5, 5), format="torchscript", dtype="float32"),
    "field_type": lambda: dict(space=C4, fields={"regular": 2}),
    "fit": lambda: dict(model=copy.deepcopy(network()), x=BATCH, y=Y, **OPTIONS_OF_FIT, progress=None, callbacks=None),
    "fit_canonicalizer": lambda: dict(
        x=BATCH, space=C4, network=pose(), epochs=1, batch_size=2, learning_rate=1e-3, seed=1, device="cpu", progress=None
    ),
    "fourier_features": lambda: dict(x=MATRIX, features=3, bandwidth=0.1, phase="uniform", seed=1, dtype="float64"),
    "get_weights": lambda: dict(model=network()),
    "gram_image": lambda: dict(a=MATRIX),
    "group_elements": lambda: dict(space=C4),
    "gsa_network": lambda: dict(
        space=C4, input="trivial", units=2, fields=1, blocks=1, heads=1, key_dim=4, frequencies=1, window=3, dropout=0.0,
        qk_norm=True, positions="additive", mlp_ratio=2.0, patch_size=1, size=None, pool="mean",
        attention="posewise", **SMALL,
    ),
    "gspace": lambda: dict(name="rot2dOnR2", N=4, maximum_frequency=3),
    "gspaces": lambda: {},
    "identity_map": lambda: dict(shape=(3, 4), dtype="float64"),
    "identity_resnet": lambda: dict(channels=1, classes=2, components=1, widths=(4, 4, 4, 4), output="logits", space=None, **SMALL),
    "image_classifier_mlp": lambda: dict(input_shape=(1, 5, 5), hidden=(4, 4), classes=2, output="logits", space=None, **SMALL),
    "image_files": lambda: dict(x=folder_of_images(), labels=None, size=None, resize="stretch", channels=None),
    "image_product": lambda: dict(a=MATRIX, b=MATRIX, rows="exp", columns="exp", normalize=True),
    "image_value": lambda: dict(a=MATRIX, f="plus_one"),
    "invert_function": lambda: dict(
        x=MATRIX[0], y=MATRIX[1], query=MATRIX[2], kernel="gaussian", bandwidth=0.1, temperature=1.0, phase="uniform",
        refine=1, features=10, seed=1, weights=False, dtype="float64",
    ),
    "invert_input": lambda: dict(
        f="gram_image", target=MATRIX, start=MATRIX, steps=1, learning_rate=1e-3, optimizer="adam", loss="norm",
        dtype="float64", progress=None,
    ),
    "invert_map": lambda: dict(map=MAP, shape=None, steps=3),
    "is_equivariant": lambda: dict(
        f=squares, x=BATCH, space=C4, input=GREY, output=GREY, elements=[1], dtype="float64", tolerance=1e-3
    ),
    "layer_kinds": lambda: {},
    "local_equivariance_error": lambda: dict(
        model=squares, x=BATCH, by="model", motions=["x"], space=C4, input=GREY, output=GREY, dtype="float64"
    ),
    "load_model": lambda: dict(path=model_file()),
    "map_jacobian": lambda: dict(map=MAP, spacing=None, moving_spacing=None, matrix=False),
    "multi_head_attention": lambda: dict(dim=4, heads=2, key_dim=None, bias=False, **SMALL),
    "normalize_columns": lambda: dict(x=MATRIX, f="exp"),
    "normalize_image": lambda: dict(x=MATRIX),
    "normalize_rows": lambda: dict(x=MATRIX, f="exp"),
    "oscillatory_warp": lambda: dict(a=MATRIX, amplitude=-1.0, period=3.0),
    "output_shape": lambda: dict(network=network(), input_shape=(1, 1, 5, 5)),
    "permutation_error": lambda: dict(f=squares, x=MATRIX, input=0, output=0, permutations=2, seed=1, dtype="float64"),
    "plot_equivariance": lambda: dict(
        network=feature_network(), x=BATCH[:1], element=1, field=0, space=None, input=None, output=None, dtype="float32"
    ),
    "plot_equivariance_error": lambda: dict(errors=[{"name": "a", "exact": True, "error": 0.1}]),
    "plot_group_mean": lambda: dict(mean=group(), type="variability", slice=None, axis=0),
    "plot_gspace": lambda: dict(space=C4, representation="regular", elements=[0, 1], image=MATRIX),
    "plot_history": lambda: dict(history=[{"epoch": 1, "loss": 0.5}]),
    "plot_image": lambda: dict(x=MATRIX, titles=["a"], limits=(0, 2)),
    "plot_inverse_function": lambda: dict(found={"output": MATRIX[0].tolist(), "weights": MATRIX}, type="weights"),
    "plot_inverted_input": lambda: dict(
        found={"solution": MATRIX, "loss": MATRIX[0], "best_step": 1}, start=MATRIX, target=MATRIX
    ),
    "plot_local_equivariance_error": lambda: dict(errors=gequi.local_equivariance_error(squares, BATCH)),
    "plot_network": lambda: dict(model=network(), input_shape=(1, 1, 5, 5), depth=1),
    "plot_registration": lambda: dict(found=found(), type="grid", slice=None, axis=0, squares=4),
    "plot_stack": lambda: dict(stack=stack(), type="side", axis=0, position=None),
    "plot_trace": lambda: dict(trace=gequi.trace_shapes(network(), (1, 1, 5, 5)), depth=1),
    "predict": lambda: dict(model=network(), x=BATCH, batch_size=2, dtype="float32", precision="bfloat16", progress=None),
    "predict_folder": lambda: dict(model=network(), images=folder_of_images(), type="raw", batch_size=2, device="cpu", devices=1),
    "group_mean": lambda: dict(
        images=[IMAGE, IMAGE], transform="translation", spacing=None, start=0, rounds=1, tolerance=0.05, mask="none",
        min_probability=0.5, interpolation="linear", dtype="float32", device="cpu", progress=None,
    ),
    "register_stack": lambda: dict(
        images=[IMAGE, IMAGE], reach=1, mirror=False, mask="none", min_probability=0.5, interpolation="linear", fill=0.0,
        device="cpu", progress=None, transform="rigid", contrast="same", dtype="float32",
    ),
    "register_folder": lambda: dict(
        images=TABLE, folder=new(), fixed=None, dimension=2, spacing=None, moving_spacing=None, **SEARCH, mirror=False,
        mask="auto", min_probability=0.5, warped=True, device="cpu", workers=1, progress=None,
    ),
    "prepare_registration": lambda: dict(
        folder=new(), images=TABLE, fixed=None, dimension=2, spacing=None, moving_spacing=None, **SEARCH, mirror=False,
        mask="auto", min_probability=0.5, warped=True, device="cpu", devices=1, nodes=1, metadata=None,
    ),
    "predict_points": lambda: dict(
        network=points_network(), x=BATCH[:, 0, :1, :], points=POINTS, mask=None, dtype="float32"
    ),
    "prepare_job": lambda: dict(folder=new(), model=network(), x=BATCH, y=Y, metadata=None, **OPTIONS_OF_FIT),
    "prepare_prediction": lambda: dict(
        folder=new(), model=network(), images=folder_of_images(), type="raw", batch_size=2, device="cpu", devices=1,
        nodes=1, metadata=None,
    ),
    "read_slide": lambda: dict(path=slide(), size=32, step=None),
    "read_transform": lambda: dict(
        path=transform_file(), spacing=None, origin=None, cosines=None, moving_spacing=None, moving_origin=None, moving_cosines=None
    ),
    "rearrange": lambda: dict(x=MATRIX, spec="(a b) c -> a b c", a=5),
    "register_curves": lambda: dict(
        a=MATRIX[0], b=MATRIX[1], x=MATRIX[2], kernel="gaussian", bandwidth=0.1, temperature=1.0, phase="uniform",
        refine=0, features=10, seed=1, weights=False, dtype="float64",
    ),
    "register_images": lambda: dict(
        moving=IMAGE, fixed=IMAGE, spacing=None, moving_spacing=None, moving_mask=None, fixed_mask=None, **SEARCH,
        mirror=False, mask="auto", encoder=None, initial=np.eye(2, 3), min_probability=0.5, interpolation="cubic",
        fill=0.0, device="cpu", on_error="stop", progress=None,
    ),
    "registration_encoder": lambda: dict(
        images=None, contrast="same", dimension=2, steps=1, minutes=0.001, learning_rate=None, seed=1, device="cpu", progress=None
    ),
    "registration_steps": lambda: dict(moving=IMAGE, fixed=IMAGE, token=None, **SEARCH),
    "representation_matrix": lambda: dict(space=C4, representation="regular", element=1),
    "representations": lambda: dict(space=C4),
    "sample_image": lambda: dict(name="volcano"),
    "save_model": lambda: dict(model=network(), path=new(".gequi"), metadata=None),
    "scaled_dot_product_attention": lambda: dict(
        query=MATRIX, key=MATRIX, value=MATRIX, scale=None, mask=MATRIX > 0, weights=False, dtype="float64"
    ),
    "set_weights": lambda: dict(model=copy.deepcopy(network()), weights=gequi.get_weights(network())),
    "signed_image": lambda: dict(x=MATRIX),
    "softmax": lambda: dict(x=MATRIX, axis=0, dtype="float64"),
    "symmetrize": lambda: dict(model=squares, space=C4, input=GREY, output=GREY),
    "symmetry_report": lambda: dict(model=squares, x=BATCH, spaces=[C4], input=GREY, output=GREY, dtype="float64"),
    "to_grayscale": lambda: dict(x=BATCH[0].transpose(1, 2, 0)),
    "trace_shapes": lambda: dict(model=network(), input_shape=(1, 1, 5, 5)),
    "transform_slide_points": lambda: dict(
        found=found(), points=MATRIX[:, :2], moving=slide(), fixed=slide(), direction="moving_to_fixed",
        return_std=False, extrapolate=False,
    ),
    "transform_field": lambda: dict(x=BATCH, type=gequi.field_type(C4, GREY), element=1),
    "unet": lambda: dict(channels=1, classes=2, levels=1, width=2, variant="ronneberger", space=None, **SMALL),
    "visual_attention": lambda: dict(channels=2, key_dim=2, heads=1, kernel_size=1, stride=1, bias=False, **SMALL),
    "warp_image": lambda: dict(image=MATRIX, map=MAP, interpolation="linear", fill=None),
    "warp_points": lambda: dict(points=MATRIX[:, :2], map=MAP),
    "warp_slide": lambda: dict(
        found=found(), moving=slide(), fixed=slide(), path=new(".tif"), interpolation="linear", fill=0.0,
        progress=None,
    ),
    "write_image": lambda: dict(x=MATRIX / 2, path=new(".png"), limits=(0, 1), bits=8, quality=90),
    "write_transform": lambda: dict(
        found=found(), path=new(".nii.gz"), direction="moving_to_fixed", linear=False, format=None, origin=None,
        cosines=None, moving_origin=None, moving_cosines=None, overwrite=False,
    ),
}  # fmt: skip

# How to call what has arguments without a name.
CALLS: dict[str, Callable[..., Any]] = {
    "broadcast_over": lambda f, axis, spec, operand_1: gequi.broadcast_over(f, axis, spec)(operand_1),
    "einsum": lambda spec, operand_1, operand_2, dtype: gequi.einsum(spec, operand_1, operand_2, dtype=dtype),
}


# ---- the bad values -------------------------------------------------------------------------------------


class Thing:
    """An object that gequi knows nothing of."""


def _closed_file() -> Any:
    with open(__file__, "rb") as file:
        return file


# Whatever an argument is, it may be given these. Each is made anew for each call.
VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "False": lambda: False,
    "-1": lambda: -1,
    "0": lambda: 0,
    "1": lambda: 1,
    "300": lambda: 300,
    "0.5": lambda: 0.5,
    "1e-300": lambda: 1e-300,
    "1e30": lambda: 1e30,
    "1e300": lambda: 1e300,
    "10**30": lambda: 10**30,
    "10**400": lambda: 10**400,
    "NaN": lambda: float("nan"),
    "Inf": lambda: float("inf"),
    "-Inf": lambda: float("-inf"),
    "complex": lambda: 1 + 2j,
    "decimal": lambda: decimal.Decimal("1.5"),
    "numpy integer": lambda: np.int8(3),
    "numpy NaN": lambda: np.float32("nan"),
    "text": lambda: "banana",
    "empty text": lambda: "",
    "long text": lambda: "x" * 5000,
    "text with braces": lambda: "{0} {x!r} %s \x00",
    "bytes": lambda: b"abc",
    "date": lambda: datetime.date(2020, 1, 1),
    "time": lambda: datetime.datetime(2020, 1, 1),
    "datetime64": lambda: np.datetime64("2020-01-01"),
    "dates": lambda: np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]"),
    "dict": lambda: {"a": 1},
    "empty dict": dict,
    "dict of numbers": lambda: {1: 2},
    "list": lambda: [1, 2, 3],
    "empty list": list,
    "list of text": lambda: ["a", "b"],
    "ragged list": lambda: [[1, 2], [3]],
    "list of None": lambda: [None, None],
    "list with itself": lambda: (lambda x: (x.append(x), x)[1])([1]),
    "tuple of one": lambda: (1,),
    "huge shape": lambda: (10**6, 10**6, 10**6, 10**6),
    "shape of NaN": lambda: (float("nan"), 5, 5, 5),
    "set": lambda: {1, 2},
    "range": lambda: range(3),
    "generator": lambda: (each for each in (1, 2)),
    "function": lambda: squares,
    "function without arguments": lambda: dict,
    "failing function": lambda: lambda *_: 1 / 0,
    "module": lambda: types,
    "class": lambda: Thing,
    "object": Thing,
    "exception": lambda: ValueError("no"),
    "closed file": _closed_file,
    "Ellipsis": lambda: ...,
    "data frame": lambda: _pandas().DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}),
    "categories": lambda: _pandas().Categorical(["a", "b"]),
    "sparse": lambda: scipy.sparse.csr_matrix(np.eye(5)),
    "sparse tensor": lambda: torch.eye(5).to_sparse(),
    "tensor without values": lambda: torch.empty(5, 5, device="meta"),
    "bfloat16": lambda: torch.ones(5, 5, dtype=torch.bfloat16),
    "dtype": lambda: torch.int32,
    "structured": lambda: np.zeros(3, dtype=[("a", "f8"), ("b", "i4")]),
    "objects": lambda: np.array([1, "a", None], dtype=object),
    "void": lambda: np.zeros(3, dtype="V4"),
    "empty array": lambda: np.zeros((0, 5)),
    "array of one": lambda: np.ones((1, 1)),
    "no axes": lambda: np.array(2.0),
    "nine axes": lambda: np.ones((1,) * 9),
    "huge array": lambda: np.broadcast_to(np.float64(1), (10**7, 10**7)),
    "gspace": lambda: C4,
    "field type": lambda: gequi.field_type(C4, GREY),
    "network": network,
    "registration": found,
    "missing file": lambda: str(new("/file.npy")),
    "folder": lambda: str(folder_of_notes()),
}
# What else an array may be replaced by: of the valid one, another kind.
KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "reversed": lambda x: x[(slice(None, None, -1),) * x.ndim],
    "transposed": lambda x: x.T,
    "column-major": np.asfortranarray,
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "read-only": lambda x: np.broadcast_to(x, x.shape),
    "memory-mapped": lambda x: _mapped(x),
    "masked": lambda x: np.ma.masked_array(x, x > x.mean()),
    "matrix": lambda x: np.asmatrix(x.reshape(len(x), -1)),
    "an axis less": lambda x: x[0],
    "an axis more": lambda x: x[None],
    "halved": lambda x: x[: len(x) // 2],
    "a NaN": lambda x: _with(x, np.nan),
    "an Inf": lambda x: _with(x, np.inf),
    "beyond float32": lambda x: x * 1e39,
    "its square overflows": lambda x: x / x.max() * 1e160,
    "negative and its square overflows": lambda x: x / x.max() * -1e160,
    "near the end of float64": lambda x: x / x.max() * 1e307,
    "at the end of float64": lambda x: np.full(x.shape, 1.7e308),
    "negative": lambda x: x * -1,
    "tiny": lambda x: x * 1e-310,
    "zeros": lambda x: x * 0,
    "text in an array": lambda x: x.astype(str),
    "objects in an array": lambda x: x.astype(object),
    "a list": lambda x: x.tolist(),
    "a tensor with a gradient": lambda x: torch.tensor(x.astype(np.float64), requires_grad=True),
    "a conjugate": lambda x: torch.tensor(x.astype(np.complex128)).conj(),
    **{dtype: functools.partial(lambda dtype, x: _of_type(x, dtype), dtype) for dtype in (
        "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", ">f4",
        ">i4", ">f8", "longdouble", "complex64", "datetime64[D]", "S4",
    )},
}  # fmt: skip
# The kinds that are the same numbers as a plain float64 array of the same values.
SAME_NUMBERS = ("reversed", "column-major", "every other", "read-only", "memory-mapped", "a list", "bool", "int8", "uint64",
                "float16", ">f8", ">i4", "longdouble")  # fmt: skip


def _pandas() -> Any:
    import pandas

    return pandas


def _mapped(x: np.ndarray) -> np.ndarray:
    path = new(".npy")
    np.save(path, x)
    return np.load(path, mmap_mode="r")


def _of_type(x: np.ndarray, dtype: str) -> np.ndarray:
    """An array in another type: flags by a threshold, and of fractions ten times as much in a type of whole numbers."""
    if x.dtype.kind == "f" and np.dtype(dtype).kind in "iub":
        x = x > np.median(x) if dtype == "bool" else 10 * x
    return x.astype(dtype)


def _with(x: np.ndarray, value: float) -> np.ndarray:
    x = x.astype(np.float64)
    x.flat[0] = value
    return x


# What is valid, and starts processes or trains for long.
COSTLY = {("fit", "devices"), ("register_folder", "workers"), ("predict_folder", "devices"), ("fit", "epochs"), ("fit_canonicalizer", "epochs"), ("gsa_network", "blocks"), ("equivariant_vit", "blocks"), ("equivariant_resnet", "blocks"),
          ("identity_resnet", "components")}  # fmt: skip
MANY = ("300", "numpy integer", "no axes")


def arrays_of(name: str) -> Iterator[tuple[str, str, np.ndarray, Callable[[Any], dict[str, Any]]]]:
    """Each array among the valid arguments of an export, or in one of them: the argument, its entry, the array
    and how to make the arguments of the call with another one in its place.
    """
    for argument, value in ROWS[name]().items():
        if isinstance(value, np.ndarray):
            yield argument, "", value, lambda x, argument=argument: {**ROWS[name](), argument: x}
        elif isinstance(value, dict | tuple):
            for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
                if isinstance(entry, np.ndarray):
                    yield argument, f"{key}: ", entry, functools.partial(_with_entry, name, argument, key)


def _with_entry(name: str, argument: str, key: Any, x: Any) -> dict[str, Any]:
    given = ROWS[name]()
    entries = dict(given[argument]) if isinstance(given[argument], dict) else list(given[argument])
    entries[key] = x
    return {**given, argument: type(given[argument])(entries)}


def cases(name: str) -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
    """The argument, the bad value and how to make the arguments of the call; then two arguments each that are swapped."""
    valid = ROWS[name]()
    for argument in valid:
        for label, make in VALUES.items():
            if label in MANY and (name, argument) in COSTLY:
                continue
            yield argument, label, lambda argument=argument, make=make: {**ROWS[name](), argument: make()}
    for argument, entry, value, place in arrays_of(name):
        for label, change in KINDS.items():
            yield argument, entry + label, lambda change=change, value=value, place=place: place(change(value))
    names = list(valid)
    for first, second in itertools.pairwise(names):
        yield (
            first,
            f"{SWAPPED}{second}",
            lambda a=first, b=second: {**ROWS[name](), a: ROWS[name]()[b], b: ROWS[name]()[a]},
        )


# ---- what comes of a call -------------------------------------------------------------------------------

MAY_BE_NAN = {  # exports whose documented result has NaN, and of which arguments
    "rearrange": {"x"},
    "evaluate_registration": None,
    "plot_image": {"x"},  # which shows them as they are
    "transform_slide_points": {"points"},  # outside the images
    "warp_image": {"fill"},
    "register_images": {"fill"},
    "register_stack": {"fill"},
    "group_mean": None,  # the change in the first round
}


class Hang(BaseException):
    """A call that takes too long: no `except Exception` may hold it back."""


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """Ends what is inside after its seconds of processor time, and after ten times as many of any."""

    def ring(number: int, frame: Any) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, ring)
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, 10 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


SWAPPED = "swapped with "


def outcome_of(name: str, argument: str, label: str, make: Callable[[], dict[str, Any]]) -> tuple[str, str]:
    """What comes of a call: "refused", "worked", "passed on" (an error of a function
    that was given), or what must not be ("foreign", "unnamed", "NaN", "changed", "hang",
    "memory", "printed", "crash"), with the reason.
    """
    with np.errstate(all="ignore"):
        given = make()
    before, memory = fingerprint(given), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = io.StringIO()
    fate, reason, value = "worked", "", None
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), alarm():
            warnings.simplefilter("ignore")
            value = CALLS.get(name, getattr(gequi, name))(**given)
    except gequi.GequiError as error:
        fate, reason = "refused", str(error)
        if not names_argument(name, argument, label, error):
            fate = "unnamed"
        elif len(reason) > 1500:
            fate, reason = "long", reason[:300]
    except Hang:
        return "hang", f"more than {SECONDS} s"
    except Exception as error:
        ours = [each for each in traceback.extract_tb(error.__traceback__) if "/gequi/" in each.filename][-1:]
        place = f"{Path(ours[0].filename).name}:{ours[0].lineno} {ours[0].line}" if ours else ""
        fate = "passed on" if is_of_function(error, given.get(argument)) else "foreign"
        reason = f"{type(error).__name__}: {str(error)[:150]} @ {place}"
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory > BYTES / 1024:
        return "memory", reason
    if fate in ("worked", "refused") and said.getvalue():
        return "printed", said.getvalue()[:200]
    mutates = name in ("fit", "set_weights", "collect_job") and fate == "worked"
    if fate in ("worked", "refused") and not mutates and fingerprint(given) != before:
        return "changed", reason
    value = [value, given.get("model")] if mutates else value
    may_be_nan = MAY_BE_NAN.get(name, set())
    if fate == "worked" and may_be_nan is not None and argument not in may_be_nan and has_nan(value):
        return "NaN", str(value)[:150]
    return fate, reason


def is_of_function(error: Exception, function: Any) -> bool:
    """Whether an error arose in the call of a function that was given: such an error is the caller's own."""
    if not callable(function):
        return False
    for frame, line in traceback.walk_tb(error.__traceback__):
        for callee in re.findall(r"([A-Za-z_][\w.]*)\(", linecache.getline(frame.f_code.co_filename, line)):
            with contextlib.suppress(Exception):
                if eval(callee, frame.f_globals, frame.f_locals) is function:
                    return True
    return False


# Errors that rightly name another argument than the bad one: of two that do not fit each other, the second.
OTHERS: dict[tuple[str, str], set[str]] = {
    ("einsum", "operand_2"): {"operand_1"},  # of a product that is too large, the first
    ("equivariance_error", "f"): {"space"},  # a network has a space and fields of its own
    ("equivariance_error", "x"): {"f(x)"},
    ("equivariant_vit", "patch_size"): {"size"},
    ("evaluate", "ignore"): {"y"},
    ("evaluate", "x"): {"y"},
    ("evaluate_registration", "found"): {"landmarks"},  # a pair for each registration
    ("fit", "nodes"): {"batch_size"},  # an example for each process
    ("fit", "x"): {"y"},
    ("fit", "ignore"): {"y"},
    ("gsa_network", "patch_size"): {"size"},
    ("identity_resnet", "space"): {"widths"},  # multiples of the order of the group
    ("image_value", "a"): {"f"},  # whose weights must not be negative
    ("invert_function", "bandwidth"): {"y"},  # over which the values are too large
    ("invert_input", "f"): {"target"},  # of the shape of f(start)
    ("invert_input", "start"): {"target"},
    ("invert_input", "target"): {"start"},
    ("is_equivariant", "f"): {"space"},
    ("is_equivariant", "x"): {"f(x)"},
    ("map_jacobian", "moving_spacing"): {"map"},  # the product of the two is too large
    ("permutation_error", "x"): {"f(x)"},
    ("plot_equivariance", "network"): {"space"},  # which a function does not have
    ("plot_inverted_input", "found"): {"start"},  # of the shape of the solution
    ("prepare_job", "x"): {"y"},
    ("prepare_job", "ignore"): {"y"},
    ("prepare_job", "devices"): {"batch_size"},  # an example for each process
    ("prepare_job", "nodes"): {"batch_size"},
    ("register_curves", "bandwidth"): {"a"},  # over which the values are too large
    ("register_images", "moving_spacing"): {"fixed", "moving"},  # too few pixels of the larger spacing
    ("rearrange", "x"): {"a"},
    ("register_stack", "mirror"): {"images"},  # which are not mirrored
    ("local_equivariance_error", "model"): {"space"},  # a network has a space and fields of its own
    ("local_equivariance_error", "x"): {"input", "model(x)"},
    ("scaled_dot_product_attention", "key"): {"value"},
    ("scaled_dot_product_attention", "query"): {"mask"},
    ("symmetrize", "model"): {"input", "output"},  # of as many channels as a network has
    ("symmetry_report", "input"): {"x"},  # of as many channels
    ("symmetry_report", "model"): {"output"},
    ("symmetry_report", "x"): {"model(x)"},
    ("unet", "space"): {"width"},
}


def names_argument(name: str, argument: str, label: str, error: gequi.GequiError) -> bool:
    """Whether an error names the bad argument, or an entry of it; where two are swapped, one of them."""
    known = {argument, *OTHERS.get((name, argument), ())}
    if label.startswith(SWAPPED):
        known.add(label.removeprefix(SWAPPED))
    known |= {each.replace("_", " ") for each in known if each.startswith("operand")}
    return any(
        re.search(rf"`{re.escape(each)}(?!\w)", str(error))
        or (each.startswith("operand ") and each in str(error))
        or each == (error.argument or "").split("$")[0]
        for each in known
    )


def fingerprint(value: Any, deep: int = 0) -> Any:
    """What a value is, to see whether a call has changed it."""
    if isinstance(value, np.ndarray):
        return value.shape, str(value.dtype), value.tobytes() if value.size < 10**5 and value.dtype != object else 0
    if isinstance(value, torch.nn.Module):
        state = [(key, each.tolist() if each.device.type != "meta" else 0) for key, each in value.state_dict().items()]
        return state, value.training, [each.requires_grad for each in value.parameters()]
    if isinstance(value, torch.Tensor):
        plain = value.layout == torch.strided and value.device.type == "cpu"
        return value.dtype, value.shape, value.requires_grad, str(value.tolist()) if plain else 0
    if isinstance(value, dict):
        return [(str(key), fingerprint(each, deep + 1)) for key, each in value.items()]
    if isinstance(value, list | tuple) and deep < 4:
        return [type(value), *(fingerprint(each, deep + 1) for each in value)]
    return type(value)


def numbers(value: Any) -> np.ndarray:
    """All floating-point numbers, integers and flags in a result, in one row."""
    if isinstance(value, torch.nn.Module):
        return numbers(list(value.parameters()))
    if isinstance(value, torch.Tensor):
        return numbers(value.detach().to_dense().double().numpy()) if value.device.type == "cpu" else np.zeros(0)
    if isinstance(value, Figure):
        return numbers([image.get_array() for axes in value.axes for image in axes.images])
    if dataclasses.is_dataclass(value):
        return numbers([getattr(value, each.name) for each in dataclasses.fields(value)])
    if isinstance(value, dict):  # how long it took is no result
        return numbers([each for key, each in value.items() if key != "seconds"])
    if isinstance(value, list | tuple):
        return np.concatenate([np.zeros(0), *map(numbers, value)])
    if isinstance(value, np.ndarray | np.generic | float | int) and np.asarray(value).dtype.kind in "fiub":
        return np.asarray(value, dtype=np.float64).ravel()
    return np.zeros(0)


def has_nan(value: Any) -> bool:
    """Whether there is NaN or Inf in a result."""
    return not bool(np.isfinite(numbers(value)).all())


FINE = ("refused", "worked", "passed on")
# Exports whose valid calls take long: a quick run makes each third or each tenth of their calls, a whole run all of them.
EVERY = {
    **dict.fromkeys(("collect_job", "export_model", "gsa_network", "plot_gspace", "prepare_job", "registration_steps"), 3),
    **dict.fromkeys((
        "fit", "fit_canonicalizer", "group_mean", "plot_group_mean", "plot_inverted_input", "plot_registration",
        "register_folder", "register_images", "register_stack", "set_weights",
    ), 10),
}  # fmt: skip


def examine(name: str, every: int = 1) -> tuple[collections.Counter[str], list[str]]:
    """How many calls of an export come to what, and those that come to what must not be."""
    counts: collections.Counter[str] = collections.Counter()
    bad = []
    for argument, label, make in itertools.islice(cases(name), None, None, every):
        fate, reason = outcome_of(name, argument, label, make)
        counts[fate] += 1
        if fate not in FINE:
            bad.append(f"{name}({argument} = {label}): {fate}: {reason}")
    return counts, bad


def row(name: str, counts: collections.Counter[str]) -> str:
    """A line of the table of counts."""
    bad = sum(counts.values()) - sum(counts[fate] for fate in FINE)
    return f"{name:30}{sum(counts.values()):8}" + "".join(f"{counts[fate]:10}" for fate in FINE) + f"{bad:10}"


BAD = ("foreign", "unnamed", "NaN", "changed", "hang", "memory", "printed", "long")


def in_short(counts: collections.Counter[str], exports: int) -> str:
    """The counts of some exports in a line."""
    fates = ", ".join(f"{fate} {counts[fate]}" for fate in (*FINE, *BAD))
    return f"{sum(counts.values())} calls of {exports} exports: {fates}"


HEADER = f"{'export':30}{'calls':>8}" + "".join(f"{fate:>10}" for fate in FINE) + f"{'other':>10}"


def main(names: list[str]) -> int:
    os.chdir(FOLDER)
    total: collections.Counter[str] = collections.Counter()
    print(HEADER)
    for name in names or ROWS:
        counts, bad = examine(name)
        total.update(counts)
        print("\n    ".join([row(name, counts), *bad]), flush=True)
    print(row("all", total))
    print(in_short(total, len(names or ROWS)))
    return int(any(total[fate] for fate in total if fate not in FINE))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
