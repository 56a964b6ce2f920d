c4 <- function() gspace("rot2dOnR2", N = 4)

small <- function(..., blocks = 1, enlarge = TRUE) {
  equivariant_resnet(c4(), widths = c(4, 8), classes = 3, blocks = blocks, enlarge = enlarge, seed = 1, ...)
}

test_that("the network is invariant to quarter turns of images of every size", {
  x <- volcano[1:12, 1:12] / 100
  for (network in list(small(), small(antialiased = TRUE, nonlinearity = "elu"))) {
    expect_s3_class(network, "gequi_network")
    turned <- t(x)[12:1, ]
    expect_equal(predict(network, turned), predict(network, x), tolerance = 1e-5)
    expect_gt(max(abs(predict(network, x^2) - predict(network, x))), 1e-4)
    expect_lt(max(equivariance_error(network, x)$error), 1e-5)
  }
})

test_that("the options are layers", {
  kinds <- function(...) as.data.frame(small(...))$kind
  expect_true(all(c("mask", "enlarge", "residual") %in% kinds()))
  expect_false(any(c("mask", "enlarge", "residual") %in% kinds(margin = NULL, enlarge = FALSE, blocks = 0)))
  expect_true("softmax" %in% kinds(output = "probabilities"))
  expect_identical(output_shape(small(channels = 2), c(5, 2, 11, 11)), c(5L, 3L))
})

test_that("layer_enlarge() gives 2 n - 1 pixels and keeps those of the image", {
  x <- volcano[1:5, 1:6]
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1, dtype = "float64") |> layer_enlarge()
  large <- predict(network, x)
  expect_identical(dim(large), c(1L, 1L, 9L, 11L))
  expect_equal(large[1, 1, c(TRUE, FALSE), c(TRUE, FALSE)], x * 1, tolerance = 1e-12)
})

test_that("antialiased nonlinearities differ from the others and keep quarter turns", {
  x <- volcano[1:9, 1:9] / 100 - 1.2
  start <- equivariant_network(c4(), c(trivial = 1), seed = 1, dtype = "float64") |> layer_conv(c(regular = 2), 3)
  for (layer in list(layer_relu, layer_elu, layer_leaky_relu)) {
    network <- layer(start, antialiased = TRUE)
    expect_gt(max(abs(predict(network, x) - predict(layer(start), x))), 1e-3)
    expect_lt(max(equivariance_error(network, x)$error), 1e-12)
  }
})

test_that("bad input is refused by the name of the argument", {
  expect_refused(equivariant_resnet(), "`space` is missing", "input")
  expect_refused(equivariant_resnet(c4(), widths = 6), "`widths` must give layers", "input")
  expect_refused(small(blocks = -1), "`blocks` must be at least 0", "input")
  expect_refused(small(kernel_size = 4), "`kernel_size` must be odd", "input")
  expect_refused(small(nonlinearity = "rel"), "`nonlinearity` must be one of", "input")
  expect_refused(small(antialiased = NA), "`antialiased`", "input")
  expect_refused(small(margin = "a"), "`margin` must be", "input")
  expect_refused(equivariant_network(c4(), c(irrep_1 = 1)) |> layer_relu(antialiased = TRUE), "layer 1 (relu)", "field")
})
