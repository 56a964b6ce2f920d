"""evaluation: R's rows are Python's."""

import numpy as np
import pytest

import gequi


def images():
    image = gequi.sample_image("cat")
    return image[60:140, 160:250], np.rot90(image[64:130, 165:245])


@pytest.fixture
def pair(r):
    """A registration of images whose pixels have two lengths, in R and in Python."""
    options = {"moving_spacing": [1.0, 1.0], "spacing": [1.0, 1.25], "transform": "affine"}
    return r.register_images(*images(), **options), gequi.register_images(*images(), **options)


@pytest.fixture
def given(pair, random):
    """Landmarks and labels of the pair."""
    moving, fixed = random.uniform(10, 60, size=(2, 9, 2))
    labels = [np.digitize(image, [0.3, 0.6]).astype(float) for image in images()]
    return (moving, fixed), labels


def test_evaluate_registration(r, same, pair, given):
    theirs, ours = pair
    (moving, fixed), labels = given
    told = r.value(r.evaluate_registration(theirs, [moving + 1, fixed + 1], labels))
    expected = gequi.evaluate_registration(ours, (moving, fixed), labels)
    assert len(told) == 14
    close(told, expected)
    same(r.value(r.evaluate_registration(theirs)), gequi.evaluate_registration(ours))


def close(told, expected):
    """The same rows, up to the rounding of counting landmarks from 1."""
    for one, other in zip(told, expected, strict=True):
        assert list(one) == list(other)
        assert (one["before"] is None) == (other["before"] is None)
        for stage in ("before", "after"):
            told, wanted = (np.array(each.pop(stage), dtype=float) for each in (one, other))
            np.testing.assert_allclose(told, wanted, rtol=1e-9, atol=1e-12)
        assert one == other


def test_evaluate_registrations_in_lists(r, pair, given):
    theirs, ours = pair
    (moving, fixed), labels = given
    found = r.code("list(x, x)", x=theirs)
    told = r.value(r.evaluate_registration(found, [[moving + 1, fixed + 1], None], [None, labels]))
    expected = gequi.evaluate_registration([ours, ours], [(moving, fixed), None], [None, labels])
    close(told, [{**row, "pair": None if row["pair"] is None else row["pair"] + 1} for row in expected])


def test_what_cannot_be_evaluated_is_refused_in_the_same_words(r, pair, given):
    theirs, ours = pair
    _, labels = given
    code = "tryCatch(evaluate_registration(list(x, x), labels = list(NULL, y)), error = conditionMessage)"
    wrong = [labels[0], labels[1] * 2]
    with pytest.raises(gequi.errors.InputError) as refused:
        gequi.evaluate_registration([ours, ours], labels=[None, wrong])
    assert r.code(code, x=theirs, y=wrong)[0] == str(refused.value).replace("Pair 1 of 2", "Pair 2 of 2")
