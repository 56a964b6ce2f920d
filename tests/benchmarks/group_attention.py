"""Group self-attention beside torch.nn.MultiheadAttention and beside a dense array of position scores; digits, turned.

Run as a program; it prints its tables. Times are of forward and backward, on one core; ratios are medians of pairs
run in turn, so a machine that slows down slows both. Peak memory is what torch allocates in one step beyond what it
held before.

    python tests/benchmarks/group_attention.py            # cost
    python tests/benchmarks/group_attention.py digits     # trains for some minutes
    python tests/benchmarks/group_attention.py posewise   # posewise_attention_block beside torch's TransformerEncoderLayer
    python tests/benchmarks/group_attention.py vit        # equivariant_vit() beside torch's TransformerEncoder; memory
"""

import itertools
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

import gequi
from gequi.group_attention import PoseAttention, pixel_points
from gequi.networks import draw_weights, evaluating

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # else each profile prints lines of the profiler on stderr
SPACE = gequi.gspace("rot2dOnR2", N=4)
LENGTHS = (14, 20, 28)  # of the image; 4 poses a pixel: 784, 1600, 3136 tokens
BATCH, HEADS = 4, 4


class Dense(nn.Module):
    """The same scores as PoseAttention, with those of positions as an array (heads, token, token)."""

    def __init__(self, attention: PoseAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        a, (poses, count) = self.attention, x.shape[2:]
        maps = functional.linear(
            x.flatten(2).mT,
            torch.cat([a.query, a.key, a.value]),
            torch.cat([a.query_bias, a.key_bias, a.value_bias]),
        )
        query, key, value = maps.unflatten(2, (3, a.heads, a.key_dim)).permute(2, 0, 3, 1, 4)
        # The usual form of relative positions: one score for each pair, independent of the content of the query.
        one = torch.ones(1, a.heads, poses, count, a.key_dim)
        phases = a.scores.phases(points)
        rows, columns = (
            a.scores.of_queries(one, phases)[..., a.key_dim :],
            a.scores.of_keys(one, phases, one[..., :1])[..., a.key_dim :],
        )
        scores = rows.flatten(2, 3) @ columns.flatten(2, 3).mT / math.sqrt(a.key_dim)
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=scores)
        return functional.linear(out.transpose(1, 2).flatten(2), a.output, a.output_bias).mT.unflatten(
            2, (poses, count)
        )


