#' Read an image in grayscale
#'
#' Converts an image object or file to a numeric matrix or volume. [register_images()] reads its images with this
#' function.
#'
#' Colors are converted with 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601). Transparency is ignored. The pages of
#' a TIFF file become the slices of a volume (depth, row, column).
#'
#' The voxels (i, j, k) of a NIfTI image are reordered to (depth, row, column) according to the affine transformation in
#' its header: the sform if present, otherwise the qform, otherwise i, j and k along +x, +y and +z. Columns then run
#' along +x (to the right of the patient), rows along -y (to the back) and depth along -z (downwards). Each voxel axis
#' is assigned to the closest world axis. Axes are permuted and flipped, but not resampled. A slice is converted to
#' (row, column) in the same way. The attribute `orientation` describes the inverse conversion.
#'
#' @param x One of:
#'   * a matrix (row, column), which is returned unchanged;
#'   * an array (row, column, channel) with 1 to 4 channels, as from `png::readPNG()`: gray, gray and alpha, RGB, or RGB
#'     and alpha. An array with more than 4 entries in the third axis is a grayscale volume (depth, row, column);
#'   * a magick image (one frame), a raster or nativeRaster, an EBImage `Image`, or an imager `cimg`. Frames become the
#'     slices of a volume;
#'   * an image or volume of the packages RNifti, oro.nifti or Rniftilib;
#'   * the path of a PNG, JPEG, TIFF or NIfTI file, or of another file that magick can read.
#' @return A numeric matrix (row, column) or array (depth, row, column), with row 1 at the top. The attribute `spacing`
#'   contains the pixel size along each axis if the file states it.
#'
#'   For a NIfTI image, the attribute `orientation` is a matrix (axis, axis + 1) that maps the voxel v = c(i, j, k),
#'   counted from 1, to its place in the array: position = orientation\[, -n\] v + orientation\[, n\], where n is the
#'   last column. Use `solve(orientation[, -n], position - orientation[, n])` to convert a position, such as a landmark,
#'   to a voxel of the file. For a volume whose header defines its location, the attributes `origin` and `cosines` are
#'   the position of the first voxel and the direction cosines, as used by [write_transform()].
#' @section Errors: `gequi_setup_error` if the package that reads the file is missing; `gequi_input_error` if `x` is not
#'   an image; `gequi_shape_error` for other axes, and for several images in one object.
#' @references ITU-R BT.601 (weights of the colors). NIfTI-1: nifti1.h (R. W. Cox et al., 2004).
#' @concept grayscale
#' @concept stack
#' @concept landmark
#' @concept NIfTI
#' @concept medical image
#' @family images
#' @export
#' @examplesIf gequi_available()
#' red <- array(c(1, 0, 0), c(1, 1, 3))
#' to_grayscale(red)
to_grayscale <- function(x) {
  need_arguments()
  picture <- read_picture(x, "x", rlang::current_env())
  pixels <- as_grayscale(picture, "x", rlang::current_env())
  attr(pixels, "spacing") <- picture$spacing
  for (name in c("orientation", "origin", "cosines")) attr(pixels, name) <- picture[[name]]
  pixels
}

# Only pictures with colors are passed to the core for conversion to grayscale.
as_grayscale <- function(picture, argument, call) {
  if (!picture$channels) return(picture$pixels)
  call_core("as_grayscale", x = picture$pixels, argument = argument, .call = call)
}

# ---- reading --------------------------------------------------------------------------------------------------------

# A picture as list(pixels, channels, spacing, orientation, origin, cosines): an array (row, column), (depth, row,
# column) or, where `channels` is TRUE, (row, column, channel); the size of its pixels or NULL; how its axes were
# turned, or NULL; and where a volume lies in space, or NULL.
read_picture <- function(x, argument, call) {
  if (inherits(x, "magick-image")) {
    read_magick(x, argument, call)
  } else if (inherits(x, c("niftiImage", "nifti", "internalImage"))) {
    read_nifti(x, argument, call)
  } else if (inherits(x, c("nativeRaster", "raster", "cimg", "pixset", "Image"))) {
    read_frames(image_batch(x, batch_options(argument = argument, call = call)), argument, call)
  } else if (is.character(x) && is.null(dim(x))) {
    read_picture_file(x, argument, call)
  } else {
    read_numbers(x, argument, call)
  }
}

