x <- feature(3, 1, 9, 9)
file <- tempfile()

# What onnxruntime makes of arrays; the numbers of the file are float32.
onnx_runs <- function(file, ...) {
  numpy <- reticulate::import("numpy", convert = FALSE)
  session <- reticulate::import("onnxruntime")$InferenceSession(file)
  names <- vapply(session$get_inputs(), function(input) input$name, "")
  arrays <- lapply(list(...), function(x) numpy$asarray(x, dtype = "float32"))
  session$run(NULL, reticulate::dict(stats::setNames(arrays, names)))[[1]]
}

test_that("a fitted network runs in onnxruntime as here", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), kernel_size = 3) |> layer_batch_norm() |> layer_relu() |>
    layer_global_avg_pool() |> layer_group_pool() |> layer_dense(2)
  model <- fit(network, x, factor(c("a", "b", "a")), epochs = 2, seed = 1, progress = FALSE)
  expect_identical(withVisible(export_model(model, file, c(1, 1, 9, 9)))$visible, FALSE)
  expect_equal(onnx_runs(file, x), predict(model, x, type = "raw"), tolerance = 1e-5)
  wide <- feature(2, 1, 11, 13)
  expect_equal(onnx_runs(file, wide), predict(model, wide, type = "raw"), tolerance = 1e-5)
})

test_that("modules of several inputs are exported with a list of shapes", {
  needs_python()
  module <- multi_head_attention(4, heads = 2, seed = 1)
  export_model(module, file, list(c(1, 5, 4), c(1, 6, 4)))
  query <- feature(2, 3, 4)
  context <- feature(2, 8, 4)
  expect_equal(onnx_runs(file, query, context), predict(module, query, context), tolerance = 1e-5)
})

test_that("TorchScript is read by torch alone", {
  needs_python()
  model <- unet(levels = 1, width = 2, seed = 1)
  expect_silent(export_model(model, file, c(1, 1, 8, 8), format = "torchscript"))
  torch <- reticulate::import("torch", convert = FALSE)
  suppressWarnings(loaded <- torch$jit$load(file)) # torch is about to have something newer
  x <- feature(3, 1, 4, 6)
  out <- loaded(torch$tensor(reticulate::np_array(x, dtype = "float32")))
  expect_equal(reticulate::py_to_r(out$detach()$numpy()), predict(model, x), tolerance = 1e-5)
})

test_that("what cannot be exported is refused", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 1), kernel_size = 5)
  expect_refused(export_model("net", file, c(1, 1, 9, 9)), "`model` must be a network, as equivariant_netw", "input")
  expect_refused(export_model(network, file, c(1, 1, 3, 3)), "layer 1 (conv)", "shape")
  expect_refused(export_model(network, file, c(1, 2, 9, 9)), "`input_shape` must be (batch, channel = 1", "shape")
  expect_refused(export_model(network, file, c(1, 1, 9, 9), format = "onxn"), "Did you mean 'onnx'?", "input")
  nowhere <- file.path(tempdir(), "no", "folder")
  expect_refused(export_model(network, nowhere, c(1, 1, 9, 9)), "cannot be written", "input")
})
