#' Random Fourier features
#'
#' Computes random Fourier features sin(w x + b) with normally distributed frequencies w and random phases b. With
#' uniform phases, the inner product of the features of two points, divided by `features / 2`, approximates a Gaussian
#' kernel, exp(-|x - y|^2 / (2 bandwidth^2)).
#'
#' @param x Numeric vector, or matrix (point, axis), the points.
#' @param features Integer, the number of features.
#' @param bandwidth Numeric, the standard deviation of the kernel in the units of `x`. The default, 1/59, is the value
#'   of Greer (2023) for points between 0 and 1.
#' @param phase Character, `"uniform"` (on a full turn), or `"conv"`, uniform on (-1, 1), which Greer (2023) obtained
#'   from the initialization of a torch convolution. With `"conv"`, points near 0 are less well separated.
#' @param seed Integer, the seed of the frequencies and phases. The same seed gives the same features for every `x`, in
#'   R and in Python. `NULL` draws a seed from R's random number generator.
#' @param dtype Character, `"float32"` or `"float64"`.
#' @return A numeric matrix (point, feature) with values from -1 to 1.
#' @section Errors: `gequi_input_error` for values that are not finite or an invalid option; `gequi_shape_error` if `x`
#'   is not a vector or matrix.
#' @references Rahimi and Recht (2007), Random features for large-scale kernel machines, NIPS. Greer (2023),
#'   hgreer.com/Reports/Sep142023.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' dim(fourier_features(seq(0, 1, 0.1), features = 20, seed = 1))
fourier_features <- function(x, features = 100, bandwidth = 1 / 59, phase = "uniform", seed = NULL, dtype = "float64") {
  call_core(
    "fourier_features",
    x = as_points(x), features = features, bandwidth = bandwidth, phase = phase, seed = own_seed(seed), dtype = dtype
  )
}

# A number alone is one point.
as_points <- function(x) if (is.numeric(x) && is.null(dim(x)) && length(x) == 1) array(x) else x

#' Invert a sampled function, and register curves
#'
#' `invert_function()` inverts a function that is given by samples (x, y = f(x)). It uses attention with `y` as keys and
#' `x` as values: the estimate of f^-1(query) is softmax(similarity(query, y)) x. If the function takes a value at
#' several points, the result is their mean.
#'
#' `register_curves()` estimates the map Xi with a(Xi(t)) = b(t) that aligns a moving curve `a` with a fixed curve `b`.
#' It inverts `a` at the values `b`. It is equivariant to deformations U and V of the two curves: Xi\[a U, b V\] = U^-1
#' Xi\[a, b\] V.
#'
#' @param x Numeric vector, or matrix (sample, axis), the sample points. In `register_curves()`, `NULL` is an
#'   equidistant grid from 0 to 1.
#' @param y Numeric vector, or matrix (sample, channel), the function values at `x`.
#' @param query Numeric vector, or matrix (query, channel), the values to invert.
#' @param a Numeric vector, or matrix (sample, channel), the moving curve at `x`.
#' @param b Numeric vector, or matrix (point, channel), the fixed curve at any points.
#' @param kernel Character, `"gaussian"`, with the similarity -|query - y|^2 / (2 bandwidth^2), or `"fourier"`, with the
#'   dot product of [fourier_features()] as similarity, as in Greer (2023).
#' @param bandwidth Numeric, the standard deviation of the kernel in the units of `y`. `NULL` is 3/4 of the mean
#'   distance between neighboring samples for `"gaussian"`, and 1/59 of the range of `y` for `"fourier"`.
#' @param temperature Numeric, the divisor of the similarity before the softmax.
#' @param phase Character, the phase of the `"fourier"` features: `"uniform"` or `"conv"`.
#' @param refine Integer, the number of Newton steps on the cubic spline through the samples, for one axis only. With
#'   one channel, a step uses the second derivative (Cauchy's form) and also converges at an extremum of the function.
#'   Results are limited to the range of `x`, extended by one step on each side.
#' @param features Integer, the number of `"fourier"` features.
#' @param seed Integer, the seed of the `"fourier"` kernel. `NULL` draws one from R's random number generator.
#' @param weights Logical, whether to return the attention weights.
#' @param dtype Character, `"float32"` or `"float64"`.
#' @param ... `register_curves()`: further named options of `invert_function()`.
#' @return A numeric vector, or a matrix (query, axis) if `x` is a matrix. With `weights = TRUE`, an object of class
#'   `gequi_inverse_function`, a list of `output` and `weights` (query, sample), whose rows sum to 1. It has a `plot()`
#'   method.
#' @section Errors: `gequi_shape_error` for arrays that do not match; `gequi_input_error` for a constant function, and
#'   for a refinement with several axes or repeated sample points.
#' @references Greer (2023), hgreer.com/Reports/Sep142023. Greer et al. (2024), CARL, arXiv:2405.16738.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' x <- seq(0, 1, length.out = 101)
#' invert_function(x, x^2, c(0.25, 0.49))
#' invert_function(x, x^2, c(0.25, 0.49), refine = 3)
#'
#' a <- cos(pi / 2 * x)
#' b <- x + 0.07 * sin(3 * pi * x)
#' xi <- register_curves(a, b, x, refine = 4)
#' max(abs(cos(pi / 2 * xi) - b))
#' plot(register_curves(a, b, x, weights = TRUE))
invert_function <- function(x, y, query, kernel = "gaussian", bandwidth = NULL, temperature = 1, phase = "uniform",
                            refine = 0, features = 100, seed = NULL, weights = FALSE, dtype = "float64") {
  result <- call_core(
    "invert_function",
    x = as_points(x), y = as_points(y), query = as_points(query), kernel = kernel, bandwidth = bandwidth,
    temperature = temperature, phase = phase, refine = refine, features = features,
    seed = if (identical(kernel, "fourier")) own_seed(seed) else seed, weights = weights,
    dtype = dtype
  )
  new_inversion(result, x)
}