read_numbers <- function(x, argument, call) {
  refuse_what_python_cannot_see(x, argument, call)
  if (!is.numeric(x) && !is.logical(x)) {
    abort_gequi("InputError", paste0("`", argument, "` must be an image; got ", typeof(x), "."), argument, call)
  }
  if (!length(dim(x)) %in% 2:3) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`", argument, "` must be a matrix (row, column) or an array (row, column, channel) or (depth, row, column); ",
      "number of axes: ", max(1, length(dim(x))), "."
    ), argument, call)
  }
  new_picture(array(as.vector(x), dim(x)), length(dim(x)) == 3 && dim(x)[3] <= 4, attr(x, "spacing"))
}

new_picture <- function(pixels, channels, spacing = NULL, ...) {
  list(pixels = pixels, channels = channels, spacing = spacing, ...)
}

# Frames (frame, channel, row, column): one is a picture, several are the slices of a volume, in grayscale.
read_frames <- function(frames, argument, call) {
  size <- dim(frames)
  if (size[1] == 1) return(new_picture(array(aperm(frames, c(3, 4, 2, 1)), size[c(3, 4, 2)]), TRUE))
  gray <- gray_batch(frames, batch_options(argument = argument, call = call))
  new_picture(array(gray, size[c(1, 3, 4)]), FALSE)
}

frames_of_picture <- function(picture) {
  size <- dim(picture$pixels)
  if (picture$channels || length(size) == 2) return(as_frame(picture$pixels))
  array(picture$pixels, c(size[1], 1, size[2:3]))
}

read_magick <- function(x, argument, call) {
  need_package("magick", paste0("to read `", argument, "`"), argument, call)
  if (length(x) != 1) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`", argument, "` must be one picture; it holds ", length(x), ". One of them is ", argument, "[1]."
    ), argument, call)
  }
  read_frames(image_batch(x, batch_options(argument = argument, call = call)), argument, call)
}

# ---- NIfTI ----------------------------------------------------------------------------------------------------------

# The objects of RNifti and oro.nifti are arrays with a header. The object of Rniftilib is a pointer with its own
# methods, which R finds only by name.
read_nifti <- function(x, argument, call) {
  values <- if (typeof(x) == "externalptr") exported("Rniftilib", "[.nifti")(x) else x
  if (inherits(x, "internalImage")) values <- as.array(x)
  size <- dim(values)
  while (length(size) > 2 && size[length(size)] == 1) size <- size[-length(size)]
  if (!length(size) %in% 2:3) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`", argument, "` must be one image or volume; its NIfTI has the axes ", paste(size, collapse = " x "), "."
    ), argument, call)
  }
  axes <- call_core("nifti_axes", size = size, header = nifti_header(x), .call = call)
  pixels <- aperm(array(as.vector(values), size), unlist(axes$order) + 1)
  kept <- Map(function(n, flip) if (flip) rev(seq_len(n)) else seq_len(n), dim(pixels), axes$flipped)
  pixels <- do.call(`[`, c(list(pixels), kept, list(drop = FALSE)))
  spacing <- if (length(axes$spacing)) as.numeric(unlist(axes$spacing))
  orientation <- affine_from_one(axes$orientation)
  origin <- if (!is.null(axes$origin)) as.numeric(axes$origin)
  new_picture(pixels, FALSE, spacing, orientation = orientation, origin = origin, cosines = axes$cosines)
}

# The fields of a header that describe the orientation of the voxels, as the core takes them.
nifti_fields <- c(
  "sform_code", "srow_x", "srow_y", "srow_z", "qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
  "qoffset_y", "qoffset_z", "pixdim"
)

nifti_header <- function(x) {
  if (typeof(x) == "externalptr") {
    field <- function(name) tryCatch(exported("Rniftilib", "$.nifti")(x, name), error = function(error) NULL)
    header <- lapply(stats::setNames(nm = nifti_fields), field)
    header$pixdim <- c(field("qfac"), header$pixdim)
    matrix <- field("sto_xyz") # for the rows of the sform
    if (!is.null(matrix)) header[c("srow_x", "srow_y", "srow_z")] <- asplit(matrix, 1)[1:3]
  } else if (isS4(x)) {
    header <- lapply(stats::setNames(nm = nifti_fields), function(name) attr(x, name))
    if (isTRUE(attr(x, "reoriented"))) header <- c(radiological, header["pixdim"])
  } else if (is_installed("RNifti")) {
    header <- unclass(exported("RNifti", "niftiHeader")(x))[nifti_fields]
  } else {
    header <- list(pixdim = c(1, attr(x, "pixdim")))
  }
  lapply(Filter(length, header), as.numeric)
}

