"""images: R's answers are Python's."""

from gequi.images import sample_image


def test_sample_image(r, same):
    table = sample_image()
    same(r.value(r.sample_image()), table)
    for row in table:
        same(r.value(r.sample_image(row["name"])), sample_image(row["name"]))
