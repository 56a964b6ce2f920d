# Images, labels and points transformed from one image of a registration to the other.

#' Apply a registration to images, labels or points
#'
#' Transforms an image, a label image or points from one image of a registration to the other.
#'
#' @param object The result of [register_images()], for one pair or several pairs.
#' @param newdata The data to transform, in the image that `direction` starts from. For several pairs, one for all pairs
#'   or a list.
#'   * An image with the size of that image, in any form that [to_grayscale()] accepts. Colors are kept.
#'   * Labels, an array with the size of that image. Nearest-neighbor interpolation is used, so no new values occur.
#'     Type and levels are kept.
#'   * Points, a numeric matrix (point, axis) or a data frame with the columns (`depth`,) `row` and `column`, in pixels
#'     from 1.
#' @param direction Character, `"moving_to_fixed"` transforms data of the moving image to the fixed image,
#'   `"fixed_to_moving"` the reverse.
#' @param type Character, `"image"`, `"labels"` or `"points"`. `NULL` detects the type: a data frame, or a matrix with
#'   one column per axis, is used as points; factors, logical values and integers as labels, unless `interpolation` is
#'   `"linear"` or `"cubic"`; everything else as an image. For integers, a message states the choice.
#' @param se.fit Logical, for points: whether to return standard deviations.
#' @param interpolation Character, `"cubic"` (spline, clipped to the range of each channel), `"linear"` or `"nearest"`.
#'   `NULL` is `"cubic"` for images and `"nearest"` for labels. Labels accept no other value.
#' @param fill The value of pixels more than half a pixel outside the other image; for a factor, one of its levels.
#'   `NULL` uses the nearest pixel.
#' @param extrapolate Logical, for points: whether to transform points outside the images by linear extrapolation of the
#'   map.
#' @param ... For several pairs, the arguments from `direction` on. Otherwise not used.
#' @return An image or labels with the size of the other image, or points in the form of `newdata`. Other columns of a
#'   data frame are kept. Points more than half a pixel outside their image, or mapped that far outside the fixed image,
#'   are `NA` unless `extrapolate = TRUE`. For several pairs, a named list, in which failed pairs are `NULL`.
#'
#'   With `se.fit = TRUE`, a list of `fit` (the points) and `se.fit` (the standard deviation of each point, in pixels of
#'   the target image, as the root mean square length of the error). It is the `uncertainty` of the registration at the
#'   point, divided by the local scale of the map for the direction from moving to fixed. With `extrapolate = TRUE`, the
#'   standard deviation at distance d (in pixels) from the image is sqrt((s (1 + d / r))^2 + (k d)^2), where s is the
#'   value at the nearest point of the image, r is a quarter of the mean side length of the fixed image, and k increases
#'   with the curvature of the map (0 for a linear map).
#' @section Errors: `gequi_shape_error` for data that do not match the image; `gequi_input_error` for options that do
#'   not match the data.
#' @concept landmark
#' @concept segmentation
#' @concept apply transform
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' found <- register_images(moving = turned, fixed = image)
#' predict(found, data.frame(row = c(10, 40), column = c(20, 40)), se.fit = TRUE)
#' dim(predict(found, turned > 0.5))
predict.gequi_registration <- function(object, newdata, direction = c("moving_to_fixed", "fixed_to_moving"),
                                       type = NULL, se.fit = FALSE, interpolation = NULL, fill = NA,
                                       extrapolate = FALSE, ...) {
  refuse_dots(...)
  here <- rlang::current_env()
  direction <- check_choice(direction, c("moving_to_fixed", "fixed_to_moving"), "direction", here)
  if (!is.null(type)) type <- check_choice(type, c("image", "labels", "points"), "type", here)
  if (!rlang::is_bool(se.fit)) abort_gequi("InputError", "`se.fit` must be TRUE or FALSE.", "se.fit")
  if (!rlang::is_bool(extrapolate)) abort_gequi("InputError", "`extrapolate` must be TRUE or FALSE.", "extrapolate")
  points <- if (is.null(type)) is_points(newdata, axes_of(object)) else type == "points"
  if (points) return(carry_points(object, newdata, direction, se.fit, here, extrapolate = extrapolate))
  if (se.fit || extrapolate) {
    taken <- if (is.null(type)) "no points" else type
    argument <- if (se.fit) "se.fit" else "extrapolate"
    abort_gequi("InputError", paste0("`", argument, "` is for points; `newdata` is taken for ", taken, "."), argument)
  }
  carry_picture(object, newdata, direction, type, interpolation, fill, here)
}

