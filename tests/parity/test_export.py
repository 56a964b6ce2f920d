"""export: both languages write the same files."""

import numpy as np
import pytest
import torch

import gequi


def test_export_model(r, both, tmp_path):
    theirs, ours = both()
    r.export_model(theirs, str(tmp_path / "r.onnx"), [1, 1, 7, 7])
    gequi.export_model(ours, tmp_path / "python.onnx", (1, 1, 7, 7))
    assert (tmp_path / "r.onnx").read_bytes() == (tmp_path / "python.onnx").read_bytes()


def test_export_model_of_a_module_of_two_inputs(r, tmp_path, random):
    shapes = [(1, 5, 4), (1, 6, 4)]
    options = {"format": "torchscript", "dtype": "float64"}
    r.export_model(r.multi_head_attention(4, heads=2, seed=3), str(tmp_path / "r.pt"), shapes, **options)
    gequi.export_model(gequi.multi_head_attention(4, heads=2, seed=3), tmp_path / "python.pt", shapes, **options)
    arrays = [torch.from_numpy(random.normal(size=shape)) for shape in shapes]
    found, expected = (torch.jit.load(tmp_path / f"{name}.pt")(*arrays).detach() for name in ("r", "python"))
    np.testing.assert_array_equal(found, expected)


def test_the_same_refusals(r, both, tmp_path):
    theirs, ours = both()
    with pytest.raises(gequi.errors.ShapeError) as raised:
        gequi.export_model(ours, tmp_path / "a", (1, 1, 2, 2))
    condition = r.code("tryCatch(export_model(n, 'a', c(1, 1, 2, 2)), error = identity)", n=theirs)
    assert r.code("class(e)[1]", e=condition)[0] == "gequi_shape_error"
    assert r.code("conditionMessage(e)", e=condition)[0] == str(raised.value)
