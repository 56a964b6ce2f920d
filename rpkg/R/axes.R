#' Array operations with named axes
#'
#' * `einsum()` computes sums of products over named axes. Axes that are missing in the result are summed over.
#'   Transposes, outer and inner products, matrix products, diagonals and traces are special cases.
#' * `rearrange()` permutes, splits and joins axes.
#' * `broadcast_over()` returns a function that applies `f` independently along an additional axis.
#'
#' @param spec Character, the axes before and after an arrow. Axes are separated by spaces and operands by commas: `"i
#'   j, j k -> i k"` is the matrix product, `"i i ->"` the trace and `"i i -> i"` the diagonal. In `einsum()`, `"..."`
#'   stands for further axes, which are broadcast. In `rearrange()`, parentheses group several axes into one, whose
#'   *first axis varies slowest*, as in Python: `"row (h k) -> h row k"` splits the second axis into h times k. In
#'   `broadcast_over()`, `spec` gives the axes of the returned function, such as `"a c -> b c"`.
#' @param ... `einsum()`: numeric arrays, one for each operand. `rearrange()`: integers, the sizes of axes that the
#'   shape does not determine, such as `h = 2`.
#' @param x Numeric array.
#' @param f Function of one or several arrays that returns an array or a number.
#' @param axis Character, the name of the axis to broadcast over, or several names separated by spaces. Operands without
#'   this axis are passed to each call unchanged.
#' @param dtype Character, `"float32"` or `"float64"`.
#' @return `einsum()` and `rearrange()`: a numeric array with the axes after the arrow. `broadcast_over()`: a function.
#' @section Errors: `gequi_shape_error` for a missing axis or an axis with two sizes (the message names it);
#'   `gequi_input_error` for a malformed specification.
#' @references Rogozhnikov (2022), Einops: clear and reliable tensor manipulations with Einstein-like notation, ICLR.
#'   Abbott (2024), Neural circuit diagrams, arXiv:2402.05424, figures 8 to 18.
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
  need_arguments()
  call <- rlang::current_env()
  spec <- to_python(spec, "spec", call)
  operands <- list(...)
  do.call(refuse_dots, c(operands[nzchar(rlang::names2(operands))], .call = call)) # operands have no names
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
