"""attention: the results of R and Python are equal."""

import numpy as np
import pytest

import gequi


def test_softmax(r, same, random):
    x = random.normal(size=(3, 4, 5))
    for axis in (0, 1, 2):
        same(r.value(r.softmax(x, axis=axis + 1)), gequi.softmax(x, axis))
    same(r.value(r.softmax(x)), gequi.softmax(x))
    same(r.value(r.softmax(x, dtype="float32")), gequi.softmax(x, dtype="float32").astype(np.float64))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaled_dot_product_attention(r, same, random, dtype):
    query, key, value = random.normal(size=(2, 5, 4)), random.normal(size=(7, 4)), random.normal(size=(2, 7, 3))
    mask = np.where(random.normal(size=(5, 7)) > 1, -np.inf, 0.5)
    for options in ({}, {"scale": 0.3}, {"mask": mask}):
        ours = gequi.scaled_dot_product_attention(query, key, value, dtype=dtype, **options)
        same(
            r.value(r.scaled_dot_product_attention(query, key, value, dtype=dtype, **options)), ours.astype(np.float64)
        )
    ours = gequi.scaled_dot_product_attention(query, key, value, weights=True)
    same(r.value(r.scaled_dot_product_attention(query, key, value, weights=True)), ours)
    flags = r.code("mask > 0", mask=mask)
    same(r.value(r.scaled_dot_product_attention(query, key, value, mask=flags)),
         gequi.scaled_dot_product_attention(query, key, value, mask=mask > 0))  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"heads": 2}, {"heads": 2, "key_dim": 3, "bias": True, "dtype": "float64"}])
def test_multi_head_attention(r, same, random, options):
    theirs, ours = r.multi_head_attention(8, seed=3, **options), gequi.multi_head_attention(8, seed=3, **options)
    query, context = random.normal(size=(3, 5, 8)), random.normal(size=(3, 7, 8))
    same(r.value(r.predict(theirs, query, context)), gequi.predict(ours, query, context).astype(np.float64))
    same(r.value(r.predict(theirs, query)), gequi.predict(ours, query).astype(np.float64))
    weights = {name: weight.astype(np.float64) for name, weight in gequi.get_weights(ours).items()}
    same(r.value(r.get_weights(theirs)), weights)
    halved = {name: weight / 2 for name, weight in weights.items()}
    changed = r.set_weights(theirs, halved)
    gequi.set_weights(ours, halved)
    same(
        r.value(r.predict(changed, query, context, batch_size=2)),
        gequi.predict(ours, query, context, batch_size=2).astype(float),
    )


@pytest.mark.parametrize("options", [{}, {"key_dim": 2, "heads": 3, "kernel_size": 3, "stride": 2, "bias": True}])
def test_visual_attention(r, same, random, options):
    theirs, ours = r.visual_attention(6, seed=3, **options), gequi.visual_attention(6, seed=3, **options)
    query, context = random.normal(size=(2, 6, 8, 7)), random.normal(size=(2, 6, 5, 6))
    same(r.value(r.predict(theirs, query, context)), gequi.predict(ours, query, context).astype(np.float64))
