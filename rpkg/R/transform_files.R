# Transforms in the files of other programs.

#' Write and read transforms of other programs
#'
#' `write_transform()` writes the map of a registration to a file for ITK, ANTs, elastix, 3D Slicer or NiftyReg.
#' `read_transform()` reads files of these programs and of `write_transform()`.
#'
#' The file contains the transform T from physical points of the fixed image to physical points of the moving image.
#' These programs use T to resample the moving image on the grid of the fixed image. Points are (x, y) or (x, y, z) as
#' in ITK. Without `cosines`, x increases along a row (from column to column), y from row to row and z from slice to
#' slice. The pixel (depth k, row j, column i), counted from 1, is located at
#'
#'     point = origin + cosines %*% (column spacing * (i - 1), row spacing * (j - 1), slice spacing * (k - 1))
#'
#' with the `spacing` of the registration. The file formats call these axes LPS: x to the left of the patient, y to the
#' back and z upwards. For other images this is only a name. Numbers are written with full precision.
#'
#' @section Formats of a linear map:
#' * `"tfm"` (.tfm, .txt): the ITK text file of an AffineTransform with center 0, y = M x + t, where the parameters are
#'   M row by row, then t.
#' * `"mat"` (.mat): the same parameters in a MATLAB file of version 4, as written by ITK and ANTs (0GenericAffine.mat).
#' * `"csv"` (.csv): a table with the header axis,x,y,z,shift (axis,x,y,shift) and one row (M, t) per axis.
#' @section Formats of a field, on the pixels of the fixed image:
#' * `"nifti"` (.nii, .nii.gz): displacements T(x) - x as in ITK and ANTs: 5 axes (x, y, z, 1, component), intent code
#'   1007, LPS components. The sform and qform of the header, which are RAS and float32, have the opposite sign in x and
#'   y.
#' * `"mha"` (.mha): displacements T(x) - x as MetaImage in LPS, for ITK, elastix and 3D Slicer.
#' * `"niftyreg"` (.nii, .nii.gz; must be given as `format`): positions T(x) in RAS, the deformation field of NiftyReg:
#'   intent code 1007, intent_name NREG_TRANS, intent_p1 0.
#' @section What is read:
#' * .tfm, .txt, .mat: a linear ITK transform (AffineTransform, MatrixOffsetTransformBase, and the Euler, Versor, Rigid,
#'   Similarity, Scale, Translation and Identity transforms; text files may contain a composite of them).
#' * .csv: a table as above.
#' * .nii, .nii.gz: a displacement field of ITK or ANTs (intent code 1007, LPS; 1006, RAS), or a deformation or
#'   displacement field of NiftyReg (intent_name NREG_TRANS).
#' * .mha: a displacement field.
#' @section A worked example:
#' The rows of the fixed image are 4 apart, its columns are 2 apart, and its `origin` is (10, 20). The pixel (row 3,
#' column 2), counted from 1, is located at x = 10 + 1 * 2 = 12, y = 20 + 2 * 4 = 28. The map moves it to the pixel (row
#' 5, column 1) of the moving image, at x = 10, y = 36. T therefore adds (-2, 8).
#' * .tfm: `Parameters: 1 0 0 1 -2 8`; .mat: these six numbers.
#' * .csv: the rows `x,1,0,-2` and `y,0,1,8`.
#' * .nii: the voxel (i, j) = (1, 2), counted from 0, contains (-2, 8). The first two rows of the sform are (-2, 0, 0,
#'   -10) and (0, -4, 0, -20).
#' * .mha: the pixel contains (-2, 8); `Offset = 10 20`, `ElementSpacing = 2 4`.
#' * NiftyReg: the voxel contains the position (10, 36) in RAS, (-10, -36).
#' @section NIfTI images:
#' [to_grayscale()] converts the voxels of a NIfTI volume to (depth, row, column) and stores their location as
#' attributes:
#' ```
#' fixed <- to_grayscale("fixed.nii.gz")
#' moving <- to_grayscale("moving.nii.gz")
#' found <- register_images(moving, fixed)
#' write_transform(
#'   found, "to_fixed.nii.gz", origin = attr(fixed, "origin"), cosines = attr(fixed, "cosines"),
#'   moving_origin = attr(moving, "origin"), moving_cosines = attr(moving, "cosines")
#' )
#' ```
#' Other programs can then apply the transform to the original files.
#' @param found A registration from [register_images()], or a transform from [read_transform()], which keeps its own
#'   origins and cosines.
#' @param path Character, the path of the file. Its ending determines the format.
#' @param direction Character, `"moving_to_fixed"` writes T as described, for resampling the moving image.
#'   `"fixed_to_moving"` writes the inverse, with the two images exchanged.
#' @param linear Logical, whether to write only the linear part, `found$affine`. Not needed for a linear map.
#' @param format Character, the format, see below. `NULL` uses the file ending.
#' @param spacing Numeric vector (`depth`,) `row`, `column`, the pixel size of the fixed image. `NULL` is 1. A field
#'   contains its own spacing, origin and cosines; arguments must agree with them.
#' @param moving_spacing Numeric vector, the pixel size of the moving image. `NULL` is `spacing`.
#' @param origin,moving_origin Numeric vectors (x, y\[, z\]), the positions of the first pixels of the fixed and the
#'   moving image (the origin in ITK). `NULL` is 0 for the fixed image and `origin` for the moving image.
#' @param cosines,moving_cosines Numeric matrices, or vectors row by row, the direction cosines (the direction in ITK).
#'   Column 1 is the direction from column to column, column 2 from row to row, column 3 from slice to slice. `NULL` is
#'   the identity for the fixed image and `cosines` for the moving image.
#' @param overwrite Logical, whether to replace an existing file.
#' @return `write_transform()`: the path, invisibly. `read_transform()`: an object of class `gequi_transform`, with
#'   `print()` and [predict()][predict.gequi_transform()] methods. It is a list of `map` (axis, row, column) or (axis,
#'   depth, row, column), the position in the moving image for each pixel of the fixed image, in pixels from 1 (`NULL`
#'   for a linear map); `affine`, the linear map, or the least-squares fit to the field: moving = affine\[, -n\] fixed +
#'   affine\[, n\], where n is the last column; the arguments; and `file`, the name of the file.
#' @section Errors: `gequi_transform_file_error` if the file does not exist, is damaged, incomplete or not a supported
#'   transform; `gequi_input_error` for an unknown format or file ending, an existing file, a path that cannot be
#'   written, a deformable map in a linear format, cosines that are not orthonormal, and a spacing, origin or cosines
#'   that disagree with the field; `gequi_shape_error` if their length does not match the number of axes.
#' @references ITK: TransformFileWriter, MatlabTransformIO, MetaImageIO and NiftiImageIO. NIfTI-1: nifti1.h (R. W. Cox
#'   et al., 2004). NiftyReg: reg_transform (M. Modat et al.).
#' @concept deformable
#' @concept metadata
#' @concept ANTs
#' @concept ITK
#' @concept NiftyReg
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:114, 151:210]
#' found <- register_images(moving = image, fixed = image, spacing = c(4, 2))
#' found$map <- identity_map(dim(image)) + c(2, -1) # the example above
#' file <- tempfile(fileext = ".csv")
#' found$affine <- cbind(diag(2), c(2, -1))
#' write_transform(found, file, linear = TRUE, origin = c(10, 20))
#' readLines(file)
#'
#' field <- tempfile(fileext = ".nii.gz")
#' write_transform(found, field)
#' read_transform(field)
write_transform <- function(found, path, direction = "moving_to_fixed", linear = FALSE, format = NULL, origin = NULL,
                            cosines = NULL, moving_origin = NULL, moving_cosines = NULL, overwrite = FALSE) {
  invisible(call_core(
    "write_transform",
    found = found, path = as_path(path), direction = direction, linear = linear, format = format, origin = origin,
    cosines = cosines, moving_origin = moving_origin, moving_cosines = moving_cosines, overwrite = overwrite
  ))
}

