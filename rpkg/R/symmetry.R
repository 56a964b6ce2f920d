#' Measure the equivariance error of a map
#'
#' Compares the output for a transformed input with the transformed output, for each group element:
#' \deqn{error(g) = \max |f(g x) - g f(x)| / \max |f(x)|}{error(g) = max |f(g x) - g f(x)| / max |f(x)|}
#' To test invariance, declare trivial output fields.
#'
#' Two further measures separate the model from the resampling of images:
#' \deqn{rms(g) = mean_i |f(g x_i) - g f(x_i)| / |f(x)|}{rms(g) = mean_i |f(g x_i) - g f(x_i)| / |f(x)|}
#' \deqn{floor(g) = mean_i |g^{-1} g x_i - x_i| / |x| + |g^{-1} g f(x_i) - f(x_i)| / |f(x)|}{floor(g) =
#' mean_i |g^-1 g x_i - x_i| / |x| + |g^-1 g f(x_i) - f(x_i)| / |f(x)|}
#' Here |.| is the root mean square over the disc (or ball) that no rotation leaves, without the corners, and the mean
#' is that over the images i. `floor` is the error that interpolation alone makes on these images, there and back
#' again. An `rms` of this size is no evidence against equivariance.
#'
#' `is_equivariant()` tests whether all errors are at most `tolerance`. By default it uses the elements that map the
#' pixel grid onto itself. If the group has no such rotation, for example a group of 3 rotations, it uses at most 12 of
#' the other elements as well.
#'
#' Elements that do not map the grid onto itself need interpolation, so their error exceeds rounding. For these, the
#' default tolerance is 8 times the interpolation error, which is measured with the identity map on a smooth input
#' derived from `x`. A coarse kernel, such as 3 x 3 with a group of 3 rotations, can exceed this tolerance.
#' `is_equivariant()` then returns `FALSE`, and `equivariance_error()` reports the size of the error.
#'
#' @param f The map. A network or the result of [symmetrize()] declares its own gspace and fields. For all others,
#'   `space`, `input` and `output` are required: an R function from an array to an array; the path of a TorchScript file
#'   (`.pt`) or of an ONNX file (`.onnx`, which requires the Python package onnxruntime); a module of the package torch;
#'   a model of the package keras3, whose channels are last; or, from reticulate, a torch module or a predictor as in
#'   scikit-learn, whose features are the values of an input.
#' @param x Numeric array, an input of `f`: (batch, channel, row, column), (batch, channel, depth, row, column) or
#'   (batch, channel). A matrix (row, column) is accepted if the input has one channel. `f` receives an array with all
#'   axes.
#' @param space A gspace, created by [gspace()].
#' @param input The fields of `x`, as in [field_type()], such as `c(trivial = 1)`, or a field type.
#' @param output The fields of `f(x)`, in the same form. An output (batch, channel) is transformed by its representation
#'   only.
#' @param elements Integer vector, the group elements to check, from 1, as in [group_elements()]. `NULL` checks all.
#' @param dtype Character, `"float32"` or `"float64"`, the precision of the computation. `NULL` uses the type of the
#'   network or module, and `"float64"` for a function. Files and predictors compute in their own type.
#' @param tolerance Numeric, the largest relative error that passes. `NULL` is 1e-4 in float32 and 1e-9 in float64 for
#'   elements that do not interpolate, and 8 times the interpolation error for the others.
#' @return `equivariance_error()`: a data frame of class `gequi_equivariance` with one row per element: `element`,
#'   `name`, `exact` (whether the element needs no interpolation), `error`, `rms`, `rms_low` and `rms_high` (the 95 %
#'   interval of this mean by Student's t; `NA` for one image) and `floor` (0 for exact elements). `rms` and `floor` are
#'   `NA` if `x` or `f(x)` is 0 inside the disc. Elements that are not in the group of the output, after a restriction,
#'   are omitted. `is_equivariant()`: `TRUE` or `FALSE`. It returns `TRUE` for every `f` if
#'   the group contains only the identity. `plot()`: a ggplot object.
#' @section Errors: `gequi_input_error` or `gequi_field_error` for fields that are missing or do not match;
#'   `gequi_shape_error` if the output does not match `output` or its shape depends on the element. An error inside `f`
#'   is passed on. `is_equivariant()` signals `gequi_input_error` if the test is not informative: `elements` contains
#'   only the identity, no element changes `x`, or the interpolation error exceeds 2 %, as on small images.
#' @section Warnings: `gequi_exactness_warning` if a layer is not exactly equivariant at this image size.
#' @references Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv:1911.08251.
#' @concept equivariance test
#' @concept rotation
#' @export
#' @examplesIf gequi_available()
#' space <- gspace("rot2dOnR2", N = 4)
#' network <- equivariant_network(space, c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 2), kernel_size = 3)
#' equivariance_error(network, volcano)
#'
#' # Squaring each pixel is equivariant, shifting to the right is not.
#' x <- array(rnorm(25), c(1, 1, 5, 5))
#' gray <- c(trivial = 1)
#' is_equivariant(function(x) x^2, x, space, input = gray, output = gray)
#' shift <- function(x) x[, , , c(5, 1:4), drop = FALSE]
#' equivariance_error(shift, x, space, input = gray, output = gray)
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

