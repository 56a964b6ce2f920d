grey <- c(trivial = 1)
shift <- function(x) x[, , , c(dim(x)[4], seq_len(dim(x)[4] - 1)), drop = FALSE]^2

test_that("a symmetrized function is equivariant to rounding, and the function itself is not", {
  needs_python()
  x <- feature(2, 1, 5, 6)
  model <- symmetrize(shift, c4(), grey, grey)
  expect_lt(max(equivariance_error(model, x)$error), 1e-12)
  expect_true(is_equivariant(model, x))
  expect_false(is_equivariant(shift, x, c4(), grey, grey))
  expect_identical(dim(predict(model, x)), dim(x))
  expect_identical(predict(model, newdata = x, batch_size = 1), predict(model, x))
})

test_that("networks and files are symmetrized too", {
  needs_python()
  x <- feature(1, 1, 7, 7)
  network <- equivariant_network(c4(), grey, seed = 1) |> layer_conv(grey, 3)
  larger <- symmetrize(network, gspace("flipRot2dOnR2", N = 4))
  expect_lt(max(equivariance_error(larger, x, dtype = "float64")$error), 1e-12)
  expect_equal(predict(symmetrize(network, c4()), x), predict(network, x), tolerance = 1e-5)
  file <- tempfile(fileext = ".pt")
  on.exit(unlink(file))
  export_model(network, file, dim(x), format = "torchscript")
  expect_lt(max(equivariance_error(file, x, c4(), grey, grey)$error), 1e-5)
  expect_equal(predict(symmetrize(file, c4(), grey, grey), x), predict(network, x), tolerance = 1e-5)
})

test_that("it prints in one line and survives saveRDS()", {
  needs_python()
  model <- symmetrize(shift, c4(), grey, grey)
  expect_output(print(model), "symmetrize(a function) on rot2dOnR2(N = 4)", fixed = TRUE)
  x <- feature(1, 1, 5, 5)
  expect_identical(predict(saved_and_read(model), x), predict(model, x))
})

# What gequiR uses of the package torch: a module is a function of class nn_module, whose methods are reached by `$`.
torch_like <- function() {
  state <- new.env()
  state$training <- TRUE
  state$eval <- function() state$training <- FALSE
  state$train <- function() state$training <- TRUE
  registerS3method("$", "gequi_stand_in", function(x, name) attr(x, "state")[[name]])
  module <- function(tensor) {
    stopifnot(inherits(tensor, "tensor"), !state$training)
    structure(list(unclass(tensor)[[1]]^2), class = "tensor")
  }
  torch <- list(
    torch_tensor = function(data) structure(list(data), class = "tensor"),
    as_array = function(tensor) unclass(tensor)[[1]], with_no_grad = function(code) force(code)
  )
  module <- structure(module, class = c("gequi_stand_in", "nn_module"), state = state)
  list(module = module, torch = torch, state = state)
}

test_that("a module of the package torch gets tensors, in evaluation mode", {
  needs_python()
  stand_in <- torch_like()
  x <- feature(2, 1, 5, 5)
  with_internal("torch_for_r", function() stand_in$torch, {
    table <- equivariance_error(stand_in$module, x, c4(), grey, grey)
  })
  expect_identical(table$error, rep(0, 4))
  expect_true(stand_in$state$training)
})

test_that("what cannot be averaged is refused", {
  needs_python()
  expect_refused(symmetrize(shift, gspace("rot3dOnR3"), grey, grey), "`space` must have a finite group", "input")
  expect_refused(symmetrize(shift, c4()), "`input` is missing", "input")
  expect_refused(symmetrize("banana", c4(), grey, grey), "`model` must be a network or a function", "input")
  model <- symmetrize(function(x) x[, , , 1], c4(), grey, grey)
  expect_refused(predict(model, feature(1, 1, 5, 5)), "`model` must return features with 1", "shape")
  expect_error(predict(symmetrize(function(x) stop("my own"), c4(), grey, grey), feature(1, 1, 5, 5)), "my own")
})

test_that("the groups are ranked, the largest that fits first", {
  needs_python()
  x <- feature(3, 1, 8, 8)
  mirrored <- function(x) apply(x * x[, , , rev(seq_len(dim(x)[4])), drop = FALSE], 1:2, mean)
  table <- symmetry_report(mirrored, x)
  expect_s3_class(table, "gequi_table")
  expect_named(table, c("space", "elements", "error", "rms", "floor", "excess", "changed"))
  expect_identical(table$space[1], "flipRot2dOnR2(N = 2)")
  expect_lt(table$excess[1], 1e-12)
  expect_true(all(is.na(table$changed)))
  expect_identical(symmetry_report(mirrored, x, list(c4()))$elements, 4L)
  expect_refused(symmetry_report(mirrored, x, list()), "`spaces` is empty", "input")
})
