#' Plot images
#'
#' Plots one or several images with square pixels and row 1 at the top.
#'
#' Colors are interpreted as values from 0 to 1, or from 0 to 255 if a value exceeds 1; `limits` overrides this.
#' Grayscale images share one scale.
#'
#' @param x One of:
#'   * a matrix (row, column), grayscale;
#'   * an array (row, column, channel) with 1 to 4 channels: gray, gray and alpha, RGB, or RGB and alpha;
#'   * an array (image, row, column) with more than 4 columns, such as the slices of a volume;
#'   * an array (image, channel, row, column), as used by networks. 3 channels are shown as colors; otherwise each
#'     channel is shown as an image;
#'   * the paths of image files, a folder of them, or any other input of [to_grayscale()];
#'   * a list of these.
#' @param titles Character vector, one title per image. `NULL` uses the names of the files or of the list, or numbers.
#' @param limits Numeric vector, the values shown as black and as white. `NULL` uses the minimum and maximum.
#' @return A ggplot object. Images with more than a million pixels in total are downsampled.
#' @section Errors: `gequi_shape_error` for other axes, or if the number of titles differs from the number of images;
#'   the errors of [to_grayscale()] for files.
#' @concept stack
#' @concept grayscale
#' @concept color image
#' @family images
#' @export
#' @examples
#' plot_image(volcano)
#' plot_image(list(volcano, t(volcano)), titles = c("upright", "transposed"))
#' plot_image(array(runif(300), c(10, 10, 3))) # color
plot_image <- function(x, titles = NULL, limits = NULL) {
  need_arguments()
  here <- rlang::current_env()
  panels <- panels_of(x, here)
  labels <- if (is.null(titles)) names(panels) else as.character(titles)
  if (length(labels) != length(panels)) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`titles` must be as many as there are images, ", length(panels), "; got ", length(labels), "."
    ), "titles", here)
  }
  labels <- make.unique(labels, " ")
  check_plot_limits(limits, here)
  in_colour <- any(vapply(panels, is_coloured, NA))
  if (in_colour) panels <- as_colours(panels, limits)
  step <- ceiling(sqrt(sum(lengths(panels)) / 1e6))
  cells <- do.call(rbind, Map(function(image, label) centred_cells(image, step, image = label), panels, labels))
  cells$image <- factor(cells$image, labels)
  picture <- ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$value)) +
    lapply(labels, function(label) { # a layer each: their pixels may lie at half steps from each other
      ggplot2::geom_raster(data = function(cells) cells[cells$image == label, ])
    }) +
    (if (in_colour) ggplot2::scale_fill_identity() else
      ggplot2::scale_fill_gradient(low = "black", high = "white", limits = limits, oob = squish, guide = "none")) +
    ggplot2::coord_fixed(expand = FALSE) +
    theme_picture()
  if (length(panels) > 1) {
    rows <- ceiling(length(panels) / 5)
    picture + ggplot2::facet_wrap(ggplot2::vars(.data$image), ncol = ceiling(length(panels) / rows))
  } else if (!is.null(titles)) {
    picture + ggplot2::ggtitle(titles)
  } else {
    picture
  }
}

check_plot_limits <- function(limits, call) {
  if (is.null(limits) || (is.numeric(limits) && length(limits) == 2 && !anyNA(limits))) return(invisible())
  abort_gequi("InputError", "`limits` must be NULL or two numbers, the values of black and of white.", "limits", call)
}

# ---- what is shown --------------------------------------------------------------------------------------------------

# The images in `x`, each a matrix or an array (row, column, channel), under their titles.
panels_of <- function(x, call) {
  if (is.character(x) && is.null(dim(x))) {
    files <- picture_files(x, call)
    panels <- lapply(files, function(file) panels_of_picture(read_picture(file, "x", call)))
    names(panels) <- basename(files)
  } else if (is_plain_list(x)) {
    if (!length(x)) abort_gequi(c("ShapeError", "InputError"), "`x` is an empty list.", "x", call)
    panels <- lapply(unname(x), panels_of, call)
    names(panels) <- if (is.null(names(x))) seq_along(x) else names(x)
  } else if (length(dim(x)) == 4 && is.numeric(x)) {
    return(panels_of_batch(x))
  } else {
    return(panels_of_picture(read_picture(missing_pixels_as_nan(x), "x", call)))
  }
  joined(panels)
}

# Pixels may be missing, such as those outside a registered image, so NaN is allowed.
missing_pixels_as_nan <- function(x) if ((is.numeric(x) || is.logical(x)) && !is.object(x)) with_nan(x) else x

