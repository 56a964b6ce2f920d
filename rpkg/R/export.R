#' Networks for other programs
#'
#' Writes what a network computes into an ONNX or TorchScript file, which needs neither R nor gequi nor escnn to run:
#' in evaluation mode, as `predict()`.
#'
#' A steerable convolution in evaluation mode is an ordinary convolution, whose kernel is a constant. What is exported
#' is a graph of such operations: the recipe, the basis and the group are gone, the symmetry is not. To go on with a
#' network in R or Python, keep it with [save_model()].
#'
#' The batch axis is free: the file takes batches of any size. So are the sizes of images and the number of tokens,
#' where the network takes any.
#'
#' @param model a network, from [equivariant_network()] or [fit()], or a module such as [unet()].
#' @param path the file; one that exists is replaced, when the new one is whole.
#' @param input_shape the shape of an input, such as `c(1, 1, 28, 28)`; for a module of several inputs a list of
#'   shapes.
#' @param format `"onnx"`, for onnxruntime and others in many languages: its inputs are `x`, or `query` and `context`
#'   for attention, its output `output`, its free axes `batch`, `row`, `column`, `depth` and `token`. Or
#'   `"torchscript"`, for `torch::jit_load()` of the R package torch, `torch.jit.load()` of Python and LibTorch in
#'   C++.
#' @param dtype `"float32"`, which all runtimes have, or `"float64"`; onnxruntime has no convolution in float64.
#' @return the path, invisibly.
#' @section Errors: `gequi_shape_error` for a shape that does not fit the network, or an image too small for a layer,
#'   which is named; `gequi_input_error` for layers whose matrices are made for each size of image (oriented_gradients,
#'   ring_descriptor, local_normalization, sphere_descriptor, token_pool), and for a path that cannot be written to;
#'   `gequi_setup_error` where the Python packages onnx or onnxscript are missing, which `"onnx"` needs.
#' @references ONNX, onnx.ai (opset 18).
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 3), kernel_size = 3)
#' file <- tempfile(fileext = ".pt")
#' export_model(network, file, c(1, 1, 28, 28), format = "torchscript")
#' file.exists(file)
export_model <- function(model, path, input_shape, format = "onnx", dtype = "float32") {
  need_arguments()
  check_model(model)
  invisible(call_core(
    "export_model", model = model, path = as_path(path), input_shape = input_shape, format = format, dtype = dtype
  ))
}
