#' How far a map is from being equivariant
#'
#' Compares what a map makes of the moved input with the moved output, for each element of the group:
#' \deqn{error(g) = \max |f(g x) - g f(x)| / \max |f(x)|}{error(g) = max |f(g x) - g f(x)| / max |f(x)|}
#' An invariant map is one whose output fields are trivial.
#'
#' `is_equivariant()` says whether no error exceeds `tolerance`. Without `elements` it looks at those that move the
#' pixel grid onto itself; where no quarter turn is among them, as in a group of 3 rotations, at the others too, or at
#' 12 of them where there are more.
#'
#' An element that does not move the grid onto itself has to interpolate, so that its error is never as small as
#' rounding. Without a `tolerance`, `is_equivariant()` measures it on a smooth input made from `x`, and passes 8 times
#' the error that interpolation makes by itself, measured on the identity map. The kernels of a network can be too
#' coarse for this, such as 3 x 3 under a group of 3 rotations: then the answer is `FALSE`, and `equivariance_error()`
#' says how large the error is.
#'
#' @param f a network, which declares its own gspace and fields; or any R function from an array to an array, with
#'   `space`, `input` and `output` declared here.
#' @param x an input of `f`: (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel).
#'   A single image (row, column) will do for an input of one channel; `f` is given the array with all its axes.
#' @param space the gspace, from [gspace()]; for a network its own.
#' @param input the fields of `x`, as in [field_type()], such as `c(trivial = 1)`; or a field type.
#' @param output the fields of `f(x)`, likewise. A result (batch, channel) transforms by its fields alone.
#' @param elements numbers of the elements to check, as in [group_elements()], from 1; `NULL` checks all.
#' @param dtype `"float32"` or `"float64"`, in which the map is run; `NULL` is the network's own, `"float64"` for a
#'   function.
#' @param tolerance the largest relative error that passes, for every element; `NULL` is 1e-4 in float32 and 1e-9 in
#'   float64 for elements that do not interpolate, and 8 times the error of interpolation for those that do.
#' @return `equivariance_error()`: a data frame of class `gequi_equivariance` with a row for each element: `element`,
#'   `name`, `exact` (whether it moves the pixel grid without interpolation: only then can the error be as small as
#'   rounding) and `error`. Elements that a restriction inside the network has given up are left out.
#'   `is_equivariant()`: `TRUE` or `FALSE`; `TRUE` for any `f` where the group has the identity only. `plot()`: a
#'   ggplot.
#' @section Errors: `gequi_input_error` or `gequi_field_error` for fields that are missing or do not fit;
#'   `gequi_shape_error` for an output that does not fit `output`, or whose shape changes with the element. An error
#'   inside `f` is passed on as it is. `is_equivariant()` signals `gequi_input_error` too where nothing can be said:
#'   `elements` holds no more than the identity; no element changes `x`; interpolation alone makes an error above
#'   2 %, as on small images.
#' @section Warnings: `gequi_exactness_warning` for a layer that breaks exactness at this size.
#' @export
#' @examplesIf gequi_available()
#' space <- gspace("rot2dOnR2", N = 4)
#' network <- equivariant_network(space, c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 2), kernel_size = 3)
#' equivariance_error(network, volcano)
#'
#' # Any function: squares are equivariant, a shift to the right is not.
#' x <- array(rnorm(25), c(1, 1, 5, 5))
#' grey <- c(trivial = 1)
#' is_equivariant(function(x) x^2, x, space, input = grey, output = grey)
#' shift <- function(x) x[, , , c(5, 1:4), drop = FALSE]
#' equivariance_error(shift, x, space, input = grey, output = grey)
equivariance_error <- function(f, x, space = NULL, input = NULL, output = NULL, elements = NULL, dtype = NULL) {
  rows <- call_core(
    "equivariance_error",
    f = f, x = x, space = space, input = as_fields(input, "input"), output = as_fields(output, "output"),
    elements = as_index(elements), dtype = dtype
  )
  table <- as_table(rows, indexes = "element")
  class(table) <- c("gequi_equivariance", class(table))
  table
}

#' @rdname equivariance_error
#' @export
is_equivariant <- function(f, x, space = NULL, input = NULL, output = NULL, elements = NULL, dtype = NULL,
                           tolerance = NULL) {
  call_core(
    "is_equivariant",
    f = f, x = x, space = space, input = as_fields(input, "input"), output = as_fields(output, "output"),
    elements = as_index(elements), dtype = dtype, tolerance = tolerance
  )
}

