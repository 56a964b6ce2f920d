ramp <- function(x) sweep(x, 4, seq(1, 2, length.out = dim(x)[4]), "*")

test_that("what is equivariant has no error, and what breaks one motion has one", {
  needs_python()
  x <- feature(2, 1, 15, 15)
  errors <- local_equivariance_error(function(x) 2 * x, x)
  expect_s3_class(errors, "gequi_local_equivariance")
  expect_identical(errors$motion, c("rotation", "scale", "x", "y"))
  expect_lt(max(errors$error), 1e-5) # of the differences: the square of the step times a third derivative
  errors <- local_equivariance_error(ramp, x)
  expect_gt(errors$error[3], 0.03)
  expect_lt(errors$error[4], 1e-6)
})

network <- function() {
  equivariant_network(c4(), c(trivial = 1), seed = 1, dtype = "float64") |>
    layer_conv(c(regular = 1), 3) |>
    layer_relu() |>
    layer_conv(c(trivial = 1), 3)
}

test_that("a network is measured layer by layer", {
  needs_python()
  x <- feature(3, 1, 15, 15)
  errors <- local_equivariance_error(network(), x, by = "layer", motions = c("x", "rotation"))
  expect_identical(errors$name, rep(c("1 conv", "2 relu", "3 conv"), 2))
  expect_identical(errors$layer, rep(1:3, 2))
  expect_identical(errors$motion, rep(c("x", "rotation"), each = 3))
  whole <- local_equivariance_error(network(), x, motions = c("x", "rotation"))
  expect_true(all(whole$error <= tapply(errors$error, errors$motion, sum)[whole$motion]))
  closure <- function(x) predict(network(), x)
  expect_equal(local_equivariance_error(closure, x, motions = "rotation")$error, whole$error[2], tolerance = 1e-3)
})

test_that("errors are printed and plotted", {
  needs_python()
  x <- feature(3, 1, 15, 15)
  whole <- local_equivariance_error(ramp, x)
  expect_output(print(whole), "Local equivariance error, relative to the output", fixed = TRUE)
  one <- local_equivariance_error(ramp, x[1, , , , drop = FALSE])
  expect_false(any(grepl("error_low", utils::capture.output(print(one)))))
  picture <- plot(whole)
  expect_s3_class(picture, "ggplot")
  expect_equal(ggplot2::layer_data(picture)$y, whole$error)
  layers <- plot(local_equivariance_error(network(), x, by = "layer", motions = c("x", "y")))
  expect_identical(nlevels(ggplot2::layer_data(layers)$PANEL), 2L)
})

test_that("what has no local error is refused", {
  needs_python()
  x <- feature(1, 1, 9, 9)
  expect_refused(local_equivariance_error(ramp, x, by = "layer"), "is for networks and torch modules", "input")
  expect_refused(local_equivariance_error(ramp, x, motions = "shear"), "`motions` must be one of", "input")
  expect_refused(local_equivariance_error(ramp, array(0, c(1, 9, 9))), "`x` must have 2 or 4 axes", "shape")
  expect_error(local_equivariance_error(function(x) stop("my own"), x), "my own")
})
