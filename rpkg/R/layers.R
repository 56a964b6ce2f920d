#' The kinds of layers
#'
#' Each kind is a function here, `layer_<kind>()`, with the same options.
#'
#' @return a data frame with a row for each option of each kind: `kind`, `summary` (of the kind), `option`, `default`
#'   (as R code; `NA` where there is none) and `required`. A kind without options has one row, with `option` `NA`.
#' @seealso [layer_conv()], [layer_relu()], [layer_batch_norm()], [layer_max_pool()], [layer_linear()],
#'   [layer_residual()]
#' @family networks
#' @export
#' @examplesIf gequi_available()
#' unique(layer_kinds()[c("kind", "summary")])
layer_kinds <- function() {
  rows <- call_core("layer_kinds")
  table <- as_table(lapply(rows, function(row) row[c("kind", "summary", "option", "required")]))
  table$default <- vapply(rows, function(row) {
    if (row$required || is.null(row$option)) return(NA_character_)
    deparse(if (is.integer(row$default)) as.numeric(row$default) else row$default)
  }, "")
  table$summary <- gsub("\\[None, ([0-9]+)\\]", "list(NULL, \\1)", table$summary) # as one writes it in R
  table[c("kind", "summary", "option", "default", "required")]
}

#' Convolutions
#'
#' Steerable convolutions: the most general linear maps between two kinds of fields that commute with translations and
#' with the group.
#'
#' @param network a network, from [equivariant_network()].
#' @param fields the fields of the output, as in [field_type()].
#' @param kernel_size an odd number of pixels.
#' @param padding zeros (or what `padding_mode` says) on every side, pixels.
#' @param stride,dilation as in every convolution, pixels. Equivariance stays exact where (size + 2 padding - dilation
#'   (kernel_size - 1) - 1) is divisible by `stride`; [output_shape()] warns where it is not.
#' @param padding_mode `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`.
#' @param groups number of parts that do not mix; the fields must split into as many equal parts.
#' @param bias whether to add a learned constant to the invariant part of each field.
#' @param output_padding pixels added on one side of the output, which breaks exactness.
#' @section Shape: (batch, channel, row, column) to (batch, channel', row', column') with
#'   row' = floor((row + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1; transposed:
#'   row' = (row - 1) stride - 2 padding + dilation (kernel_size - 1) + 1 + output_padding.
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit it, `gequi_input_error` for a value
#'   that an option cannot take; the message names the layer.
#' @family layers
#' @references Weiler and Cesa (2019), arXiv 1911.08251.
#' @examplesIf gequi_available()
#' equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 4), kernel_size = 5, padding = 2) |>
#'   layer_conv_transposed(c(trivial = 1), kernel_size = 3, stride = 2)
#' @export
layer_conv <- function(network, fields, kernel_size, padding = 0, stride = 1, dilation = 1, padding_mode = "zeros",
                       groups = 1, bias = TRUE) {
  add_layer(network, "conv")
}

#' @rdname layer_conv
#' @export
layer_conv_transposed <- function(network, fields, kernel_size, padding = 0, output_padding = 0, stride = 1,
                                  dilation = 1, bias = TRUE) {
  add_layer(network, "conv_transposed")
}

#' Linear layers
#'
#' `layer_linear()` is the most general equivariant linear map between vectors without a base space. `layer_dense()`
#' is an ordinary linear layer on invariant features, as the head of a classifier: after [layer_group_pool()] or
#' [layer_norm_pool()]. `layer_flatten()` drops spatial axes of size 1.
#'
#' @inheritParams layer_conv
#' @param units number of outputs.
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit it, `gequi_input_error` for a value
#'   that an option cannot take; the message names the layer.
#' @family layers
#' @examplesIf gequi_available()
#' equivariant_network(gspace("no_base_space", group = "so3_group"), c(irrep_1 = 2), seed = 1) |>
#'   layer_linear(c(irrep_0 = 4, irrep_1 = 4)) |>
#'   layer_norm_pool() |>
#'   layer_dense(3)
#' @export
layer_linear <- function(network, fields, bias = TRUE) {
  add_layer(network, "linear")
}

