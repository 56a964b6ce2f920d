"""pictures: R's answers are Python's."""

import pytest

import gequi


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 2), (5, 4, 3), (5, 4, 4), (5, 4, 6)])
def test_grey_image(r, same, random, shape):
    picture = random.random(shape)
    same(r.value(r.grey_image(picture)), gequi.grey_image(picture))