# An image has at least 16 columns, so a matrix with one column per axis contains coordinates.
is_points <- function(newdata, axes) {
  if (is.data.frame(newdata)) return(TRUE)
  coordinates <- if (is.matrix(newdata)) ncol(newdata) else if (is.null(dim(newdata))) length(newdata)
  is.numeric(newdata) && !is.factor(newdata) && identical(coordinates, axes)
}

check_choice <- function(value, choices, argument, call) {
  if (identical(value, choices)) return(choices[1])
  if (rlang::is_string(value) && value %in% choices) return(value)
  abort_gequi("InputError", paste0(
    "`", argument, "` must be one of ", paste0("'", choices, "'", collapse = ", "), "; got ", deparse(value)[1], "."
  ), argument, call)
}

# ---- images and labels ----------------------------------------------------------------------------------------------

carry_picture <- function(object, newdata, direction, type, interpolation, fill, call, ...) {
  names <- levels(newdata)
  picture <- if (is.factor(newdata)) factor_as_picture(newdata, call) else read_picture(newdata, "newdata", call)
  kind <- if (is.factor(newdata)) "factor" else c(logical = "logical", integer = "integer")[typeof(picture$pixels)]
  interpolation <- call_core(
    "choose_interpolation",
    kind = if (is.na(kind)) "number" else unname(kind), type = type, interpolation = interpolation,
    argument = "newdata", .call = call
  )
  labels <- interpolation == "nearest"
  if (!is.null(fill)) fill <- fill_as_number(fill, names, call)
  carried <- carry_channels(picture, axes_of(object) == 2, function(pixels) {
    storage.mode(pixels) <- "double" # which has a value for what is missing
    call_core(
      "carry", object, "warp", pixels, interpolation = interpolation, fill = fill, direction = direction, ...,
      .call = call
    )
  })
  carried <- with_missing(carried)
  if (labels) storage.mode(carried) <- typeof(picture$pixels)
  if (!labels || is.null(names)) return(carried)
  structure(factor(names[carried], names), dim = dim(carried))
}

# Transforms a picture with its channels as the first axis.
carry_channels <- function(picture, of_images, carry) {
  if (!picture$channels || !of_images) return(carry(picture$pixels))
  aperm(carry(aperm(picture$pixels, c(3, 1, 2))), c(2, 3, 1))
}

factor_as_picture <- function(x, call) {
  if (is.null(dim(x))) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`newdata` is a factor without dim(); it must be an array of the image's size."
    ), "newdata", call)
  }
  refuse_missing(x, "newdata", call)
  new_picture(array(as.integer(x), dim(x)), FALSE)
}

# A value as the core takes it: NaN for a missing value, the number of a level for a factor.
fill_as_number <- function(fill, levels, call) {
  if (is.null(levels) || (length(fill) == 1 && is.na(fill))) return(na_as_nan(fill))
  number <- match(as.character(fill), levels)
  if (length(fill) == 1 && !is.na(number)) return(number)
  abort_gequi("InputError", paste0(
    "`fill` must be NA or one of the levels ", paste0("\"", levels, "\"", collapse = ", "), "; got ",
    deparse(fill)[1], "."
  ), "fill", call)
}

# Unknown values are NaN in the core and NA in R.
with_missing <- function(x) {
  x[is.nan(x)] <- NA
  x
}

with_nan <- function(x) {
  x[is.na(x)] <- NaN
  x
}

# ---- points ---------------------------------------------------------------------------------------------------------

# The coordinates in the columns of a data frame, a matrix (point, axis).
coordinates <- function(points, columns, argument, call) {
  missing <- setdiff(columns, names(points))
  if (length(missing)) {
    abort_gequi("InputError", paste0(
      "`", argument, "` must have the columns ", paste(columns, collapse = ", "), "; ", paste(missing, collapse = ", "),
      " is missing."
    ), argument, call)
  }
  unname(as.matrix(points[columns]))
}

carry_points <- function(object, newdata, direction, se.fit, call, ...) {
  columns <- axis_names(axes_of(object))
  points <- newdata
  if (is.data.frame(newdata)) {
    points <- coordinates(newdata, columns, "newdata", call)
  }
  refuse_what_python_cannot_see(points, "newdata", call)
  options <- c(list(direction = direction, ...), if (se.fit) list(return_std = TRUE))
  carried <- call_core_with("carry", c(list(object, "transform_points", as_index(points)), options), call)
  fit <- newdata
  values <- with_missing(if (se.fit) carried[[1]] else carried)
  if (is.data.frame(newdata)) fit[columns] <- as.data.frame(values + 1) else fit[] <- values + 1
  if (se.fit) list(fit = fit, se.fit = with_missing(as.numeric(carried[[2]]))) else fit
}
