"""registration: the results of R and Python are equal."""

import warnings

import numpy as np
import pytest

import gequi
from gequi.plots import laid_over

X = np.linspace(0, 1, 50)
A, B = np.cos(np.pi / 2 * X), X + 0.07 * np.sin(3 * np.pi * X)


def known(x):
    """An image of R's, with NaN where it has NA."""
    return np.asarray(x, dtype=float)


def test_fourier_features(r, same, random):
    same(r.value(r.fourier_features(X, features=9, seed=4)), gequi.fourier_features(X, features=9, seed=4))
    points = random.normal(size=(6, 2))
    options = {"features": 5, "bandwidth": 0.3, "phase": "conv", "seed": 4, "dtype": "float32"}
    same(r.value(r.fourier_features(points, **options)), gequi.fourier_features(points, **options).astype(np.float64))


@pytest.mark.parametrize("options", [
    {}, {"refine": 3}, {"kernel": "fourier", "seed": 2}, {"bandwidth": 0.05, "temperature": 2.0, "dtype": "float32"},
    {"kernel": "fourier", "phase": "conv", "features": 30, "seed": 5},
])  # fmt: skip
def test_invert_function_and_register_curves(r, same, options):
    same(
        np.array(r.value(r.invert_function(X, X**2, X, **options))),
        gequi.invert_function(X, X**2, X, **options).astype(float),
    )
    same(np.array(r.value(r.register_curves(A, B, **options))), gequi.register_curves(A, B, **options).astype(float))
    ours = gequi.register_curves(A, B, X, weights=True, **options)
    theirs = r.value(r.register_curves(A, B, X, weights=True, **options))
    same(np.array(theirs["output"]), ours["output"].astype(float))
    same(theirs["weights"], ours["weights"].astype(float))


def test_invert_function_of_points(r, same, random):
    places, values, query = random.normal(size=(30, 2)), random.normal(size=(30, 3)), random.normal(size=(4, 3))
    same(r.value(r.invert_function(places, values, query)), gequi.invert_function(places, values, query))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "transform": "affine",
            "contrast": "any",
            "mirror": "search",
            "mask": "none",
            "spacing": [1.0, 1.25],
            "dtype": "float64",
        },
    ],
)
def test_register_images(r, same, options):
    image = gequi.sample_image("cat")
    moving, fixed = image[60:140, 160:250], np.rot90(image[64:130, 165:245])
    mask = np.ones(fixed.shape)
    mask[:10, :20] = 0
    ours = gequi.register_images(moving, fixed, fixed_mask=mask, **options)
    theirs = r.parts(r.register_images(moving, fixed, fixed_mask=mask, **options))
    assert list(theirs) == [*ours.to_dict(), "decomposition"]
    same(theirs["decomposition"], ours.decomposition)
    for part in ("map", "inverse_map"):
        np.testing.assert_allclose(theirs[part], getattr(ours, part) + 1, rtol=0, atol=1e-6)
    for part in ("warped", "jacobian", "uncertainty", "moving", "fixed"):
        np.testing.assert_allclose(known(theirs[part]), getattr(ours, part), rtol=0, atol=1e-6)
    assert (theirs["interpolation"], theirs["fill"], np.isnan(ours.fill)) == (ours.interpolation, None, True)
    for part in ("moving_spacing", "spacing"):
        assert theirs[part] == getattr(ours, part).tolist()
    assert (theirs["transform"], theirs["contrast"]) == (ours.transform, ours.contrast)
    corner = ours.affine @ [4, 7, 1]  # a pixel, counted from 0 and from 1
    np.testing.assert_allclose(theirs["affine"] @ [5, 8, 1], corner + 1, rtol=0, atol=1e-6)
    metrics, given = theirs["metrics"], dict(ours.metrics)
    assert metrics.pop("seconds") > 0
    assert given.pop("seconds") > 0
    same(metrics, given)
    assert theirs["probability"] == ours.probability


@pytest.fixture(scope="module")
def pair(r):
    """A registration of images whose pixels have two lengths, in R and in Python."""
    image = gequi.sample_image("cat")
    moving, fixed = image[60:140, 160:250], np.rot90(image[64:130, 165:245])
    options = {"moving_spacing": [1.0, 1.0], "spacing": [1.0, 1.25], "min_probability": 0, "transform": "affine"}
    return r.register_images(moving, fixed, **options), gequi.register_images(moving, fixed, **options)


@pytest.fixture(scope="module")
def volumes(r):
    depth, row, column = np.indices((20, 22, 24))
    fixed = np.sin(depth * row / 30) + np.cos(column / 3) * np.sin(depth / 4) + 0.2 * np.sin(row + column / 2)
    options = {"transform": "rigid", "spacing": [1.0, 1.0, 2.0], "moving_spacing": [1.0, 2.0, 1.0]}
    images = fixed.transpose(1, 2, 0), fixed
    return r.register_images(*images, **options), gequi.register_images(*images, **options)