#' @rdname invert_function
#' @export
register_curves <- function(a, b, x = NULL, ...) {
  result <- call_core("register_curves", a = as_points(a), b = as_points(b), x = as_points(x), ...)
  if (is.null(x) && is.list(result)) x <- seq(0, 1, length.out = NROW(a))
  new_inversion(result, x)
}

new_inversion <- function(result, x) {
  if (!is.list(result)) return(as_plain(result))
  structure(list(output = as_plain(result$output), weights = result$weights, x = x), class = "gequi_inverse_function")
}

#' @export
print.gequi_inverse_function <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  size <- paste(nrow(x$weights), "answers from", ncol(x$weights), "samples")
  cat(title_line("inverse function", size), "\n", sep = "")
  print(utils::head(x$output))
  invisible(x)
}

#' @rdname invert_function
#' @param type Character, `"weights"` for the attention matrix (a row per query and a column per sample, darker for
#'   larger weights), or `"curve"` for the results in the order of the queries.
#' @export
plot.gequi_inverse_function <- function(x, ..., type = c("weights", "curve")) {
  refuse_dots(...)
  type <- check_choice(type, c("weights", "curve"), "type", rlang::current_env())
  if (type == "curve") {
    answers <- as.matrix(x$output)
    data <- data.frame(
      query = c(row(answers)), answer = c(answers),
      axis = factor(c(col(answers)), labels = paste("axis", seq_len(ncol(answers))))
    )
    picture <- ggplot2::ggplot(data, ggplot2::aes(.data$query, .data$answer)) +
      ggplot2::geom_line() +
      ggplot2::labs(x = "query", y = "answer") +
      ggplot2::theme_minimal() +
      ggplot2::theme(plot.background = white())
    return(if (ncol(answers) > 1) picture + ggplot2::facet_wrap(ggplot2::vars(.data$axis)) else picture)
  }
  cells <- data.frame(query = c(row(x$weights)), sample = c(col(x$weights)), weight = c(x$weights))
  ggplot2::ggplot(cells, ggplot2::aes(.data$sample, .data$query, fill = .data$weight)) +
    ggplot2::geom_raster() +
    ggplot2::scale_fill_gradient(low = "white", high = "#16324f", limits = c(0, NA)) +
    ggplot2::scale_y_reverse(expand = ggplot2::expansion()) +
    ggplot2::scale_x_continuous(expand = ggplot2::expansion()) +
    ggplot2::coord_fixed() +
    ggplot2::labs(x = "sample (key and value)", y = "query") +
    ggplot2::theme_minimal() +
    ggplot2::theme(plot.background = white(), panel.grid = ggplot2::element_blank())
}