#' Measure the permutation equivariance error of a map
#'
#' Compares the output for a permuted input with the permuted output:
#' \deqn{error(P) = \max |f(P x) - P f(x)| / \max |f(x)|}{error(P) = max |f(P x) - P f(x)| / max |f(x)|}
#' P permutes the axes `input` of x and the axes `output` of f(x). This is the counterpart of [equivariance_error()] for
#' the order of elements, such as the rows of an image or the tokens of an attention layer.
#'
#' @param f Function from an array to an array.
#' @param x Numeric array, an input of `f`.
#' @param input Integer vector, the axis or axes of `x` that are permuted, from 1. Several axes get the same
#'   permutation.
#' @param output Integer vector, the axis or axes of `f(x)` that are permuted. `NULL` tests invariance.
#' @param permutations Integer, the number of permutations to test. The first two are the exchange of the first two
#'   positions and the cyclic shift by one position, which generate all permutations. The others are random.
#' @param seed Integer, the seed of the random permutations. `NULL` draws one from R's random number generator.
#' @param dtype Character, `"float32"` or `"float64"`, the precision to which `x` is rounded. `NULL` is float64.
#' @return A data frame of class `gequi_equivariance` with one row per permutation: `element`, `name`, `exact` (always
#'   `TRUE`) and `error`. It has a `plot()` method.
#' @section Errors: `gequi_input_error` for an axis that does not exist; `gequi_shape_error` for axes of different
#'   sizes.
#' @references Zaheer et al. (2017), Deep sets, arXiv:1703.06114.
#' @export
#' @examplesIf gequi_available()
#' # colMeans() is invariant to the order of the rows and equivariant to the order of the columns.
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
  measures <- intersect(c("error", "rms", "rms_low", "rms_high", "floor"), names(shown))
  shown[measures[vapply(shown[measures], function(each) all(is.na(each)), NA)]] <- NULL # as the interval of one image
  for (each in intersect(measures, names(shown))) {
    if (is.numeric(shown[[each]])) {
      shown[[each]] <- ifelse(is.na(shown[[each]]), NA, formatC(shown[[each]], digits = 1, format = "e"))
    }
  }
  cat(cli::col_grey("Equivariance error, relative to the scale of the output"), "\n", sep = "")
  print_table(shown, n = n, right = measures)
  invisible(x)
}

#' @export
as.data.frame.gequi_equivariance <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  class(x) <- "data.frame"
  x
}

#' @param ... Not used.
#' @rdname equivariance_error
#' @details `plot()` draws one bar of `error` per element. For elements that interpolate, a dot marks `rms` and a cross
#'   `floor`.
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
  marks <- do.call(rbind, lapply(names(marks_of_errors), function(column) {
    known <- which(!x$exact & !is.na(x[[column]]))
    if (length(known)) {
      data.frame(place = known, value = pmax(x[[column]][known], floor), mark = unname(marks_of_errors[column]))
    }
  }))
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
      plot.background = white(), legend.position = "top", legend.box = "vertical",
      legend.spacing.y = grid::unit(0, "pt"),
      legend.text = ggplot2::element_text(margin = ggplot2::margin(r = 12)),
      panel.grid.minor = ggplot2::element_blank(), panel.grid.major.x = ggplot2::element_blank()
    )
  if (!is.null(marks)) {
    picture <- picture +
      ggplot2::geom_point(ggplot2::aes(.data$place, .data$value, shape = .data$mark), marks, inherit.aes = FALSE) +
      ggplot2::scale_shape_manual(
        values = stats::setNames(c(16, 4), marks_of_errors), breaks = marks_of_errors, name = NULL
      ) +
      ggplot2::guides(fill = ggplot2::guide_legend(order = 1), shape = ggplot2::guide_legend(order = 2))
  }
  if (flat) {
    picture + ggplot2::coord_flip() +
      ggplot2::theme(panel.grid.major.y = ggplot2::element_blank(), panel.grid.major.x = ggplot2::element_line())
  } else {
    picture
  }
}

# The marks beside the bars of elements that interpolate.
marks_of_errors <- c(rms = "rms inside the disc", floor = "floor: interpolation alone")

# Powers of ten within the limits of a logarithmic axis, at most 8 or so, and their labels.
decades <- function(limits) {
  range <- c(ceiling(log10(limits[1]) - 0.01), floor(log10(limits[2]) + 0.01))
  10^seq(range[1], max(range), by = ceiling((diff(range) + 1) / 8))
}

powers <- function(breaks) {
  parse(text = ifelse(is.na(breaks), "''", paste0("10^", round(log10(breaks)))))
}
