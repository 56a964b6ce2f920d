"""images: the results of R and Python are equal."""

import numpy as np
import pytest

import gequi
from gequi.images import sample_image


def test_sample_image(r, same):
    table = sample_image()
    same(r.value(r.sample_image()), table)
    for row in table:
        same(r.value(r.sample_image(row["name"])), sample_image(row["name"]))


def test_operations_on_one_image(r, same, random):
    image = random.uniform(size=(5, 4))
    same(r.value(r.normalize_image(image)), gequi.normalize_image(image))
    same(r.value(r.signed_image(image)), gequi.signed_image(image))
    same(r.value(r.gram_image(image)), gequi.gram_image(image))
    same(r.value(r.oscillatory_warp(image)), gequi.oscillatory_warp(image))
    same(r.value(r.oscillatory_warp(image, amplitude=1.5, period=3)), gequi.oscillatory_warp(image, 1.5, 3))


@pytest.mark.parametrize("f", ["exp", "plus_one", "identity"])
def test_weights(r, same, random, f):
    image = random.uniform(size=(5, 4))
    same(r.value(r.normalize_rows(image, f)), gequi.normalize_rows(image, f))
    same(r.value(r.normalize_columns(image, f)), gequi.normalize_columns(image, f))
    same(r.value(r.image_value(image, f)), gequi.image_value(image, f))


def test_weights_by_a_function_of_either_language(r, same, random):
    image, squares = random.uniform(size=(5, 4)), r.code("function(y) y * y")
    same(r.value(r.normalize_rows(image, squares)), gequi.normalize_rows(image, lambda y: y * y))
    same(r.value(r.image_value(image, squares)), gequi.image_value(image, lambda y: y * y))


@pytest.mark.parametrize("rows", ["exp", "plus_one", None])
@pytest.mark.parametrize("columns", ["exp", "identity", None])
def test_image_product(r, same, random, rows, columns):
    a, b = random.uniform(size=(5, 4)), random.uniform(size=(4, 6))
    for normalize in (True, False):
        theirs = r.image_product(a, b, rows=rows, columns=columns, normalize=normalize)
        same(r.value(theirs), gequi.image_product(a, b, rows, columns, normalize))


def test_the_same_sentence_but_for_its_quotes_refuses_a_pixel_below_minus_1(r):
    image = np.array([[0.5, -1.5], [0.1, 0.2]])
    with pytest.raises(gequi.errors.InputError) as raised:
        gequi.image_value(image)
    sentence = r.code("tryCatch(image_value(image), gequi_input_error = conditionMessage)", image=image)
    assert sentence[0] == str(raised.value).replace("'", '"')
