#' The type of a feature
#'
#' A feature is a stack of fields, and each field has a representation that says how its channels change when the
#' group acts.
#'
#' @param space a gspace, from [gspace()].
#' @param fields names of representations with counts, such as `c(regular = 4, irrep_1 = 2)`, in the order of the
#'   channels; names alone count once. The names:
#'   * `trivial`: one channel that does not change;
#'   * `regular`, for finite groups: the group permutes the channels;
#'   * `irrep_...`: irreducible, as [representations()] lists them;
#'   * `quotient(H)`: the channels are the cosets of the subgroup H, and `induced(H; irrep_1)`: from a representation
#'     of H. H is escnn's id of a subgroup: `"quotient(2)"` in C_N, `"quotient(None,2)"` in D_N;
#'   * `fourier(L)`, for continuous groups: functions on the group, as Fourier coefficients up to the frequency L.
#' @return an object of class `gequi_field_type`: plain data (`space`, `fields`, `size`, ...), from which escnn's own
#'   object is made when it is needed; [reticulate::r_to_py()] gives it. `as.data.frame()` lists the fields and their
#'   channels.
#' @section Errors: `gequi_field_error` for an unknown representation, `gequi_input_error` for a count that is not a
#'   whole number of at least 1.
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
#' The action of a group element on a field: \eqn{[g f](p) = \rho(g) f(g^{-1} p)}{[g f](p) = rho(g) f(g^-1 p)}. The
#' values move to other places, about the centre of the grid, and the channels change by the representation of their
#' field.
#'
#' Elements that map the pixel grid onto itself (quarter turns and mirrors) move the pixels without any interpolation;
#' the others turn the image by a cubic spline, with 0 outside it.
#'
#' @param x features (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel). A single
#'   image (row, column) will do for a type of one channel.
#' @param type a field type, from [field_type()], that says how the channels transform.
#' @param element the number of an element, as in [group_elements()], from 1.
#' @return an array of the same axes; a quarter turn of an image that is not square swaps its sides.
#' @section Errors: `gequi_shape_error` for axes or channels that do not fit `type`; `gequi_input_error` for an
#'   element that there is not, or values that are not finite.
#' @family fields
#' @export
#' @examplesIf gequi_available()
#' grey <- field_type(gspace("rot2dOnR2", N = 4), c(trivial = 1))
#' x <- matrix(1:6, 2)
#' x
#' transform_field(x, grey, 2) # the counter-clockwise quarter turn
transform_field <- function(x, type, element) {
  call_core("transform_field", x = x, type = type, element = as_index(element))
}
