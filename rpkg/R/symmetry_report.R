#' Compare the symmetries of a model
#'
#' Computes the equivariance errors of a model for several groups and ranks the groups.
#'
#' @param model A model of any kind that [equivariance_error()] accepts.
#' @param x Numeric array, the inputs: (batch, channel, row, column), (batch, channel, depth, row, column) or (batch,
#'   channel).
#' @param spaces List of gspaces, the candidates. `NULL` compares, on images, a reflection and the groups of 2, 4 and 8
#'   rotations without and with reflections; on volumes, the inversion and the octahedral groups.
#' @param input The fields of `x`, as in [field_type()]. Every candidate must have fields of these names. `NULL` takes
#'   all channels as trivial.
#' @param output The fields of the output. `NULL` takes all channels as trivial: an output (batch, channel) should
#'   be invariant, and output images should move with the input.
#' @param dtype As in [equivariance_error()].
#' @return A data frame of class `gequi_table` with one row per candidate, the best first: `space`, `elements` (their
#'   number), `error` (the largest, see [equivariance_error()]), `rms` and `floor` (means over the elements but the
#'   identity), `excess` (of `rms` over `floor`, at least 0) and `changed` (the share of examples whose class, the
#'   largest channel, differs for at least one element; `NA` unless the output is (batch, channel) with several
#'   channels). Rows are sorted by `excess`, and values below 1e-4 count as equal. Equal rows are sorted by the number
#'   of elements, the largest group first.
#' @section Errors: those of [equivariance_error()]; `gequi_input_error` for vectors without `spaces`, and if `x` or the
#'   output is 0 inside the disc.
#' @seealso [symmetrize()] gives a model a symmetry.
#' @concept equivariance test
#' @concept rotation
#' @export
#' @examplesIf gequi_available()
#' set.seed(1)
#' x <- array(rnorm(4 * 8 * 8), c(4, 1, 8, 8))
#' means <- function(x) apply(x * x[, , , 8:1, drop = FALSE], 1:2, mean)
#' symmetry_report(means, x)
symmetry_report <- function(model, x, spaces = NULL, input = NULL, output = NULL, dtype = NULL) {
  as_table(call_core(
    "symmetry_report",
    model = model, x = x, spaces = spaces, input = as_fields(input, "input"), output = as_fields(output, "output"),
    dtype = dtype
  ))
}
