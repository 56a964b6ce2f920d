"""Predicting with gequi beside escnn in evaluation mode and a plain CNN, numpy to numpy, on one thread.

Run as a program; it prints the CPU times and their ratios to each other one: medians of runs in turn. The plain CNN
has convolutions with the channels and kernels of the network, and torch's layers between them. `--only` selects networks by
a part of their name. `--batches` shows the time of each batch size for one image instead, from which FEATURES_OF_A_BATCH
(networks/prediction.py) is set.
"""

import argparse
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from support.rows import Row, compared, cpu_seconds, in_turn
from torch import nn

import gequi
from gequi.networks import batch_size_for, evaluating


def conv(fields: object, size: int = 3, **options: object) -> dict:
    return {"layer": "conv", "fields": fields, "kernel_size": size, "padding": size // 2, **options}


def regular(*fields: int, size: int = 3) -> list[dict]:
    return [layer for n in fields for layer in (conv({"regular": n}, size), {"layer": "batch_norm"}, {"layer": "relu"})]


def tutorial() -> list[dict]:
    """The network of escnn's tutorial on C8: six convolutions, three blurred poolings, and the pooling over the group."""
    blur = {"layer": "avg_pool", "antialiased": True}
    return [
        {"layer": "mask", "margin": 1}, conv({"regular": 24}, 7, padding=1), {"layer": "batch_norm"}, {"layer": "relu"},
        *regular(48, size=5), {**blur, "stride": 2}, *regular(48, 96, size=5), {**blur, "stride": 2},
        *regular(96, 64, size=5), {**blur, "stride": 1}, {"layer": "group_pool"}, {"layer": "global_avg_pool"},
        {"layer": "dense", "units": 10},
    ]  # fmt: skip


def gated() -> list[dict]:
    fields = {**conv([["trivial", 16], ["irrep_1", 8], ["irrep_2", 8]], 5)}
    return [layer for _ in range(3) for layer in (fields, {"layer": "batch_norm"}, {"layer": "gated_nonlinearity"})] + [
        {"layer": "norm_pool"}
    ]


def networks() -> dict[str, tuple[torch.nn.Module, tuple[int, ...]]]:
    c4, c8 = (gequi.gspace("rot2dOnR2", N=n) for n in (4, 8))
    make = gequi.equivariant_network
    blog = [conv({"regular": 4}, 3), {"layer": "batch_norm"}, {"layer": "relu"}] * 2 + [conv({"regular": 1}, 3)]
    return {
        "seeds' network, C4": (make(c4, "trivial", blog, seed=1), (32, 32)),
        "tutorial, C8": (make(c8, "trivial", tutorial(), seed=1), (29, 29)),
        "tutorial, C8, 64 x 64": (make(c8, "trivial", tutorial(), seed=1), (64, 64)),
        "64 fields, C8": (make(c8, "trivial", regular(64, 64), seed=1), (29, 29)),
        "octahedral": (make(gequi.gspace("octaOnR3"), "trivial", regular(2, 2), seed=1), (16, 16, 16)),
        "SO(2), gates": (make(gequi.gspace("rot2dOnR2", N=-1), "trivial", gated(), seed=1), (29, 29)),
        "identity_resnet, C8": (gequi.identity_resnet(1, components=2, widths=(16, 64, 128), space=c8, seed=1), (33, 33)),
        "identity_resnet, C4": (gequi.identity_resnet(1, components=2, widths=(16, 64, 128), space=c4, seed=1), (33, 33)),
        "unet, C4": (gequi.unet(levels=2, width=16, space=c4, seed=1), (64, 64)),
        "unet, C8": (gequi.unet(levels=2, width=8, space=c8, seed=1), (64, 64)),
    }  # fmt: skip


# ---- the plain CNN --------------------------------------------------------------------------------------


def plain_cnn(network: torch.nn.Module) -> torch.nn.Module | None:
    """A CNN of torch with the channels and kernels of a network; None if the network has branches."""
    if any(step.branches for step in network.steps):
        return None
    layers: list[torch.nn.Module] = []
    flat = network.space.dimensionality == 2
    norm, pool = (nn.BatchNorm2d, nn.AvgPool2d) if flat else (nn.BatchNorm3d, nn.AvgPool3d)
    for step, layer, options in zip(network.steps, network.layers, network.recipe["layers"], strict=True):
        before, after = step.in_type.size, step.out_type.size
        if step.kind == "conv":
            kind = nn.Conv2d if flat else nn.Conv3d
            layers.append(kind(before, after, layer.kernel_size, layer.stride, layer.padding))
        elif step.kind == "batch_norm":
            layers.append(norm(before))
        elif step.kind in ("relu", "gated_nonlinearity"):
            layers.append(nn.ReLU())
        elif step.kind == "avg_pool":
            layers.append(pool(3, options.get("stride", 1), 1))
        elif step.kind == "global_avg_pool":
            layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        elif step.kind == "dense":
            layers.append(nn.LazyLinear(after))
    channels = network.in_type.size
    for number, layer in enumerate(layers):  # poolings over fields are left out, gates keep their channels
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            if layer.in_channels != channels:
                layers[number] = type(layer)(
                    channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding
                )
            channels = layer.out_channels
    return nn.Sequential(*layers).eval()


# Targets at batch 1 and batch 32, of the ratio to escnn and to the plain CNN.
TARGETS = {
    "seeds' network, C4": ((0.6, 0.5), (None, 1.0)),
    "tutorial, C8": ((0.7, 0.65), (None, 1.0)),
    "tutorial, C8, 64 x 64": ((0.7, 0.65), (None, 1.0)),
    "64 fields, C8": ((0.92, 0.88), (None, 1.0)),
    "octahedral": ((0.4, 0.8), (None, 1.0)),
    "SO(2), gates": ((0.5, 0.5), (None, 1.0)),
}
OTHERS = ((0.7, 0.7), (None, None))
HEAVY = ("tutorial, C8, 64 x 64",)  # left out of the short table


def compare(network: torch.nn.Module, size: tuple[int, ...], batch: int, budget: float) -> dict[str, list[float]]:
    """CPU seconds of gequi, escnn and the plain CNN, if the network has one, run in turn."""
    x = np.random.default_rng(0).normal(size=(batch, 1, *size)).astype(np.float32)
    cnn = plain_cnn(network)
    with evaluating(network), torch.no_grad():

        def ours() -> np.ndarray:
            return gequi.predict(network, x)

        def escnn() -> np.ndarray:
            return network(torch.from_numpy(x)).numpy()

        def plain() -> np.ndarray:
            return cnn(torch.from_numpy(x)).numpy()

        np.testing.assert_allclose(ours(), escnn(), atol=1e-4 * np.abs(escnn()).max())
        works = {"gequi": ours, "escnn": escnn} | ({} if cnn is None else {"a plain CNN": plain})
        return in_turn(works, budget, least=3)


def rows(full: bool, budget: float = 3.0) -> Iterator[Row]:
    for name, (network, size) in networks().items():
        for place, batch in enumerate((1, 32)):
            if not full and (name in HEAVY or (batch == 32 and name.startswith(("64", "unet")))):
                continue
            timed = compare(network, size, batch, 2 * budget if full else budget)
            for peer, targets in zip(("escnn", "a plain CNN"), TARGETS.get(name, OTHERS), strict=True):
                if peer in timed:
                    title = f"predict(), {name}, batch {batch}"
                    yield compared(title, peer, timed, "gequi", peer, targets[place])


def batches(name: str, network: torch.nn.Module, size: tuple[int, ...], count: int = 32) -> None:
    """One line with the least CPU time per image of each batch size."""
    x = np.random.default_rng(0).normal(size=(count, 1, *size)).astype(np.float32)
    taken = {}
    for batch in (1, 2, 4, 8, 16, 32):
        gequi.predict(network, x[:batch], batch_size=batch)
        taken[batch] = min(cpu_seconds(lambda size=batch: gequi.predict(network, x, batch_size=size)) for _ in range(2))
    text = "  ".join(f"{batch}: {1000 * each / count:.2f}" for batch, each in taken.items())
    print(f"{name} {size}, ms per image by batch size: {text}; chosen {batch_size_for(network, x.shape)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--budget", type=float, default=6.0, help="seconds for each row")
    parser.add_argument("--batches", action="store_true")
    parser.add_argument("--only", default="", help="a part of the names of the networks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.batches:
        for name, (network, size) in networks().items():
            batches(name, network, size)
        return
    for row in rows(True, options.budget / 2):
        if options.only in row.name:
            print(f"{row.name:50s} to {row.peer:12s} {row.value:6.2f}  {row.milliseconds:10.2f} ms", flush=True)


if __name__ == "__main__":
    main()
