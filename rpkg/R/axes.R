#' Axes by name
#'
#' `einsum()` sums products over named axes: those that the result does not name are summed over. Every transpose,
#' outer, inner and matrix product, diagonal and trace of arrays is one such specification. `rearrange()` puts axes
#' into another order, splits and joins them. `broadcast_over()` repeats a function over an axis that it does not
#' know: an index before it is the same index after it.
#'
#' @param spec axes before -> axes after, apart by spaces, operands apart by commas: `"i j, j k -> i k"` is the matrix
#'   product, `"i i ->"` the trace, `"i i -> i"` the diagonal. `"..."` in `einsum()` stands for any further axes,
#'   which broadcast. In `rearrange()` axes in parentheses are one axis of the array, of which the *first varies
#'   slowest*, as in Python: `"row (h k) -> h row k"` splits the second axis into h times k. In `broadcast_over()` it
#'   gives the axes of the function that is returned: `"a c -> b c"`.
#' @param ... `einsum()`: one array for each group of axes. `rearrange()`: the sizes of axes that the shape alone does
#'   not give, such as `h = 2`.
#' @param x an array.
#' @param f a function of arrays that gives an array or a number.
#' @param axis the name of the axis to repeat over, or several, apart by spaces. An operand that does not have the
#'   axis goes to each call whole.
#' @param dtype `"float32"` or `"float64"`.
#' @return `einsum()`, `rearrange()`: an array with the axes after the arrow. `broadcast_over()`: a function.
#' @section Errors: `gequi_shape_error` for an axis with two sizes or a missing axis; the message names it.
#'   `gequi_input_error` for a malformed specification.
#' @references Rogozhnikov (2022), einops; Abbott (2024), arXiv 2402.05424, figures 8 to 18.
#' @export
#' @examplesIf gequi_available()
#' a <- matrix(1:6, 2)
#' einsum("row column -> column", a)
#' # attention scores of two heads: three queries, five keys of four features each
#' q <- array(runif(24), c(3, 4, 2))
#' k <- array(runif(40), c(5, 4, 2))
#' dim(einsum("y k h, x k h -> y x h", q, k))
#'
#' dim(rearrange(q, "y k h -> y (k h)"))
#'
#' standardise <- broadcast_over(function(x) (x - mean(x)) / sd(x), "c", "a c -> a c")
#' colMeans(standardise(matrix(rnorm(20), 5)))
einsum <- function(spec, ..., dtype = "float64") {
  call <- rlang::current_env()
  operands <- list(...)
  operands <- Map(to_python, operands, paste("operand", seq_along(operands)), list(call))
  as_plain(call_core_with("einsum", c(list(spec), unname(operands), list(dtype = dtype)), call))
}

#' @rdname einsum
#' @export
rearrange <- function(x, spec, ...) {
  as_plain(call_core("rearrange", x = x, spec = spec, ...))
}

#' @rdname einsum
#' @export
broadcast_over <- function(f, axis, spec) {
  call_core("broadcast_over", f = f, axis = axis, spec = spec)
  function(...) {
    call <- rlang::current_env()
    operands <- list(...)
    operands <- Map(to_python, operands, paste("operand", seq_along(operands)), list(call))
    given <- c(list(function_to_python(f, "f", call), axis, spec), unname(operands))
    as_plain(call_core_with("broadcast_call", given, call))
  }
}