#' How far a map is from commuting with permutations
#'
#' The counterpart of [equivariance_error()] for the orders of things, such as the rows of an image or the tokens of an
#' attention: \deqn{error(P) = \max |f(P x) - P f(x)| / \max |f(x)|}{error(P) = max |f(P x) - P f(x)| / max |f(x)|}
#' where P permutes x along the axes `input` and f(x) along the axes `output`.
#'
#' @param f a function from an array to an array.
#' @param x an input of `f`.
#' @param input the axis of `x` that is permuted, from 1, or several axes, all by the same permutation.
#' @param output the axis or axes of `f(x)` that the law permutes; `NULL` for a map that should not change at all.
#' @param permutations how many to try: the exchange of the first two places, the cycle by one place (these two generate
#'   all others), and then random ones.
#' @param seed of the random ones; `NULL` draws one from R's random numbers.
#' @param dtype `"float32"` or `"float64"`, to which `x` is rounded; `NULL` is float64.
#' @return a data frame of class `gequi_equivariance` with a row for each permutation: `element`, `name`, `exact`
#'   (`TRUE`: a permutation never interpolates) and `error`. It has a `plot()` method.
#' @section Errors: `gequi_input_error` for an axis that is not there, `gequi_shape_error` for axes of different sizes.
#' @export
#' @examplesIf gequi_available()
#' # The column means do not see the order of the rows, and carry the order of the columns along.
#' permutation_error(colMeans, volcano, input = 1, seed = 1)
#' permutation_error(colMeans, volcano, input = 2, output = 1, seed = 1)
permutation_error <- function(f, x, input, output = NULL, permutations = 5, seed = NULL, dtype = NULL) {
  rows <- call_core(
    "permutation_error",
    f = f, x = x, input = as_index(input), output = as_index(output), permutations = permutations,
    seed = own_seed(seed), dtype = dtype
  )
  table <- as_table(rows, indexes = "element")
  class(table) <- c("gequi_equivariance", class(table))
  table
}

#' @export
print.gequi_equivariance <- function(x, ..., n = 24) {
  refuse_dots(..., .also = of_print)
  shown <- as.data.frame(x)
  if (is.numeric(x$error)) shown$error <- formatC(x$error, digits = 1, format = "e")
  cat(cli::col_grey("Equivariance error, relative to the scale of the output"), "\n", sep = "")
  print_table(shown, n = n, right = "error")
  invisible(x)
}

#' @export
as.data.frame.gequi_equivariance <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  class(x) <- "data.frame"
  x
}

#' @param ... not used.
#' @rdname equivariance_error
#' @export
plot.gequi_equivariance <- function(x, ...) {
  refuse_dots(...)
  kinds <- c("moves pixels only", "has to interpolate")
  positive <- c(x$error[x$error > 0], 1e-7)
  floor <- 10^(floor(log10(min(positive))) - 1) # a bar starts below the smallest error; no bar is an error of 0
  bars <- data.frame(
    place = seq_len(nrow(x)), error = pmax(x$error, floor), kind = factor(ifelse(x$exact, kinds[1], kinds[2]), kinds),
    zero = ifelse(x$error > 0, "", "0")
  )
  # Long names read better beside horizontal bars.
  flat <- nrow(x) > 12 || max(nchar(x$name)) > 12
  picture <- ggplot2::ggplot(bars, ggplot2::aes(.data$place, .data$error, fill = .data$kind)) +
    ggplot2::geom_rect(ggplot2::aes(
      xmin = .data$place - 0.38, xmax = .data$place + 0.38, ymin = floor, ymax = .data$error
    )) +
    ggplot2::geom_text(ggplot2::aes(y = floor, label = .data$zero), vjust = if (flat) 0.5 else -0.4,
                       hjust = if (flat) -0.6 else 0.5, size = 3) +
    ggplot2::scale_x_continuous(
      breaks = bars$place, labels = x$name, trans = if (flat) "reverse" else "identity",
      expand = ggplot2::expansion(add = 0.3), guide = ggplot2::guide_axis(check.overlap = TRUE)
    ) +
    ggplot2::scale_y_log10(
      limits = c(floor, NA), breaks = decades, labels = powers, expand = ggplot2::expansion(c(0, 0.05))
    ) +
    ggplot2::scale_fill_manual(values = stats::setNames(c("#1b7837", "#c2a5cf"), kinds), drop = TRUE, name = NULL) +
    ggplot2::labs(x = NULL, y = "equivariance error, relative") +
    ggplot2::theme_minimal() +
    ggplot2::theme(
      plot.background = white(), legend.position = "top",
      legend.text = ggplot2::element_text(margin = ggplot2::margin(r = 12)),
      panel.grid.minor = ggplot2::element_blank(), panel.grid.major.x = ggplot2::element_blank()
    )
  if (flat) {
    picture + ggplot2::coord_flip() +
      ggplot2::theme(panel.grid.major.y = ggplot2::element_blank(), panel.grid.major.x = ggplot2::element_line())
  } else {
    picture
  }
}

# Whole powers of ten within the limits of a logarithmic axis, at most 8 or so; and their labels.
decades <- function(limits) {
  range <- c(ceiling(log10(limits[1]) - 0.01), floor(log10(limits[2]) + 0.01))
  10^seq(range[1], max(range), by = ceiling((diff(range) + 1) / 8))
}

powers <- function(breaks) {
  parse(text = ifelse(is.na(breaks), "''", paste0("10^", round(log10(breaks)))))
}
