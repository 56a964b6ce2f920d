image <- function(rows = 4, columns = 5) matrix(sin(seq_len(rows * columns) * 1.7)^2, rows)

# The 3 x 3 case of the poster's notebook, and what it prints.
small <- rbind(c(0.749673, 0.286601, 0.689869), c(0.378105, 0.743137, 0.302288), c(0.515142, 0.466993, 0.72146))

test_that("a sample is R's own where R has it, and the table says where each comes from", {
  expect_identical(sample_image("volcano"), unname(datasets::volcano))
  expect_equal(dim(sample_image("camera")), c(512, 512))
  expect_equal(range(sample_image("camera")), c(0, 1))
  expect_equal(sample_image()$name, c("volcano", "camera", "cat", "retina", "cell"))
  expect_error(sample_image("vulcano"), "Did you mean 'volcano'", class = "gequi_input_error")
})

test_that("the notebook's 3 x 3 matrices are met to 1e-5", {
  columns <- rbind(c(0.903041, 0.0883338, 0.738358), c(0.18441, 1, 0), c(0.449446, 0.448563, 0.798539))
  value <- rbind(c(0.79949, 0.0539301, 0.766617), c(0.0539301, 1, 0), c(0.766617, 0, 0.966681))
  expect_lt(max(abs(normalize_image(normalize_columns(small, "plus_one")) - columns)), 1e-5)
  expect_lt(max(abs(image_value(small) - value)), 1e-5)
})

test_that("operations are their definitions", {
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
  expect_equal(image_product(a, b, rows = exp, columns = "identity"), scaled(exp_rows %*% sweep(b, 2, colSums(b), "/")))
  expect_equal(gram_image(a), scaled(crossprod(a)))
  expect_equal(image_value(a), scaled(crossprod(scaled(sweep(a + 1, 2, colSums(a + 1), "/")))))
})

test_that("the warp is the poster's, with columns that count from 1", {
  a <- image(30, 20)
  expected <- vapply(1:20, function(column) {
    approx(1:30, a[, column], pmin(pmax(1:30 - 10 * sin(column / 4), 1), 30))$y
  }, numeric(30))
  expect_equal(oscillatory_warp(a), expected)
  expect_equal(oscillatory_warp(a, amplitude = 2, period = 4)[1:28, 1], a[3:30, 1])
})

test_that("a constant image is 0, and what is no image is refused by name", {
  expect_equal(normalize_image(matrix(7, 2, 3)), matrix(0, 2, 3))
  expect_equal(image_value(matrix(0.5)), matrix(0))
  expect_error(image_value(matrix(c(0.5, -2), 1)), "no pixel may be below -1", class = "gequi_input_error")
  expect_error(normalize_image(matrix(c(1, NaN), 1)), "`x` must be finite", class = "gequi_input_error")
  expect_error(normalize_image(matrix(c(1L, NA), 1)), "`x` must have no missing values", class = "gequi_input_error")
  expect_error(gram_image(1:3), "`a` must have 2 axes", class = "gequi_shape_error")
  expect_error(image_product(image(2, 3), image(2, 3)), "`b` must have as many rows", class = "gequi_shape_error")
  expect_error(normalize_rows(image(), function(y) stop("my own")), "my own")
})

test_that("images keep their R type and the user's matrix is never changed", {
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
  a <- image(6, 5)
  expect_lte(max(permutation_error(image_value, a, input = 1, seed = 1)$error), 1e-12)
  expect_lte(max(permutation_error(image_value, a, input = 2, output = c(1, 2), seed = 1)$error), 1e-12)
  expect_gt(max(permutation_error(image_value, a, input = 2, seed = 1)$error), 0.1)
  expect_error(permutation_error(image_value, a, input = 0), "`input` must be from 1 to 2; got 0", class = "gequi_input_error")
  expect_error(permutation_error(image_value, a, input = 3), "`input` must be from 1 to 2; got 3", class = "gequi_input_error")
  expect_error(
    permutation_error(image_value, a, input = 1, output = 1),
    "`f\\(x\\)` must have the size 6 along `output`, .*; got 5", class = "gequi_shape_error"
  )
})

test_that("a permutation law is tabled, printed and drawn as an equivariance error", {
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
  target <- image_value(small)
  for (f in list(function(z) z[1, ], function(z) max(z), function(z) z > 1, function(z) round(z), function(z) z + nrow(z))) {
    expect_error(invert_input(f, target, small), "`f` uses (`\\[`|`max`|`>`|`round`|dim.*) on an image", class = "gequi_input_error")
  }
  expect_error(invert_input(function(z) 3, target, small), "`f` must return an image that is made", class = "gequi_input_error")
})
