# Transforms in the files of other programs.

#' Write and read transforms of other programs
#'
#' `write_transform()` writes the map of a registration into a file for ITK, ANTs, elastix, 3D Slicer or NiftyReg.
#' `read_transform()` reads what these programs, or `write_transform()`, wrote.
#'
#' The file holds T, from physical points of the fixed image to those of the moving image: the transform with which
#' these programs resample the moving image onto the fixed one. Points are those of ITK, (x, y) or (x, y, z): x runs
#' along a row, from column to column, y from row to row, z from slice to slice, unless `cosines` say otherwise. The
#' pixel (depth k, row j, column i), from 1, of an image lies at
#'
#' point = origin + cosines %*% (spacing of columns (i - 1), spacing of rows (j - 1), spacing of slices (k - 1))
#'
#' with the `spacing` of the registration. The file formats call these axes LPS: x to the left of the patient, y to the
#' back, z upwards; for images that are no patients it is a name. Numbers are written to the last bit.
#'
#' @section Formats of a linear map:
#' * `"tfm"` (.tfm, .txt): ITK's text file of an AffineTransform with the center 0, y = M x + t: M row by row, then t.
#' * `"mat"` (.mat): the same in a MATLAB file of version 4, as ITK and ANTs (0GenericAffine.mat) write it.
#' * `"csv"` (.csv): a table with the header axis,x,y,z,shift (axis,x,y,shift) and a row (M, t) for each axis.
#' @section Formats of a field, on the pixels of the fixed image:
#' * `"nifti"` (.nii, .nii.gz): displacements T(x) - x as ITK and ANTs have them: 5 axes (x, y, z, 1, component), intent
#'   code 1007, LPS components. The sform and qform of the header, which are RAS and float32, have x and y with the
#'   opposite sign.
#' * `"mha"` (.mha): displacements T(x) - x as MetaImage, for ITK, elastix and 3D Slicer, LPS.
#' * `"niftyreg"` (.nii, .nii.gz; to be given): positions T(x), not displacements, in RAS, as NiftyReg has its
#'   deformation fields: intent code 1007, intent_name NREG_TRANS, intent_p1 0.
#' @section What is read:
#' * .tfm, .txt, .mat: a linear transform of ITK (AffineTransform, MatrixOffsetTransformBase, the Euler, Versor, Rigid,
#'   Similarity, Scale, Translation and Identity transforms; in text also a composite of them).
#' * .csv: a table as above.
#' * .nii, .nii.gz: a field of displacements of ITK or ANTs (intent code 1007, LPS; 1006, RAS), or a deformation or
#'   displacement field of NiftyReg (intent_name NREG_TRANS).
#' * .mha: a field of displacements.
#' @section A worked example:
#' The pixel (row 3, column 2), from 1, of a fixed image whose rows are 4 apart and whose columns are 2 apart, and whose
#' `origin` is (10, 20), lies at x = 10 + 1 * 2 = 12, y = 20 + 2 * 4 = 28. The map takes it to the pixel (row 5,
#' column 1) of the moving image, at x = 10, y = 36: T adds (-2, 8).
#' * .tfm: `Parameters: 1 0 0 1 -2 8`; .mat: these six numbers.
#' * .csv: the rows `x,1,0,-2` and `y,0,1,8`.
#' * .nii: the voxel (i, j) = (1, 2), from 0, holds (-2, 8); the first two rows of the sform are (-2, 0, 0, -10) and
#'   (0, -4, 0, -20).
#' * .mha: the pixel holds (-2, 8); `Offset = 10 20`, `ElementSpacing = 2 4`.
#' * NiftyReg: the voxel holds the position (10, 36) in RAS, (-10, -36).
#'
#' @section NIfTI images:
#' [to_grayscale()] turns the voxels of a NIfTI volume into (depth, row, column), and tells where they then lie:
#' ```
#' fixed <- to_grayscale("fixed.nii.gz")
#' moving <- to_grayscale("moving.nii.gz")
#' found <- register_images(moving, fixed)
#' write_transform(
#'   found, "to_fixed.nii.gz", origin = attr(fixed, "origin"), cosines = attr(fixed, "cosines"),
#'   moving_origin = attr(moving, "origin"), moving_cosines = attr(moving, "cosines")
#' )
#' ```
#' Other programs then apply it to the files as they are.
#'
#' @param found a registration of [register_images()], or a transform that was read, which keeps its own origins and
#'   cosines.
#' @param path the file; its ending says the format.
#' @param direction `"moving_to_fixed"` is as described, for resampling the moving image onto the fixed one.
#'   `"fixed_to_moving"` writes the inverse, with the two images exchanged.
#' @param linear whether to write the linear part alone, `found$affine`. A linear map needs no such permission.
#' @param format see below; `NULL` is that of the ending.
#' @param spacing of the fixed image, the size of its pixels, (`depth`,) `row`, `column`; `NULL` is 1. A field has its
#'   own spacing, origin and cosines, with which those that are given must agree.
#' @param moving_spacing that of the moving image; `NULL` is `spacing`.
#' @param origin,moving_origin the points (x, y\[, z\]) of the first pixels of the fixed and of the moving image, ITK's
#'   origin; `NULL` is 0, of the moving image `origin`.
#' @param cosines,moving_cosines their direction cosines, ITK's direction, a matrix or its numbers row by row: column 1
#'   is the direction of x, y (and z) from column to column, column 2 from row to row, column 3 from slice to slice.
#'   `NULL` is the identity, of the moving image `cosines`.
#' @param overwrite whether to replace a file that is there already.
#' @return `write_transform()`: the path, invisibly. `read_transform()`: an object of class `gequi_transform`, which
#'   prints and [predicts][predict.gequi_transform()]; it is a list of `map`, (axis, row, column) or (axis, depth, row,
#'   column), of a field the position in the moving image of each pixel of the fixed one, in pixels from 1, of a linear
#'   map `NULL`; `affine`, the linear map, or the one nearest to the field in the mean square:
#'   moving = affine\[, -n\] fixed + affine\[, n\], with n its last column; the arguments; and `file`, its name.
#' @section Errors: `gequi_transform_file_error` for a file that is not there, damaged, cut off, or no such transform;
#'   `gequi_input_error` for an unknown format or ending, a file that is there already, a path that cannot be written
#'   to, a deformable map for a format of linear maps, cosines that are not orthonormal, and a spacing, origin or
#'   cosines that are not those of the field; `gequi_shape_error` for those of other sizes than the axes.
#' @references ITK: TransformFileWriter, MatlabTransformIO, MetaImageIO and NiftiImageIO. NIfTI-1: nifti1.h (R. W. Cox
#'   et al., 2004). NiftyReg: reg_transform (M. Modat et al.).
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

# What R keeps of the core's transform: its plain data, with pixels counted from 1.
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

#' Carry images, points or labels by a transform that was read
#'
#' @param object what [read_transform()] returned.
#' @param newdata,direction,type,interpolation,fill as for [registrations][predict.gequi_registration()]: an image,
#'   labels or points, in pixels from 1.
#' @param shape the sizes of the other image. `NULL` is the size of the field, or, for a linear map and for
#'   `"fixed_to_moving"`, that of `newdata`.
#' @param ... not used.
#' @return an image or labels of the size of the other image; points in the form of `newdata`, other columns of a data
#'   frame kept. Beyond its border a field goes on straight.
#' @section Errors: `gequi_shape_error` for data or a `shape` that do not fit the transform; `gequi_input_error` for
#'   options that do not fit the data, and a field that has no inverse there.
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
