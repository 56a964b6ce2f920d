# Methods of registrations: print, summary, as.data.frame. predict() is in registration_predict.R, plots are in
# registration_plots.R, and lists of registrations are in registration_lists.R.

axis_names <- function(axes) utils::tail(c("depth", "row", "column"), axes)

axes_of <- function(registration) nrow(registration$affine)

sizes_of <- function(registration) {
  size <- function(image) paste(dim(image), collapse = " x ")
  paste(size(registration$moving), "onto", size(registration$fixed))
}

pixels_of <- function(registration) if (axes_of(registration) == 3) "voxels" else "pixels"

two_digits <- function(x) formatC(x, digits = 2, format = "f")

#' @export
format.gequi_registration <- function(x, ...) sizes_of(x)

#' @export
str.gequi_registration <- function(object, ...) utils::str(plain_data(object), ...)

#' @export
print.gequi_registration <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("registration", sizes_of(x)), "\n", sep = "")
  metrics <- x$metrics
  uncertainty <- spread_of(x)[1, ]
  cat(
    "similarity   ", two_digits(metrics$similarity_before), " before, ", two_digits(metrics$similarity_after),
    " after; probability ", two_digits(x$probability), "\n",
    "uncertainty  ", two_digits(uncertainty$median), " ", pixels_of(x), " (median), ",
    two_digits(uncertainty$largest), " at most\n",
    "map          ", metrics$folds, " folds; ", round(100 * metrics$overlap), " % of the fixed image is seen in both\n",
    "linear part  ", linear_part_of(x), "\n",
    sep = ""
  )
  if (length(x$alternatives)) {
    cat(cli::col_red("ambiguous"), "    ", length(x$alternatives), " other map",
        if (length(x$alternatives) > 1) "s", ", far from this one, fit",
        if (length(x$alternatives) == 1) "s", " almost as well: see $alternatives\n", sep = "")
  }
  invisible(x)
}

#' Summarize registrations
#'
#' Summarizes the metrics, the linear part and the uncertainty of one registration, or returns a table of several.
#'
#' @param object,x The result of [register_images()].
#' @param ... Not used.
#' @return For one registration, an object of class `summary.gequi_registration`, a list of `sizes`, `affine`,
#'   `decomposition` (see [tidy()][tidy.gequi_registration()]), `metrics`, `probability`, `alternatives` and `spread`.
#'   `spread` is a data frame of quantiles over the pixels of the fixed image, of `uncertainty` (in pixels of the moving
#'   image) and `jacobian`.
#'
#'   For several registrations, a data frame with one row per pair: `pair` (name or number), `probability`,
#'   `similarity_before`, `similarity_after`, `uncertainty` (the median), `folds`, `overlap`, `others` (the number of
#'   other maps that fit almost as well), `seconds`, and `error` (the error message, or `NA`). The metrics of a failed
#'   pair are `NA`.
#' @section Errors: This method does not fail.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' summary(register_images(moving = turned, fixed = image))
summary.gequi_registration <- function(object, ...) {
  refuse_dots(...)
  structure(
    list(
      sizes = sizes_of(object), affine = object$affine, decomposition = decomposition_of(object),
      metrics = object$metrics, probability = object$probability, alternatives = object$alternatives,
      spread = spread_of(object)
    ),
    class = "summary.gequi_registration"
  )
}

#' @export
print.summary.gequi_registration <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("registration", x$sizes), "\n", sep = "")
  metrics <- x$metrics
  print_table(data.frame(
    probability = two_digits(x$probability), similarity_before = two_digits(metrics$similarity_before),
    after = two_digits(metrics$similarity_after), overlap = paste(round(100 * metrics$overlap), "%"),
    folds = metrics$folds, seconds = two_digits(metrics$seconds)
  ), right = c("probability", "similarity before", "after", "overlap", "seconds"))
  cat(cli::col_grey("\nover the pixels of the fixed image"), "\n", sep = "")
  shown <- x$spread
  shown[-1] <- lapply(shown[-1], two_digits)
  names(shown)[1] <- " "
  print_table(shown, right = names(shown)[-1])
  cat(cli::col_grey("\nlinear part, turned about the middle of the image"), "\n", sep = "")
  print_decomposition(x$decomposition)
  cat(cli::col_grey("\nlinear part: moving = A fixed + shift"), "\n", sep = "")
  axes <- nrow(x$affine)
  linear <- as.data.frame(matrix(formatC(x$affine, digits = 3, format = "f"), axes))
  names(linear) <- c(axis_names(axes), "shift")
  print_table(cbind(` ` = axis_names(axes), linear), right = names(linear))
  if (length(x$alternatives)) {
    cat(cli::col_grey("\nother maps that fit almost as well"), "\n", sep = "")
    others <- do.call(rbind, lapply(x$alternatives, function(other) {
      shift <- as.data.frame(t(two_digits(other$affine[, axes + 1])))
      names(shift) <- paste("shift", axis_names(axes))
      cbind(score = two_digits(other$score), shift)
    }))
    print_table(others, right = names(others))
  }
  invisible(x)
}

# ---- a table of the map ---------------------------------------------------------------------------------------------

#' Convert a registration to a data frame
#'
#' Returns the map, the Jacobian determinant and the uncertainty at each pixel of the fixed image.
#'
#' @param x The result of [register_images()] for one pair.
#' @param row.names,optional,... Not used.
#' @return A data frame with one row per pixel of the fixed image, with the first axis varying fastest: (`depth`,) `row`
#'   and `column` of the pixel; (`map_depth`,) `map_row` and `map_column`, the position in the moving image; `jacobian`;
#'   and `uncertainty`, in pixels of the moving image.
#' @section Errors: This method does not fail.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' head(as.data.frame(register_images(moving = turned, fixed = image)))
as.data.frame.gequi_registration <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  axes <- axes_of(x)
  pixels <- expand.grid(lapply(dim(x$fixed), seq_len), KEEP.OUT.ATTRS = FALSE)
  mapped <- as.data.frame(t(matrix(x$map, axes)))
  names(pixels) <- axis_names(axes)
  names(mapped) <- paste0("map_", axis_names(axes))
  cbind(pixels, mapped, jacobian = c(x$jacobian), uncertainty = c(x$uncertainty))
}
