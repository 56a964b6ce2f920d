# The linear part of a registration as rotation, scale, shift, shear and mirror.

#' @importFrom generics tidy
#' @export
generics::tidy

#' Decompose the linear part of a registration
#'
#' Computes rotation, scale, shift, shear and reflection of the linear part of a registration. In units of length, the
#' linear part is B = diag(moving_spacing) A diag(1 / spacing), where A contains all but the last column of `affine`.
#' The polar decomposition is B = R M S, where S is symmetric and positive definite, M is diag(1, ..., 1, -1) if the map
#' contains a reflection and the identity otherwise, and R is a rotation. The moving image therefore shows the fixed
#' image scaled and sheared by S, then reflected left to right by M, then rotated by R.
#'
#' @param x The result of [register_images()], for one pair or several pairs. Failed pairs have no row.
#' @param ... Not used.
#' @return A data frame with one row per registration. For several pairs, the first column is `pair`.
#'   * `rotation`: the angle in degrees. For an image, from -180 to 180, counter-clockwise as displayed. For a volume,
#'     from 0 to 180, counter-clockwise as seen along the unit axis (`axis_depth`, `axis_row`, `axis_column`);
#'   * `scale`: |det B|^(1/2), or |det B|^(1/3) for volumes, the enlargement of the moving image;
#'   * `scale_row`, `scale_column` (for volumes also `scale_depth`): the diagonal of S, the enlargement along each axis
#'     of the fixed image;
#'   * `shear`: the off-diagonal entry of S divided by `scale`, which is 0 for similarities; for volumes
#'     `shear_depth_row`, `shear_depth_column` and `shear_row_column`;
#'   * `shift_row`, `shift_column` (for volumes also `shift_depth`): the offset of the mapped center of the fixed image
#'     from the center of the moving image, in pixels of the moving image, downwards and to the right;
#'   * `mirror`: whether the map contains a reflection.
#' @section Errors: This method does not fail.
#' @references N. J. Higham (1986), Computing the polar decomposition with applications, SIAM Journal on Scientific and
#'   Statistical Computing 7.
#' @concept rotation
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ] # a counter-clockwise quarter turn
#' tidy(register_images(moving = turned, fixed = image))
tidy.gequi_registration <- function(x, ...) {
  refuse_dots(...)
  as_row(decomposition_of(x), axis_names(axes_of(x)))
}

# The parts of a decomposition, a column each.
as_row <- function(parts, axes) {
  named <- function(part, of = axes) stats::setNames(as.list(parts[[part]]), paste0(part, "_", of))
  pairs <- utils::combn(axes, 2, paste, collapse = "_")
  row <- c(
    parts["rotation"],
    if (!is.null(parts$axis)) named("axis"),
    parts["scale"],
    stats::setNames(as.list(parts$scales), paste0("scale_", axes)),
    if (length(pairs) == 1) parts["shear"] else named("shear", pairs),
    named("shift"),
    parts["mirror"]
  )
  as.data.frame(row)
}

# One line for print().
linear_part_of <- function(x) {
  parts <- decomposition_of(x)
  row <- function(values, digits) paste(fixed_digits(values, digits), collapse = ", ")
  paste0(
    "rotation ", row(parts$rotation, 1), " degrees",
    if (!is.null(parts$axis)) paste0(" about (", row(parts$axis, 2), ")"),
    ", scale ", row(parts$scale, 3),
    if (!is_even(parts)) paste0(" (", row(parts$scales, 3), "), shear ", row(parts$shear, 3)),
    ", shift (", row(parts$shift, 1), ") ", pixels_of(x), ", ", if (parts$mirror) "mirrored" else "not mirrored"
  )
}

# Formats numbers with so many digits, without -0.
fixed_digits <- function(x, digits) formatC(round(x, digits) + 0, digits = digits, format = "f")

# Whether a decomposition shows the same scale in all directions, at the printed number of digits.
is_even <- function(parts) {
  all(abs(parts$scales - parts$scale) < 5e-4 * parts$scale) && all(abs(parts$shear) < 5e-4)
}

print_decomposition <- function(parts) {
  axes <- axis_names(length(parts$shift))
  shown <- as_row(parts, axes)
  mirror <- shown$mirror
  shown <- as.data.frame(lapply(shown[names(shown) != "mirror"], fixed_digits, digits = 3))
  of_shift <- startsWith(names(shown), "shift")
  print_table(shown[!of_shift], right = gsub("_", " ", names(shown)))
  print_table(cbind(shown[of_shift], mirror = mirror), right = gsub("_", " ", names(shown)))
}
