# The linear part of a registration in the terms that one speaks of.

#' @importFrom generics tidy
#' @export
generics::tidy

#' The linear part of a registration in words
#'
#' Rotation, scale, shift, shear and mirror of the linear part of the map, as one row of a table. In units of length the
#' linear part is B = diag(moving_spacing) A diag(1 / spacing), with A the first columns of `affine`. Its polar
#' decomposition is B = R M S: S is symmetric and positive definite, M is diag(1, ..., 1, -1) where the map mirrors and
#' else the identity, and R is a rotation. So the moving image shows the fixed one enlarged and sheared by S, then
#' mirrored left to right by M, then turned by R.
#'
#' @param x what [register_images()] returned: for a pair, or for lists, of which the pairs that failed have no row.
#' @param ... not used.
#' @return a data frame with a row for the registration, or for each of a list (with a column `pair` in front):
#'   `rotation`, degrees: of an image from -180 to 180, counter-clockwise as seen on the screen; of a volume from 0 to
#'   180, counter-clockwise as seen along the axis (`axis_depth`, `axis_row`, `axis_column`), of length 1;
#'   `scale`, the root (of volumes the cube root) of |det B|: by how much the moving image is larger;
#'   `scale_row` and `scale_column` (of volumes also `scale_depth`), the diagonal of S: the enlargement along each axis
#'   of the fixed image;
#'   `shear`, the other entry of S divided by `scale`, 0 for similarities; of volumes `shear_depth_row`,
#'   `shear_depth_column` and `shear_row_column`;
#'   `shift_row` and `shift_column` (`shift_depth`), how far the middle of the fixed image lands from the middle of the
#'   moving one, in pixels of that, downwards and to the right;
#'   `mirror`, whether the map mirrors.
#' @references N. J. Higham (1986), Computing the polar decomposition.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ] # by a quarter, counter-clockwise
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

# Numbers with so many digits, and no -0.
fixed_digits <- function(x, digits) formatC(round(x, digits) + 0, digits = digits, format = "f")

# Whether a decomposition shows one scale for all directions, at the digits that are printed.
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
