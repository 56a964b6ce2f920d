"""architectures: the results of R and Python are equal, plain and equivariant."""

import json

import numpy as np
import pytest

import gequi

MODELS = [
    (
        "image_classifier_mlp",
        {"input_shape": [2, 9, 9], "hidden": [8, 8], "classes": 3, "output": "probabilities"},
        (2, 2, 9, 9),
    ),
    ("identity_resnet", {"components": 2, "widths": [8, 16, 32]}, (2, 3, 17, 17)),
    ("unet", {"levels": 2, "width": 8, "variant": "circuit"}, (1, 1, 16, 8)),
    ("unet", {"levels": 2, "width": 8, "dtype": "float64"}, (1, 1, 16, 8)),
]


@pytest.mark.parametrize("space", [None, 4])
@pytest.mark.parametrize(("name", "options", "shape"), MODELS)
def test_architectures(r, same, random, name, options, shape, space):
    of_r = {} if space is None else {"space": r.gspace("rot2dOnR2", N=space)}
    of_python = {} if space is None else {"space": gequi.gspace("rot2dOnR2", N=space)}
    theirs = getattr(r, name)(seed=5, **options, **of_r)
    ours = getattr(gequi, name)(seed=5, **options, **of_python)
    x = random.normal(size=shape)
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x).astype(np.float64))
    if space is not None:
        recipe = r.code('reticulate::import("json")$dumps(reticulate::r_to_py(network)$recipe)', network=theirs)
        assert json.loads(recipe[0]) == json.loads(json.dumps(ours.recipe))


def test_the_residual_network_for_every_angle(r, same, random):
    options = {"channels": 2, "classes": 3, "widths": [8, 16], "blocks": 1, "kernel_size": 3, "nonlinearity": "elu",
               "antialiased": True, "enlarge": True, "margin": 2, "output": "probabilities", "seed": 5, "dtype": "float64"}  # fmt: skip
    theirs = r.equivariant_resnet(r.gspace("flipRot2dOnR2", N=4), **options)
    ours = gequi.equivariant_resnet(gequi.gspace("flipRot2dOnR2", N=4), **options)
    x = random.normal(size=(2, 2, 9, 8))
    same(r.value(r.predict(theirs, x)), gequi.predict(ours, x))
    recipe = r.code('reticulate::import("json")$dumps(reticulate::r_to_py(network)$recipe)', network=theirs)
    assert json.loads(recipe[0]) == json.loads(json.dumps(ours.recipe))
    defaults = r.code("sum(lengths(get_weights(x)))", x=r.equivariant_resnet(r.gspace("rot2dOnR2", N=16), seed=1))
    weights = gequi.get_weights(gequi.equivariant_resnet(gequi.gspace("rot2dOnR2", N=16), seed=1))
    assert r.value(defaults) == sum(weight.size for weight in weights.values())


def test_defaults_have_the_same_parameters(r):
    for theirs, ours in (
        (r.image_classifier_mlp(seed=1), gequi.image_classifier_mlp(seed=1)),
        (r.identity_resnet(seed=1), gequi.identity_resnet(seed=1)),
        (r.unet(seed=1), gequi.unet(seed=1)),
    ):
        weights = gequi.get_weights(ours)
        assert r.value(r.code("sum(lengths(get_weights(x)))", x=theirs)) == sum(
            weight.size for weight in weights.values()
        )
