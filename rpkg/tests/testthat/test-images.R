test_that("sample images are matrices, and listed", {
  needs_python()
  table <- sample_image()
  expect_identical(table$name, c("volcano", "camera", "cat", "retina", "cell"))
  expect_identical(dim(sample_image("cat")), c(300L, 451L))
  expect_identical(sample_image("volcano"), unclass(datasets::volcano) + 0)
  expect_refused(sample_image("catt"), "Did you mean 'cat'?", "input")
})

test_that("an image is plotted with row 1 on top", {
  cells <- plot_image(matrix(1:6, 2))$data
  expect_identical(cells$value[cells$y == max(cells$y)], c(1, 3, 5))
  expect_identical(cells$value[cells$x == min(cells$x)], c(1, 2))
  expect_silent(ggplot2::ggplotGrob(plot_image(volcano)))
})

test_that("several images come side by side, with their titles", {
  cells <- plot_image(list(matrix(1:6, 2), matrix(1:6, 3)), titles = c("flat", "tall"))$data
  expect_identical(levels(cells$image), c("flat", "tall"))
  stack <- plot_image(array(1:12, c(3, 2, 2)))$data
  expect_identical(stack$value[stack$image == 2], c(2, 5, 8, 11))
  expect_identical(plot_image(volcano, titles = "Maunga Whau")$labels$title, "Maunga Whau")
})

test_that("large images are thinned out, evenly", {
  cells <- plot_image(matrix(0, 3000, 2000))$data
  expect_lte(nrow(cells), 1e6)
  expect_identical(max(table(cells$x)), 1000L)
})

test_that("what is no image is refused", {
  expect_refused(plot_image(1:3), "must be a matrix", "shape")
  expect_refused(plot_image(matrix("a")), "must be a matrix", "shape")
  expect_refused(plot_image(list()), "must be a matrix", "shape")
})

image <- function(rows = 4, columns = 5) matrix(sin(seq_len(rows * columns) * 1.7)^2, rows)

# The 3 x 3 case of the poster's notebook, and what it prints.
small <- rbind(c(0.749673, 0.286601, 0.689869), c(0.378105, 0.743137, 0.302288), c(0.515142, 0.466993, 0.72146))

test_that("the notebook's 3 x 3 matrices are met to 1e-5", {
  needs_python()
  columns <- rbind(c(0.903041, 0.0883338, 0.738358), c(0.18441, 1, 0), c(0.449446, 0.448563, 0.798539))
  value <- rbind(c(0.79949, 0.0539301, 0.766617), c(0.0539301, 1, 0), c(0.766617, 0, 0.966681))
  expect_lt(max(abs(normalize_image(normalize_columns(small, "plus_one")) - columns)), 1e-5)
  expect_lt(max(abs(image_value(small) - value)), 1e-5)
})

test_that("operations are their definitions", {
  needs_python()
  a <- image(4, 5)
  b <- image(5, 3)
  scaled <- function(x) (x - min(x)) / (max(x) - min(x))
  exp_rows <- exp(a) / rowSums(exp(a))
  exp_columns <- sweep(exp(b), 2, colSums(exp(b)), "/")
  expect_equal(normalize_image(a), scaled(a))
  expect_equal(signed_image(a), 2 * scaled(a) - 1)
  expect_equal(normalize_rows(a), exp_rows)
  expect_equal(normalize_columns(b), exp_columns)
  expect_equal(normalize_rows(a, "plus_one"), (a + 1) / rowSums(a + 1))
  expect_equal(normalize_rows(a, function(y) y^2), a^2 / rowSums(a^2))
  expect_equal(image_product(a, b), scaled(exp_rows %*% exp_columns))
  expect_equal(image_product(a, b, rows = NULL, columns = NULL, normalize = FALSE), a %*% b)
  weights <- sweep(b, 2, colSums(b), "/")
  expect_equal(image_product(a, b, rows = exp, columns = "identity"), scaled(exp_rows %*% weights))
  expect_equal(gram_image(a), scaled(crossprod(a)))
  expect_equal(image_value(a), scaled(crossprod(scaled(sweep(a + 1, 2, colSums(a + 1), "/")))))
})

test_that("the warp is the poster's, with columns that count from 1", {
  needs_python()
  a <- image(30, 20)
  expected <- vapply(1:20, function(column) {
    approx(1:30, a[, column], pmin(pmax(1:30 - 10 * sin(column / 4), 1), 30))$y
  }, numeric(30))
  expect_equal(oscillatory_warp(a), expected)
  expect_equal(oscillatory_warp(a, amplitude = 2, period = 4)[1:28, 1], a[3:30, 1])
})

