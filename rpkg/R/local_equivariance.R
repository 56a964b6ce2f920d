#' Measure where a model loses equivariance
#'
#' Measures how fast a model loses equivariance under small rotations, scalings and translations, for the whole model
#' or layer by layer.
#'
#' With T_t a motion by t, the Lie derivative of the model f is
#' \deqn{L f(x) = \frac{d}{dt} T_t^{-1} f(T_t x)}{L f(x) = d/dt T_t^-1 f(T_t x)}
#' at t = 0. It is 0 if f is equivariant. The error is its length relative to that of the output, per unit of t:
#' \deqn{error = mean_i |L f(x_i)| / |f(x)|}{error = mean_i |L f(x_i)| / |f(x)|}
#' Here |.| is the root mean square over the disc that no rotation leaves. Images are the cubic splines through their
#' pixels. For the rotation by a small angle a, `rms` of [equivariance_error()] is about |a| times the error of
#' `"rotation"`.
#'
#' With `by = "layer"`, the derivative is the sum of the contributions of the layers. Each contribution is propagated to
#' the output by the layers after it. A layer is listed only if the output depends on the input through this layer
#' alone. A block with a shortcut is therefore one layer.
#'
#' @param model A model of any kind that [symmetrize()] accepts. For models without derivatives, such as functions,
#'   predictors and files, differences of steps of 1e-4 are used.
#' @param x Numeric array (batch, channel, row, column), images, or a matrix, a single image with one channel.
#' @param by Character, `"model"`, or `"layer"` for networks and torch modules.
#' @param motions Character vector of `"rotation"` (per radian), `"scale"` (per unit of the logarithm), `"x"` and `"y"`
#'   (per pixel of the input). `NULL` measures all.
#' @param space A gspace of the plane, created by [gspace()], for `input` and `output`. Networks declare their own.
#' @param input The fields of `x`, as in [field_type()]. `NULL` takes all channels as trivial.
#' @param output The fields of the output. `NULL` takes all channels as trivial.
#' @param dtype Character, `"float32"` or `"float64"`. `NULL` uses the type of the model, and `"float64"` for
#'   functions.
#' @return `local_equivariance_error()`: a data frame of class `gequi_local_equivariance` with one row per motion, and
#'   by layer one per motion and layer: `motion`, `unit`, by layer `layer` (its number) and `name`, and `error` with
#'   `error_low` and `error_high` (the 95 % interval of the mean by Student's t; `NA` for one image). The operations
#'   after the last layer are called "output". `plot()`: a ggplot object.
#' @section Errors: `gequi_input_error` or `gequi_field_error` for a model without layers, an unknown motion, or an
#'   output that is 0 inside the disc; `gequi_shape_error` if `x` is not images, or the output is neither images nor
#'   (batch, channel).
#' @references Gruver, Finzi, Goldblum and Wilson (2023), The Lie derivative for measuring learned equivariance,
#'   arXiv:2210.02984.
#' @seealso [equivariance_error()] for the elements of a group.
#' @concept equivariance test
#' @concept rotation
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 8), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 2), kernel_size = 5) |>
#'   layer_relu() |>
#'   layer_conv(c(regular = 2), kernel_size = 5)
#' image <- array(volcano[1:61, ], c(1, 1, 61, 61))
#' local_equivariance_error(network, image)
#' errors <- local_equivariance_error(network, image, by = "layer", motions = c("rotation", "x"))
#' plot(errors)
local_equivariance_error <- function(model, x, by = "model", motions = NULL, space = NULL, input = NULL,
                                     output = NULL, dtype = NULL) {
  rows <- call_core(
    "local_equivariance_error",
    model = model, x = x, by = by, motions = motions, space = space, input = as_fields(input, "input"),
    output = as_fields(output, "output"), dtype = dtype
  )
  table <- as_table(rows, indexes = if (identical(by, "layer")) "layer" else character())
  class(table) <- c("gequi_local_equivariance", class(table))
  table
}

#' @export
print.gequi_local_equivariance <- function(x, ..., n = 24) {
  refuse_dots(..., .also = of_print)
  shown <- as.data.frame(x)
  measures <- intersect(c("error", "error_low", "error_high"), names(shown))
  shown[measures[vapply(shown[measures], function(each) all(is.na(each)), NA)]] <- NULL # as the interval of one image
  for (each in intersect(measures, names(shown))) {
    if (is.numeric(shown[[each]])) shown[[each]] <- formatC(shown[[each]], digits = 2, format = "g")
  }
  cat(cli::col_grey("Local equivariance error, relative to the output, per unit of the motion"), "\n", sep = "")
  print_table(shown, n = n, right = measures)
  invisible(x)
}

#' @export
as.data.frame.gequi_local_equivariance <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  class(x) <- "data.frame"
  x
}

#' @param ... Not used.
#' @rdname local_equivariance_error
#' @details `plot()` draws one bar per motion or, by layer, one panel per motion with one bar per layer. The longest
#'   bar of a panel is the layer at which most is lost. Lines mark the interval of the mean.
#' @export
plot.gequi_local_equivariance <- function(x, ...) {
  refuse_dots(...)
  title <- paste0(x$motion, ", per ", x$unit)
  by_layer <- "name" %in% names(x)
  label <- if (by_layer) x$name else title
  bars <- data.frame(
    title = factor(title, unique(title)), label = factor(label, rev(unique(label))), error = x$error,
    low = as.numeric(x$error_low), high = as.numeric(x$error_high)
  )
  picture <- ggplot2::ggplot(bars, ggplot2::aes(.data$label, .data$error)) +
    ggplot2::geom_col(fill = "#1b7837", width = 0.76) +
    ggplot2::geom_linerange(ggplot2::aes(ymin = .data$low, ymax = .data$high), bars[!is.na(bars$low), ]) +
    ggplot2::coord_flip() +
    ggplot2::labs(x = NULL, y = "local equivariance error") +
    ggplot2::theme_minimal() +
    ggplot2::theme(plot.background = white(), panel.grid.major.y = ggplot2::element_blank())
  if (by_layer) picture + ggplot2::facet_wrap(~title, nrow = 1, scales = "free_x") else picture
}
