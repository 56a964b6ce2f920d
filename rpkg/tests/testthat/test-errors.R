test_that("errors have the classes of the core's, and name the user's function and the argument", {
  needs_python()
  error <- expect_error(
    transform_field(array(1, c(1, 2, 3, 3)), field_type(c4(), c(trivial = 1)), 1),
    class = "gequi_shape_error"
  )
  expect_s3_class(error, c("gequi_shape_error", "gequi_input_error", "gequi_error"), exact = FALSE)
  expect_identical(error$argument, "x")
  expect_identical(as.character(error$call[[1]]), "transform_field")
  expect_match(conditionMessage(error), "^`x` must have 1 .*channel.* got 2, shape \\(1, 2, 3, 3\\)")
  expect_match(error$traceback, "Traceback (most recent call last)", fixed = TRUE)
})

test_that("an error that the core did not raise on purpose is a gequi_python_error with its traceback", {
  needs_python()
  error <- expect_error(call_core("gspaces", nothing = 1), class = "gequi_python_error")
  expect_s3_class(error, "gequi_error")
  expect_match(conditionMessage(error), "TypeError: .*unexpected keyword argument 'nothing'")
  expect_match(error$traceback, "Traceback", fixed = TRUE)
})

test_that("warnings of the core are classed R warnings, and the value is returned", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 1), 3, stride = 2)
  expect_warning(shape <- output_shape(network, c(1, 1, 10, 10)), class = "gequi_exactness_warning")
  expect_identical(shape, c(1L, 4L, 4L, 4L))
  expect_warning(output_shape(network, c(1, 1, 10, 10)), "layer 1 \\(conv\\) breaks exact", class = "gequi_warning")
  expect_no_warning(output_shape(network, c(1, 1, 11, 11)))
})

test_that("messages speak R", {
  expect_identical(in_r_words("got None."), "got NULL.")
  expect_identical(in_r_words("True or [None, 4]; False"), "TRUE or [NULL, 4]; FALSE")
  expect_identical(in_r_words("'quotient(None,2)' and NoneSuch"), "'quotient(None,2)' and NoneSuch")
  expect_identical(in_r_words("such as {'regular': 4, 'irrep_1': 2};"), "such as c(regular = 4, irrep_1 = 2);")
  expect_identical(
    in_r_words("{'layer': kind, option: value, ...}"), "list(layer = kind, option = value, ...)"
  )
  expect_identical(in_r_words("the shape (4,)"), "the shape (4)")
})

test_that("messages about indexes count from 1", {
  expect_identical(count_from_one("`element` must be from 0 to 3; got 4."), "`element` must be from 1 to 4; got 5.")
  expect_identical(count_from_one("must be whole; got 3.7."), "must be whole; got 4.7.")
  expect_identical(count_from_one("got -1, 'irrep_1'"), "got 0, 'irrep_1'")
  needs_python()
  expect_error(representation_matrix(c4(), "irrep_1", 5), "`element` must be from 1 to 4; got 5", fixed = TRUE)
  expect_error(representation_matrix(c4(), "irrep_1", 0), "`element` must be from 1 to 4; got 0", fixed = TRUE)
  expect_error(representation_matrix(c4(), "irrep_1", 4.7), "must be a whole number; got 4.7", fixed = TRUE)
  expect_error(representation_matrix(c4(), "irrep_1", TRUE), "must be a whole number; got TRUE", fixed = TRUE)
})

test_that("an R error inside a function that Python calls is that R error", {
  needs_python()
  f <- function(x) rlang::abort("mine alone", class = "my_error")
  expect_error(
    equivariance_error(f, feature(1, 1, 4, 4), c4(), c(trivial = 1), c(trivial = 1)), "mine alone", class = "my_error"
  )
  # and it does not linger
  expect_refused(call_core("gspaces", nothing = 1), "TypeError", "python")
})
