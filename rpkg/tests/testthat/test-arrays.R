as_is <- function(x) {
  # Through Python and back, as an argument goes in and a value comes out.
  needs_python()
  from_python(to_python(x, "x", NULL))
}

test_that("arrays keep their axes on both ways", {
  x <- feature(2, 3, 4, 5)
  expect_identical(as_is(x), x)
  needs_python()
  numpy <- to_python(x, "x", NULL)
  expect_identical(from_python(numpy[1L, 2L, 3L, 4L]), x[2, 3, 4, 5])
  expect_identical(as_is(matrix(1:6, 2)), matrix(1:6, 2))
  expect_identical(as_is(matrix(c(TRUE, FALSE), 1)), matrix(c(TRUE, FALSE), 1))
})

test_that("large arrays keep their axes and values on both ways, and are R's own", {
  needs_python()
  grey <- field_type(c4(), c(trivial = 1))
  x <- feature(3, 1, 160, 170)
  before <- x + 0
  expect_gt(length(x), large)
  turned <- transform_field(x, grey, 2) # a quarter turn, counter-clockwise
  expect_identical(dim(turned), c(3L, 1L, 170L, 160L))
  expect_true(all(turned[2, 1, , ] == t(x[2, 1, , ])[170:1, ]))
  again <- transform_field(x, grey, 2)
  again[1] <- 7
  expect_false(turned[1] == 7)
  expect_identical(x, before)
  x[12345] <- NA
  expect_error(transform_field(x, grey, 2), "`x` must have no missing values; 1 of its 81600 values are NA")
  x[12345] <- NaN
  expect_error(transform_field(x, grey, 2), "`x` must be finite; 1 of its 81600 values are NaN or infinite")
})

test_that("vectors are arrays of one axis, single values are values", {
  expect_identical(as_is(c(1, 2)), array(c(1, 2)))
  expect_identical(as_is(c(a = 1, b = 2)), array(c(1, 2)))
  expect_identical(as_is(4), 4)
  expect_identical(as_is(TRUE), TRUE)
  expect_identical(as_is("a"), "a")
  expect_identical(as_is(c("a", "b")), c("a", "b"))
  expect_identical(as.raw(as_is(as.raw(c(0, 255)))), as.raw(c(0, 255)))
  expect_null(as_is(NULL))
})

test_that("an R variable is not changed, whatever Python does in place to what it made of it", {
  needs_python()
  x <- feature(1, 1, 9, 9)
  same <- x
  before <- x + 0
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 2), 3) |> layer_relu()
  predict(network, x)
  transform_field(x, field_type(c4(), c(trivial = 1)), 2)
  overwrite <- function(x) {
    x[] <- seq_along(x)
    x
  }
  equivariance_error(overwrite, x, c4(), c(trivial = 1), c(trivial = 1))
  # the core's own copies, written to
  torch <- reticulate::import("torch")
  tensor <- reticulate::import("gequi.arrays")$as_tensor(to_python(x, "x", NULL), "x", dtype = torch$float64)
  tensor$zero_()
  expect_identical(x, before)
  expect_identical(same, before)
})

test_that("a value that came from Python is R's own", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 2), 3)
  weights <- get_weights(network)
  weights$layers.0.weights[] <- 0
  expect_true(all(get_weights(network)$layers.0.weights != 0))
})

test_that("missing values, factors and data frames are refused by name", {
  needs_python()
  grey <- field_type(c4(), c(trivial = 1))
  refused <- function(x, message) {
    error <- expect_error(transform_field(x, grey, 1), message, fixed = TRUE, class = "gequi_input_error")
    expect_identical(error$argument, "x")
  }
  refused(matrix(c(1, NA, NA, 2), 2), "`x` must have no missing values; 2 of its 4 values are NA.")
  refused(matrix(c(1L, NA, 1L, 2L), 2), "1 of its 4 values are NA.")
  refused(NA, "`x` must not be NA.")
  refused(matrix(NaN, 2, 2), "`x` must be finite; 4 of its 4 values are NaN or infinite.")
  refused(factor("a"), "`x` must not be a factor")
  refused(data.frame(a = 1:2), "`x` must be an array of numbers; got a data frame: as.matrix() makes one of it.")
  refused(quote(x), "`x` must be plain R data; got an object of class name.")
  refused(matrix("a"), "`x` must be an array of numbers; got text.")
  refused(as.Date("2020-01-01"), "`x` must not be a date or time")
  refused(as.difftime(1, units = "mins"), "`x` must not be a date or time")
  refused(matrix(1i), "`x` must be an array of numbers; got complex numbers.")
  refused(numeric(0), "`x`")
  network <- equivariant_network(c4(), c(trivial = 1))
  expect_refused(layer_conv(network, c(regular = NA), 3), "`fields$regular` must not be NA", "input")
  expect_refused(layer_conv(network, c(regular = 1), NA_integer_), "`kernel_size` must not be NA", "input")
})

test_that("whole numbers may be given as 4 or 4L, and 4.7 is refused", {
  needs_python()
  expect_identical(cayley_table(gspace("rot2dOnR2", N = 4L)), cayley_table(gspace("rot2dOnR2", N = 4)))
  expect_refused(gspace("rot2dOnR2", N = 4.7), "`N` must be a whole number; got 4.7", "input")
})

test_that("tables are data frames", {
  table <- as_table(list(list(element = 0L, name = "a", x = NULL), list(element = 1L, name = "b", x = 2)), "element")
  expect_s3_class(table, "data.frame")
  expect_identical(table$element, 1:2)
  expect_identical(table$name, c("a", "b"))
  expect_identical(table$x, c(NA, 2))
  expect_identical(class(as.data.frame(table)), "data.frame")
  expect_identical(capture.output(print(table)), c("  element  name  x", "        1  a", "        2  b     2"))
})

test_that("a table grows by a row", {
  rows <- list(list(layer = "input", channels = 1L), list(layer = "1", channels = 4L))
  expect_identical(add_row(as_table(rows[1]), rows[[2]]), as_table(rows))
})

test_that("fields are pairs, so that a representation may come twice", {
  pairs <- list(list("regular", 1), list("trivial", 2), list("regular", 3))
  expect_identical(as_fields(c(regular = 1, trivial = 2, regular = 3)), pairs)
  expect_identical(as_fields(list(regular = 1L)), list(list("regular", 1L)))
  expect_identical(as_fields("regular"), "regular")
  expect_identical(as_fields(c("regular", "trivial")), list("regular", "trivial"))
  expect_null(as_fields(NULL))
})
