"""image_files: both languages read the same images and classes."""

import numpy as np

import gequi


def test_image_files(r, tmp_path, random):
    for number in range(3):
        place = tmp_path / ("a" if number else "b")
        place.mkdir(exist_ok=True)
        np.save(place / f"{number}.npy", random.random((6 + number, 5)))
    theirs = r.image_files(str(tmp_path), size=[4, 6], resize="crop")
    ours = gequi.image_files(tmp_path, size=[4, 6], resize="crop")
    assert list(r.code("x$shape", x=theirs)) == list(ours.shape)
    assert list(r.code("as.integer(x$labels) - 1", x=theirs)) == ours.targets.tolist()
    network = gequi.equivariant_network(gequi.gspace("rot2dOnR2", N=4), "trivial", [{"layer": "relu"}], seed=1)
    space = r.code(
        'gequiR::equivariant_network(gequiR::gspace("rot2dOnR2", N = 4), "trivial", seed = 1) |> layer_relu()'
    )
    np.testing.assert_array_equal(r.value(r.predict(space, theirs)), gequi.predict(network, ours).astype(float))
