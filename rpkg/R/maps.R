#' Coordinate maps
#'
#' Functions to create, apply, compose and invert coordinate maps. `map[i, , ]` is the i-th coordinate in the moving
#' image, in pixels from 1, for each pixel of the fixed image: moving(map(x)) = fixed(x). Maps are interpolated linearly
#' between pixels and extrapolated with their mean linear part outside the fixed image.
#'
#' * `identity_map()` creates the identity map.
#' * `warp_image()` resamples the moving image through a map.
#' * `warp_points()` maps points of the fixed image to the moving image.
#' * `compose_maps()` composes two maps: outer(inner(x)).
#' * `invert_map()` computes the inverse map with Newton's method.
#' * `map_jacobian()` computes the determinant of the Jacobian, the local change of volume. It is negative where the map
#'   folds.
#'
#' @param shape Integer vector (row, column) or (depth, row, column), the size of the image. In `invert_map()`, the size
#'   of the moving image; `NULL` is the size of `map`.
#' @param dtype Character, `"float32"` or `"float64"`.
#' @param image Numeric array (row, column) or (depth, row, column), the moving image, with an optional first axis of
#'   channels.
#' @param map,outer,inner Numeric arrays (axis, row, column) or (axis, depth, row, column), maps in pixels from 1.
#' @param interpolation Character, `"linear"`, `"cubic"` (interpolating spline) or `"nearest"` (for labels).
#' @param fill Numeric, the value for pixels that are mapped more than half a pixel outside the moving image. `NULL`
#'   uses the nearest pixel.
#' @param points Numeric matrix (point, axis), or a vector for a single point, in pixels from 1.
#' @param steps Integer, the maximum number of Newton steps.
#' @param spacing Numeric, the pixel size of the fixed image, one number or one per axis. `NULL` is 1.
#' @param moving_spacing Numeric, the pixel size of the moving image. `NULL` is `spacing`.
#' @param matrix Logical, whether to return the Jacobian matrices, (axis, axis, row, column) or (axis, axis, depth, row,
#'   column), instead of the determinants.
#' @return `identity_map()`, `compose_maps()` and `invert_map()`: a map. `warp_image()`: an image with the size of the
#'   map. `warp_points()`: the points in the moving image. `map_jacobian()`: a numeric array with the size of the map.
#' @section Errors: `gequi_shape_error` for arrays that do not match; `gequi_input_error` if `invert_map()` is called
#'   for a map that folds.
#' @concept deformable
#' @concept landmark
#' @concept resample
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
