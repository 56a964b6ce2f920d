#' Coordinate maps
#'
#' `map[i, , ]` is the moving image's i-th coordinate, in pixels from 1, for each pixel of the fixed image:
#' moving(map(x)) = fixed(x). Between its pixels a map is interpolated linearly; beyond its border it goes on straight,
#' from the nearest pixel on, by its mean linear part.
#'
#' `identity_map()` leaves every pixel where it is. `warp_image()` is the image seen through a map. `warp_points()`
#' carries points of the fixed image to the moving one. `compose_maps()` makes one map of two, outer(inner(x)).
#' `invert_map()` finds the map back by Newton's method. `map_jacobian()` is the determinant of the map's derivative:
#' by how much it enlarges, and below 0 where it folds.
#'
#' @param shape the image's sizes: (row, column) or (depth, row, column). In `invert_map()` those of the moving image;
#'   `NULL` is the size of `map`.
#' @param dtype `"float32"` or `"float64"`.
#' @param image the moving image, (row, column) or (depth, row, column), or several channels with their axis in front.
#' @param map,outer,inner arrays (axis, row, column) or (axis, depth, row, column), in pixels from 1.
#' @param interpolation `"linear"`; `"cubic"`, an interpolating spline; `"nearest"`, for labels.
#' @param fill the value where the map leaves the image by more than half a pixel; `NULL` takes the nearest pixel.
#' @param points a matrix (point, axis), in pixels from 1; a single point, as a vector, will do.
#' @param steps the most Newton steps to take.
#' @param spacing the size of the fixed image's pixels, one number or one for each axis; `NULL` is 1.
#' @param moving_spacing that of the moving image; `NULL` is `spacing`.
#' @param matrix whether to return the derivatives themselves, (axis, axis, row, column) or
#'   (axis, axis, depth, row, column).
#' @return a map; for `warp_image()` an image of the map's size, for `warp_points()` the points in the moving image,
#'   for `map_jacobian()` a matrix or array of the map's size.
#' @section Errors: `gequi_shape_error` for arrays that do not fit each other; `gequi_input_error` for a map that folds
#'   where its inverse is asked for.
#' @name maps
#' @family registration
#' @examplesIf gequi_available()
#' half_down <- identity_map(c(2, 2)) + c(0.5, 0)
#' warp_image(rbind(c(0, 2), c(4, 6)), half_down)
#' warp_points(rbind(c(1, 1), c(2, 1.5)), half_down)
NULL

#' @rdname maps
#' @export
identity_map <- function(shape, dtype = "float64") call_core("identity_map", shape = shape, dtype = dtype) + 1

#' @rdname maps
#' @export
warp_image <- function(image, map, interpolation = "linear", fill = NULL) {
  call_core("warp_image", image = image, map = as_index(map), interpolation = interpolation, fill = fill)
}

#' @rdname maps
#' @export
warp_points <- function(points, map) {
  as_plain(call_core("warp_points", points = as_index(points), map = as_index(map)) + 1)
}

#' @rdname maps
#' @export
compose_maps <- function(outer, inner) {
  call_core("compose_maps", outer = as_index(outer), inner = as_index(inner)) + 1
}

#' @rdname maps
#' @export
invert_map <- function(map, shape = NULL, steps = 50) {
  call_core("invert_map", map = as_index(map), shape = shape, steps = steps) + 1
}

#' @rdname maps
#' @export
map_jacobian <- function(map, spacing = NULL, moving_spacing = NULL, matrix = FALSE) {
  call_core("map_jacobian", map = map, spacing = spacing, moving_spacing = moving_spacing, matrix = matrix)
}
