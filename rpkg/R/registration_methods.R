# What can be done with a registration, or with a list of them: print, summary, predict, as.data.frame. The pictures are
# in registration_plots.R.

axis_names <- function(axes) utils::tail(c("depth", "row", "column"), axes)

axes_of <- function(registration) length(dim(registration$fixed))

sizes_of <- function(registration) {
  size <- function(image) paste(dim(image), collapse = " x ")
  paste(size(registration$moving), "onto", size(registration$fixed))
}

pixels_of <- function(registration) if (axes_of(registration) == 3) "voxels" else "pixels"

two_digits <- function(x) formatC(x, digits = 2, format = "f")

#' @export
format.gequi_registration <- function(x, ...) sizes_of(x)

#' @export
str.gequi_registration <- function(object, ...) utils::str(plain_data(object), ...)

#' @export
print.gequi_registration <- function(x, ...) {
  cat(title_line("registration", sizes_of(x)), "\n", sep = "")
  metrics <- x$metrics
  uncertainty <- spread_of(x)[1, ]
  cat(
    "similarity   ", two_digits(metrics$similarity_before), " before, ", two_digits(metrics$similarity_after),
    " after; confidence ", two_digits(x$confidence), "\n",
    "uncertainty  ", two_digits(uncertainty$median), " ", pixels_of(x), " (median), ",
    two_digits(uncertainty$largest), " at most\n",
    "map          ", metrics$folds, " folds; ", round(100 * metrics$overlap), " % of the fixed image is seen in both\n",
    sep = ""
  )
  if (length(x$alternatives)) {
    cat(cli::col_red("ambiguous"), "    ", length(x$alternatives), " other map",
        if (length(x$alternatives) > 1) "s", ", far from this one, fit",
        if (length(x$alternatives) == 1) "s", " almost as well: see $alternatives\n", sep = "")
  }
  invisible(x)
}

#' Summaries of registrations
#'
#' @param object,x what [register_images()] returned.
#' @param ... not used.
#' @return of one registration, an object of class `summary.gequi_registration`, a list of `sizes`, `affine`,
#'   `metrics`, `confidence`, `alternatives`, and `spread`, a data frame with quantiles over the pixels of the fixed
#'   image: of `uncertainty`, in pixels of the moving one, and of `jacobian`. Of a list of registrations, a data frame
#'   with a row for each: `pair`, `confidence`, `similarity_before`, `similarity_after`, `uncertainty` (the median),
#'   `folds`, `overlap`, `others` (how many other maps fit almost as well) and `seconds`.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' summary(register_images(moving = turned, fixed = image))
summary.gequi_registration <- function(object, ...) {
  rlang::check_dots_empty()
  structure(
    list(
      sizes = sizes_of(object), affine = object$affine, metrics = object$metrics, confidence = object$confidence,
      alternatives = object$alternatives, spread = spread_of(object)
    ),
    class = "summary.gequi_registration"
  )
}

#' @export
print.summary.gequi_registration <- function(x, ...) {
  cat(title_line("registration", x$sizes), "\n", sep = "")
  metrics <- x$metrics
  print_table(data.frame(
    confidence = two_digits(x$confidence), similarity_before = two_digits(metrics$similarity_before),
    after = two_digits(metrics$similarity_after), overlap = paste(round(100 * metrics$overlap), "%"),
    folds = metrics$folds, seconds = two_digits(metrics$seconds)
  ), right = c("confidence", "similarity before", "after", "overlap", "seconds"))
  cat(cli::col_grey("\nover the pixels of the fixed image"), "\n", sep = "")
  shown <- x$spread
  shown[-1] <- lapply(shown[-1], two_digits)
  names(shown)[1] <- " "
  print_table(shown, right = names(shown)[-1])
  cat(cli::col_grey("\nlinear part: moving = A fixed + shift"), "\n", sep = "")
  axes <- nrow(x$affine)
  linear <- as.data.frame(matrix(formatC(x$affine, digits = 3, format = "f"), axes))
  names(linear) <- c(axis_names(axes), "shift")
  print_table(cbind(` ` = axis_names(axes), linear), right = names(linear))
  if (length(x$alternatives)) {
    cat(cli::col_grey("\nother maps that fit almost as well"), "\n", sep = "")
    others <- do.call(rbind, lapply(x$alternatives, function(other) {
      shift <- as.data.frame(t(two_digits(other$affine[, axes + 1])))
      names(shift) <- paste("shift", axis_names(axes))
      cbind(confidence = two_digits(other$confidence), shift)
    }))
    print_table(others, right = names(others))
  }
  invisible(x)
}

