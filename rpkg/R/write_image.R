#' Write an image to a file
#'
#' Writes an image, a stack of images or a registered image to a PNG, TIFF or JPEG file.
#'
#' @param x An image, as accepted by [to_grayscale()] and [plot_image()]: a matrix (row, column), an array (row, column,
#'   channel) with 1 to 4 channels, a volume (depth, row, column), which is written as the pages of a TIFF file, an
#'   array (image, channel, row, column), which is written to one file per image, a raster, or an image object of
#'   another package. A registration writes its registered image `warped`. A list of images is written to one file per
#'   image. Logical values are written as black (`FALSE`) and white (`TRUE`).
#' @param path Character, the path of the file, ending in .png, .tif, .tiff, .jpg or .jpeg. For several images, one path
#'   per image.
#' @param limits Numeric vector, the values written as black and as white. Values outside are clipped, with a warning.
#'   `NULL` uses the minimum and maximum. `NA` is written as black, with a warning.
#' @param bits Integer, 8 or 16 bits per value. 16 bits are available for PNG and TIFF, in grayscale, color and color
#'   with alpha.
#' @param quality Integer, the JPEG quality from 1 to 95.
#' @return The path or paths, invisibly.
#' @section Errors: `gequi_shape_error` for other axes, or if the number of paths differs from the number of images;
#'   `gequi_input_error` for other file endings, for channels or bits that the format does not support, and for a file
#'   that cannot be written; `gequi_setup_error` if the Python package pillow is missing, or tifffile for 16-bit color
#'   TIFF.
#' @section Warnings: `gequi_warning` for values that were clipped or `NA`, with their number and range.
#' @concept stack
#' @concept grayscale
#' @family images
#' @export
#' @examplesIf gequi_available()
#' file <- tempfile(fileext = ".png")
#' write_image(volcano, file, limits = NULL)
#' plot_image(file)
write_image <- function(x, path, limits = c(0, 1), bits = 8, quality = 90) {
  need_arguments()
  here <- rlang::current_env()
  write <- function(x, path) {
    call_core(
      "write_image", x = pixels_of_image(x, here), path = path, limits = limits, bits = bits, quality = quality,
      .call = here
    )
  }
  path <- as_path(path)
  if (!is_plain_list(x) && !inherits(x, "gequi_registrations")) {
    return(invisible(unlist(write(x, if (length(path) == 1) path else as.list(path)))))
  }
  if (length(path) != length(x)) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`path` must be as many files as there are images, ", length(x), "; got ", length(path), "."
    ), "path", here)
  }
  invisible(unlist(Map(write, unname(unclass(x)), path)))
}

# The pixels of an object that contains an image.
pixels_of_image <- function(x, call) {
  if (inherits(x, "ggplot")) {
    abort_gequi("InputError", "`x` is a plot: ggplot2::ggsave() writes it.", "x", call)
  }
  if (inherits(x, "gequi_registration")) x <- x$warped
  if (length(dim(x)) == 4 && !is.object(x)) return(missing_pixels_as_nan(x))
  read_picture(missing_pixels_as_nan(x), "x", call)$pixels
}