#' @rdname write_transform
#' @export
read_transform <- function(path, spacing = NULL, origin = NULL, cosines = NULL, moving_spacing = NULL,
                           moving_origin = NULL, moving_cosines = NULL) {
  here <- rlang::current_env()
  new_transform(call_core(
    "read_transform",
    path = as_path(path), spacing = spacing, origin = origin, cosines = cosines, moving_spacing = moving_spacing,
    moving_origin = moving_origin, moving_cosines = moving_cosines
  ), here)
}

# The data that R stores of a transform of the core: plain data, with pixels counted from 1.
new_transform <- function(python, call) {
  plain <- transform_moved_by(call_core("describe_transform", python, .call = call), 1)
  vectors <- c("spacing", "moving_spacing", "origin", "moving_origin")
  plain[vectors] <- lapply(plain[vectors], as.numeric)
  do.call(new_handle, c(list("gequi_transform"), plain, list(python = python)))
}

make_python.gequi_transform <- function(x, call) {
  call_core("make_transform", plain = transform_moved_by(plain_data(x), -1), .call = call)
}

transform_moved_by <- function(plain, by) {
  if (!is.null(plain$map)) plain$map <- plain$map + by
  plain$affine <- affine_moved_by(plain$affine, by)
  plain
}

#' @export
`$<-.gequi_transform` <- function(x, name, value) {
  if (name == "handle") NextMethod() else another(NextMethod(), name)
}

