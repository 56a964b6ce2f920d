#' Register large images
#'
#' `read_slide()` reads a large TIFF image, such as a whole-slide image, at a lower resolution. Two such images are
#' registered with [register_images()]. `warp_slide()` and `transform_slide_points()` then apply the map at the full
#' resolution of the files. Memory does not depend on the size of the images.
#'
#' `read_slide()` returns means over equal rectangular cells of the image in grayscale. It reads bands of rows, from the
#' level of the pyramid with the lowest sufficient resolution. `warp_slide()` computes and writes the image tile by
#' tile, with the map interpolated linearly between the pixels of `found`. A position p (from 0) in pixels of the full
#' resolution is (p + 0.5) / step - 0.5 in `found`, where step is the number of pixels of the file per pixel of `found`.
#'
#' @param path Character, for `read_slide()` a TIFF file with or without tiles and a pyramid (OME-TIFF, SVS, NDPI, SCN
#'   and others that the Python package tifffile reads). Files with LZW or JPEG compression are decoded as a whole,
#'   unless the Python package imagecodecs is installed. The file holds one image (row, column), with channels or
#'   without. 3 or 4 channels are RGB and alpha; of other numbers of channels, the first is used. For `warp_slide()` the
#'   file to write, ending in .tif or .tiff. It has the type and the channels of `moving`, tiles of 512 pixels and
#'   lossless compression, and is written completely or not at all.
#' @param size Integer, the number of pixels along the longer side of the result, at most that of the image.
#' @param step Numeric, the number of pixels of the image per pixel of the result, at least 1, in place of `size`. Use
#'   the same value for two images with the same pixel size.
#' @param found The result of [register_images()] for the two images as `read_slide()` reads them.
#' @param moving,fixed Character, the files of the two images. For points, and for `fixed`, only the sizes are used.
#' @param interpolation Character, `"cubic"` (spline), `"linear"` or `"nearest"`. Interpolated integers are clipped to
#'   the range of their type.
#' @param fill Numeric, the value of pixels outside the moving image. `NA` is 0 for integers. `NULL` uses the nearest
#'   pixel.
#' @param progress Logical, whether to show a progress bar, or a function that is called after each tile with a list of
#'   `done`, `total` and `seconds_left`. `NULL` shows a bar in interactive sessions.
#' @param points Numeric matrix (point, axis), row and column in pixels from 1, or a vector for a single point.
#' @param direction Character, `"moving_to_fixed"` transforms points of the moving image to the fixed image,
#'   `"fixed_to_moving"` the reverse.
#' @param return_std Logical, whether to return standard deviations.
#' @param extrapolate Logical, whether to transform points outside the images; see [predict.gequi_registration()].
#' @return `read_slide()`: a numeric matrix, with integers scaled to \[0, 1\]. `warp_slide()`: the path, invisibly.
#'   `transform_slide_points()`: the points in the other image; with `return_std = TRUE`, a list of `fit` (the points)
#'   and `se.fit` (the standard deviation of each point, in pixels of the full resolution).
#' @section Errors: `gequi_input_error` for a file that does not exist or cannot be read or written, values that are not
#'   finite, a size below 16, a step below 1, an unknown option, or a `fill` that the type of the image cannot store;
#'   `gequi_shape_error` for a file of other axes, or whose size does not match that of its image in `found`;
#'   `gequi_setup_error` if the Python package tifffile or pillow is missing.
#' @references The formats: the documentation of tifffile (Gohlke). Grayscale: see [to_grayscale()].
#' @concept whole-slide image
#' @concept landmark
#' @family registration
#' @export
#' @examplesIf gequi_available() && requireNamespace("tiff", quietly = TRUE)
#' image <- sample_image("cat")[1:160, 101:292]
#' files <- file.path(tempdir(), c("moving.tif", "fixed.tif", "warped.tif"))
#' tiff::writeTIFF(t(image)[192:1, ], files[1])
#' tiff::writeTIFF(image, files[2])
#' found <- register_images(read_slide(files[1], step = 1.5), read_slide(files[2], step = 1.5))
#' warp_slide(found, files[1], files[2], files[3])
#' transform_slide_points(found, c(192, 1), files[1], files[2], return_std = TRUE)
read_slide <- function(path, size = 2048, step = NULL) {
  need_arguments()
  call_core("read_slide", path = as_path(path), size = size, step = step)
}

#' @rdname read_slide
#' @export
warp_slide <- function(found, moving, fixed, path, interpolation = "cubic", fill = NA, progress = NULL) {
  need_arguments()
  here <- rlang::current_env()
  bar <- reporter(progress, function() count_bar("Warping"), here)
  on.exit(bar$close())
  invisible(call_core(
    "warp_slide",
    found = found, moving = as_path(moving), fixed = as_path(fixed), path = as_path(path),
    interpolation = interpolation, fill = if (is.null(fill)) NULL else na_as_nan(fill), progress = bar$report
  ))
}

#' @rdname read_slide
#' @export
transform_slide_points <- function(found, points, moving, fixed, direction = "moving_to_fixed", return_std = FALSE,
                                   extrapolate = FALSE) {
  need_arguments()
  carried <- call_core(
    "transform_slide_points",
    found = found, points = as_index(points), moving = as_path(moving), fixed = as_path(fixed), direction = direction,
    return_std = return_std, extrapolate = extrapolate
  )
  if (!is.list(carried)) return(as_plain(with_missing(carried) + 1))
  list(fit = as_plain(with_missing(carried[[1]]) + 1), se.fit = with_missing(as.numeric(carried[[2]])))
}
