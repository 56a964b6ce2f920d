scores <- function(x) cbind(apply(x[, , 1:3, , drop = FALSE], 1, mean), apply(x[, , 5:7, , drop = FALSE], 1, mean))
quarter <- function(x) aperm(x, c(1, 2, 4, 3))[, , rev(seq_len(dim(x)[4])), , drop = FALSE]

pose_network <- function(space) {
  equivariant_network(space, c(trivial = 1), seed = 2, dtype = "float64") |>
    layer_conv(c(regular = 2), 3) |>
    layer_relu() |>
    layer_conv(c(regular = 1), 3) |>
    layer_global_avg_pool()
}

test_that("a function becomes equivariant to rounding", {
  needs_python()
  x <- feature(3, 1, 7, 7)
  model <- canonicalize(scores, pose_network(c4()), output = c(trivial = 2))
  expect_gt(max(abs(scores(quarter(x)) - scores(x))), 0.03)
  expect_equal(predict(model, quarter(x)), predict(model, x), tolerance = 1e-11)
  expect_lt(max(equivariance_error(model, x)$error), 1e-10)
  expect_identical(predict(model, newdata = x, batch_size = 1), predict(model, x))
  images <- canonicalize(function(x) x[, , , c(2:7, 1), drop = FALSE], pose_network(c4()), output = c(trivial = 1))
  expect_equal(predict(images, quarter(x)), quarter(predict(images, x)), tolerance = 1e-11)
})

test_that("a canonicalizer is trained from upright images", {
  needs_python()
  x <- feature(8, 1, 9, 9)
  pose <- fit_canonicalizer(x, gspace("rot2dOnR2", N = 8), epochs = 2, batch_size = 4, seed = 1, device = "cpu")
  expect_s3_class(pose, "gequi_fit")
  expect_identical(nrow(pose$history), 2L)
  expect_identical(dim(predict(pose, x))[1:2], c(8L, 8L))
  model <- canonicalize(scores, pose, output = c(trivial = 2))
  expect_equal(predict(saved_and_read(model), x), predict(model, x))
  again <- fit_canonicalizer(x, network = pose_network(c4()), epochs = 1, batch_size = 4, seed = 1, device = "cpu")
  expect_identical(format(again$space), "rot2dOnR2(N = 4)")
})

test_that("it prints in one line and survives saveRDS()", {
  needs_python()
  model <- canonicalize(scores, pose_network(c4()), output = c(trivial = 2))
  expect_output(print(model), "canonicalize(a function) on rot2dOnR2(N = 4)", fixed = TRUE)
  x <- feature(2, 1, 7, 7)
  expect_identical(predict(saved_and_read(model), x), predict(model, x))
})

test_that("what has no pose is refused", {
  needs_python()
  expect_refused(canonicalize(scores, pose_network(c4())), "`output` is missing", "input")
  expect_refused(canonicalize(scores, 3, output = c(trivial = 2)), "`canonicalizer` must be a network", "input")
  model <- canonicalize(scores, pose_network(c4()), output = c(trivial = 2))
  expect_refused(predict(model, feature(1, 1, 7, 9)), "`x` must be square", "shape")
  expect_refused(fit_canonicalizer(feature(2, 1, 7, 9)), "`x` must be square", "shape")
  expect_refused(fit_canonicalizer(feature(2, 1, 7, 7), gspace("rot2dOnR2")), "must have a finite group", "input")
})
