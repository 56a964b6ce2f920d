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

test_that("nothing but declared functions can be called", {
  needs_python()
  expect_refused(call_core("networks.predict"), "'networks.predict' is no function that R may call", "python")
})

test_that("messages are written from their pieces", {
  expect_identical(render_message(list()), "")
  expect_identical(render_message(list(list(text = "as {it} is"))), "as {it} is")
  expect_identical(render_message(list(
    list(text = "`"), list(kind = "name", value = "kernel_size"), list(text = "` must be one of "),
    list(kind = "list", value = c("a", "b")), list(text = "; got "), list(kind = "code", value = NULL, limit = NULL),
    list(text = ".")
  )), '`kernel_size` must be one of "a", "b"; got NULL.')
})

test_that("values are written as R code", {
  code <- function(value, limit = NULL) render_message(list(list(kind = "code", value = value, limit = limit)))
  expect_identical(code(TRUE), "TRUE")
  expect_identical(code("a \"b\""), "\"a \\\"b\\\"\"")
  expect_identical(code(c("a", "b")), 'c("a", "b")')
  expect_identical(code(c(1, 2.5)), "c(1, 2.5)")
  expect_identical(code(c(100000, 1e-8, NaN, -Inf)), "c(100000, 1e-08, NaN, -Inf)")
  expect_identical(code(list(1L, 2.5)), "c(1, 2.5)")
  expect_identical(code(list(a = 1, irrep_1 = 2)), "c(a = 1, irrep_1 = 2)")
  expect_identical(code(list(`quotient(2)` = 1)), "c(`quotient(2)` = 1)")
  expect_identical(code(list(NULL, 4L)), "list(NULL, 4)")
  expect_identical(code(list()), "list()")
  expect_identical(code(list(layer = "conv", fields = list(list("regular", 1)))),
                   'list(layer = "conv", fields = list(list("regular", 1)))')
  expect_identical(code(list(object = "<function f>")), "<function f>")
  expect_identical(code(1:9, limit = 6), "c(1, 2")
})

test_that("indexes in messages count from 1", {
  index <- function(value) render_message(list(list(kind = "index", value = value)))
  expect_identical(index(0L), "1")
  expect_identical(index(-1), "0")
  expect_identical(index(3.7), "4.7")
  expect_identical(index(0:2), "c(1, 2, 3)")
  expect_identical(index(list(0L, NULL)), "list(1, NULL)")
  expect_identical(index("a"), '"a"')
  expect_identical(index(TRUE), "TRUE")
})

test_that("messages come from the core with their pieces", {
  needs_python()
  reticulate::py_run_string("
from gequi import _r_interface as door
from gequi.errors import InputError
def refuse():
    raise InputError('`{argument}` ({x!r}, {y!r}, {z!r:.6}) at {i:index} of {c:list}', 'it', x=None, y={'a': 1, 'b': 2},
                     z=[1, 2, 3], i=0, c=['a', True])
door.refuse = refuse
door.PRIVATE_FUNCTIONS['refuse'] = '_r_interface:refuse()'
  ")
  on.exit(reticulate::py_run_string(
    "del door.PRIVATE_FUNCTIONS['refuse'], door.refuse; door.function_of.cache_clear()"
  ))
  error <- expect_error(call_core("refuse"), class = "gequi_input_error")
  expect_identical(conditionMessage(error), '`it` (NULL, c(a = 1, b = 2), c(1, 2) at 1 of "a", TRUE')
  expect_identical(error$argument, "it")
})

test_that("messages about indexes count from 1", {
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

test_that("no error prints an array, however the function was called", {
  needs_python()
  large <- array(sin(1:40000), c(4, 1, 100, 100))
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1)
  mistakes <- list(
    function() do.call(predict, list(network, large[1, 1, 1, ])),
    function() do.call(fit, list(network, large, large)),
    function() do.call(register_images, list(large[1, 1, , ], large)),
    function() register_images(large[1, 1, , ], large[1, 1, , ], contrast = large),
    function() do.call("transform_field", list(large, large, 1)),
    function() sample_image(large),
    function() gspace("rot2dOnR2", N = large),
    function() layer_dense(network, list(1, list(large))),
    function() fit(network, large, 1:4, optimizer = list(optimizer = large)),
    function() image_value(-100 * large[1, 1, , ]),
    function() einsum("a b -> b", large),
    function() do.call(as_image_batch, list(large[, 1, , ]))
  )
  for (mistake in mistakes) {
    calls <- NULL
    error <- tryCatch(
      withCallingHandlers(mistake(), gequi_error = function(error) calls <<- sys.calls()), error = identity
    )
    expect_s3_class(error, "gequi_error")
    expect_lt(nchar(conditionMessage(error)), 400)
    expect_lt(sum(nchar(deparse(conditionCall(error)))), 300)
    expect_lt(sum(nchar(utils::capture.output(print(error)))), 1000)
    # what traceback() shows of this package's own calls
    inner <- Filter(function(call) is.symbol(call[[1]]) && grepl("core|operation", call[[1]]), calls)
    expect_lt(max(0, vapply(inner, function(call) sum(nchar(deparse(call))), 0)), 1000)
  }
  expect_identical(conditionCall(tryCatch(mistakes[[3]](), error = identity))[[1]], quote(register_images))
})
