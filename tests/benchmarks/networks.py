"""The time of building a network and of predicting with it, beside escnn.

Run as a program; it prints one table. Ratios are medians of pairs run in turn, so a machine that slows down slows both.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import gequi
from gequi._escnn import GeometricTensor, escnn


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> None:
    ours(), theirs()  # warm: bases and caches are those of a second network
    timed = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
    ratio = statistics.median(a / b for a, b in timed)
    a, b = (statistics.median(column) for column in zip(*timed, strict=True))
    print(f"{name:52s} {1000 * a:10.1f} {1000 * b:10.1f} {ratio:8.3f}")


def layers(fields: int, size: int) -> list[dict]:
    convolution = {"layer": "conv", "fields": {"regular": fields}, "kernel_size": size, "padding": size // 2}
    return [convolution, {"layer": "batch_norm"}, {"layer": "relu"}, convolution]


def escnn_network(space: object, fields: int, size: int) -> torch.nn.Module:
    one = escnn.nn.FieldType(space, [space.trivial_repr])
    many = escnn.nn.FieldType(space, [space.regular_repr] * fields)
    return escnn.nn.SequentialModule(
        escnn.nn.R2Conv(one, many, size, padding=size // 2),
        escnn.nn.InnerBatchNorm(many),
        escnn.nn.ReLU(many),
        escnn.nn.R2Conv(many, many, size, padding=size // 2),
    )


def main() -> None:
    torch.set_num_threads(1)
    space = gequi.gspace("rot2dOnR2", N=8)
    print(f"{'':52s} {'gequi, ms':>10s} {'escnn, ms':>10s} {'ratio':>8s}")
    for fields in (8, 32):
        compare(
            f"building conv - norm - relu - conv, C8, {fields} fields",
            lambda fields=fields: gequi.equivariant_network(space, "trivial", layers(fields, 5), seed=1),
            lambda fields=fields: escnn_network(space, fields, 5),
            5,
        )
    for fields, image, batch in ((4, 17, 1), (4, 17, 64), (16, 64, 4)):
        ours = gequi.equivariant_network(space, "trivial", layers(fields, 5), seed=1)
        theirs = escnn_network(space, fields, 5).eval()
        x = np.random.default_rng(0).normal(size=(batch, 1, image, image)).astype(np.float32)
        features = GeometricTensor(torch.tensor(x), theirs.in_type)
        with torch.no_grad():
            compare(
                f"predicting {batch} of {image} x {image}, C8, {fields} fields",
                lambda ours=ours, x=x: gequi.predict(ours, x),
                lambda theirs=theirs, features=features: theirs(features),
                11,
            )


if __name__ == "__main__":
    main()
