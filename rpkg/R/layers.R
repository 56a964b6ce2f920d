#' List the kinds of layers
#'
#' Lists the layers that a network can contain. Each kind has an R function `layer_<kind>()` with the same options.
#'
#' @return A data frame with one row per option of each kind: `kind`, `summary` (a description of the kind), `option`,
#'   `default` (as R code, `NA` if there is none) and `required`. A kind without options has one row in which `option`
#'   is `NA`.
#' @section Errors: This function does not fail once Python is installed.
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

#' Steerable convolutions
#'
#' `layer_conv()` and `layer_conv_transposed()` add a steerable convolution, f'(x) = sum_y K(y) f(x + y). These layers
#' are the most general linear maps between two field types that commute with translations and with the group. The
#' kernel satisfies the steerability constraint \eqn{K(g x) = \rho_{out}(g) K(x) \rho_{in}(g)^{-1}}{K(g x) = rho_out(g)
#' K(x) rho_in(g)^-1} for each group element g.
#'
#' Equivariance is exact to rounding for elements that map the pixel grid onto itself, provided that (size + 2 padding -
#' dilation (kernel_size - 1) - 1) is divisible by `stride`. For other elements it is approximate, because the kernel is
#' sampled on the grid. [output_shape()] warns if the condition is not met.
#'
#' @param network A network, created by [equivariant_network()].
#' @param fields Named integer vector, the output fields, as in [field_type()].
#' @param kernel_size Integer, the side of the kernel in pixels. Must be odd.
#' @param padding Integer, the number of pixels added on each side.
#' @param stride,dilation Integer, the stride and dilation of the convolution in pixels.
#' @param padding_mode Character, `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`.
#' @param groups Integer, the number of blocked connections from input to output. The input and output fields must split
#'   into this number of equal parts.
#' @param bias Logical, whether to add a learned constant to the invariant part of each field.
#' @param output_padding Integer, the number of pixels added to one side of the output. Values above 0 break exact
#'   equivariance.
#' @section Shape: (batch, channel, row, column) to (batch, channel', row', column') with
#'   row' = floor((row + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1; transposed:
#'   row' = (row - 1) stride - 2 padding + dilation (kernel_size - 1) + 1 + output_padding.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the layer does not accept the previous fields; `gequi_input_error` for an
#'   invalid option. Messages name the layer.
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
#' `layer_linear()` adds the most general equivariant linear map between features without a base space, y = W x + b with
#' \eqn{W \rho_{in}(g) = \rho_{out}(g) W}{W rho_in(g) = rho_out(g) W} for each group element g. It is exactly
#' equivariant.
#'
#' `layer_dense()` adds an unconstrained linear layer, y = W x + b. It requires invariant (trivial) features and is used
#' as the head of a classifier, after [layer_group_pool()] or [layer_norm_pool()]. Its output is invariant.
#'
#' `layer_flatten()` removes spatial axes of size 1.
#'
#' @inheritParams layer_conv
#' @param units Integer, the number of outputs.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the layer does not accept the previous fields; `gequi_input_error` for an
#'   invalid option. Messages name the layer.
#' @section Shape: Linear and dense layers: (batch, channel) to (batch, channel'). Dense layers also accept (batch,
#'   channel, 1, 1). Flatten: (batch, channel, 1, 1) to (batch, channel).
#' @references Cesa, Lang and Weiler (2022), A program to build E(N)-equivariant steerable CNNs, ICLR.
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
#' These layers add a nonlinearity. Let x be a channel and f a field.
#' * `layer_relu()`: max(x, 0).
#' * `layer_elu()`: x if x > 0, otherwise alpha (exp(x) - 1).
#' * `layer_leaky_relu()`: max(x, 0) + negative_slope min(x, 0).
#' * `layer_norm_nonlinearity()`: function(|f| - bias) f / |f|, which changes the norm of a field and keeps its
#'   direction.
#' * `layer_gated_nonlinearity()`: sigmoid(s) f, where the trivial fields s of the first half gate the fields f of the
#'   second half.
#' * `layer_fourier_elu()`: ELU on the values of a `"fourier(L)"` field at `samples` group elements.
#' * `layer_softmax()`: exp(x_i) / sum_j exp(x_j) over the channels, the last layer of a classifier that returns
#'   probabilities.
#'
#' The pointwise layers (`relu`, `elu`, `leaky_relu`) are exactly equivariant on fields whose channels are permuted by
#' the group: trivial, regular and quotient fields. `layer_norm_nonlinearity()` and `layer_gated_nonlinearity()` are
#' exactly equivariant on fields of every kind. `layer_fourier_elu()` is equivariant up to the sampling error of the
#' group. `layer_softmax()` requires trivial fields.
#'
#' A nonlinearity creates frequencies that the pixel grid cannot represent. They appear as lower frequencies, which do
#' not turn with the image, and are part of the error at angles that are not multiples of 90 degrees. With
#' `antialiased`, the pointwise layers are computed on a grid of half the spacing, to which a Kaiser-windowed sinc
#' filter interpolates. The same filter removes the high frequencies before every second pixel is taken.
#'
#' @inheritParams layer_conv
#' @param alpha Numeric, the negative limit of ELU is -alpha.
#' @param negative_slope Numeric, the slope of leaky ReLU for negative values.
#' @param antialiased Logical, whether the nonlinearity is computed on a grid of half the spacing and filtered. It needs
#'   images or volumes, and about four (eight) times the time of the nonlinearity.
#' @param function Character, `"n_relu"`, `"n_sigmoid"`, `"n_softplus"` or `"squash"`.
#' @param bias Logical, whether to learn the bias.
#' @param samples Integer, the number of group elements. `NULL` is 4 L + 4. Multiples of 4 keep quarter turns exact. In
#'   space, `samples` is the N of the escnn grid "thomson_cube", which has 24 N elements.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the layer does not accept the previous fields; `gequi_input_error` for an
#'   invalid option. Messages name the layer.
#' @section Shape: The output has the shape of the input, except for `layer_gated_nonlinearity()`, which removes the
#'   gates.
#' @references Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv:1911.08251. Karras et al. (2021),
#'   Alias-free generative adversarial networks, arXiv:2106.12423.
#' @family layers
#' @examplesIf gequi_available()
#' equivariant_network(gspace("rot2dOnR2", N = 8), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(trivial = 4, irrep_1 = 4), kernel_size = 5) |>
#'   layer_gated_nonlinearity()
#' @name layer_relu
NULL