#' @rdname layer_linear
#' @export
layer_dense <- function(network, units, bias = TRUE) {
  add_layer(network, "dense")
}

#' @rdname layer_linear
#' @export
layer_flatten <- function(network) {
  add_layer(network, "flatten")
}

#' Nonlinearities
#'
#' `layer_relu()`, `layer_elu()` and `layer_leaky_relu()` act on each channel alone, which is equivariant on fields
#' whose channels the group permutes: trivial, regular, quotient. The others suit fields of every kind:
#' `layer_norm_nonlinearity()` changes the norm of a field and keeps its direction, f to function(|f| - bias) f / |f|;
#' `layer_gated_nonlinearity()` multiplies each field of the second half by the sigmoid of a trivial field of the
#' first half; `layer_fourier_elu()` applies ELU to the values of `"fourier(L)"` fields at `samples` elements of a
#' continuous group and is equivariant up to that sampling. `layer_softmax()` makes probabilities of invariant channels,
#' as the last layer of a classifier.
#'
#' @inheritParams layer_conv
#' @param alpha of ELU: what it approaches for large negative values.
#' @param negative_slope of leaky ReLU.
#' @param function `"n_relu"`, `"n_sigmoid"`, `"n_softplus"` or `"squash"`.
#' @param bias whether to learn the bias.
#' @param samples number of elements of the group, 4 L + 4 where it is `NULL`; a multiple of 4 keeps the quarter turns
#'   exact. In space, escnn's N of the grid "thomson_cube", which has 24 N elements.
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit it, `gequi_input_error` for a value
#'   that an option cannot take; the message names the layer.
#' @family layers
#' @examplesIf gequi_available()
#' equivariant_network(gspace("rot2dOnR2", N = 8), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(trivial = 4, irrep_1 = 4), kernel_size = 5) |>
#'   layer_gated_nonlinearity()
#' @name layer_relu
NULL

#' @rdname layer_relu
#' @export
layer_relu <- function(network) {
  add_layer(network, "relu")
}

#' @rdname layer_relu
#' @export
layer_elu <- function(network, alpha = 1) {
  add_layer(network, "elu")
}

#' @rdname layer_relu
#' @export
layer_leaky_relu <- function(network, negative_slope = 0.01) {
  add_layer(network, "leaky_relu")
}

#' @rdname layer_relu
#' @export
layer_norm_nonlinearity <- function(network, `function` = "n_relu", bias = TRUE) {
  add_layer(network, "norm_nonlinearity")
}

#' @rdname layer_relu
#' @export
layer_gated_nonlinearity <- function(network) {
  add_layer(network, "gated_nonlinearity")
}

#' @rdname layer_relu
#' @export
layer_fourier_elu <- function(network, samples = NULL) {
  add_layer(network, "fourier_elu")
}

#' @rdname layer_relu
#' @export
layer_softmax <- function(network) {
  add_layer(network, "softmax")
}

#' Normalisation and dropout
#'
#' Batch normalisation with one mean and one variance for each field (of fields whose channels mix, only the invariant
#' part has a mean). `layer_dropout()` sets single values to 0 while training, `layer_field_dropout()` whole fields.
#'
#' @inheritParams layer_conv
#' @param eps added to the variance.
#' @param momentum share of the current batch in the running statistics.
#' @param affine whether to learn a scale and a shift.
#' @param p probability of a 0.
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit it, `gequi_input_error` for a value
#'   that an option cannot take; the message names the layer.
#' @family layers
#' @examplesIf gequi_available()
#' equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 4), kernel_size = 3) |>
#'   layer_batch_norm() |>
#'   layer_dropout(0.2)
#' @export
layer_batch_norm <- function(network, eps = 1e-05, momentum = 0.1, affine = TRUE) {
  add_layer(network, "batch_norm")
}

#' @rdname layer_batch_norm
#' @export
layer_dropout <- function(network, p = 0.5) {
  add_layer(network, "dropout")
}

#' @rdname layer_batch_norm
#' @export
layer_field_dropout <- function(network, p = 0.5) {
  add_layer(network, "field_dropout")
}