# ---- many pairs -----------------------------------------------------------------------------------------------------

#' @rdname summary.gequi_registration
#' @export
summary.gequi_registrations <- function(object, ...) {
  rlang::check_dots_empty()
  number <- function(f) vapply(object, f, 0, USE.NAMES = FALSE)
  metric <- function(name) number(function(each) as.numeric(each$metrics[[name]]))
  table <- data.frame(
    pair = if (is.null(names(object))) seq_along(object) else names(object),
    confidence = number(function(each) each$confidence),
    similarity_before = metric("similarity_before"), similarity_after = metric("similarity_after"),
    uncertainty = number(function(each) spread_of(each)$median[1]), folds = metric("folds"),
    overlap = metric("overlap"), others = number(function(each) length(each$alternatives)), seconds = metric("seconds")
  )
  structure(table, class = c("gequi_table", "data.frame"))
}

#' @rdname summary.gequi_registration
#' @param row.names,optional not used.
#' @export
as.data.frame.gequi_registrations <- function(x, row.names = NULL, optional = FALSE, ...) {
  as.data.frame(summary(x))
}

#' @export
print.gequi_registrations <- function(x, ..., n = 12) {
  cat(title_line("registrations", paste(length(x), if (length(x) == 1) "pair" else "pairs")), "\n", sep = "")
  if (!length(x)) return(invisible(x))
  table <- as.data.frame(x)
  measured <- c("confidence", "similarity_before", "similarity_after", "uncertainty", "overlap", "seconds")
  table[measured] <- lapply(table[measured], two_digits)
  print_table(table, n = n, right = gsub("_", " ", measured))
  invisible(x)
}

#' @export
`[.gequi_registrations` <- function(x, i) structure(NextMethod(), class = "gequi_registrations")

# ---- a table of the map ---------------------------------------------------------------------------------------------

#' A registration as a table
#'
#' @param x what [register_images()] returned for a pair.
#' @param row.names,optional,... not used.
#' @return a data frame with a row for each pixel of the fixed image, the first axis running fastest: (`depth`,)
#'   `row` and `column` of the pixel; (`map_depth`,) `map_row` and `map_column`, its position in the moving image;
#'   `jacobian`; and `uncertainty`, in pixels of the moving image.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' head(as.data.frame(register_images(moving = turned, fixed = image)))
as.data.frame.gequi_registration <- function(x, row.names = NULL, optional = FALSE, ...) {
  axes <- axes_of(x)
  pixels <- expand.grid(lapply(dim(x$fixed), seq_len), KEEP.OUT.ATTRS = FALSE)
  mapped <- as.data.frame(t(matrix(x$map, axes)))
  names(pixels) <- axis_names(axes)
  names(mapped) <- paste0("map_", axis_names(axes))
  cbind(pixels, mapped, jacobian = c(x$jacobian), uncertainty = c(x$uncertainty))
}

# ---- carrying over --------------------------------------------------------------------------------------------------

