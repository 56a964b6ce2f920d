#' Convert images to a batch
#'
#' Converts images to an array (batch, channel, row, column), the form that networks use, with row 1 at the top.
#'
#' Objects of other packages define the order of their axes. For plain arrays, the number of axes and `third` determine
#' it. Colors of files, rasters and magick objects are scaled to 0 to 1; the values of arrays are not changed.
#'
#' @param x One of:
#'   * a matrix (row, column), one image;
#'   * an array with three axes, see `third`;
#'   * an array (batch, channel, row, column), which is returned unchanged;
#'   * the paths of image files or of a folder, whose files are read in alphabetical order. All pages of a single TIFF
#'     file and all frames of a single animation are read. If there are several files, each must contain one image;
#'   * a magick object, an object of [grDevices::as.raster()], a nativeRaster from `png::readPNG(native = TRUE)`, an
#'     EBImage `Image`, an imager `cimg`, `pixset` or `imlist`, or a NIfTI image. Frames and slices become images;
#'   * a list of these with the same size, such as a column of a tibble;
#'   * a data frame with one column of such objects or of file paths.
#' @param third Character, the meaning of the third axis of an array:
#'   * `"channels"`: (row, column, channel), as from `png::readPNG()` and `jpeg::readJPEG()`;
#'   * `"images"`: (row, column, image), a stack of grayscale images;
#'   * `"columns"`: (image, row, column), grayscale images as in keras;
#'   * `"slices"`: (row, column, slice), one volume.
#'
#'   `NULL` is `"channels"` if the third axis has at most 4 entries, and an error otherwise. For the frames of an object
#'   or file, `NULL` creates images and `"slices"` one volume.
#' @param channels Integer, 3 for red, green and blue or 1 for grayscale, as computed by [to_grayscale()]. `NULL` keeps
#'   the channels of `x`. Required if grayscale and color images are combined.
#' @param ... Not used.
#' @return A numeric array (batch, channel, row, column), or (batch, channel, depth, row, column) for `third =
#'   "slices"`. The images of several files or of a named list are named: `dimnames(batch)[[1]]`.
#' @section Errors: `gequi_shape_error` for ambiguous axes, images that differ in size or channels, and a file with
#'   several pages among several files; `gequi_input_error` if `x` is not an image; `gequi_setup_error` if the package
#'   that reads a file is missing.
#' @concept stack
#' @concept grayscale
#' @concept color image
#' @family images
#' @export
#' @examples
#' dim(as_image_batch(volcano))
#' dim(as_image_batch(list(volcano, volcano)))
#' dim(as_image_batch(array(0, c(20, 30, 3)))) # a color image
#' dim(as_image_batch(array(0, c(20, 30, 50)), third = "images"))
#' dim(as_image_batch(array(0, c(100, 28, 28)), third = "columns"))
#' dim(as_image_batch(array(0, c(20, 30, 50)), third = "slices"))
as_image_batch <- function(x, third = NULL, channels = NULL, ...) {
  need_arguments()
  refuse_dots(...)
  call <- rlang::current_env()
  if (!is.null(third)) third <- check_choice(third, c("channels", "images", "columns", "slices"), "third", call)
  if (!is.null(channels) && !(is.numeric(channels) && length(channels) == 1 && channels %in% c(1, 3))) {
    abort_gequi("InputError", paste0("`channels` must be NULL, 1 or 3; got ", shown(channels), "."), "channels", call)
  }
  image_batch(x, batch_options(third, channels, call = call))
}

# Options of the methods of image_batch(): how to read `x`, and its name in messages.
batch_options <- function(third = NULL, channels = NULL, argument = "x", call = NULL) {
  refuse <- function(..., kind = c("ShapeError", "InputError")) {
    abort_gequi(kind, paste0("`", argument, "` ", ...), argument, call)
  }
  list(third = third, channels = channels, argument = argument, call = call, refuse = refuse)
}

# (batch, channel, row, column), or for slices (batch, channel, depth, row, column).
image_batch <- function(x, options) UseMethod("image_batch")

# ---- arrays ---------------------------------------------------------------------------------------------------------