def numbers(values):
    """What R tells as numbers, NaN for NA."""
    return np.array(values, dtype=float)


@pytest.mark.parametrize("given", ["pair", "volumes"])
@pytest.mark.parametrize("direction", ["moving_to_fixed", "fixed_to_moving"])
def test_points_of_a_registration(r, request, given, direction):
    theirs, ours = request.getfixturevalue(given)
    points = np.random.default_rng(1).uniform(0, 20, size=(9, ours.fixed.ndim))
    carried, std = ours.transform_points(points, direction, return_std=True)
    told = r.value(r.predict(theirs, points + 1, direction, **{"se.fit": True}))
    np.testing.assert_allclose(numbers(told["fit"]), carried + 1, rtol=0, atol=1e-9)
    np.testing.assert_allclose(numbers(told["se.fit"]), std, rtol=1e-9)
    onward, grown = ours.transform_points(points - 10, direction, return_std=True, extrapolate=True)
    told = r.value(r.predict(theirs, points - 9, direction, **{"se.fit": True, "extrapolate": True}))
    np.testing.assert_allclose(numbers(told["fit"]), onward + 1, rtol=0, atol=1e-9)
    np.testing.assert_allclose(numbers(told["se.fit"]), grown, rtol=1e-9)
    alone = r.value(r.predict(theirs, points + 1, direction))
    np.testing.assert_allclose(numbers(alone), carried + 1, rtol=0, atol=1e-9)
    again = r.code(
        "x$handle <- new.env(parent = emptyenv()); predict(x, p, d, se.fit = TRUE)", x=theirs, p=points + 1, d=direction
    )
    np.testing.assert_allclose(numbers(r.value(again)["se.fit"]), std, rtol=1e-9)  # made again from R's plain data


@pytest.mark.parametrize("given", ["pair", "volumes"])
def test_images_and_labels_of_a_registration(r, request, given):
    theirs, ours = request.getfixturevalue(given)
    for direction, image in (("moving_to_fixed", ours.moving), ("fixed_to_moving", ours.fixed)):
        for interpolation in ("cubic", "linear"):
            told = r.value(r.predict(theirs, image, direction, interpolation=interpolation, fill=-1.0))
            expected = ours.warp(image, interpolation, fill=-1.0, direction=direction)
            np.testing.assert_allclose(told, expected, rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            known(r.value(r.predict(theirs, image, direction))), ours.warp(image, direction=direction)
        )
        labels = (image > np.median(image)).astype(float)
        told = r.value(r.predict(theirs, labels, direction, type="labels"))
        np.testing.assert_array_equal(known(told), ours.warp(labels, direction=direction, type="labels"))


def test_colours_of_a_registration(r, pair):
    theirs, ours = pair
    colours = np.stack([ours.moving, 1 - ours.moving, ours.moving**2])
    told = r.value(r.predict(theirs, colours.transpose(1, 2, 0)))
    np.testing.assert_allclose(known(told).transpose(2, 0, 1), ours.warp(colours), rtol=0, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"interpolation": "linear"}, {"type": "image"}, {"type": "labels"}])
def test_whole_numbers_are_taken_for_the_same_and_it_is_said(r, pair, options):
    theirs, ours = pair
    whole = np.round(20 * ours.fixed).astype(int)
    code = """{
      said <- character()
      storage.mode(image) <- "integer"
      value <- withCallingHandlers(do.call(predict, c(list(x, image, 'fixed_to_moving'), options)), gequi_message = function(message) {
        said <<- c(said, conditionMessage(message)); invokeRestart("muffleMessage")
      })
      list(value = value, type = typeof(value), said = said)
    }"""
    told = r.value(r.code(code, x=theirs, image=whole, options=options or None))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        expected = ours.warp(whole, direction="fixed_to_moving", **options)
    assert told["type"] == ("integer" if expected.dtype == whole.dtype else "double")
    seen = np.isfinite(known(told["value"]))
    assert (~seen).any()
    np.testing.assert_allclose(known(told["value"])[seen], expected[seen], rtol=0, atol=1e-9)
    said = str(caught[0].message).replace("`image`", "`newdata`").replace("'", '"') if caught else []
    assert told["said"] == said


