#' Softmax
#'
#' Computes the softmax along an axis: exp(x_i) / sum_j exp(x_j).
#'
#' @param x Numeric array or vector. `-Inf` gives a weight of 0.
#' @param axis Integer, the axis along which the result sums to 1, from 1. `NULL` is the last axis. 2 normalizes the
#'   rows of a matrix.
#' @param dtype Character, `"float32"` or `"float64"`.
#' @return A numeric array with the shape of `x`.
#' @section Errors: `gequi_input_error` for missing values, `NaN`, `Inf`, or if all values along the axis are `-Inf`.
#' @family attention
#' @export
#' @examplesIf gequi_available()
#' softmax(matrix(c(0, 1, 0, 1), 2))
#' softmax(c(1, 2, 3))
softmax <- function(x, axis = NULL, dtype = "float64") {
  axis <- if (!is.null(axis)) count_axis(axis, max(length(dim(x)), 1))
  as_plain(call_core("softmax", x = x, axis = axis, dtype = dtype))
}

# An axis as the core counts it. The core accepts negative axes, counted from the end; R does not.
count_axis <- function(axis, axes, call = rlang::caller_env()) {
  if (is.numeric(axis) && length(axis) == 1 && isTRUE(axis < 1 || axis > axes)) {
    abort_gequi("InputError", paste0("`axis` must be from 1 to ", axes, "; got ", axis, "."), "axis", call)
  }
  as_index(axis)
}

# Converts a result with one axis to a plain vector.
as_plain <- function(x) if (length(dim(x)) == 1) as.vector(x) else x

#' Scaled dot-product attention
#'
#' Computes softmax(scale query key') value, with the softmax over the keys. Each output is a mean of the values,
#' weighted by the similarity of the query and the keys.
#'
#' Permuting the queries permutes the outputs. Permuting keys and values together does not change the output. Attention
#' commutes with affine maps of the values, because the weights of a query sum to 1.
#'
#' @param query Numeric array (..., query, feature).
#' @param key Numeric array (..., key, feature).
#' @param value Numeric array (..., key, channel). Leading axes of the three arrays are broadcast.
#' @param scale Numeric, the factor of the dot products. `NULL` is 1 / sqrt(number of features).
#' @param mask Array (..., query, key). Logical: `TRUE` if the query may attend to the key. Numeric: values added to the
#'   scaled scores, `-Inf` to exclude a key.
#' @param weights Logical, whether to return the attention weights. If `FALSE`, the fused attention of torch is used,
#'   whose memory grows linearly with the number of tokens.
#' @inheritParams softmax
#' @return A numeric array (..., query, channel). With `weights = TRUE`, a list of `output` and `weights` (..., query,
#'   key), where the last axis of `weights` sums to 1.
#' @section Errors: `gequi_shape_error` for axes that do not match; `gequi_input_error` for a mask that excludes all
#'   keys of a query.
#' @references Vaswani et al. (2017), Attention is all you need, arXiv:1706.03762. Abbott (2024), Neural circuit
#'   diagrams, arXiv:2402.05424, figure 20.
#' @family attention
#' @export
#' @examplesIf gequi_available()
#' query <- matrix(rnorm(6), 2)
#' key <- matrix(rnorm(12), 4)
#' value <- diag(4)
#' scaled_dot_product_attention(query, key, value)
#' # Causal mask: a query attends only to keys up to its own position.
#' scaled_dot_product_attention(key, key, value, mask = lower.tri(diag(4), diag = TRUE))
scaled_dot_product_attention <- function(query, key, value, scale = NULL, mask = NULL, weights = FALSE,
                                         dtype = "float64") {
  call_core(
    "scaled_dot_product_attention",
    query = query, key = key, value = value, scale = scale, mask = mask, weights = weights, dtype = dtype
  )
}