#' @exportS3Method
image_batch.default <- function(x, options) {
  refuse <- options$refuse
  if (is.object(x) && is.null(dim(x)) || !(is.numeric(x) || is.logical(x))) {
    refuse(
      "must be images: an array of numbers, names of files, or a list of these; got ", described(x), ".",
      kind = "InputError"
    )
  }
  size <- dim(x)
  if (length(size)) x <- array(as.vector(x), size) # without names and attributes
  batch <- switch(as.character(length(size)),
    "2" = array(x, c(1, 1, size)),
    "3" = batch_of_three(x, options),
    "4" = as_it_is(x, options),
    refuse("must have 2, 3 or 4 axes; got ", length(size), ", ", described(x), ".")
  )
  with_channels(batch, options)
}

batch_of_three <- function(x, options) {
  size <- dim(x)
  third <- options$third
  if (is.null(third)) {
    if (size[3] > 4) refuse_third(size, options)
    third <- "channels"
  }
  switch(third,
    channels = array(aperm(x, c(3, 1, 2)), c(1, size[c(3, 1, 2)])),
    images = array(aperm(x, c(3, 1, 2)), c(size[3], 1, size[1:2])),
    columns = array(x, c(size[1], 1, size[2:3])),
    slices = array(aperm(x, c(3, 1, 2)), c(1, 1, size[c(3, 1, 2)]))
  )
}

refuse_third <- function(size, options) {
  options$refuse(
    "has the size ", sizes(size), ", which can be read in several ways: say `third = \"images\"` for ", size[3],
    " images (row, column, image), \"columns\" for ", size[1], " images (image, row, column), \"slices\" for a volume ",
    "(row, column, slice), or \"channels\" for an image of ", size[3], " channels."
  )
}

# An array with four axes is (batch, channel, row, column), unless its sizes show that the channels are last.
as_it_is <- function(x, options) {
  size <- dim(x)
  if (size[2] > 4 && size[4] <= 4) {
    options$refuse(
      "has the size ", sizes(size), ", which looks like (image, row, column, channel): aperm(x, c(1, 4, 2, 3)) brings ",
      "the channels forward. An array that is (batch, channel, row, column) needs no as_image_batch()."
    )
  }
  x
}

with_channels <- function(batch, options) {
  wanted <- options$channels
  size <- dim(batch)
  if (is.null(wanted) || size[2] == wanted) return(batch)
  if (size[2] > 4) {
    options$refuse("has ", size[2], " channels: `channels` applies to images with 1 to 4 channels.")
  }
  if (wanted == 1) return(gray_batch(batch, options))
  colours <- if (size[2] == 4) 1:3 else c(1, 1, 1)
  along_channels(batch, colours)
}

along_channels <- function(batch, k) {
  if (length(dim(batch)) == 5) batch[, k, , , , drop = FALSE] else batch[, k, , , drop = FALSE]
}

gray_batch <- function(batch, options) {
  size <- dim(batch)
  if (size[2] < 3) return(along_channels(batch, 1))
  last <- aperm(batch, c(1, seq_along(size)[-(1:2)], 2))
  flat <- array(last, c(prod(size[-2]), 1, size[2]))
  gray <- as_grayscale(new_picture(flat, TRUE), options$argument, options$call)
  array(gray, c(size[1], 1, size[-(1:2)]))
}

# ---- objects of R and of other packages, by the layouts that these document -----------------------------------------

# The frames of an object, (frame, channel, row, column), as images or, for slices, as one volume.
batch_of_frames <- function(frames, options) {
  if (identical(options$third, "slices")) {
    size <- dim(frames)
    frames <- array(aperm(frames, c(2, 1, 3, 4)), c(1, size[c(2, 1, 3, 4)]))
  }
  with_channels(frames, options)
}

# The pixels of one image, (row, column, channel), as a frame.
as_frame <- function(pixels) {
  size <- c(dim(pixels), 1)[1:3]
  array(aperm(array(pixels, size), c(3, 1, 2)), c(1, size[c(3, 1, 2)]))
}

# grDevices: a matrix of colors as text. If all are opaque, there is no alpha channel.
#' @exportS3Method
image_batch.raster <- function(x, options) batch_of_frames(as_frame(pixels_of_raster(x)), options)

pixels_of_raster <- function(x) {
  colours <- t(grDevices::col2rgb(c(as.matrix(x)), alpha = TRUE)) / 255
  kept <- if (all(colours[, 4] == 1)) 1:3 else 1:4
  array(colours[, kept], c(dim(x), length(kept)))
}