# oro.nifti::readNIfTI() reorients images by default, so that x runs to the left, y to the front and z up, but does not
# change the header. Its rows have no fourth number, so the position of the first voxel is lost.
radiological <- list(sform_code = 1, srow_x = c(-1, 0, 0), srow_y = c(0, 1, 0), srow_z = c(0, 0, 1))

# ---- files ----------------------------------------------------------------------------------------------------------

read_picture_file <- function(file, argument, call) {
  pages <- read_pages(file, argument, call)
  if (length(pages) == 1) return(pages[[1]])
  options <- batch_options(argument = argument, call = call)
  read_frames(join_images(lapply(pages, frames_of_picture), options), argument, call)
}

# The pictures in a file: of a TIFF all pages, of an animation all frames, of a NIfTI file its volume.
read_pages <- function(file, argument, call) {
  refuse <- function(...) abort_gequi("InputError", paste0("`", argument, "` ", ...), argument, call)
  if (!rlang::is_string(file)) refuse("must be the name of one file; got ", length(file), " names.")
  file <- as_path(file)
  if (!file.exists(file)) refuse("is no file: '", file, "'.")
  if (dir.exists(file)) refuse("must be a file; '", file, "' is a folder.")
  extension <- tolower(sub(".*[.]", "", sub("[.]gz$", "", file)))
  if (extension %in% c("nii", "hdr", "img")) {
    return(list(tryCatch(read_nifti_file(file, argument, call), error = function(error) {
      if (inherits(error, "gequi_error")) rlang::cnd_signal(error)
      refuse("cannot be read: ", conditionMessage(error))
    })))
  }
  reader <- c(png = "png", jpg = "jpeg", jpeg = "jpeg", tif = "tiff", tiff = "tiff")[extension]
  if (is.na(reader) || (!is_installed(reader) && is_installed("magick"))) reader <- "magick"
  need_package(reader, paste0("to read '", basename(file), "'"), argument, call)
  pages <- tryCatch(switch(reader,
    png = list(png::readPNG(file)),
    jpeg = list(jpeg::readJPEG(file)),
    tiff = tiff::readTIFF(file, all = TRUE),
    magick = magick::image_read(file)
  ), error = function(error) refuse("cannot be read: ", conditionMessage(error)))
  if (reader == "magick") return(frames_of_magick(pages, argument, call))
  lapply(pages, function(pixels) new_picture(pixels, length(dim(pixels)) == 3))
}

frames_of_magick <- function(pages, argument, call) {
  frames <- image_batch(pages, batch_options(argument = argument, call = call))
  lapply(seq_len(dim(frames)[1]), function(i) read_frames(frames[i, , , , drop = FALSE], argument, call))
}

# Packages that read NIfTI files, by the name of their function. They are found by name and are not in Suggests, because
# few users have all of them and R CMD check requires suggested packages.
nifti_readers <- c(RNifti = "readNifti", oro.nifti = "readNIfTI", Rniftilib = "nifti.image.read")

read_nifti_file <- function(file, argument, call) {
  there <- Filter(is_installed, names(nifti_readers))
  if (!length(there)) {
    abort_gequi("SetupError", c(
      paste0(
        "`", argument, "`: reading '", basename(file), "' needs one of the packages RNifti, oro.nifti, Rniftilib."
      ),
      i = "install.packages(\"RNifti\") gets the first."
    ), argument, call)
  }
  read <- exported(there[1], nifti_readers[[there[1]]])
  read_nifti(if (there[1] == "oro.nifti") read(file, reorient = FALSE) else read(file), argument, call)
}

exported <- function(package, name) getExportedValue(package, name)

is_installed <- function(package) requireNamespace(package, quietly = TRUE)

need_package <- function(package, reason, argument, call) {
  if (is_installed(package)) return(invisible())
  abort_gequi("SetupError", c(
    paste0("The package ", package, " is needed ", reason, "."),
    i = paste0("install.packages(\"", package, "\") gets it.")
  ), argument, call)
}
