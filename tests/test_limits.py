"""limits: no count in an argument or a file starts an unbounded computation."""

import time

import numpy as np
import pytest

import gequi
from gequi import _limits as limits
from gequi.errors import GequiError, InputError

C4 = gequi.gspace("rot2dOnR2", N=4)
GREY = {"trivial": 1}
IMAGE = np.ones((1, 1, 5, 5))


def network(*layers, fields=GREY, space=C4):
    return gequi.equivariant_network(space, fields, list(layers), seed=1)


def conv(**options):
    return {"layer": "conv", "fields": {"regular": 1}, "kernel_size": 3, **options}


def fit(**options):
    return gequi.fit(
        network({"layer": "global_avg_pool"}, {"layer": "flatten"}), IMAGE, np.zeros((1, 1)), seed=1, **options
    )


# (a call with a count, the argument that is named)
COUNTS = {
    "gspace N": (lambda n: gequi.gspace("rot2dOnR2", N=n), "N"),
    "gspace dihedral N": (lambda n: gequi.gspace("flipRot2dOnR2", N=n), "N"),
    "gspace group N": (lambda n: gequi.gspace("no_base_space", group="cyclic_group", N=n), "N"),
    "gspace maximum_frequency": (lambda n: gequi.gspace("rot3dOnR3", maximum_frequency=n), "maximum_frequency"),
    "field_type": (lambda n: gequi.field_type(C4, {"regular": n}), "fields"),
    "fourier(L)": (lambda n: gequi.field_type(gequi.gspace("rot2dOnR2"), f"fourier({int(n)})"), "fields|L|representation"),
    "input": (lambda n: network(fields={"trivial": n}), "input"),
    "conv fields": (lambda n: network(conv(fields={"regular": n})), "fields"),
    "conv kernel_size": (lambda n: network(conv(kernel_size=n + 1)), "kernel_size"),
    "conv padding": (lambda n: network(conv(padding=n)), "padding"),
    "conv stride": (lambda n: network(conv(stride=n)), "stride"),
    "max_pool": (lambda n: network({"layer": "max_pool", "kernel_size": n}), "kernel_size"),
    "upsample": (lambda n: network({"layer": "upsample", "scale_factor": n}), "scale_factor"),
    "dense": (lambda n: network({"layer": "dense", "units": n}), "units"),
    "equivariant_resnet blocks": (lambda n: gequi.equivariant_resnet(C4, blocks=n), "blocks"),
    "equivariant_vit patch_size": (lambda n: gequi.equivariant_vit(C4, int(n), patch_size=n), "patch_size|size"),
    "equivariant_vit blocks": (lambda n: gequi.equivariant_vit(C4, 4, blocks=n), "blocks"),
    "patch_embedding": (lambda n: network({"layer": "patch_embedding", "fields": "regular", "patch_size": n}), "patch_size"),
    "unet width": (lambda n: gequi.unet(width=n, seed=1), "width"),
    "unet levels": (lambda n: gequi.unet(levels=n, seed=1), "levels"),
    "unet channels": (lambda n: gequi.unet(channels=n, seed=1), "channels"),
    "identity_resnet": (lambda n: gequi.identity_resnet(widths=[n, n, n], seed=1), "widths"),
    "identity_resnet components": (lambda n: gequi.identity_resnet(components=n, seed=1), "components"),
    "identity_map": (lambda n: gequi.identity_map((n, n)), "shape"),
    "multi_head_attention": (lambda n: gequi.multi_head_attention(dim=n, seed=1), "dim"),
    "fit epochs": (lambda n: fit(epochs=n), "epochs"),
    "fit devices": (lambda n: fit(epochs=1, devices=n), "devices"),
    "invert_input": (lambda n: gequi.invert_input("image_value", np.eye(5), np.eye(5), steps=n), "steps"),
    "permutation_error": (lambda n: gequi.permutation_error(np.square, np.eye(3), 0, 0, n, seed=1), "permutations"),
    "fourier_features": (lambda n: gequi.fourier_features(n, 3, seed=1), "features|"),
}  # fmt: skip


@pytest.mark.parametrize("count", [1e12, 1e30])
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_without_end_is_refused_at_once_by_name(name, count):
    call, argument = COUNTS[name]
    start = time.process_time()
    with pytest.raises(GequiError, match=rf"`(.*\$)?({argument}).*`|{argument}"):
        call(count)
    assert time.process_time() - start < 2


def test_what_is_below_the_limits_of_counts_is_still_refused_where_memory_is_short():
    there = limits.machine_memory()
    assert there > 10**8
    with pytest.raises(InputError, match=r"`shape` is too large: it needs .* of memory; this machine has .* GB"):
        gequi.identity_map((there // 8, 2))
    with pytest.raises(InputError, match=r"`width` is too large: it needs .* of memory"):
        gequi.unet(width=8192, levels=8, seed=1)
    with pytest.raises(InputError, match=r"`kernel_size` is too large: it needs .* TB of memory"):
        network(conv(fields={"trivial": 16_384}, kernel_size=63), conv(fields={"regular": 8192}, kernel_size=63))


def test_sizes_are_readable():
    for size, text in ((24 * 10**9, "24 GB"), (8 * 10**12, "8 TB"), (500, "500 bytes"), (10**30, "1e+09 ZB")):
        with pytest.raises(InputError, match=f"needs {text.replace('+', '[+]')} of memory"):
            limits.check_memory(size, "x") if size > limits.machine_memory() else refuse_small(size)


def refuse_small(size):
    raise InputError("needs {size} of memory", size=limits._readable(size))


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        (lambda recipe: recipe["layers"][0].update(kernel_size=2001), "kernel_size"),
        (lambda recipe: recipe["layers"][0].update(fields={"regular": 10**7}), "fields"),
        (lambda recipe: recipe["space"].update(N=10**6), "N"),
    ],
)
def test_a_model_file_cannot_ask_for_more_than_a_call(tmp_path, change, argument):
    path = tmp_path / "model.gequi"
    asking = network(conv())
    change(asking.recipe)  # as another writer of such files may have it
    gequi.save_model(asking, path)
    with pytest.raises(GequiError, match=f"{argument}.*must be (at most|from)"):
        gequi.load_model(path)