# grDevices: integers with red in the lowest byte, then green, blue and alpha; stored row by row, unlike other matrices.
#' @exportS3Method
image_batch.nativeRaster <- function(x, options) {
  size <- dim(x)
  values <- c(matrix(as.integer(x), size[1], size[2], byrow = TRUE))
  byte <- function(k) {
    found <- bitwAnd(bitwShiftR(values, 8 * k), 255)
    found[is.na(values)] <- if (k == 3) 128 else 0 # the bits of NA
    as.numeric(found) / 255
  }
  bytes <- if (all(byte(3) == 1)) 0:2 else 0:3
  colours <- vapply(bytes, byte, numeric(length(values)))
  batch_of_frames(as_frame(array(colours, c(size, length(bytes)))), options)
}

# imager: (x, y, z, colour), x along a row and y down.
#' @exportS3Method
image_batch.cimg <- function(x, options) {
  batch_of_frames(aperm(array(as.vector(x), dim(x)), c(3, 4, 2, 1)), options)
}

#' @exportS3Method
image_batch.pixset <- image_batch.cimg

# EBImage: (x, y, frames ...), or in colour mode (x, y, colour, frames ...), x along a row and y down.
#' @exportS3Method
image_batch.Image <- function(x, options) {
  if (!isS4(x) || !methods::.hasSlot(x, "colormode")) return(image_batch.default(x, options))
  size <- dim(x)
  colours <- if (methods::slot(x, "colormode") == 2 && length(size) > 2) size[3] else 1
  frames <- prod(size[-(1:2)]) / colours
  batch_of_frames(aperm(array(as.vector(x), c(size[1:2], colours, frames)), c(4, 3, 2, 1)), options)
}

#' @rawNamespace S3method(image_batch,"magick-image")
`image_batch.magick-image` <- function(x, options) {
  need_package("magick", paste0("to read `", options$argument, "`"), options$argument, options$call)
  if (!length(x)) options$refuse("holds no image.")
  info <- magick::image_info(x)
  if (length(x) > 1 && all(info$format %in% c("GIF", "WEBP"))) { # frames may be parts of the first
    x <- magick::image_coalesce(x)
    info <- magick::image_info(x)
  }
  kind <- if (any(info$matte)) "rgba" else if (all(info$colorspace == "Gray")) "gray" else "rgb"
  frames <- lapply(seq_along(x), function(i) as_frame(values_of_magick(x[i], kind, info[i, ])))
  batch_of_frames(join_images(frames, options), options)
}

# The values (row, column, channel) from 0 to 1. magick::image_data() gives 8 of their 16 bits.
values_of_magick <- function(x, kind, info) {
  bytes <- magick::image_write(x, format = kind, depth = 16)
  values <- readBin(bytes, "integer", length(bytes) / 2, size = 2, signed = FALSE)
  channels <- c(gray = 1, rgb = 3, rgba = 4)[[kind]]
  aperm(array(values / 65535, c(channels, info$width, info$height)), c(3, 2, 1))
}

#' @exportS3Method
image_batch.niftiImage <- function(x, options) {
  batch_of_frames(frames_of_picture(read_nifti(x, options$argument, options$call)), options)
}

#' @exportS3Method
image_batch.nifti <- image_batch.niftiImage

#' @exportS3Method
image_batch.internalImage <- image_batch.niftiImage

#' @exportS3Method
image_batch.python.builtin.object <- function(x, options) {
  value <- from_python(x)
  if (inherits(value, "python.builtin.object")) {
    options$refuse("must be images; got an object of Python, ", class(x)[1], ".", kind = "InputError")
  }
  image_batch(value, options)
}

# ---- several --------------------------------------------------------------------------------------------------------

#' @exportS3Method
image_batch.list <- function(x, options) {
  if (!length(x)) options$refuse("is an empty list.", kind = "InputError")
  batches <- lapply(seq_along(x), function(i) {
    within <- batch_options(options$third, options$channels, paste0(options$argument, "[[", i, "]]"), options$call)
    batch <- image_batch(x[[i]], within)
    many <- is.null(options$third) && dim(batch)[1] > 1 && !is_array_of_four(x[[i]])
    if (many) within$refuse("holds ", dim(batch)[1], " images; in a list, each must be one.")
    batch
  })
  join_images(batches, options, names(x))
}