#' Pooling and resampling
#'
#' `layer_max_pool()` and `layer_avg_pool()` pool over windows, `layer_global_avg_pool()` over the whole image (the
#' spatial axes stay, with size 1), `layer_group_pool()` over the channels of each field, `layer_norm_pool()` takes
#' the norm of each field: the last two give one invariant channel a field. `layer_upsample()` enlarges by a whole
#' factor.
#'
#' @inheritParams layer_conv
#' @param kernel_size size of the window, pixels.
#' @param stride `NULL` is `kernel_size`. Equivariance stays exact where (size + 2 padding - kernel_size) is divisible
#'   by it.
#' @param antialiased for the maximum: taken at every pixel, then blurred, then strided; for the mean: a Gaussian
#'   window.
#' @param sigma of that Gaussian, pixels.
#' @param reduction `"max"` or `"mean"`.
#' @param scale_factor a whole number.
#' @param align_corners whether the corner pixels keep their values.
#' @section Shape: windows: row' = floor((row + 2 padding - kernel_size) / stride) + 1; over the whole image: row' = 1;
#'   over the group: (batch, field, row, column); enlarged: row' = scale_factor row. Columns and depth likewise.
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit it, `gequi_input_error` for a value
#'   that an option cannot take; the message names the layer.
#' @family layers
#' @examplesIf gequi_available()
#' equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 4), kernel_size = 3) |>
#'   layer_max_pool(2) |>
#'   layer_group_pool()
#' @export
layer_max_pool <- function(network, kernel_size, stride = NULL, padding = 0, antialiased = FALSE, sigma = 0.6) {
  add_layer(network, "max_pool")
}

#' @rdname layer_max_pool
#' @export
layer_avg_pool <- function(network, kernel_size = 2, stride = NULL, padding = 0, antialiased = FALSE, sigma = 0.66) {
  add_layer(network, "avg_pool")
}

#' @rdname layer_max_pool
#' @export
layer_global_avg_pool <- function(network) {
  add_layer(network, "global_avg_pool")
}

#' @rdname layer_max_pool
#' @export
layer_group_pool <- function(network, reduction = "max") {
  add_layer(network, "group_pool")
}

#' @rdname layer_max_pool
#' @export
layer_norm_pool <- function(network) {
  add_layer(network, "norm_pool")
}

#' @rdname layer_max_pool
#' @export
layer_upsample <- function(network, scale_factor, align_corners = FALSE) {
  add_layer(network, "upsample")
}

#' Subgroups, masks, residual and skip layers
#'
#' `layer_restrict()` goes on with a subgroup, `layer_mask()` keeps the inscribed disc, which stays in view at every
#' angle, `layer_residual()` adds what some layers make of the features to the features, `layer_skip()` puts it in front
#' of them: the fields of both, as in a U-Net.
#'
#' @inheritParams layer_conv
#' @param subgroup escnn's id of a subgroup: `2` for the half turns in C_N, `list(NULL, 4)` for C_4 in D_4.
#' @param margin pixels to leave out inside the disc.
#' @param sigma width of its fading edge, pixels.
#' @param layers,shortcut layers as a function of a network, such as `\(x) x |> layer_relu()`, or as a list. The
#'   shortcut is the identity by default; give it a convolution of `kernel_size = 1` where the fields change.
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit it, `gequi_input_error` for a value
#'   that an option cannot take; the message names the layer.
#' @family layers
#' @examplesIf gequi_available()
#' equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_mask() |>
#'   layer_conv(c(regular = 4), kernel_size = 3) |>
#'   layer_residual(\(x) {
#'     x |>
#'       layer_conv(c(regular = 4), kernel_size = 3, padding = 1) |>
#'       layer_relu()
#'   }) |>
#'   layer_restrict(2)
#' @export
layer_restrict <- function(network, subgroup) {
  add_layer(network, "restrict")
}

#' @rdname layer_restrict
#' @export
layer_mask <- function(network, margin = 0, sigma = 2) {
  add_layer(network, "mask")
}

#' @rdname layer_restrict
#' @export
layer_residual <- function(network, layers, shortcut = list()) {
  add_layer(network, "residual")
}

#' @rdname layer_restrict
#' @export
layer_skip <- function(network, layers) {
  add_layer(network, "skip")
}
