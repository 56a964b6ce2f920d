#' Softmax
#'
#' Exponentials, scaled to sum to 1 along an axis: exp(x_i) / sum_j exp(x_j).
#'
#' @param x numbers, an array or a vector; `-Inf` is a weight of 0.
#' @param axis the axis that sums to 1, from 1; `NULL` is the last. 2 makes each row of a matrix sum to 1.
#' @param dtype `"float32"` or `"float64"`.
#' @return an array of the shape of `x`.
#' @section Errors: `gequi_input_error` for missing values, `NaN`, `Inf`, or nothing but `-Inf` along the axis.
#' @family attention
#' @export
#' @examplesIf gequi_available()
#' softmax(matrix(c(0, 1, 0, 1), 2))
#' softmax(c(1, 2, 3))
softmax <- function(x, axis = NULL, dtype = "float64") {
  axis <- if (!is.null(axis)) count_axis(axis, max(length(dim(x)), 1))
  as_plain(call_core("softmax", x = x, axis = axis, dtype = dtype))
}

# An axis as the core counts it. The core takes negative ones, from the end; R has none.
count_axis <- function(axis, axes, call = rlang::caller_env()) {
  if (is.numeric(axis) && isTRUE(axis < 1 || axis > axes)) {
    abort_gequi("InputError", paste0("`axis` must be from 1 to ", axes, "; got ", axis, "."), "axis", call)
  }
  as_index(axis)
}

# A result of one axis as a plain vector.
as_plain <- function(x) if (length(dim(x)) == 1) as.vector(x) else x

#' Attention
#'
#' Each query takes the mean of the values, weighted by how well their keys match it: softmax(scale query key') value,
#' the softmax over the keys.
#'
#' Permuting the queries permutes the outputs, to the bit. Permuting the pairs of key and value changes nothing. An
#' affine map of the values commutes with attention, since the weights of a query sum to 1.
#'
#' @param query an array (..., query, feature).
#' @param key an array (..., key, feature).
#' @param value an array (..., key, channel). Leading axes of the three are broadcast against each other.
#' @param scale what the dot products are multiplied by; `NULL` is 1 / sqrt(number of features).
#' @param mask an array (..., query, key): logical, `TRUE` where the query may attend to the key; or numbers that are
#'   added to the scaled scores, `-Inf` where it may not.
#' @param weights whether to return the attention weights too. Without them, torch's fused attention runs, whose
#'   memory grows with the number of tokens and not with its square.
#' @inheritParams softmax
#' @return an array (..., query, channel); with `weights`, a list: `output` and `weights` (..., query, key), whose
#'   last axis sums to 1.
#' @section Errors: `gequi_shape_error` for axes that do not fit each other, `gequi_input_error` for a mask that
#'   leaves a query without any key.
#' @references Vaswani et al. (2017), arXiv 1706.03762; Abbott (2024), arXiv 2402.05424, figure 20.
#' @family attention
#' @export
#' @examplesIf gequi_available()
#' query <- matrix(rnorm(6), 2)
#' key <- matrix(rnorm(12), 4)
#' value <- diag(4)
#' scaled_dot_product_attention(query, key, value)
#' # No query sees a key behind it.
#' scaled_dot_product_attention(key, key, value, mask = lower.tri(diag(4), diag = TRUE))
scaled_dot_product_attention <- function(query, key, value, scale = NULL, mask = NULL, weights = FALSE,
                                         dtype = "float64") {
  call_core(
    "scaled_dot_product_attention",
    query = query, key = key, value = value, scale = scale, mask = mask, weights = weights, dtype = dtype
  )
}

#' Modules of attention
#'
#' `multi_head_attention()` is several attentions side by side, each on features of its own: linear maps of query and
#' context to `key_dim` features for each head, attention, and a linear map of all heads' outputs back to `dim`.
#' `visual_attention()` does the same between the windows of two images: query, key and value are convolutions, and a
#' transposed convolution brings the result back to the pixels of the query image, at any stride.
#'
#' [get_weights()] and [set_weights()] know the weights as `query`, `key`, `value`, (heads key_dim, dim), and
#' `output`, (dim, heads key_dim); those of `visual_attention()` have the axes of their kernels behind. Heads are
#' packed in torch's order, so that weights move to and from `torch.nn.MultiheadAttention` unchanged. With `bias`
#' there are `query_bias`, `key_bias`, `value_bias` and `output_bias` as well.
#'
#' @param dim features of a token, in and out.
#' @param channels channels of both images, in and out.
#' @param heads number of heads.
#' @param key_dim features of a head; `NULL` is `dim / heads`.
#' @param kernel_size side of a window, pixels.
#' @param stride step from window to window, pixels. Pixels beyond the last window get the output's bias only.
#' @param bias whether the four maps add a bias.
#' @param seed of the initial weights; the same seed gives the same weights in R and in Python. `NULL` draws one
#'   from R's random numbers, so that [set.seed()] decides it; the module keeps it.
#' @param dtype `"float32"` or `"float64"`.
#' @param object a module.
#' @param query,context arrays (batch, token, feature), or (batch, channel, row, column) for `visual_attention()`; the
#'   two may differ in number of tokens or in size.
#' @param ... not used.
#' @param batch_size how many go through at once.
#' @param newdata another name for `query`, as other packages have it.
#' @return an object of class `gequi_attention`; `predict()`: an array of the shape of `query`.
#' @section Errors: `gequi_input_error` for sizes that are not whole numbers of at least 1, or not divisible by `heads`;
#'   `gequi_shape_error` for arrays that do not fit the module.
#' @references Vaswani et al. (2017), arXiv 1706.03762; Abbott (2024), arXiv 2402.05424, figures 21 and 28.
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
predict.gequi_attention <- function(object, query, context, ..., batch_size = 64, newdata = NULL) {
  refuse_dots(...)
  call <- rlang::current_env()
  query <- x_or_newdata(if (!missing(query)) query, newdata, call, "query")
  call_core(
    "predict", object, to_python(query, "query", call), to_python(context, "context", call), batch_size = batch_size
  )
}
