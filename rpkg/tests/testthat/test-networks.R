classifier <- function(...) {
  needs_python()
  equivariant_network(c4(), c(trivial = 1), seed = 1, ...) |>
    layer_conv(c(regular = 4), kernel_size = 3) |>
    layer_batch_norm() |>
    layer_relu() |>
    layer_global_avg_pool() |>
    layer_group_pool() |>
    layer_dense(10)
}

test_that("a network prints its layers with fields, channels and parameters", {
  network <- classifier()
  expect_identical(capture.output(print(network)), c(
    "<network> 1 trivial -> 10 trivial on rot2dOnR2(N = 4)",
    "float32, seed 1",
    "     layer            fields      channels  parameters",
    "     input            1 trivial          1",
    "  1  conv             4 regular         16          28",
    "  2  batch_norm       4 regular         16           8",
    "  3  relu             4 regular         16",
    "  4  global_avg_pool  4 regular         16",
    "  5  group_pool       4 trivial          4",
    "  6  dense            10 trivial        10          50",
    "86 parameters"
  ))
  expect_output(print(summary(network, c(1, 1, 28, 28))), "26 x 26", fixed = TRUE)
  expect_output(print(summary(network, c(1, 1, 28, 28))), "86 parameters, 194,768 FLOPs for one input", fixed = TRUE)
  expect_equal(summary(network, c(1, 1, 28, 28))$table$flops, c(0, 2 * 16 * 9 * 26^2, 0, 0, 0, 0, 80))
  expect_identical(as.data.frame(network)$parameters, c(0L, 28L, 8L, 0L, 0L, 0L, 50L))
})

test_that("FLOPs that are not known are missing, and large ones are not rounded", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_oriented_gradients()
  shown <- summary(network, c(1, 1, 28, 28))
  expect_identical(is.na(shown$table$flops), c(FALSE, TRUE))
  expect_output(print(shown), "0 FLOPs for one input in the layers for which they are known", fixed = TRUE)
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 64), kernel_size = 9)
  expect_identical(summary(network, c(1, 1, 1000, 1001))$table$flops[2], 2 * 256 * 81 * 992 * 993)
})

test_that("nothing is built before it is needed", {
  network <- classifier()
  expect_false(is_alive(network))
  predict(network, volcano)
  expect_true(is_alive(network))
})

test_that("predictions are arrays, batch first", {
  network <- classifier()
  expect_identical(dim(predict(network, volcano)), c(1L, 10L))
  two <- predict(network, as_image_batch(list(volcano, volcano[87:1, ])))
  expect_equal(two[1, ], predict(network, volcano)[1, ], tolerance = 1e-6)
  expect_identical(dim(predict(network, array(0, c(5, 1, 9, 9)), batch_size = 2)), c(5L, 10L))
})

test_that("a prediction tells how many images are done", {
  told <- list()
  note <- function(info) told <<- c(told, list(info))
  many <- array(0, c(5, 1, 9, 9))
  expect_identical(predict(classifier(), many, batch_size = 2, progress = note), predict(classifier(), many))
  expect_identical(vapply(told, `[[`, 1L, "done"), c(2L, 4L, 5L))
  expect_identical(told[[3]][c("total", "seconds_left")], list(total = 5L, seconds_left = 0))
  expect_message(predict(classifier(), many, batch_size = 2, progress = TRUE), NA) # over before two seconds
  rlang::local_options(cli.progress_show_after = 0, cli.dynamic = FALSE)
  expect_message(predict(classifier(), many, batch_size = 2, progress = TRUE), "Predicting.* 2/5")
  expect_message(predict(classifier(), many, batch_size = 2), NA)
  expect_refused(predict(classifier(), many, progress = 3), "`progress` must be TRUE, FALSE or a function", "input")
})

test_that("a misspelt option is refused, not ignored", {
  needs_python()
  expect_error(predict(classifier(), volcano, batchsize = 2), class = "gequi_input_error")
  expect_error(predict(classifier(), new_data = volcano), class = "gequi_input_error")
  expect_error(summary(classifier(), shape = c(1, 1, 9, 9)), class = "gequi_input_error")
  expect_error(plot(c4(), representations = "regular"), class = "gequi_input_error")
})

test_that("the shape of the output is told without running the network", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 3), 3)
  expect_identical(output_shape(network, c(2, 1, 32, 32)), c(2L, 12L, 30L, 30L))
  expect_identical(output_shape(network, list(2, 1, 32L, 32)), c(2L, 12L, 30L, 30L))
})

test_that("a network without a seed draws one and keeps it, through pipes and files", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1)) |> layer_conv(c(regular = 3), 3)
  expect_true(is.numeric(network$seed))
  expect_identical(layer_relu(network)$seed, network$seed)
  expect_identical(predict(saved_and_read(network), volcano), predict(network, volcano))
  expect_false(identical(network$seed, equivariant_network(c4(), c(trivial = 1))$seed))
})

test_that("networks are values: other weights or another layer leave the old network as it was", {
  network <- classifier()
  before <- predict(network, volcano)
  zero <- set_weights(network, list(layers.5.bias = rep(0, 10), layers.5.weight = matrix(0, 10, 4)))
  expect_identical(predict(network, volcano), before)
  expect_true(all(predict(zero, volcano) == 0))
  longer <- layer_dense(zero, 2)
  expect_identical(get_weights(longer)$layers.5.bias, array(rep(0, 10)))
  expect_identical(length(network$layers), 6L)
})