def work(kind: str, width: int, length: int):
    """A function that runs one forward and backward step."""
    torch.manual_seed(1)
    x = torch.randn(BATCH, width, 4, length**2, requires_grad=True)
    tokens = x.detach().flatten(2).mT.contiguous().requires_grad_()
    if kind in ("torch", "torch with weights"):
        module = nn.MultiheadAttention(width, HEADS, batch_first=True)
        return lambda: module(tokens, tokens, tokens, need_weights=kind != "torch")[0].sum().backward()
    positions = "rotary" if kind == "rotary" else "additive"
    options = {"frequencies": 2, "dropout": 0, "qk_norm": True, "positions": positions}
    attention = PoseAttention(SPACE, (width, width), False, HEADS, width // HEADS, **options)
    draw_weights(attention, 1)
    module = Dense(attention) if kind == "dense" else attention
    return lambda: module(x, pixel_points((length, length), x)).sum().backward()


def seconds(step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def extra_megabytes(step) -> float:
    """The peak of what torch allocates in one step, beyond what there was before it."""
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        step()
    with tempfile.TemporaryDirectory() as folder:
        run.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(f"{folder}/trace.json").read_text())["traceEvents"]
    memory = sorted((e for e in events if e["name"] == "[memory]"), key=lambda event: event["ts"])
    held = [event["args"]["Total Allocated"] for event in memory]
    return (max(held) - (held[0] - memory[0]["args"]["Bytes"])) / 2**20


def cost() -> None:
    print("forward and backward, ms; then peak memory, MB; in brackets relative to torch's")
    kinds = ("torch", "rotary", "additive", "torch with weights", "dense")
    print(f"{'width':>6s}{'tokens':>7s} |" + 2 * ("".join(f"{kind[:13]:>15s}" for kind in kinds) + " |"))
    for width in (32, 64, 128):
        used: dict[str, list[float]] = {kind: [] for kind in kinds}
        for length in LENGTHS:
            steps = {kind: work(kind, width, length) for kind in kinds[:3]}
            for step in steps.values():
                step()
            timed = [[seconds(step) for step in steps.values()] for _ in range(5 if length < 28 else 3)]
            spent = [1000 * statistics.median(column) for column in zip(*timed, strict=True)]
            spent += [1000 * seconds(work(kind, width, length)) for kind in kinds[3:]]
            ratios = [statistics.median(row[k] / row[0] for row in timed) for k in range(3)]
            ratios += [each / spent[0] for each in spent[3:]]
            for kind, column in used.items():
                column.append(extra_megabytes(work(kind, width, length)))
            peaks = [column[-1] for column in used.values()]
            shown = [f"{t:8.0f} ({r:4.2f})" for t, r in zip(spent, ratios, strict=True)]
            held = [f"{m:8.0f} ({m / peaks[0]:4.1f})" for m in peaks]
            print(f"{width:6d}{4 * length**2:7d} |{''.join(shown)} |{''.join(held)} |", flush=True)
        tokens = np.log([4 * length**2 for length in LENGTHS])
        exponents = {kind: np.polyfit(tokens, np.log(column), 1)[0] for kind, column in used.items()}
        print("memory grows as tokens to the power of " + ", ".join(f"{k} {e:.2f}" for k, e in exponents.items()))


# ---- posewise attention ---------------------------------------------------------------------------------


def posewise() -> None:
    """Compare blocks of equal width, D4 and 8 heads, in CPU time of forward and backward, one image a step."""
    options = {
        "block": {},
        "fixed frequencies": {"learn_frequencies": False},
        "without qk_norm": {"qk_norm": False},
        "fixed, without": {"learn_frequencies": False, "qk_norm": False},
    }
    print("posewise_attention_block / TransformerEncoderLayer: CPU time of forward and backward, medians of pairs")
    print(
        f"{'width':>6s}{'tokens':>7s}{'torch, ms':>10s}" + "".join(f"{name:>19s}" for name in options) + "  parameters"
    )
    space = gequi.gspace("flipRot2dOnR2", N=4)
    for width, length in itertools.product((128, 256, 512, 1024), (14, 28)):
        if (width, length) != (1024, 28):
            theirs = nn.TransformerEncoderLayer(
                width, 8, 4 * width, dropout=0, activation="gelu", batch_first=True, norm_first=True
            )
            x = torch.randn(1, width, length, length)
            tokens = x.flatten(2).mT.contiguous()
            steps = [lambda layer=theirs, x=tokens: layer(x).square().mean().backward()]
            for each in options.values():
                layers = [{"layer": "posewise_attention_block", **each}]
                ours = gequi.equivariant_network(space, {"regular": width // 8}, layers, seed=1)
                steps.append(lambda layer=ours, x=x: layer(x).square().mean().backward())
            for step in steps:
                step()
            timed = [[cpu_seconds(step) for step in steps] for _ in range(9 if length < 28 else 5)]
            ratios = [statistics.median(row[k] / row[0] for row in timed) for k in range(1, len(steps))]
            weights = [sum(p.numel() for p in model.parameters()) for model in (ours, theirs)]
            print(
                f"{width:6d}{length**2:7d}{1000 * statistics.median(row[0] for row in timed):10.1f}"
                + "".join(f"{ratio:19.2f}" for ratio in ratios)
                + f"{weights[0] / weights[1]:12.3f}",
                flush=True,
            )


class PlainTransformer(nn.Module):
    """A vision transformer of torch's own layers, with learned positions."""

    def __init__(self, channels: int, width: int, blocks: int, tokens: int, patch: int, classes: int = 10) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, 8, 4 * width, dropout=0, activation="gelu", batch_first=True, norm_first=True
        )
        self.embedding = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.blocks = nn.TransformerEncoder(layer, blocks, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.embedding(x).flatten(2).mT + self.positions).mean(1))


def vit() -> None:
    """Compare whole networks of equal depth, width and tokens, D4 and 8 heads, one color image a step; then memory."""
    space = gequi.gspace("flipRot2dOnR2", N=4)
    print(
        "equivariant_vit() / plain vision transformer, 196 tokens: CPU time of forward and backward, medians of pairs"
    )
    print(f"{'width':>6s}{'blocks':>7s}{'torch, ms':>10s}{'ratio':>7s}{'predict':>9s}{'parameters':>12s}")
    for width, blocks in ((192, 4), (256, 4), (384, 4), (768, 2)):
        plain = PlainTransformer(3, width, blocks, 196, 16)
        ours = gequi.equivariant_vit(
            space, 224, {"trivial": 3}, width=width, blocks=blocks, patch_size=16, stem="patches", seed=1
        )
        x = torch.randn(1, 3, 224, 224)
        image = x.numpy()
        steps = [lambda model=model, x=x: model(x).square().mean().backward() for model in (plain, ours)]
        steps += [lambda model=model, x=image: gequi.predict(model, x) for model in (plain, ours)]
        for step in steps:
            step()
        timed = [[cpu_seconds(step) for step in steps] for _ in range(9 if width < 768 else 5)]
        ratios = [statistics.median(row[k + 1] / row[k] for row in timed) for k in (0, 2)]
        weights = [sum(p.numel() for p in model.parameters()) for model in (ours, plain)]
        spent = 1000 * statistics.median(row[0] for row in timed)
        print(
            f"{width:6d}{blocks:7d}{spent:10.1f}{ratios[0]:7.2f}{ratios[1]:9.2f}{weights[0] / weights[1]:12.3f}",
            flush=True,
        )
    print("posewise_attention_block / TransformerEncoderLayer: peak memory of forward and backward beyond the weights")
    for width, length in ((256, 14), (256, 28), (768, 14)):
        theirs = PlainTransformer(3, width, 1, length**2, 1).blocks.layers[0]
        layers = [{"layer": "posewise_attention_block"}]
        ours = gequi.equivariant_network(space, {"regular": width // 8}, layers, seed=1)
        x = torch.randn(1, width, length, length, requires_grad=True)
        tokens = x.detach().flatten(2).mT.contiguous().requires_grad_()
        held = [
            extra_megabytes(lambda model=model, x=x: model(x).square().mean().backward())
            for model, x in ((ours, x), (theirs, tokens))
        ]
        print(f"{width:6d} wide, {length**2:4d} tokens: {held[0]:6.1f} / {held[1]:6.1f} MB = {held[0] / held[1]:.2f}")


def cpu_seconds(step) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


# ---- digits ---------------------------------------------------------------------------------------------


def digits() -> None:
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = zoom(x.reshape(-1, 1, 8, 8) / 16, (1, 1, 21 / 8, 21 / 8), order=1, grid_mode=True, mode="nearest")
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    options = {"patch_size": 3, "size": 21, "blocks": 2, "heads": 4, "pool": "max", "attention": "pairwise"}
    cases = {
        "C4, upright": gequi.gsa_network(SPACE, fields=16, seed=1, **options),
        "plain attention, upright": gequi.gsa_network(gequi.gspace("trivialOnR2"), fields=16, seed=1, **options),
    }
    print(f"{'trained':28s}{'parameters':>11s}{'seconds':>9s}{'upright':>9s}{'90':>8s}{'180':>8s}{'270':>8s}")
    for name, net in cases.items():
        spent = train(net, x_train, y_train)
        right = [
            100 * np.mean(gequi.predict(net, np.rot90(x_test, turns, (2, 3))).argmax(1) == y_test) for turns in range(4)
        ]
        size = sum(p.numel() for p in net.parameters())
        print(f"{name:28s}{size:11d}{spent:9.0f}" + "".join(f"{r:9.2f}" for r in right), flush=True)


def train(net: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int = 20) -> float:
    images, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    steps = epochs * math.ceil(len(x) / 32)
    optimizer = torch.optim.Adam(net.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    generator = torch.Generator().manual_seed(1)
    start = time.perf_counter()
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(32):
            optimizer.zero_grad()
            functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    with evaluating(net):
        return time.perf_counter() - start


if __name__ == "__main__":
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["digits"]:
            digits()
        case ["posewise"]:
            posewise()
        case ["vit"]:
            vit()
        case _:
            cost()
