#' Images that come with the package
#'
#' @param name `"volcano"`, `"camera"`, `"cat"`, `"retina"` or `"cell"`; `NULL` for the table of them.
#' @return a matrix (row, column), row 1 on top: the photographs and micrographs in \[0, 1\], and `"volcano"` in
#'   metres, as [datasets::volcano]. For `NULL`, a data frame: `name`, `rows`, `columns`, `shows`, `licence`,
#'   `source`.
#' @section Errors: `gequi_input_error` for an unknown name.
#' @family images
#' @export
#' @examplesIf gequi_available()
#' sample_image()[c("name", "rows", "columns", "licence")]
#' plot_image(sample_image("cell"))
sample_image <- function(name = NULL) {
  value <- call_core("images.sample_image", name = name)
  if (is.null(name)) as_table(value) else value
}

#' Plot images
#'
#' In grey, with square pixels and row 1 on top.
#'
#' @param x a matrix (row, column); or several images, as a list of matrices or an array (image, row, column).
#' @param titles one for each image.
#' @param limits the values to show as black and as white; `NULL` takes the smallest and the largest.
#' @return a ggplot. Images of together more than a million pixels are shown thinned out.
#' @section Errors: `gequi_shape_error` for other axes.
#' @family images
#' @export
#' @examples
#' plot_image(volcano)
#' plot_image(list(volcano, t(volcano)), titles = c("upright", "transposed"))
plot_image <- function(x, titles = NULL, limits = NULL) {
  if (is.array(x) && length(dim(x)) == 3) {
    x <- lapply(seq_len(dim(x)[1]), function(i) array(x[i, , ], dim(x)[-1]))
  }
  images <- if (is.list(x)) x else list(x)
  is_image <- function(each) is.matrix(each) && (is.numeric(each) || is.logical(each))
  if (!length(images) || !all(vapply(images, is_image, NA))) {
    abort_gequi(
      c("ShapeError", "InputError"),
      "`x` must be a matrix (row, column), an array (image, row, column) or a list of matrices.", "x"
    )
  }
  labels <- if (is.null(titles)) as.character(seq_along(images)) else make.unique(as.character(titles), " ")
  step <- ceiling(sqrt(sum(lengths(images)) / 1e6))
  cells <- do.call(rbind, Map(function(image, label) centred_cells(image, step, image = label), images, labels))
  cells$image <- factor(cells$image, labels)
  picture <- ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$value)) +
    ggplot2::geom_raster() +
    ggplot2::scale_fill_gradient(low = "black", high = "white", limits = limits, oob = squish, guide = "none") +
    ggplot2::coord_fixed(expand = FALSE) +
    theme_picture()
  if (length(images) > 1) {
    rows <- ceiling(length(images) / 5)
    picture + ggplot2::facet_wrap(ggplot2::vars(.data$image), ncol = ceiling(length(images) / rows))
  } else if (!is.null(titles)) {
    picture + ggplot2::ggtitle(titles)
  } else {
    picture
  }
}

# The pixels of an image about (0, 0), row 1 on top, so that images of different sizes share a centre.
centred_cells <- function(x, step, ...) {
  rows <- seq(1, nrow(x), by = step)
  columns <- seq(1, ncol(x), by = step)
  x <- x[rows, columns, drop = FALSE]
  data.frame(x = c(col(x)) - (ncol(x) + 1) / 2, y = (nrow(x) + 1) / 2 - c(row(x)), value = c(x) + 0, ...)
}

# Values beyond the limits take the colour of the nearest limit.
squish <- function(x, range) pmin(pmax(x, range[1]), range[2])

white <- function() ggplot2::element_rect(fill = "white", colour = NA)

# No axes: a picture is its own.
theme_picture <- function() {
  ggplot2::theme_minimal() +
    ggplot2::theme(
      plot.background = white(), axis.title = ggplot2::element_blank(), axis.text = ggplot2::element_blank(),
      panel.grid = ggplot2::element_blank(), panel.spacing = ggplot2::unit(5, "pt"),
      strip.text = ggplot2::element_text(size = ggplot2::rel(0.9))
    )
}