test_that("weights go out and in without a difference", {
  network <- classifier()
  other <- set_weights(network, get_weights(network))
  expect_identical(predict(other, volcano), predict(network, volcano))
  expect_identical(get_weights(other), get_weights(network))
  # set one after the other
  twice <- network |> set_weights(list(layers.5.bias = 1:10)) |> set_weights(list(layers.0.bias = 1:4))
  expect_identical(get_weights(twice)$layers.5.bias, array(as.numeric(1:10)))
})

test_that("weights that do not fit are refused", {
  network <- classifier()
  expect_refused(set_weights(network, list(layers.0.bia = 1)), "Did you mean 'layers.0.bias'?", "input")
  expect_refused(set_weights(network, list(layers.0.bias = 1:3)), "must have the shape (4); got (3)", "shape")
  missing <- list(layers.0.bias = c(1, 2, 3, NA))
  expect_refused(set_weights(network, missing), "`weights$layers.0.bias` must have no missing values", "input")
  expect_refused(set_weights(network, 3), "`weights` must map names to arrays", "input")
  expect_refused(set_weights("network", list()), "`model` must be a network", "input")
})

test_that("a network survives saveRDS() and readRDS() with the weights that were set", {
  network <- classifier()
  expect_identical(predict(saved_and_read(network), volcano), predict(network, volcano))
  changed <- set_weights(network, list(layers.5.bias = 1:10))
  back <- saved_and_read(changed)
  expect_false(is_alive(back))
  expect_identical(predict(back, volcano), predict(changed, volcano))
})

test_that("a network whose weights were changed in Python says so when they are lost", {
  network <- classifier()
  module <- reticulate::r_to_py(network)
  expect_true(reticulate::py_to_r(module$training))
  back <- saved_and_read(network)
  for (call in expression(predict(back, volcano), get_weights(back), output_shape(back, c(1, 1, 9, 9)),
                          equivariance_error(back, volcano), layer_dense(back, 2), summary(back))) {
    error <- expect_error(eval(call), "The weights of this network are lost", class = "gequi_setup_error")
  }
  expect_match(conditionMessage(error), "set_weights()", fixed = TRUE)
  expect_output(print(back), "dense            10 trivial", fixed = TRUE) # its plan still prints
  expect_identical(dim(predict(network, volcano)), c(1L, 10L)) # the living one goes on
})

test_that("the blog post's sixteen values come out of a convolution with all weights 1", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv("regular", 3)
  ones <- set_weights(network, list(layers.0.weights = rep(1, 6)))
  x <- outer(0:3, 3:0, `^`)
  turned <- predict(ones, transform_field(x, field_type(c4(), "trivial"), 2))
  printed <- rbind(
    c(1.1955, 1.7110, -0.5166, 1.0665), c(-0.0905, 2.6568, -0.3743, 2.8144),
    c(5.0640, 11.7395, 8.6488, 31.7169), c(2.3499, 1.7937, 4.5065, 5.9689)
  )
  for (channel in 1:4) expect_equal(c(t(turned[1, channel, , ])), printed[channel, ], tolerance = 1e-4)
})

test_that("what makes no network is refused", {
  needs_python()
  expect_refused(equivariant_network(c4(), c(trivail = 1)), "Did you mean 'trivial'?", "field")
  expect_refused(equivariant_network(c4(), c(trivial = NA)), "`input$trivial` must not be NA", "input")
  expect_refused(equivariant_network("C4", "trivial"), "`space` must be a gspace", "input")
  expect_refused(equivariant_network(c4(), "trivial", seed = 1.5), "`seed` must be a whole number; got 1.5", "input")
  expect_refused(equivariant_network(c4(), "trivial", dtype = "float16"), "`dtype` must be one of", "input")
  expect_refused(equivariant_network(c4(), "trivial", "conv"), 'such as list(layer = "relu")', "input")
  expect_refused(equivariant_network(c4(), "trivial", list(list(layer = "conf"))), "Did you mean 'conv'?", "input")
  expect_refused(predict(classifier(), matrix(0, 2, 2)), "layer 1 (conv): features of size (2, 2) are smaller", "shape")
  expect_refused(predict(classifier(), volcano, batch_size = 2.5), "`batch_size` must be a whole number", "input")
})

# The names of the core's functions that are called by code, in order.
called_by <- function(code) {
  called <- character()
  real <- call_core_with
  with_internal("call_core_with", function(.name, arguments, .call) {
    called <<- c(called, .name)
    real(.name, arguments, .call)
  }, force(code))
  called
}

test_that("each layer is planned once", {
  needs_python()
  space <- c4()
  network <- NULL
  called <- called_by(network <- equivariant_network(space, c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 4), 3) |> layer_batch_norm() |> layer_relu() |> layer_global_avg_pool() |>
    layer_group_pool() |> layer_dense(10))
  expect_identical(called, c("start_plan", rep("extend_plan", 6)))
  at_once <- equivariant_network(space, c(trivial = 1), network$layers, seed = 1)
  expect_identical(network$table, at_once$table)
})

test_that("a network that grows leaves the one before it as it was", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 1), 3)
  one <- layer_relu(network)
  other <- layer_group_pool(network)
  expect_identical(list(kinds_of(network), kinds_of(one)[2], kinds_of(other)[2]), list("conv", "relu", "group_pool"))
  expect_identical(other$table$fields, c("1 trivial", "1 regular", "1 trivial"))
})

test_that("a network whose plan has died grows all the same", {
  needs_python()
  network <- saved_and_read(equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 1), 3))
  grown <- NULL
  expect_setequal(called_by(grown <- layer_relu(network)), c("gspace", "start_plan", "extend_plan"))
  expect_identical(kinds_of(grown), c("conv", "relu"))
  expect_refused(layer_conv(grown, c(regular = 1), 4), "layer 3 (conv): `kernel_size` must be odd", "input")
})
