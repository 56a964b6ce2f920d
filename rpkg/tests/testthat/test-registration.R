x <- seq(0, 1, length.out = 100)
a <- cos(pi / 2 * x)
b <- x + 0.07 * sin(3 * pi * x)
truth <- 2 / pi * acos(pmin(b, 1))

test_that("the two examples of the source, from R", {
  needs_python()
  expect_lte(mean(abs(invert_function(x, x^2, x) - sqrt(x))), 2e-3)
  expect_lte(mean(abs(register_curves(a, b, x) - truth)), 2e-3)
  expect_lte(mean(abs(register_curves(a, b, x, refine = 4) - truth)), 1e-6)
  errors <- vapply(1:10, function(seed) mean(abs(register_curves(a, b, x, kernel = "fourier", seed = seed) - truth)), 0)
  expect_lte(mean(errors), 3e-3)
})

test_that("answers are vectors, or matrices where places are", {
  needs_python()
  expect_identical(length(invert_function(x, x^2, c(0.25, 0.5))), 2L)
  expect_equal(invert_function(x, x^2, 0.25, refine = 3), 0.5, tolerance = 1e-9)
  places <- cbind(x, 2 * x)
  expect_identical(dim(invert_function(places, x, c(0.1, 0.2, 0.3))), c(3L, 2L))
  expect_identical(dim(fourier_features(x, features = 7)), c(100L, 7L))
})

test_that("with weights there is an object to print and to plot", {
  needs_python()
  found <- register_curves(a, b, weights = TRUE)
  expect_equal(as.vector(found$weights %*% x), found$output, tolerance = 1e-12)
  expect_output(print(found), "<inverse function> 100 answers from 100 samples", fixed = TRUE)
  for (type in c("weights", "curve")) expect_s3_class(ggplot2::ggplot_build(plot(found, type = type))$plot, "ggplot")
})

test_that("errors name the argument", {
  needs_python()
  one_less <- "`y` must have one value for each of the 100 samples `x`; got 99"
  expect_refused(invert_function(x, x[-1], x), one_less, "shape")
  expect_refused(register_curves(0 * a, b), "`a` must take at least two different values", "input")
  expect_refused(register_curves(a, b, refine = 1.5), "`refine` must be a whole number", "input")
})
