test_that("a field type prints its fields and the number of channels", {
  needs_python()
  type <- field_type(c4(), c(regular = 4, irrep_1 = 2))
  expect_identical(capture.output(print(type)), c(
    "<field type> 4 regular + 2 irrep_1: 20 channels", "on rot2dOnR2(N = 4)"
  ))
  expect_identical(type$size, 20L)
  expect_identical(as.data.frame(type)$last_channel, c(16L, 20L))
  expect_output(print(summary(type)), "irrep_1             2     2             17            20", fixed = TRUE)
  expect_output(print(field_type(c4(), "trivial")), ": 1 channel\n", fixed = TRUE)
})

test_that("fields may be named vectors, lists, names, and come twice", {
  needs_python()
  expect_identical(format(field_type(c4(), list(regular = 4, irrep_1 = 2))), "4 regular + 2 irrep_1")
  expect_identical(format(field_type(c4(), c("regular", "irrep_1"))), "1 regular + 1 irrep_1")
  twice <- field_type(c4(), c(regular = 1, trivial = 1, regular = 2))
  expect_identical(format(twice), "1 regular + 1 trivial + 2 regular")
  expect_identical(format(field_type(c4(), "quotient(2)")), "1 quotient(2)")
})

test_that("a field type survives saveRDS() and readRDS()", {
  needs_python()
  type <- field_type(c4(), c(regular = 2, `quotient(2)` = 1))
  x <- feature(2, 10, 3, 3)
  expect_identical(transform_field(x, saved_and_read(type), 2), transform_field(x, type, 2))
})

test_that("r_to_py() gives escnn's own object", {
  needs_python()
  type <- reticulate::r_to_py(field_type(c4(), c(regular = 2)))
  expect_identical(type$size, 8L)
})

test_that("the quarter turn is t(x)[ncol(x):1, ], and four of them lead back", {
  needs_python()
  grey <- field_type(c4(), c(trivial = 1))
  x <- matrix(as.numeric(1:6), 2)
  expect_identical(transform_field(x, grey, 2), t(x)[3:1, ])
  expect_identical(Reduce(function(x, g) transform_field(x, grey, g), rep(2, 4), x), x)
})

test_that("fields that there are not are refused", {
  needs_python()
  expect_refused(field_type(c4(), c(regulr = 1)), "Did you mean 'regular'?", "field")
  expect_refused(field_type(c4(), c(regular = 1.5)), "`fields$regular` must be a whole number; got 1.5", "input")
  expect_refused(field_type(c4(), 4), "such as c(regular = 4)", "field")
  expect_refused(field_type("C4", "trivial"), "`space` must be a gspace", "input")
  expect_refused(transform_field(volcano, "trivial", 1), "`type` must be a field type", "input")
})