is_plain_list <- function(x) is.list(x) && !is.object(x)

# Names images after their source, with their own names if there are several.
joined <- function(panels) {
  titles <- Map(function(each, name) if (length(each) == 1) name else paste(name, names(each)), panels, names(panels))
  stats::setNames(unlist(unname(panels), recursive = FALSE), unlist(titles))
}

# The pictures in folders, and files as they are.
picture_files <- function(paths, call) {
  unlist(lapply(as_path(paths), function(path) {
    if (!dir.exists(path)) return(path)
    files <- list.files(path, "[.](png|jpe?g|tiff?|bmp)$", ignore.case = TRUE, full.names = TRUE)
    if (!length(files)) abort_gequi("InputError", paste0("`x`: there is no picture in '", path, "'."), "x", call)
    files
  }))
}

panels_of_picture <- function(picture) {
  pixels <- picture$pixels
  if (length(dim(pixels)) == 2) return(list(`1` = pixels))
  if (picture$channels) return(list(`1` = if (dim(pixels)[3] < 3) first_channel(pixels) else pixels))
  slices <- stats::setNames(nm = seq_len(dim(pixels)[1]))
  lapply(slices, function(i) array(pixels[i, , ], dim(pixels)[-1]))
}

first_channel <- function(pixels) array(pixels[, , 1], dim(pixels)[1:2])

panels_of_batch <- function(x) {
  size <- dim(x)
  of_image <- function(i) {
    channels <- array(aperm(x[i, , , , drop = FALSE], c(3, 4, 2, 1)), size[c(3, 4, 2)])
    if (size[2] == 3) return(list(`1` = channels))
    numbers <- stats::setNames(seq_len(size[2]), paste("channel", seq_len(size[2])))
    lapply(numbers, function(k) array(channels[, , k], size[3:4]))
  }
  images <- lapply(seq_len(size[1]), of_image)
  if (size[1] == 1 && size[2] != 3) return(images[[1]])
  joined(stats::setNames(images, seq_len(size[1])))
}

is_coloured <- function(image) length(dim(image)) == 3

# Images as matrices of colours.
as_colours <- function(panels, limits) {
  coloured <- vapply(panels, is_coloured, NA)
  scales <- list(
    if (is.null(limits)) colour_limits(unlist(panels[coloured])) else limits,
    if (is.null(limits)) finite_range(unlist(panels[!coloured])) else limits
  )
  lapply(panels, function(image) {
    scale <- scales[[if (is_coloured(image)) 1 else 2]]
    image[] <- squish((image - scale[1]) / max(scale[2] - scale[1], .Machine$double.eps), c(0, 1))
    if (!is_coloured(image)) return(array(ifelse(is.na(image), NA, grDevices::grey(with_zero(image))), dim(image)))
    part <- function(k) with_zero(c(image[, , k]))
    alpha <- if (dim(image)[3] == 4) part(4)
    array(grDevices::rgb(part(1), part(2), part(3), alpha), dim(image)[1:2])
  })
}

with_zero <- function(x) ifelse(is.na(x), 0, x)

# The values that are shown as black and white in images with colors.
colour_limits <- function(values) {
  range <- finite_range(values)
  if (range[1] < 0) return(range)
  if (range[2] <= 1) c(0, 1) else if (range[2] <= 255) c(0, 255) else range
}

finite_range <- function(values) if (any(is.finite(values))) range(values, finite = TRUE) else c(0, 1)

# The pixels of an image about (0, 0), with row 1 at the top, so that images of different sizes are centered.
centred_cells <- function(x, step, ...) {
  rows <- seq(1, nrow(x), by = step)
  columns <- seq(1, ncol(x), by = step)
  x <- x[rows, columns, drop = FALSE]
  value <- if (is.character(x)) c(x) else c(x) + 0
  data.frame(x = c(col(x)) - (ncol(x) + 1) / 2, y = (nrow(x) + 1) / 2 - c(row(x)), value = value, ...)
}

# Values beyond the limits have the color of the nearest limit.
squish <- function(x, range) pmin(pmax(x, range[1]), range[2])

white <- function() ggplot2::element_rect(fill = "white", colour = NA)

# A theme without axes.
theme_picture <- function() {
  ggplot2::theme_minimal() +
    ggplot2::theme(
      plot.background = white(), axis.title = ggplot2::element_blank(), axis.text = ggplot2::element_blank(),
      panel.grid = ggplot2::element_blank(), panel.spacing = ggplot2::unit(5, "pt"),
      strip.text = ggplot2::element_text(size = ggplot2::rel(0.9))
    )
}
