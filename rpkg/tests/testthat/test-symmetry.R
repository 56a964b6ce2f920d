grey <- c(trivial = 1)

convolution <- function(space = c4(), ...) {
  needs_python()
  equivariant_network(space, grey, seed = 1, ...) |> layer_conv(c(regular = 2), 3) |> layer_relu()
}

test_that("the errors of a network are a table of its elements, from 1", {
  needs_python()
  table <- equivariance_error(convolution(), volcano)
  expect_s3_class(table, c("gequi_equivariance", "data.frame"), exact = FALSE)
  expect_named(table, c("element", "name", "exact", "error", "rms", "rms_low", "rms_high", "floor"))
  expect_identical(table$floor, rep(0, 4))
  expect_identical(table$element, 1:4)
  expect_lt(max(table$error), 1e-5)
  double <- equivariance_error(convolution(), volcano, dtype = "float64", elements = c(2, 4))
  expect_identical(double$element, c(2L, 4L))
  expect_lt(max(double$error), 1e-10)
  expect_identical(equivariance_error(convolution(), volcano, elements = 3)$element, 3L)
})

test_that("any R function can be checked: it gets arrays and gives arrays", {
  needs_python()
  seen <- list()
  square <- function(x) {
    seen[[length(seen) + 1]] <<- x
    x^2
  }
  x <- feature(2, 1, 4, 5)
  expect_true(is_equivariant(square, x, c4(), grey, grey))
  expect_identical(seen[[1]], x)
  expect_identical(dim(seen[[3]]), c(2L, 1L, 5L, 4L))
  shift <- function(x) x[, , , c(2:5, 1), drop = FALSE]
  expect_false(is_equivariant(shift, feature(1, 1, 5, 5), c4(), grey, grey))
  mean_of <- function(x) apply(x, 1:2, mean)
  expect_lt(max(equivariance_error(mean_of, x, c4(), grey, grey)$error), 1e-12)
})

test_that("where no quarter turn is exact, the others are judged by the error of interpolation", {
  needs_python()
  space <- gspace("rot2dOnR2", N = 3)
  x <- feature(1, 1, 25, 25)
  shift <- function(x) x[, , , c(2:25, 1), drop = FALSE]
  expect_true(is_equivariant(function(x) x^2, x, space, grey, grey))
  expect_false(is_equivariant(shift, x, space, grey, grey))
  small <- feature(1, 1, 5, 5)
  expect_refused(is_equivariant(abs, small, space, grey, grey), "`x` is too small for the test: 120", "input")
  expect_refused(is_equivariant(shift, x, space, grey, grey, elements = integer()), "is empty; NULL", "input")
  expect_refused(is_equivariant(shift, x, space, grey, grey, elements = 1), "other than the identity", "input")
  expect_refused(is_equivariant(abs, x^0, c4(), grey, grey), "does not change under any of the elements", "input")
})

test_that("fields may be given as field types", {
  needs_python()
  type <- field_type(c4(), c(regular = 1))
  expect_true(is_equivariant(abs, feature(1, 4, 3, 3), c4(), input = type, output = type))
})

test_that("vectors and volumes are checked too", {
  needs_python()
  so3 <- gspace("no_base_space", group = "so3_group", maximum_frequency = 2)
  linear <- equivariant_network(so3, c(irrep_1 = 2), seed = 1, dtype = "float64") |> layer_linear(c(irrep_1 = 3))
  expect_true(is_equivariant(linear, feature(5, 6), elements = 1:60))
  cube <- equivariant_network(gspace("octaOnR3"), grey, seed = 1) |> layer_conv(c(irrep_1 = 1), 3)
  expect_lt(max(equivariance_error(cube, feature(5, 5, 5))$error), 1e-5)
})

test_that("a layer that breaks exactness is warned of by name", {
  needs_python()
  strided <- equivariant_network(c4(), grey, seed = 1) |> layer_conv(c(regular = 2), 3, stride = 2)
  expect_warning(
    table <- equivariance_error(strided, feature(1, 1, 10, 10)), "layer 1 \\(conv\\)", class = "gequi_exactness_warning"
  )
  expect_gt(max(table$error), 1e-2)
})

test_that("what does not fit is refused", {
  needs_python()
  expect_refused(equivariance_error(abs, volcano, c4()), "`input` is missing", "input")
  expect_refused(equivariance_error(convolution(), volcano, elements = 5), "must be from 1 to 4; got 5", "input")
  expect_refused(equivariance_error(convolution(), volcano, c4()), "are declared by the network", "input")
  drops <- function(x) x[1, 1, , ]
  expect_refused(equivariance_error(drops, volcano, c4(), grey, grey), "`f` must return features", "shape")
  expect_refused(equivariance_error("f", volcano, c4(), grey, grey), "`f` must be a network or a function", "input")
  loses <- function(x) x + NA
  expect_refused(equivariance_error(loses, volcano, c4(), grey, grey), "`f(x)` must have no missing values", "input")
  expect_refused(is_equivariant(abs, volcano, c4(), grey, grey, tolerance = -1), "`tolerance` must be", "input")
})

test_that("the errors print as a short table", {
  needs_python()
  table <- equivariance_error(convolution(), volcano)
  table$error <- c(0, 1.23e-7, 1, 2e-10)
  table$rms <- c(0, 1e-8, 0.5, NA)
  expect_identical(printed_in_utf8(print(table)), c(
    "Equivariance error, relative to the scale of the output",
    "  element  name  exact    error      rms    floor",
    "        1  0\u00b0    yes    0.0e+00  0.0e+00  0.0e+00",
    "        2  90\u00b0   yes    1.2e-07  1.0e-08  0.0e+00",
    "        3  180\u00b0  yes    1.0e+00  5.0e-01  0.0e+00",
    "        4  270\u00b0  yes    2.0e-10           0.0e+00"
  ))
  expect_identical(class(as.data.frame(table)), "data.frame")
  expect_output(print(table[table$error > 1, c("element", "error")]))
  expect_output(print(table["error"]), "1.2e-07", fixed = TRUE)
})

test_that("they are plotted as bars on a logarithmic scale, exact elements coloured apart, zero as no bar", {
  needs_python()
  table <- equivariance_error(convolution(gspace("rot2dOnR2", N = 8)), volcano)
  picture <- plot(table)
  expect_identical(as.character(unique(picture$data$kind)), c("moves pixels only", "has to interpolate"))
  expect_identical(picture$data$zero, c("0", rep("", 7)))
  built <- ggplot2::ggplot_build(picture)$data[[1]]
  expect_equal(built$ymax[2:8], log10(table$error[2:8]))
  expect_true(all(built$ymin <= min(built$ymax)))
  expect_silent(ggplot2::ggplotGrob(picture))
  marks <- picture$layers[[3]]$data
  expect_equal(marks$value, c(table$rms[!table$exact], table$floor[!table$exact]))
  expect_length(plot(table[table$exact, ])$layers, 2)
  table$name <- paste("turn by", table$name, "about an axis")
  expect_s3_class(plot(table)$coordinates, "CoordFlip")
})

test_that("several images have an interval of their mean", {
  needs_python()
  table <- equivariance_error(function(x) x^2, feature(3, 1, 9, 9), gspace("rot2dOnR2", N = 8), grey, grey)
  expect_true(all(table$rms_low <= table$rms & table$rms <= table$rms_high))
  expect_output(print(table), "rms low")
})
