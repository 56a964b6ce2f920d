# Encoders in R: what they print and refuse, and what is kept of a trained one. The numbers: tests/parity.

face <- function() sample_image("cat")[101:164, 201:264]

test_that("the designed encoder is a network that shows its layers", {
  needs_python()
  encoder <- registration_encoder()
  expect_s3_class(encoder, "gequi_network")
  expect_identical(kinds_of(encoder), c("oriented_gradients", "ring_descriptor"))
  expect_output(print(encoder), "17 regular on rot2dOnR2\\(N = 16\\)")
  errors <- equivariance_error(encoder, face())
  expect_lt(max(errors$error[errors$exact]), 1e-4)
  expect_identical(dim(predict(registration_encoder(contrast = "any"), face())), c(1L, 144L, 16L, 16L))
})

test_that("its layers can be piped, with rings of one's own", {
  needs_python()
  network <- equivariant_network(gspace("rot2dOnR2", N = 8), c(trivial = 1), seed = 1) |>
    layer_oriented_gradients(signed = FALSE) |>
    layer_ring_descriptor(rings = list(c(0, 2), c(5, 2.5)), token = 2) |>
    layer_token_pool(2)
  expect_identical(kinds_of(network), c("oriented_gradients", "ring_descriptor", "token_pool"))
  expect_identical(dim(predict(network, face())), c(1L, 40L, 16L, 16L))
  expect_refused(layer_ring_descriptor(network), "takes the output of oriented_gradients", "field")
})

blob <- function() {
  at <- expand.grid(depth = 1:24, row = 1:26, column = 1:28)
  array(sin(at$depth * at$row / 40) + cos(at$column / 3) * sin(at$depth / 4), c(24, 26, 28))
}

test_that("the designed encoder of volumes is a network that shows its layers, and registers", {
  needs_python()
  encoder <- registration_encoder(dimension = 3)
  expect_identical(kinds_of(encoder), c("local_normalization", "sphere_descriptor"))
  expect_output(print(encoder), "rot3dOnR3\\(maximum_frequency = 3\\)")
  expect_identical(dim(predict(encoder, blob())), c(1L, 80L, 6L, 6L, 7L))
  found <- register_images(aperm(blob(), c(2, 3, 1)), blob(), transform = "rigid", encoder = encoder)
  expect_equal(abs(found$affine[, 1:3]), matrix(c(0, 0, 1, 1, 0, 0, 0, 1, 0), 3), tolerance = 0.01)
  images <- registration_encoder()
  expect_refused(register_images(blob(), blob(), encoder = images), "`encoder` describes images", "input")
})

test_that("layers of volumes can be piped, with spheres of one's own", {
  needs_python()
  network <- equivariant_network(gspace("rot3dOnR3"), c(trivial = 1), seed = 1) |>
    layer_local_normalization(window = 3, signed = FALSE) |>
    layer_sphere_descriptor(spheres = list(c(2, 1), c(4, 1.5)), token = 5)
  expect_identical(kinds_of(network), c("local_normalization", "sphere_descriptor"))
  expect_identical(dim(predict(network, blob())), c(1L, 32L, 4L, 5L, 5L))
  expect_refused(layer_sphere_descriptor(network), "one gray volume", "field")
})

test_that("a trained encoder keeps its weights and its history, and registers", {
  needs_python()
  trained <- registration_encoder(list(face()), contrast = "any", steps = 2, seed = 1)
  expect_s3_class(trained$history, "gequi_history")
  expect_output(print(trained), "trained for 1 epochs")
  expect_identical(predict(saved_and_read(trained), face()), predict(trained, face()))
  found <- register_images(t(face())[64:1, ], face(), contrast = "any", encoder = trained)
  expect_equal(found$map[, 1, 1], c(64, 1), tolerance = 0.05)
  told <- NULL
  stopped <- registration_encoder(list(face()), steps = 60, seed = 1, progress = function(row) {
    told <<- row
    FALSE
  })
  expect_identical(stopped$history$stopped, "interrupt")
  expect_identical(told$step, 1L)
})

test_that("what is no encoder, or nothing to learn from, is refused", {
  needs_python()
  expect_refused(register_images(face(), face(), encoder = "designed"), "`encoder` must be a network", "input")
  expect_refused(registration_encoder(list(matrix(0, 60, 60))), "image 1 is", "input")
  expect_refused(registration_encoder(face()[1:40, ]), "at least 48 pixels", "shape")
  expect_refused(registration_encoder(list(face()), dimension = 3), "must have 3 or 4 axes", "shape")
  expect_refused(registration_encoder("multimodal", dimension = 3), "`dimension` must be 2", "input")
})
