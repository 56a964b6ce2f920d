#' Define the type of a feature
#'
#' Defines a list of fields, each with a representation of the group. The representation of a field determines how its
#' channels change when a group element acts.
#'
#' @param space A gspace, created by [gspace()].
#' @param fields Named integer vector or list, the number of fields per representation, such as `c(regular = 4, irrep_1
#'   = 2)`, in the order of the channels. A character vector gives one field for each name. The representations are:
#'   * `trivial`: one channel that does not change (a scalar);
#'   * `regular`: one channel per group element, permuted by the group (finite groups only);
#'   * `irrep_...`: an irreducible representation, as listed by [representations()];
#'   * `quotient(H)`: one channel per coset of the subgroup H;
#'   * `induced(H; irrep_1)`: the representation induced by a representation of H. H is the escnn identifier of the
#'     subgroup, such as `"quotient(2)"` in C_N and `"quotient(None,2)"` in D_N;
#'   * `fourier(L)`: functions on a continuous group, stored as Fourier coefficients up to frequency L.
#' @return An object of class `gequi_field_type`. It stores plain data (`space`, `fields`, `size`, ...) and creates the
#'   escnn object when it is needed. [reticulate::r_to_py()] returns the escnn object, and `as.data.frame()` lists the
#'   fields and their channels.
#' @section Errors: `gequi_field_error` for an unknown representation; `gequi_input_error` for a count that is not an
#'   integer of at least 1.
#' @references Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv:1911.08251.
#' @family fields
#' @export
#' @examplesIf gequi_available()
#' field_type(gspace("rot2dOnR2", N = 4), c(regular = 4, irrep_1 = 2))
field_type <- function(space, fields) {
  need_arguments()
  fields <- as_fields(fields)
  made <- call_core("make_field_type", space = space, fields = fields)
  new_handle(
    "gequi_field_type",
    space = space,
    fields = fields,
    size = made$size,
    table = as.data.frame(as_table(made$rows)),
    python = made$handle
  )
}

make_python.gequi_field_type <- function(x, call) {
  call_core("field_type", space = x$space, fields = x$fields, .call = call)
}

#' @export
format.gequi_field_type <- function(x, ...) paste(x$table$count, x$table$representation, collapse = " + ")

#' @export
print.gequi_field_type <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(
    title_line("field type", paste0(format(x), ": ", x$size, " channel", if (x$size != 1) "s")), "\n",
    "on ", format(x$space), "\n",
    sep = ""
  )
  invisible(x)
}

#' @export
summary.gequi_field_type <- function(object, ...) {
  refuse_dots(...)
  structure(list(type = object), class = "summary.gequi_field_type")
}

#' @export
print.summary.gequi_field_type <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  print(x$type)
  cat("\n")
  print_table(as.data.frame(x$type))
  invisible(x)
}

#' @export
as.data.frame.gequi_field_type <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  last <- cumsum(x$table$count * x$table$size)
  cbind(x$table, first_channel = c(1L, utils::head(last, -1) + 1L), last_channel = last)
}

#' Transform a feature by a group element
#'
#' Applies a group element to a feature: \eqn{(g f)(p) = \rho(g) f(g^{-1} p)}{(g f)(p) = rho(g) f(g^-1 p)}. The spatial
#' grid is transformed about its center, and the channels are transformed by the representation of their field.
#'
#' Elements that map the pixel grid onto itself (quarter turns and reflections) only move pixels and do not interpolate.
#' Other elements interpolate with a cubic spline and fill with 0 outside the image.
#'
#' @param x Numeric array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel). A
#'   matrix (row, column) is accepted if `type` has one channel.
#' @param type A field type, created by [field_type()].
#' @param element Integer, the number of the group element, from 1, as in [group_elements()].
#' @return A numeric array with the axes of `x`. A quarter turn of a non-square image swaps its height and width.
#' @section Errors: `gequi_shape_error` if the axes or channels of `x` do not match `type`; `gequi_input_error` for an
#'   element number that is out of range or for values that are not finite.
#' @references Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv:1911.08251.
#' @concept rotation
#' @concept reflection
#' @family fields
#' @export
#' @examplesIf gequi_available()
#' gray <- field_type(gspace("rot2dOnR2", N = 4), c(trivial = 1))
#' x <- matrix(1:6, 2)
#' x
#' transform_field(x, gray, 2) # the counter-clockwise quarter turn
transform_field <- function(x, type, element) {
  call_core("transform_field", x = x, type = type, element = as_index(element))
}