#' Carry images, points or labels from one image of a registration to the other
#'
#' @param object what [register_images()] returned for a pair.
#' @param newdata what lies in the image that `direction` starts from:
#'   * an image of its size, in any form that [to_grayscale()] takes; colours are kept;
#'   * labels, an array of its size, with `type = "labels"`: each pixel takes the value of the nearest one, so that no
#'     new values arise. Logical arrays and factors are taken for labels;
#'   * points, a matrix (point, axis) or a data frame with the columns (`depth`,) `row` and `column`, in pixels from 1.
#' @param direction `"moving_to_fixed"` carries what lies in the moving image onto the fixed one; `"fixed_to_moving"`
#'   carries back.
#' @param type `"image"`, `"labels"` or `"points"`; `NULL` says by the form of `newdata`.
#' @param se.fit for points, whether to say how sure they are.
#' @param interpolation of images: `"cubic"` or `"linear"`. Labels take the nearest pixel.
#' @param fill the value of pixels that lie outside of the other image by more than half a pixel; `NULL` takes the
#'   nearest pixel.
#' @param extrapolate for points, whether to carry those outside of the images too, by the map's straight continuation.
#' @param ... not used.
#' @return an image or labels of the size of the other image; points in the form of `newdata`, other columns of a data
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
                                       type = NULL, se.fit = FALSE, interpolation = c("cubic", "linear"), fill = NULL,
                                       extrapolate = FALSE, ...) {
  rlang::check_dots_empty()
  here <- rlang::current_env()
  direction <- check_choice(direction, c("moving_to_fixed", "fixed_to_moving"), "direction", here)
  interpolation <- check_choice(interpolation, c("cubic", "linear"), "interpolation", here)
  if (is.null(type)) type <- type_of(newdata, axes_of(object))
  type <- check_choice(type, c("image", "labels", "points"), "type", here)
  if (!rlang::is_bool(se.fit)) abort_gequi("InputError", "`se.fit` must be TRUE or FALSE.", "se.fit")
  if (se.fit && type != "points") {
    abort_gequi("InputError", paste0("`se.fit` is for points; `newdata` is taken for ", type, "."), "se.fit")
  }
  if (!rlang::is_bool(extrapolate)) abort_gequi("InputError", "`extrapolate` must be TRUE or FALSE.", "extrapolate")
  if (extrapolate && type != "points") {
    abort_gequi("InputError", paste0("`extrapolate` is for points; `newdata` is taken for ", type, "."), "extrapolate")
  }
  if (type == "points") return(carry_points(object, newdata, direction, se.fit, extrapolate, here))
  carry <- function(pixels, interpolation) {
    call_core(
      "carry", object, "warp", pixels, interpolation = interpolation, fill = fill,
      direction = direction, .call = here
    )
  }
  if (type == "labels") return(carry_labels(newdata, carry, here))
  picture <- read_picture(newdata, "newdata", here)
  if (!picture$channels || axes_of(object) == 3) return(carry(picture$pixels, interpolation))
  aperm(carry(aperm(picture$pixels, c(3, 1, 2)), interpolation), c(2, 3, 1))
}

# A picture has at least 16 columns, so as many columns as there are axes are coordinates.
type_of <- function(newdata, axes) {
  if (is.data.frame(newdata)) return("points")
  if (is.logical(newdata) || is.factor(newdata)) return("labels")
  coordinates <- if (is.matrix(newdata)) ncol(newdata) else if (is.null(dim(newdata))) length(newdata)
  if (is.numeric(newdata) && identical(coordinates, axes)) "points" else "image"
}

check_choice <- function(value, choices, argument, call) {
  if (identical(value, choices)) return(choices[1])
  if (rlang::is_string(value) && value %in% choices) return(value)
  abort_gequi("InputError", paste0(
    "`", argument, "` must be one of ", paste0("'", choices, "'", collapse = ", "), "; got ", deparse(value)[1], "."
  ), argument, call)
}

carry_labels <- function(labels, carry, call) {
  names <- levels(labels)
  kind <- if (is.factor(labels)) "integer" else typeof(labels)
  if (is.null(dim(labels)) || !kind %in% c("logical", "integer", "double")) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`newdata` must be an array of labels, numbers, logicals or a factor with dim(); got ", class(labels)[1], "."
    ), "newdata", call)
  }
  warped <- carry(array(as.numeric(labels), dim(labels)), "nearest")
  storage.mode(warped) <- kind
  if (is.null(names)) return(warped)
  structure(factor(names[warped], names), dim = dim(warped))
}

carry_points <- function(object, newdata, direction, se.fit, extrapolate, call) {
  columns <- axis_names(axes_of(object))
  points <- newdata
  if (is.data.frame(newdata)) {
    missing <- setdiff(columns, names(newdata))
    if (length(missing)) {
      abort_gequi("InputError", paste0(
        "`newdata` must have the columns ", paste(columns, collapse = ", "), "; ", paste(missing, collapse = ", "),
        " is missing."
      ), "newdata", call)
    }
    points <- unname(as.matrix(newdata[columns]))
  }
  refuse_what_python_cannot_see(points, "newdata", call)
  carried <- call_core(
    "carry", object, "transform_points", as_index(points), direction = direction,
    return_std = se.fit, extrapolate = extrapolate, .call = call
  )
  fit <- newdata
  values <- if (se.fit) carried[[1]] else carried
  values[is.nan(values)] <- NA
  if (is.data.frame(newdata)) fit[columns] <- as.data.frame(values + 1) else fit[] <- values + 1
  if (!se.fit) return(fit)
  deviations <- as.numeric(carried[[2]])
  deviations[is.nan(deviations)] <- NA
  list(fit = fit, se.fit = deviations)
}