#' Multi-head and visual attention modules
#'
#' `multi_head_attention()` creates a module that computes several attentions in parallel. Linear maps project query and
#' context to `key_dim` features per head, [scaled_dot_product_attention()] is applied per head, and a linear map
#' projects the concatenated heads to `dim` features:
#' \deqn{W_o [softmax(q_1 k_1' / \sqrt{key\_dim}) v_1, ...]}{W_o [softmax(q_1 k_1' / sqrt(key_dim)) v_1, ...]}
#' `visual_attention()` computes attention between windows of two images. Query, key and value are convolutions, and a
#' transposed convolution maps the result to the pixels of the query image.
#'
#' Without a mask, the output of both modules is equivariant to permutations of the query tokens and invariant to
#' permutations of the context tokens.
#'
#' [get_weights()] and [set_weights()] name the weights `query`, `key`, `value` (heads key_dim, dim) and `output` (dim,
#' heads key_dim). The weights of `visual_attention()` have the axes of the kernel in addition. Heads are packed as in
#' torch, so weights can be exchanged with `torch.nn.MultiheadAttention`. With `bias = TRUE` there are also
#' `query_bias`, `key_bias`, `value_bias` and `output_bias`.
#'
#' @param dim Integer, the number of features of a token, for input and output.
#' @param channels Integer, the number of channels of both images and of the output.
#' @param heads Integer, the number of attention heads.
#' @param key_dim Integer, the number of features per head. `NULL` is `dim / heads`.
#' @param kernel_size Integer, the side of a window in pixels.
#' @param stride Integer, the distance between windows in pixels. Pixels that no window covers receive only the output
#'   bias.
#' @param bias Logical, whether the four linear maps have a bias.
#' @param seed Integer, the seed of the initial weights. The same seed gives the same weights in R and in Python. `NULL`
#'   draws a seed from R's random number generator and stores it in the module.
#' @param dtype Character, `"float32"` or `"float64"`.
#' @param object A module.
#' @param query,context Numeric arrays (batch, token, feature), or (batch, channel, row, column) for
#'   `visual_attention()`. The two may have different numbers of tokens or sizes. Without `context`, the module computes
#'   self-attention: the context is the query.
#' @param ... Not used.
#' @param batch_size Integer, the number of examples processed at once. `NULL` is 64.
#' @param newdata Alias of `query`, for consistency with other packages.
#' @return An object of class `gequi_attention`. `predict()`: a numeric array with the shape of `query`.
#' @section Errors: `gequi_input_error` for sizes that are not integers of at least 1 or not divisible by `heads`;
#'   `gequi_shape_error` for arrays that do not match the module.
#' @references Vaswani et al. (2017), Attention is all you need, arXiv:1706.03762. Abbott (2024), Neural circuit
#'   diagrams, arXiv:2402.05424, figures 21 and 28.
#' @family attention
#' @export
#' @examplesIf gequi_available()
#' module <- multi_head_attention(dim = 8, heads = 2, seed = 1)
#' module
#' dim(predict(module, array(rnorm(40), c(1, 5, 8)), array(rnorm(56), c(1, 7, 8))))
#' lapply(get_weights(module), dim)
#'
#' visual <- visual_attention(3, key_dim = 4, heads = 2, kernel_size = 3, stride = 3, seed = 1)
#' image <- array(runif(768), c(1, 3, 16, 16))
#' dim(predict(visual, image, image))
multi_head_attention <- function(dim, heads = 1, key_dim = NULL, bias = FALSE, seed = NULL, dtype = "float32") {
  new_module("multi_head_attention", list(
    dim = dim, heads = heads, key_dim = key_dim, bias = bias, seed = own_seed(seed), dtype = dtype
  ))
}

#' @rdname multi_head_attention
#' @export
visual_attention <- function(channels, key_dim = NULL, heads = 1, kernel_size = 1, stride = 1, bias = FALSE,
                             seed = NULL, dtype = "float32") {
  new_module("visual_attention", list(
    channels = channels, key_dim = key_dim, heads = heads, kernel_size = kernel_size, stride = stride, bias = bias,
    seed = own_seed(seed), dtype = dtype
  ))
}

#' @rdname multi_head_attention
#' @export
predict.gequi_attention <- function(object, query, context = query, ..., batch_size = NULL, newdata = NULL) {
  refuse_dots(...)
  call <- rlang::current_env()
  query <- x_or_newdata(if (!missing(query)) query, newdata, call, "query")
  call_core(
    "predict", object, to_python(query, "query", call), to_python(context, "context", call), batch_size = batch_size
  )
}
