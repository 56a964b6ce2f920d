#' Random Fourier features
#'
#' Random sines: sin(w x + b) with normal frequencies w and random phases b. The products of two points' features,
#' summed and divided by `features / 2`, are in the mean a Gaussian kernel, exp(-|x - y|^2 / (2 bandwidth^2)), where
#' the phases are uniform.
#'
#' @param x points: a vector, or a matrix (point, axis).
#' @param features how many.
#' @param bandwidth standard deviation of the kernel, in the units of `x`. The default, 1/59, is the source's, for
#'   values between 0 and 1.
#' @param phase `"uniform"` on a whole turn, or `"conv"`, uniform on (-1, 1), as the source had it from torch's
#'   convolution; then points near 0 are told apart less well.
#' @param seed of frequencies and phases; the same seed gives the same features for every `x`, in R and in Python.
#'   `NULL` draws one from R's random numbers.
#' @param dtype `"float32"` or `"float64"`.
#' @return a matrix (point, feature), between -1 and 1.
#' @references Rahimi and Recht (2007); Greer (2023), hgreer.com/Reports/Sep142023.
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

#' Invert a function, register two curves
#'
#' A function is known by its samples (x, y = f(x)). Attention with `y` as keys and `x` as values, asked with a new
#' value as the query, answers where the function takes that value: softmax(similarity(query, y)) x.
#' `register_curves()` finds with it the map Xi that takes one curve to another, a(Xi(t)) = b(t), which is the inverse
#' of `a`, asked with `b`.
#'
#' The law of registration: for deformations U and V of the two curves, Xi\[a U, b V\] = U^-1 Xi\[a, b\] V. Where the
#' function takes a value at several places, the answer is the mean of them.
#'
#' @param x where the function was sampled: a vector, or a matrix (sample, axis). In `register_curves()`, `NULL` is
#'   from 0 to 1 in equal steps, both ends included.
#' @param y its values there: a vector, or a matrix (sample, channel).
#' @param query values whose places are asked for: a vector, or a matrix (query, channel).
#' @param a the moving curve at `x`: a vector, or a matrix (sample, channel).
#' @param b the fixed curve, wherever it was sampled: a vector, or a matrix (point, channel).
#' @param kernel `"gaussian"`: the similarity is -|query - y|^2 / (2 bandwidth^2), without any random number.
#'   `"fourier"`: the dot product of [fourier_features()], the source's own.
#' @param bandwidth for `"gaussian"` the standard deviation of the kernel in the units of `y`; `NULL` is 3/4 of the
#'   mean step between neighbouring samples. For `"fourier"` that of the features; `NULL` is 1/59 of the range of `y`.
#' @param temperature what the similarity is divided by before the softmax.
#' @param phase of the `"fourier"` features: `"uniform"` or the source's `"conv"`.
#' @param refine number of Newton steps that follow, on the cubic spline through the samples (along one axis only).
#'   With one channel a step keeps the second derivative (Cauchy's form), so that it converges at an extremum of the
#'   function too. Answers stay within the range of `x` and one step of it beyond, where the spline is continued.
#' @param features of the `"fourier"` kernel, how many.
#' @param seed of the `"fourier"` kernel; `NULL` draws one from R's random numbers.
#' @param weights whether to keep the attention weights too.
#' @param dtype `"float32"` or `"float64"`.
#' @param ... `register_curves()`: further options of `invert_function()`, given by name.
#' @return a vector, or a matrix (query, axis) where `x` is one. With `weights`, an object of class
#'   `gequi_inverse_function`:
#'   a list of `output` and `weights` (query, sample), whose rows sum to 1, for which there is a `plot()`.
#' @section Errors: `gequi_shape_error` for arrays that do not fit each other; `gequi_input_error` for a function that
#'   is constant, or a refinement on several axes or of places given twice.
#' @references Greer (2023), hgreer.com/Reports/Sep142023, the beginning of CARL (arXiv 2405.16738).
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
#' @param type `"weights"`: the attention matrix, a row for each query and a column for each sample, dark where the
#'   weight is large; `"curve"`: the answers in the order of the queries.
#' @export
plot.gequi_inverse_function <- function(x, ..., type = c("weights", "curve")) {
  refuse_dots(...)
  type <- rlang::arg_match(type)
  if (type == "curve") {
    answers <- as.matrix(x$output)
    data <- data.frame(
      query = c(row(answers)), answer = c(answers),
      axis = factor(c(col(answers)), labels = paste("axis", seq_len(ncol(answers))))
    )
    picture <- ggplot2::ggplot(data, ggplot2::aes(.data$query, .data$answer)) +
      ggplot2::geom_line() +
      ggplot2::labs(x = "query", y = "answer") +
      ggplot2::theme_minimal()
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
    ggplot2::theme(panel.grid = ggplot2::element_blank())
}
