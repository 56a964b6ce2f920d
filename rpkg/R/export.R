#' Export a model to ONNX or TorchScript
#'
#' Writes the computation of a network in evaluation mode to an ONNX or TorchScript file. Running the file requires
#' neither R nor gequi nor escnn.
#'
#' In evaluation mode, a steerable convolution is an ordinary convolution with a constant kernel. The exported graph
#' contains such operations but not the definition, the filter basis or the group, so it cannot be trained further as an
#' equivariant network. Use [save_model()] to store a network for later use in R or Python.
#'
#' The batch axis is dynamic. Image sizes and the number of tokens are dynamic if the network accepts any size.
#'
#' @param model A network, created by [equivariant_network()] or [fit()], or a module such as [unet()].
#' @param path Character, the path of the file. An existing file is replaced once the new file is complete.
#' @param input_shape Integer vector, the shape of an input, such as `c(1, 1, 28, 28)`. For a module with several
#'   inputs, a list of shapes.
#' @param format Character, `"onnx"` or `"torchscript"`.
#'   * `"onnx"`: for onnxruntime and other programs. The inputs are named `x`, or `query` and `context` for attention;
#'     the output is named `output`; the dynamic axes are named `batch`, `row`, `column`, `depth` and `token`.
#'   * `"torchscript"`: for `torch::jit_load()` of the R package torch, `torch.jit.load()` in Python and LibTorch in
#'     C++.
#' @param dtype Character, `"float32"`, which all runtimes support, or `"float64"`. onnxruntime has no float64
#'   convolution.
#' @return The path, invisibly.
#' @section Errors: `gequi_shape_error` if the shape does not match the network or is too small for a layer (the message
#'   names it); `gequi_input_error` for layers whose matrices depend on the image size (oriented_gradients,
#'   ring_descriptor, local_normalization, sphere_descriptor, token_pool) and for a path that cannot be written;
#'   `gequi_setup_error` if the Python packages onnx or onnxscript are missing, which `"onnx"` requires.
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
