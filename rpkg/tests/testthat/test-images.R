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
  stack <- plot_image(array(1:30, c(3, 2, 5)))$data
  expect_identical(stack$value[stack$image == 2], as.numeric(seq(2, 30, by = 3)))
  expect_identical(plot_image(volcano, titles = "Maunga Whau")$labels$title, "Maunga Whau")
})

test_that("colours are shown as they are, as bytes or between limits", {
  colours <- array(c(1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1), c(2, 2, 3)) # red, blue / green, white
  shown <- c("#FF0000", "#00FF00", "#0000FF", "#FFFFFF")
  expect_identical(plot_image(colours)$data$value, shown)
  expect_identical(plot_image(255 * colours)$data$value, shown)
  expect_identical(plot_image(2 * colours - 1)$data$value, shown)
  expect_identical(plot_image(colours, limits = c(0, 2))$data$value[1], "#800000")
  half <- array(c(colours, rep(0.5, 4)), c(2, 2, 4))
  expect_identical(plot_image(half)$data$value, paste0(shown, "80"))
  beside_grey <- plot_image(list(a = colours, b = matrix(c(10, 20), 1)))$data
  expect_identical(beside_grey$value, c(shown, "#000000", "#FFFFFF"))
  expect_identical(levels(beside_grey$image), c("a", "b"))
  expect_silent(ggplot2::ggplotGrob(plot_image(colours)))
})

test_that("a batch shows its channels, or colours where there are three", {
  batch <- array(1:48, c(2, 4, 2, 3))
  shown <- plot_image(batch)$data
  expect_identical(levels(shown$image)[c(1, 8)], c("1 channel 1", "2 channel 4"))
  expect_identical(shown$value[shown$image == "2 channel 3"], as.numeric(batch[2, 3, , ]))
  expect_identical(levels(plot_image(batch[1, , , , drop = FALSE])$data$image), paste("channel", 1:4))
  colours <- plot_image(batch[, 1:3, , ] / 48)$data
  expect_identical(levels(colours$image), c("1", "2"))
  expect_identical(colours$value[7], grDevices::rgb(batch[2, 1, 1, 1], batch[2, 2, 1, 1], batch[2, 3, 1, 1], max = 48))
  expect_identical(levels(plot_image(batch[, 1, , , drop = FALSE])$data$image), c("1", "2"))
})

test_that("files, folders and rasters are shown", {
  folder <- tempfile()
  dir.create(folder)
  on.exit(unlink(folder, recursive = TRUE))
  image <- matrix(0:5 / 5, 2)
  for (name in c("b.png", "a.png")) png::writePNG(image, file.path(folder, name))
  expect_equal(plot_image(file.path(folder, "a.png"))$data$value, c(image), tolerance = 1e-6)
  expect_identical(levels(plot_image(folder)$data$image), c("a.png", "b.png"))
  expect_identical(plot_image(grDevices::as.raster(image))$data$value[6], "#FFFFFF")
  expect_refused(plot_image(file.path(folder, "none.png")), "is no file", "input")
  unlink(file.path(folder, c("a.png", "b.png")))
  expect_refused(plot_image(folder), "there is no picture in", "input")
})

test_that("pixels may be missing", {
  expect_identical(plot_image(matrix(c(NA, 1, 2, 3), 2))$data$value[2:4], c(1, 2, 3))
  expect_silent(ggplot2::ggplotGrob(plot_image(matrix(c(NA, 1, 2, 3), 2))))
})

test_that("large images are thinned out, evenly", {
  cells <- plot_image(matrix(0, 3000, 2000))$data
  expect_lte(nrow(cells), 1e6)
  expect_identical(max(table(cells$x)), 1000L)
})

test_that("what is no image is refused", {
  expect_refused(plot_image(1:3), "must be a matrix", "shape")
  expect_refused(plot_image(matrix("a")), "must be an image; got character", "input")
  expect_refused(plot_image(list()), "`x` is an empty list", "shape")
  expect_refused(plot_image(volcano, titles = c("a", "b")), "as many as there are images, 1; got 2", "shape")
  expect_refused(plot_image(volcano, limits = 1), "`limits` must be NULL or two numbers", "input")
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
