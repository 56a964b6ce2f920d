#' Write an image to a file
#'
#' To a PNG, TIFF or JPEG file.
#'
#' @param x an image, as [to_grayscale()] and [plot_image()] take it: a matrix (row, column); an array (row, column,
#'   channel) of 1 to 4 channels; a volume (depth, row, column), as the pages of a TIFF file; an array (image, channel,
#'   row, column), for as many files; a raster, or a picture of another package. Or a registration, of which the
#'   registered image, `warped`, is written; or a list of images, for as many files. `FALSE` and `TRUE` are black and
#'   white.
#' @param path the file, which ends with .png, .tif, .tiff, .jpg or .jpeg; for several images, as many.
#' @param limits the values to write as black and as white; values beyond them are clipped, with a warning. `NULL` takes
#'   the smallest and the largest. `NA` becomes black, with a warning.
#' @param bits of a value, 8 or 16. 16 are for PNG and TIFF, in grayscale, in colours, and in colours with alpha.
#' @param quality of JPEG, from 1 to 95.
#' @return the path, or paths, invisibly.
#' @section Errors: `gequi_shape_error` for other axes, and where there are not as many files as images;
#'   `gequi_input_error` for another ending, for channels or bits that the format does not hold, and for a file that
#'   cannot be written; `gequi_setup_error` where the Python packages pillow or, for colours of 16
#'   bits in TIFF, tifffile are missing.
#' @section Warnings: `gequi_warning` for values that were clipped, or were `NA`; it says how many, and their range.
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

# The pixels of whatever holds an image.
pixels_of_image <- function(x, call) {
  if (inherits(x, "ggplot")) {
    abort_gequi("InputError", "`x` is a plot: ggplot2::ggsave() writes it.", "x", call)
  }
  if (inherits(x, "gequi_registration")) x <- x$warped
  if (length(dim(x)) == 4 && !is.object(x)) return(missing_pixels_as_nan(x))
  read_picture(missing_pixels_as_nan(x), "x", call)$pixels
}