#' @export
`[[<-.gequi_transform` <- function(x, i, value) another(NextMethod(), i)

#' @export
format.gequi_transform <- function(x, ...) {
  kind <- if (is.null(x$map)) {
    paste("linear, of", if (nrow(x$affine) == 3) "volumes" else "images")
  } else {
    paste("displacement field on", paste(dim(x$map)[-1], collapse = " x "))
  }
  paste0(kind, ", from '", x$file, "'")
}

#' @export
print.gequi_transform <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("transform", format(x)), "\n", sep = "")
  equation <- paste0(if (!is.null(x$map)) "near to ", "moving = A fixed + shift")
  cat(cli::col_grey(equation), "\n", sep = "")
  axes <- nrow(x$affine)
  linear <- as.data.frame(matrix(formatC(x$affine, digits = 3, format = "f"), axes))
  names(linear) <- c(axis_names(axes), "shift")
  print_table(cbind(` ` = axis_names(axes), linear), right = names(linear))
  invisible(x)
}

#' Apply a transform to images, labels or points
#'
#' Transforms an image, a label image or points with a transform that was read by [read_transform()].
#'
#' @param object A transform from [read_transform()].
#' @param newdata,direction,type,interpolation,fill As for [registrations][predict.gequi_registration()]: an image,
#'   labels or points in pixels from 1.
#' @param shape Integer vector, the size of the other image. `NULL` uses the size of the field; for a linear map and for
#'   `"fixed_to_moving"` the size of `newdata`.
#' @param ... Not used.
#' @return An image or labels with the size of the other image, or points in the form of `newdata`. Other columns of a
#'   data frame are kept. A field is extrapolated linearly beyond its border.
#' @section Errors: `gequi_shape_error` if the data or `shape` do not match the transform; `gequi_input_error` for
#'   options that do not match the data, and for a field that is not invertible.
#' @concept landmark
#' @concept apply transform
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' file <- tempfile(fileext = ".csv")
#' writeLines(c("axis,x,y,shift", "x,1,0,2", "y,0,1,0"), file) # two columns to the right
#' shift <- read_transform(file)
#' predict(shift, data.frame(row = 5, column = 7), direction = "fixed_to_moving")
#' all.equal(predict(shift, volcano)[1, 1], volcano[1, 3])
predict.gequi_transform <- function(object, newdata, direction = c("moving_to_fixed", "fixed_to_moving"), type = NULL,
                                    interpolation = NULL, fill = NA, shape = NULL, ...) {
  refuse_dots(...)
  here <- rlang::current_env()
  direction <- check_choice(direction, c("moving_to_fixed", "fixed_to_moving"), "direction", here)
  if (!is.null(type)) type <- check_choice(type, c("image", "labels", "points"), "type", here)
  points <- if (is.null(type)) is_points(newdata, axes_of(object)) else type == "points"
  if (points) return(carry_points(object, newdata, direction, FALSE, here))
  carry_picture(object, newdata, direction, type, interpolation, fill, here, shape = shape)
}