is_array_of_four <- function(x) is.numeric(x) && !is.object(x) && length(dim(x)) == 4

#' @exportS3Method
image_batch.data.frame <- function(x, options) {
  holds <- function(column) {
    (is.list(column) && !is.data.frame(column)) || (is.character(column) && length(column) && all(file.exists(column)))
  }
  there <- names(x)[vapply(x, holds, NA)]
  if (length(there) != 1) {
    found <- if (length(there)) paste("several columns of images,", toString(there)) else "no column of images"
    options$refuse(
      "is a data frame with ", found, " (a list, or names of files that exist): ",
      if (length(there)) paste0("give one, such as ", options$argument, "$", there[1], ".") else "give the images.",
      kind = "InputError"
    )
  }
  image_batch(x[[there]], options)
}

# Names of files, or of one folder.
#' @exportS3Method
image_batch.character <- function(x, options) {
  if (!is.null(dim(x)) || !length(x)) return(image_batch.default(x, options))
  folder <- length(x) == 1 && dir.exists(as_path(x))
  files <- if (folder) pictures_in(as_path(x), options) else x
  batches <- lapply(files, batch_of_file, options, alone = length(files) == 1)
  join_images(batches, options, if (length(files) > 1 || folder) basename(files))
}

batch_of_file <- function(file, options, alone) {
  frames <- join_images(lapply(read_pages(file, options$argument, options$call), frames_of_picture), options)
  if (!alone && dim(frames)[1] > 1 && !identical(options$third, "slices")) {
    options$refuse(
      "holds the file '", basename(file), "' of ", dim(frames)[1], " pages; among several files, each must hold one ",
      "image. as_image_batch() of that file alone reads all of its pages."
    )
  }
  batch_of_frames(frames, options)
}

picture_endings <- c("png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp")

pictures_in <- function(folder, options) {
  there <- list.files(folder, full.names = TRUE)
  files <- there[tolower(sub(".*[.]", "", there)) %in% picture_endings]
  if (length(files)) return(files)
  folders <- basename(there[dir.exists(there)])
  options$refuse(
    "is a folder without pictures, '", folder, "'", if (length(folders)) {
      paste0(", but with the folders ", toString(sQuote(utils::head(folders, 3), FALSE)), ": give one of them")
    }, ". Pictures end with ", paste0(".", picture_endings, collapse = " "), ".",
    kind = "InputError"
  )
}

# Combines batches, with names if there are any.
join_images <- function(batches, options, names = NULL) {
  shapes <- lapply(batches, function(batch) dim(batch)[-1])
  different <- which(!vapply(shapes, identical, NA, shapes[[1]]))
  if (length(different)) {
    call_it <- function(i) if (is.null(names) || !nzchar(names[i])) i else paste0("'", names[i], "'")
    at <- different[1]
    options$refuse(
      "must hold images of one size (channel, row, column); image ", call_it(1), " has ", sizes(shapes[[1]]),
      ", image ", call_it(at), " ", sizes(shapes[[at]]), ".",
      if (shapes[[1]][1] != shapes[[at]][1]) " Use `channels = 1` for grayscale or `channels = 3` for color."
    )
  }
  # Join along the first axis, which varies fastest in R's memory: move it to the end, join, and move it back.
  axes <- length(shapes[[1]]) + 1
  last <- lapply(batches, aperm, c(seq_len(axes)[-1], 1))
  counts <- vapply(batches, function(batch) dim(batch)[1], 0)
  joined <- aperm(array(unlist(last), c(shapes[[1]], sum(counts))), c(axes, seq_len(axes - 1)))
  if (!is.null(names) && all(counts == 1)) dimnames(joined) <- c(list(names), rep(list(NULL), axes - 1))
  joined
}

# ---- words for messages ---------------------------------------------------------------------------------------------

sizes <- function(size) paste0("(", paste(size, collapse = ", "), ")")

# A value as code, shortened.
shown <- function(x) {
  text <- deparse(x, width.cutoff = 60L, nlines = 1L)
  if (nchar(text) > 60) paste0(substr(text, 1, 57), "...") else text
}
