# Images, labels and points carried from one image of a registration to the other.

#' Carry images, points or labels from one image of a registration to the other
#'
#' @param object what [register_images()] returned: for a pair, or for lists.
#' @param newdata for lists, one for all pairs or a list of one for each; what lies in the image that `direction` starts
#'   from:
#'   * an image of its size, in any form that [to_grayscale()] takes; colours are kept;
#'   * labels, an array of its size: each pixel takes the value of the nearest one, so that no new values arise. Type
#'     and levels are kept;
#'   * points, a matrix (point, axis) or a data frame with the columns (`depth`,) `row` and `column`, in pixels from 1.
#' @param direction `"moving_to_fixed"` carries what lies in the moving image onto the fixed one; `"fixed_to_moving"`
#'   carries back.
#' @param type `"image"`, `"labels"` or `"points"`. `NULL` says by the form of `newdata`: a data frame, or as many
#'   columns as there are axes, are points; factors, logicals and integers are labels, unless `interpolation` is
#'   `"linear"` or `"cubic"`; all else is an image. What integers are taken for is said in a message.
#' @param se.fit for points, whether to say how sure they are.
#' @param interpolation `"cubic"`, a spline whose result is clipped to the range of each channel; `"linear"`;
#'   `"nearest"`. `NULL` is `"cubic"` for images and `"nearest"` for labels, which have no other.
#' @param fill the value of pixels that lie outside of the other image by more than half a pixel; of a factor, one of
#'   its levels; `NULL` takes the nearest pixel.
#' @param extrapolate for points, whether to carry those outside of the images too, by the map's straight continuation.
#' @param ... for lists, the arguments from `direction` on; else not used.
#' @return for lists, a list with their names, of which the pairs that failed are `NULL`. For a pair, an image or
#'   labels of the size of the other image; points in the form of `newdata`, other columns of a data
#'   frame kept. With `se.fit`, a list of `fit`, the points, and `se.fit`, for each of them the standard deviation in
#'   pixels of the image that it was carried to (the root of the mean squared length of the error): the registration's
#'   `uncertainty` at the point, divided on the way from moving to fixed by the map's scale there. Points that lie
#'   outside of their own image by more than half a pixel, or that are carried so far outside of the fixed image, are
#'   `NA`; with `extrapolate`, their standard deviation grows with the distance d from the image in pixels, as
#'   sqrt((s (1 + d / r))^2 + (k d)^2): s is that of the nearest point of the image, r a quarter of the mean side of the
#'   fixed image, and k grows with the bending of the map and is 0 for a linear one.
#' @section Errors: `gequi_shape_error` for data that do not fit the image; `gequi_input_error` for options that do not
#'   fit the data.
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

# A picture has at least 16 columns, so as many columns as there are axes are coordinates.
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

# A picture with its channels in front, carried and brought back.
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

# A value as the core takes it: NaN for what is missing, the number of a level.
fill_as_number <- function(fill, levels, call) {
  if (is.null(levels) || (length(fill) == 1 && is.na(fill))) return(na_as_nan(fill))
  number <- match(as.character(fill), levels)
  if (length(fill) == 1 && !is.na(number)) return(number)
  abort_gequi("InputError", paste0(
    "`fill` must be NA or one of the levels ", paste0("\"", levels, "\"", collapse = ", "), "; got ",
    deparse(fill)[1], "."
  ), "fill", call)
}

# What the core does not know is NaN there and NA in R.
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