test_that("a constant image is 0, and what is no image is refused by name", {
  needs_python()
  expect_equal(normalize_image(matrix(7, 2, 3)), matrix(0, 2, 3))
  expect_equal(image_value(matrix(0.5)), matrix(0))
  expect_refused(image_value(matrix(c(0.5, -2), 1)), "no pixel may be below -1", "input")
  expect_refused(normalize_image(matrix(c(1, NaN), 1)), "`x` must be finite", "input")
  expect_refused(normalize_image(matrix(c(1L, NA), 1)), "`x` must have no missing values", "input")
  expect_refused(gram_image(1:3), "`a` must have 2 axes", "shape")
  expect_refused(image_product(image(2, 3), image(2, 3)), "`b` must have as many rows", "shape")
  expect_error(normalize_rows(image(), function(y) stop("my own")), "my own")
})

test_that("images keep their R type and the user's matrix is never changed", {
  needs_python()
  a <- image()
  before <- a + 0
  normalize_rows(a, function(y) {
    y[] <- 1
    y
  })
  expect_identical(a, before)
  expect_equal(normalize_image(matrix(1:4, 2)), matrix(0:3 / 3, 2))
})

# ---- permutations ----------------------------------------------------------------------------------------------

test_that("axes of a permutation law count from 1", {
  needs_python()
  a <- image(6, 5)
  expect_lte(max(permutation_error(image_value, a, input = 1, seed = 1)$error), 1e-12)
  expect_lte(max(permutation_error(image_value, a, input = 2, output = c(1, 2), seed = 1)$error), 1e-12)
  expect_gt(max(permutation_error(image_value, a, input = 2, seed = 1)$error), 0.1)
  expect_refused(permutation_error(image_value, a, 0), "`input` must be from 1 to 2; got 0", "input")
  expect_refused(permutation_error(image_value, a, 3), "`input` must be from 1 to 2; got 3", "input")
  expect_refused(permutation_error(image_value, a, 1, 1), "`f(x)` must have the size 6 along `output`", "shape")
})

test_that("a permutation law is tabled, printed and drawn as an equivariance error", {
  needs_python()
  table <- permutation_error(colSums, image(6, 5), input = 1, permutations = 3, seed = 1)
  expect_s3_class(table, "gequi_equivariance")
  expect_equal(table$name, c("exchange", "cycle", "random 1"))
  expect_equal(table$element, 1:3)
  expect_output(print(table), "exchange")
  expect_s3_class(plot(table), "ggplot")
})

# ---- tracing ---------------------------------------------------------------------------------------------------

# What the core makes of the steps of a function.
followed <- function(f, x) invert_input(f, f(x), x, steps = 0, dtype = "float64")$value

test_that("a function composed of image operations is followed to the same values", {
  needs_python()
  a <- image(4, 4)
  b <- image(4, 4) + 1
  functions <- list(
    function(z) z,
    function(z) image_product(signed_image(z), t(z), rows = "plus_one", columns = NULL, normalize = FALSE),
    function(z) image_product(z, z, rows = function(y) y^2 + 1, columns = exp),
    function(z) gram_image(normalize_columns(z, function(y) y + 1)),
    function(z) image_value(normalize_rows(z), "exp"),
    function(z) image_value(z, function(y) y + 2),
    function(z) oscillatory_warp(normalize_image(z), 0.5, 3),
    function(z) z %*% b + b %*% z - (z %*% z) / 2,
    function(z) -z * b^2 + (+z) / b - 1 + 2 * z,
    function(z) exp(z) + log(z + 1) + sqrt(z + 1) + abs(z) + sin(z) + cos(z) + tanh(z),
    function(z) {
      early <- z + 1
      unused <- exp(early)
      early
    }
  )
  for (f in functions) expect_equal(followed(f, a), f(a), tolerance = 1e-12)
})

test_that("what cannot be followed is refused with the name of what was used", {
  needs_python()
  target <- image_value(small)
  not_followed <- list(
    function(z) z[1, ], function(z) max(z), function(z) z > 1, function(z) round(z), function(z) z + nrow(z)
  )
  for (f in not_followed) {
    expect_refused(invert_input(f, target, small), "on an image, which cannot be followed", "input")
  }
  expect_refused(invert_input(function(z) 3, target, small), "`f` must return an image that is made", "input")
})
