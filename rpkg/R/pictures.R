#' Read a picture in grey
#'
#' Whatever holds a picture, as a matrix or volume of numbers. [register_images()] reads its images in this way.
#'
#' Colours become grey by 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601). What transparency there is, is left
#' aside.
#'
#' @param x one of
#'   * a matrix (row, column), which is grey already;
#'   * an array (row, column, channel) of 1 to 4 channels, as `png::readPNG()` has it: grey, grey and alpha, red, green
#'     and blue, or these and alpha. With a longer third axis an array is a volume (row, column, depth), in grey;
#'   * a picture of the package magick;
#'   * an image or volume of the packages RNifti, oro.nifti or Rniftilib, axes in their order;
#'   * the name of a PNG, JPEG, TIFF or NIfTI file, or of any other that magick reads.
#' @return a matrix (row, column) or an array (row, column, depth), with row 1 on top. Where the picture knows the size
#'   of its pixels, as NIfTI does, the attribute `spacing` has it, one number for each axis.
#' @section Errors: `gequi_setup_error` where the package that reads such a file is missing; `gequi_input_error` for
#'   what is no picture; `gequi_shape_error` for other axes, and for several pictures in one.
#' @family images
#' @export
#' @examplesIf gequi_available()
#' red <- array(c(1, 0, 0), c(1, 1, 3))
#' grey_image(red)
grey_image <- function(x) {
  picture <- read_picture(x, "x", rlang::current_env())
  grey <- in_grey(picture, "x", rlang::current_env())
  if (!is.null(picture$spacing)) attr(grey, "spacing") <- picture$spacing
  grey
}

# Only colours are for the core to turn to grey: what is grey already need not travel.
in_grey <- function(picture, argument, call) {
  if (!picture$channels) return(picture$pixels)
  call_core("pictures.to_grey", x = picture$pixels, argument = argument, .call = call)
}

# ---- reading --------------------------------------------------------------------------------------------------------

# A picture as list(pixels, channels, spacing): an array (row, column), (row, column, depth) or, where `channels` is
# TRUE, (row, column, channel); and the size of its pixels or NULL.
read_picture <- function(x, argument, call) {
  if (inherits(x, "magick-image")) {
    return(read_magick(x, argument, call))
  } else if (inherits(x, c("niftiImage", "nifti", "internalImage"))) {
    return(read_nifti(x, argument, call))
  } else if (is.character(x) && is.null(dim(x))) {
    return(read_picture_file(x, argument, call))
  }
  refuse_what_python_cannot_see(x, argument, call)
  if (!is.numeric(x) && !is.logical(x)) {
    abort_gequi("InputError", paste0("`", argument, "` must be an image; got ", typeof(x), "."), argument, call)
  }
  if (!length(dim(x)) %in% 2:3) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`", argument, "` must be a matrix (row, column) or an array with channels or depth as a third axis; got ",
      max(1, length(dim(x))), " axes."
    ), argument, call)
  }
  new_picture(array(as.vector(x), dim(x)), length(dim(x)) == 3 && dim(x)[3] <= 4, attr(x, "spacing"))
}

new_picture <- function(pixels, channels, spacing = NULL) {
  list(pixels = pixels, channels = channels, spacing = spacing)
}

read_magick <- function(x, argument, call) {
  need_package("magick", paste0("to read `", argument, "`"), argument, call)
  if (length(x) != 1) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`", argument, "` must be one picture; it holds ", length(x), ". One of them is ", argument, "[1]."
    ), argument, call)
  }
  new_picture(as.integer(magick::image_data(x, "rgb")) / 255, TRUE)
}

# The objects of RNifti and oro.nifti are arrays that carry their header; that of Rniftilib is a pointer with methods of
# its own, which R finds only by name.
read_nifti <- function(x, argument, call) {
  if (typeof(x) == "externalptr") {
    own <- function(name) exported("Rniftilib", name)
    values <- own("[.nifti")(x)
    spacing <- own("$.nifti")(x, "pixdim")
  } else {
    spacing <- attr(x, "pixdim")
    if (isS4(x)) spacing <- spacing[-1] # the header's own first number says how the axes are turned
    values <- if (inherits(x, "internalImage")) as.array(x) else x
  }
  size <- dim(values)
  while (length(size) > 2 && size[length(size)] == 1) size <- size[-length(size)]
  if (!length(size) %in% 2:3) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`", argument, "` must be one image or volume; its NIfTI has the axes ", paste(size, collapse = " x "), "."
    ), argument, call)
  }
  spacing <- as.numeric(spacing)[seq_along(size)]
  new_picture(array(as.vector(values), size), FALSE, if (!anyNA(spacing) && all(spacing > 0)) spacing)
}

# ---- files ----------------------------------------------------------------------------------------------------------

read_picture_file <- function(file, argument, call) {
  refuse <- function(...) abort_gequi("InputError", paste0("`", argument, "` ", ...), argument, call)
  if (!rlang::is_string(file)) refuse("must be the name of one file; got ", length(file), " names.")
  file <- as_path(file)
  if (!file.exists(file)) refuse("is no file: '", file, "'.")
  extension <- tolower(sub(".*[.]", "", sub("[.]gz$", "", file)))
  if (extension %in% c("nii", "hdr", "img")) {
    return(tryCatch(read_nifti_file(file, argument, call), error = function(error) {
      if (inherits(error, "gequi_error")) rlang::cnd_signal(error)
      refuse("cannot be read: ", conditionMessage(error))
    }))
  }
  reader <- c(png = "png", jpg = "jpeg", jpeg = "jpeg", tif = "tiff", tiff = "tiff")[extension]
  if (is.na(reader) || (!is_installed(reader) && is_installed("magick"))) reader <- "magick"
  need_package(reader, paste0("to read '", basename(file), "'"), argument, call)
  pixels <- tryCatch(switch(reader,
    png = png::readPNG(file),
    jpeg = jpeg::readJPEG(file),
    tiff = tiff::readTIFF(file),
    magick = magick::image_read(file)
  ), error = function(error) refuse("cannot be read: ", conditionMessage(error)))
  if (reader == "magick") read_magick(pixels, argument, call) else new_picture(pixels, length(dim(pixels)) == 3)
}

# Those that read NIfTI, by the name of their function. Found by name, as hardly anybody has all of them; none is in
# Suggests, which R CMD check wants installed.
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
  read_nifti(read(file), argument, call)
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