@pytest.mark.parametrize("given", ["pair", "volumes"])
def test_the_summary_of_a_registration(r, same, request, given):
    theirs, ours = request.getfixturevalue(given)
    told, expected = r.value(r.code("unclass(summary(x))", x=theirs)), ours.summary()
    same(told["spread"], expected["spread"])
    for each in (told["metrics"], expected["metrics"]):
        each.pop("seconds")
    same(told["metrics"], expected["metrics"])
    assert told["probability"] == expected["probability"]
    assert told["sizes"] == " onto ".join(" x ".join(map(str, expected[side])) for side in ("moving", "fixed"))


@pytest.mark.parametrize("given", ["pair", "volumes"])
def test_the_linear_part_of_a_registration(r, request, given):
    theirs, ours = request.getfixturevalue(given)
    parts, axes = ours.decomposition, ("depth", "row", "column")[3 - ours.fixed.ndim :]
    (told,) = r.value(r.code("as.data.frame(tidy(x))", x=theirs))
    assert told["rotation"] == parts["rotation"]
    assert (told["scale"], told["mirror"]) == (parts["scale"], parts["mirror"])
    assert [told[f"scale_{axis}"] for axis in axes] == list(parts["scales"])
    assert [told[f"shift_{axis}"] for axis in axes] == list(parts["shift"])
    if ours.fixed.ndim == 3:
        assert [told[f"axis_{axis}"] for axis in axes] == list(parts["axis"])
        assert [told[f"shear_{pair}"] for pair in ("depth_row", "depth_column", "row_column")] == list(parts["shear"])
    else:
        assert told["shear"] == parts["shear"]
    line = repr(ours).splitlines()[-1].removeprefix("linear part: ")
    assert r.code("gequiR:::linear_part_of(x)", x=theirs)[0] == line


@pytest.mark.parametrize(("given", "options"), [("pair", {}), ("volumes", {"slice": 7, "axis": 1})])
def test_the_pictures_of_two_images(r, request, given, options):
    theirs, ours = request.getfixturevalue(given)
    of_r = ", ".join(f"{name} = {value + 1}" for name, value in options.items())
    parts = laid_over(ours, **options)
    cells = r.value(r.code(f"{{p <- plot(x{', ' + of_r if of_r else ''})$data; split(p$moving, p$when)}}", x=theirs))
    for when in ("before", "after"):
        np.testing.assert_allclose(cells[when], parts[when].ravel(order="F"), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("predict(x, volcano)", "`newdata` must have the size of the moving image, 80 x 90; got 87 x 61."),
        ("predict(x, 1:3, type = 'points')", "`newdata` must have 2 coordinates for each point: row, column."),
    ],
)
def test_what_cannot_be_carried_is_refused_with_the_name_that_r_has_for_it(r, pair, code, message):
    told = r.code(f"tryCatch({code}, error = conditionMessage)", x=pair[0])[0]
    assert told == message


def test_register_images_of_volumes(r):
    depth, row, column = np.indices((20, 22, 24))
    fixed = np.sin(depth * row / 30) + np.cos(column / 3) * np.sin(depth / 4) + 0.2 * np.sin(row + column / 2)
    moving = fixed.transpose(1, 2, 0)
    ours = gequi.register_images(moving, fixed, spacing=(1.0, 1.0, 1.2), min_probability=0)
    theirs = r.parts(r.register_images(moving, fixed, spacing=[1.0, 1.0, 1.2], min_probability=0))
    for part, shift in {"map": 1, "inverse_map": 1, "warped": 0, "jacobian": 0, "uncertainty": 0}.items():
        np.testing.assert_allclose(known(theirs[part]), getattr(ours, part) + shift, rtol=0, atol=1e-6)
    corner = ours.affine @ [4, 7, 3, 1]
    np.testing.assert_allclose(theirs["affine"] @ [5, 8, 4, 1], corner + 1, rtol=0, atol=1e-6)


def test_register_images_in_lists(r):
    image = gequi.sample_image("cat")[60:124, 160:224]
    images = [image, np.rot90(image)]
    theirs = r.parts(r.register_images(images, images))
    assert len(theirs) == 2
    ours = gequi.register_images(images, images)
    np.testing.assert_allclose(theirs[1]["map"], ours[1].map + 1, rtol=0, atol=1e-6)