#' @rdname layer_relu
#' @export
layer_relu <- function(network, antialiased = FALSE) {
  add_layer(network, "relu")
}

#' @rdname layer_relu
#' @export
layer_elu <- function(network, alpha = 1, antialiased = FALSE) {
  add_layer(network, "elu")
}

#' @rdname layer_relu
#' @export
layer_leaky_relu <- function(network, negative_slope = 0.01, antialiased = FALSE) {
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

#' Normalization and dropout
#'
#' `layer_batch_norm()` adds batch normalization, (x - mean) / sqrt(variance + eps) * scale + shift, with one mean and
#' one variance per field. For fields whose channels mix, only the invariant part has a mean and a shift. The layer is
#' exactly equivariant in evaluation mode.
#'
#' `layer_token_norm()` adds layer normalization: mean 0 and variance 1 over all channels at each position, then one
#' scale and one shift per field. It requires fields whose channels the group permutes, and is always exactly
#' equivariant.
#'
#' `layer_dropout()` sets single values to 0 during training. It is not equivariant during training.
#' `layer_field_dropout()` sets whole fields to 0 during training and is equivariant for a fixed mask. Both are the
#' identity in evaluation mode.
#'
#' @inheritParams layer_conv
#' @param eps Numeric, a constant added to the variance for numerical stability.
#' @param momentum Numeric, the weight of the current batch in the running statistics.
#' @param affine Logical, whether to learn a scale and a shift.
#' @param p Numeric, the probability of setting a value or a field to 0.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the layer does not accept the previous fields; `gequi_input_error` for an
#'   invalid option. Messages name the layer.
#' @section Shape: The output has the shape of the input.
#' @references Ioffe and Szegedy (2015), Batch normalization, arXiv:1502.03167. Ba, Kiros and Hinton (2016), Layer
#'   normalization, arXiv:1607.06450. Weiler and Cesa (2019), arXiv:1911.08251.
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
layer_token_norm <- function(network, eps = 1e-05) {
  add_layer(network, "token_norm")
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

#' Pooling and upsampling
#'
#' These layers reduce or enlarge the spatial size, or pool over the channels of a field.
#' * `layer_max_pool()` and `layer_avg_pool()`: the maximum or mean over windows.
#' * `layer_global_avg_pool()`: the mean over all pixels. The spatial axes are kept, with size 1.
#' * `layer_group_pool()`: the maximum or mean over the channels of each field, which gives one invariant channel per
#'   field. It requires trivial, regular or quotient fields.
#' * `layer_norm_pool()`: the Euclidean norm of each field, which gives one invariant channel per field.
#' * `layer_upsample()`: enlarges by an integer factor with linear interpolation.
#' * `layer_enlarge()`: enlarges n pixels to 2 n - 1 with a Kaiser-windowed sinc filter. The pixels of the input remain
#'   pixels of the output. Convolutions after it are more accurate at angles that are not multiples of 90 degrees.
#'
#' Pooling over windows is exactly equivariant to quarter turns and reflections if (size + 2 padding - kernel_size) is
#' divisible by `stride`. Global, group and norm pooling are exactly equivariant at every size.
#'
#' @inheritParams layer_conv
#' @param kernel_size Integer, the side of the window in pixels.
#' @param stride Integer, the stride in pixels. `NULL` is `kernel_size`.
#' @param antialiased Logical, whether to reduce aliasing. The maximum is taken at each pixel, blurred and then
#'   subsampled; the mean uses a Gaussian window.
#' @param sigma Numeric, the standard deviation of the Gaussian in pixels.
#' @param reduction Character, `"max"` or `"mean"`.
#' @param scale_factor Integer, the enlargement.
#' @param align_corners Logical, whether the corner pixels of the input and the output are aligned.
#' @param padding Integer, the number of pixels added on each side.
#' @section Shape: Windows: row' = floor((row + 2 padding - kernel_size) / stride) + 1. Global pooling: row' = 1. Group
#'   and norm pooling: (batch, field, row, column). Upsampling: row' = scale_factor row. Enlarging: row' = 2 row - 1.
#'   Columns and depth are computed in the same way.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the layer does not accept the previous fields; `gequi_input_error` for an
#'   invalid option. Messages name the layer.
#' @references Zhang (2019), Making convolutional networks shift-invariant again, arXiv:1904.11486 (antialiased
#'   pooling). Weiler and Cesa (2019), arXiv:1911.08251.
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

#' @rdname layer_max_pool
#' @export
layer_enlarge <- function(network) {
  add_layer(network, "enlarge")
}

#' Restriction, mask, residual and skip layers
#'
#' * `layer_restrict()`: restricts the symmetry to a subgroup. The values do not change. All following layers are
#'   equivariant to the subgroup only.
#' * `layer_mask()`: multiplies the image by a disk with a smooth edge, so that all pixels that contribute stay in view
#'   under rotation. It is equivariant to rotations and reflections about the center of the image.
#' * `layer_residual()`: computes shortcut(x) + layers(x). It is equivariant if both branches are.
#' * `layer_skip()`: concatenates the output of `layers` and its input, as in a U-Net. It is equivariant if `layers` is.
#'
#' @inheritParams layer_conv
#' @param subgroup The escnn identifier of a subgroup: `2` for the half turns in C_N, `list(NULL, 4)` for C_4 in D_4.
#' @param margin Numeric, the distance in pixels between the disk and the border of the image.
#' @param sigma Numeric, the width of the smooth edge in pixels.
#' @param layers,shortcut Function of a network, such as `\(x) x |> layer_relu()`, or a list of layers. The default
#'   shortcut is the identity. If the fields change, use a convolution with `kernel_size = 1`.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the layer does not accept the previous fields; `gequi_input_error` for an
#'   invalid option. Messages name the layer.
#' @section Shape: Restriction and mask keep the shape. In a residual layer both branches must have the same output
#'   shape. A skip layer has the channels of both branches, with the spatial size of the input.
#' @references He et al. (2016), Identity mappings in deep residual networks, arXiv:1603.05027. Ronneberger, Fischer and
#'   Brox (2015), U-Net, arXiv:1505.04597.
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