def test_register_images_in_lists_with_options_of_their_own(r):
    image = gequi.sample_image("cat")[60:124, 160:224]
    images, options = [image, np.rot90(image)], {"transform": "affine", "min_probability": 0}
    mask = np.ones(image.shape)
    mask[:12] = 0
    spacing = [np.array([1.0]), np.array([1.0, 2.0])]
    theirs = r.parts(r.register_images(images, images, spacing=spacing, fixed_mask=[mask, mask], **options))
    ours = gequi.register_images(images, images, spacing=[[1.0], [1.0, 2.0]], fixed_mask=[mask, mask], **options)
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(one["map"], other.map + 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("options", [{}, {"contrast": "any", "transform": "rigid", "dtype": "float64"}])
def test_registration_steps(r, same, dimension, options):
    image = gequi.sample_image("cat")
    moving, fixed = image[60:140, 160:250], np.rot90(image[64:130, 165:245])
    if dimension == 3:
        x, y, z = np.indices((22, 24, 26))
        fixed = np.sin(x * y / 30) + np.cos(z / 3) * np.sin(x / 4)
        moving = fixed.transpose(1, 2, 0)
    ours = gequi.registration_steps(moving, fixed, token=100, **options)
    theirs = r.value(r.registration_steps(moving, fixed, token=101, **options))
    assert list(theirs) == list(ours)

    def numbers(x):
        return np.asarray(x, dtype=np.float64)

    for name in ("fixed", "moving"):
        assert list(theirs[name]) == list(ours[name])
        same(theirs[name]["lifted"], numbers(ours[name]["lifted"]))
        assert theirs[name]["tokens"] == ours[name]["tokens"]
        same(theirs[name]["positions"], numbers(ours[name]["positions"]) + 1)
        same(numbers(theirs[name]["strength"]), numbers(ours[name]["strength"]))
        same(theirs["matches"][name], numbers(ours["matches"][name]) + 1)
    same(numbers(theirs["matches"]["token"]), numbers(ours["matches"]["token"]) + 1)
    for name in ("rotation", "weight"):
        same(numbers(theirs["matches"][name]), numbers(ours["matches"][name]))
    attention, given = theirs["attention"], ours["attention"]
    assert attention["token"] == given["token"] + 1
    same(numbers(attention["position"]), numbers(given["position"]) + 1)
    for name in ("scores", "weights"):
        same(attention[name], numbers(given[name]))
    for one, other in zip(theirs["hypotheses"], ours["hypotheses"], strict=True):
        assert list(one) == list(other)
        assert (one["votes"], one["score"]) == (other["votes"], other["score"])
        for name in ("similarity", "affine"):
            np.testing.assert_allclose(
                one[name] @ [*[5] * dimension, 1], other[name] @ [*[4] * dimension, 1] + 1, rtol=0, atol=1e-9
            )


def test_register_images_in_lists_of_which_some_fail(r):
    image = gequi.sample_image("cat")[60:124, 160:224]
    moving, fixed = {"a": np.rot90(image), "b": np.ones((32, 32)), "c": image}, {"x": image, "y": image, "z": image}
    ours = gequi.register_images(moving, fixed, on_error="keep")
    theirs = r.register_images(moving, fixed, on_error="keep")
    table = r.value(r.code("as.data.frame(summary(x))", x=theirs))
    for told, expected in zip(table, ours.summary(), strict=True):
        assert told.pop("seconds") is None or expected["seconds"] > 0
        expected.pop("seconds")
        assert told == expected
    failure = r.value(r.code("list(conditionMessage(x$y), x$y$argument, inherits(x$y, 'gequi_input_error'))", x=theirs))
    assert failure == [str(ours["y"]), "moving", True]
    points = np.array([[10.0, 20.0], [5.0, 6.0]])
    carried = r.value(r.code("unname(predict(x, points))", x=theirs, points=points + 1))
    for told, expected in zip(carried, ours.transform_points(points), strict=True):
        assert (told is None) == (expected is None)
        if told is not None:
            np.testing.assert_allclose(told, expected + 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("transform", ["rigid", "translation"])
def test_register_images_from_a_start(r, transform):
    image = gequi.sample_image("cat")
    moving, fixed = image[60:124, 163:227], image[62:126, 160:224]
    points = np.array([[10.0, 20.0], [50.0, 15.0], [30.0, 60.0]])
    shift = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])  # the same, counted from 0 and from 1
    landmarks = {"moving": points + np.array([2, -3]), "fixed": points}
    for ours, theirs in ((shift, shift), (landmarks, {name: at + 1 for name, at in landmarks.items()})):
        told = r.parts(r.register_images(moving, fixed, transform=transform, initial=theirs))
        expected = gequi.register_images(moving, fixed, transform=transform, initial=ours)
        np.testing.assert_allclose(told["map"], expected.map + 1, rtol=0, atol=1e-6)
        assert told["probability"] == expected.probability
    earlier = (
        r.register_images(moving, fixed, transform=transform),
        gequi.register_images(moving, fixed, transform=transform),
    )
    told = r.parts(r.register_images(moving, fixed, initial=earlier[0]))
    np.testing.assert_allclose(
        told["map"], gequi.register_images(moving, fixed, initial=earlier[1]).map + 1, rtol=0, atol=1e-6
    )
