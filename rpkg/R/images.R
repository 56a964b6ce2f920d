#' Sample images
#'
#' Returns one of the images that are included in the package.
#'
#' @param name Character, `"volcano"`, `"camera"`, `"cat"`, `"retina"` or `"cell"`. `NULL` returns a table of the
#'   images.
#' @return A numeric matrix (row, column) with row 1 at the top. Photographs and micrographs have values in \[0, 1\];
#'   `"volcano"` is in meters, as [datasets::volcano]. For `NULL`, a data frame with the columns `name`, `rows`,
#'   `columns`, `shows`, `licence` and `source`.
#' @section Errors: `gequi_input_error` for an unknown name.
#' @references The column `source` of the table, and the file `README.md` of the folder of images.
#' @family images
#' @export
#' @examplesIf gequi_available()
#' sample_image()[c("name", "rows", "columns", "licence")]
#' plot_image(sample_image("cell"))
sample_image <- function(name = NULL) {
  value <- call_core("sample_image", name = name)
  if (is.null(name)) as_table(value) else value
}

# ---- operations on one image ----------------------------------------------------------------------------------

#' Normalize images
#'
#' * `normalize_image()` scales an image to \[0, 1\]: (x - min x) / (max x - min x). A constant image becomes 0.
#' * `signed_image()` scales an image to \[-1, 1\]. A constant image becomes -1.
#' * `normalize_rows()` and `normalize_columns()` convert each row or column to weights that sum to 1: f(x) divided by
#'   the sum of f(x) along the row or column.
#'
#' Inside a function that is passed to [invert_input()], these operations are recorded and evaluated in Python.
#'
#' @param x Numeric matrix (row, column), the image.
#' @param f Character, `"exp"` (softmax), `"plus_one"` (x + 1) or `"identity"` (x), or a function of the image that
#'   returns weights of the same size.
#' @return A numeric matrix with the size of `x`.
#' @section Errors: `gequi_input_error` for values that are not finite, and for weights f(x) that are negative (with
#'   `"plus_one"`, a pixel below -1) or all 0 in a row or column; `gequi_shape_error` if `x` is not a matrix.
#' @references Mishka (Michael Bukatin), "Multiplying monochrome images as matrices: A * B and softmax", JuliaCon 2021,
#'   virtual poster.
#' @seealso [image_product()], and the article *Images as matrices* of the site
#' @family images
#' @export
#' @examplesIf gequi_available()
#' range(normalize_image(volcano))
#' colSums(normalize_columns(matrix(1:6, 2), "plus_one"))
normalize_image <- function(x) {
  need_arguments()
  image_operation("normalize_image", list(x = x))
}

#' @rdname normalize_image
#' @export
signed_image <- function(x) {
  need_arguments()
  image_operation("signed_image", list(x = x))
}

#' @rdname normalize_image
#' @export
normalize_rows <- function(x, f = "exp") {
  need_arguments()
  weighted <- traced_weights(x, f)
  image_operation("normalize_rows", list(x = weighted$x), list(f = weighted$f))
}

#' @rdname normalize_image
#' @export
normalize_columns <- function(x, f = "exp") {
  need_arguments()
  weighted <- traced_weights(x, f)
  image_operation("normalize_columns", list(x = weighted$x), list(f = weighted$f))
}

# ---- products ---------------------------------------------------------------------------------------------------

#' Multiply images as matrices
#'
#' * `image_product()` computes normalize_image(normalize_rows(a, rows) %*% normalize_columns(b, columns)). With `rows =
#'   "exp"`, `columns = NULL` and `normalize = FALSE`, it is attention, softmax(a) b, with logits a and values b.
#' * `gram_image()` computes normalize_image(t(a) %*% a), the inner products of all pairs of columns.
#' * `image_value()` computes gram_image(normalize_image(normalize_columns(a, f))).
#'
#' @param a,b Numeric matrices (row, column). The number of columns of `a` must equal the number of rows of `b`.
#' @param rows The normalization of the rows of `a`, as `f` of [normalize_rows()]. `NULL` applies none.
#' @param columns The normalization of the columns of `b`, as `f` of [normalize_columns()]. `NULL` applies none.
#' @param normalize Logical, whether to scale the product to \[0, 1\].
#' @param f The normalization, as in [normalize_columns()].
#' @return A numeric matrix with the rows of `a` and the columns of `b`. `gram_image()` and `image_value()` return a
#'   symmetric matrix (columns of `a`, columns of `a`).
#' @section Symmetries of `image_value()`:
#' `image_value()` is invariant to permutations of the rows of `a` and, with `"plus_one"`, to multiplication of a column
#' of a + 1 by a positive factor. It is equivariant to permutations of the columns: `image_value(a[, order])` is
#' `image_value(a)[order, order]`. The inverse problem of [invert_input()] therefore has an orbit of solutions.
#' [permutation_error()] measures these properties.
#' @inheritSection normalize_image Errors
#' @inherit normalize_image references
#' @family images
#' @export
#' @examplesIf gequi_available()
#' dim(image_product(volcano, t(volcano)))
#' all.equal(image_value(volcano[87:1, ]), image_value(volcano))
#'
#' # a composition F(Z) * G(Z) is an ordinary function
#' composed <- function(z) image_product(signed_image(z), t(z), rows = NULL)
#' range(composed(volcano))
image_product <- function(a, b, rows = "exp", columns = "exp", normalize = TRUE) {
  need_arguments()
  left <- traced_weights(a, rows)
  right <- traced_weights(b, columns)
  image_operation(
    "image_product", list(a = left$x, b = right$x), list(rows = left$f, columns = right$f, normalize = normalize)
  )
}

#' @rdname image_product
#' @export
gram_image <- function(a) {
  need_arguments()
  image_operation("gram_image", list(a = a))
}

#' @rdname image_product
#' @export
image_value <- function(a, f = "plus_one") {
  need_arguments()
  weighted <- traced_weights(a, f)
  image_operation("image_value", list(a = weighted$x), list(f = weighted$f))
}

#' Warp an image with a sine wave
#'
#' Shifts the columns of an image up and down: out\[r, c\] = a\[r + amplitude sin(2 pi c / period), c\]. Values between
#' rows are interpolated linearly. Beyond the first and last row, the nearest row is used.
#'
#' @param a Numeric matrix (row, column), the image.
#' @param amplitude Numeric, the amplitude in pixels.
#' @param period Numeric, the period of the sine in pixels. Must be positive.
#' @return A numeric matrix with the size of `a`.
#' @section Errors: `gequi_input_error` if the period is not positive or values are not finite.
#' @inherit normalize_image references
#' @family images
#' @export
#' @examplesIf gequi_available()
#' plot_image(list(volcano, oscillatory_warp(volcano)), c("volcano", "warped"))
oscillatory_warp <- function(a, amplitude = -10, period = 8 * pi) {
  need_arguments()
  image_operation("oscillatory_warp", list(a = a), list(amplitude = amplitude, period = period))
}

# Applies an operation of the core to images; if one of them is being traced, records the operation as a step.
image_operation <- function(name, images, options = list(), call = rlang::caller_env()) {
  traced <- Filter(is_traced, images)
  if (length(traced)) {
    return(add_step(traced[[1]]$trace, name, images, options))
  }
  call_core_with(name, c(images, options), call)
}

# ---- tracing: a function of R as plain data ---------------------------------------------------------------------

# A function composed of image operations is called once with a placeholder, and each operation is recorded as a step in
# the form that image_composition() of the core reads. The descent of invert_input() then runs without R.

trace_steps <- function(f, argument = "f", call = rlang::caller_env()) {
  trace <- new.env(parent = emptyenv())
  trace$steps <- list()
  result <- f(traced_image(trace, "input"))
  if (!is_traced(result)) {
    message <- sprintf("`%s` must return an image that is made from its argument by image operations.", argument)
    abort_gequi(c("InputError", "GequiError"), message, argument, call)
  }
  if (result$reference == "input") { # the identity: a step that changes nothing
    return(list(list(op = "add", a = "input", b = 0)))
  }
  trace$steps[seq_len(as.integer(sub("step ", "", result$reference)))]
}

# asS4() is required for %*% to find its method before R 4.3, which has a generic for it.
traced_image <- function(trace, reference) {
  asS4(structure(list(trace = trace, reference = reference), class = "gequi_traced_image"))
}

is_traced <- function(x) {
  inherits(x, "gequi_traced_image")
}

add_step <- function(trace, name, images, options = list()) {
  operands <- lapply(images, function(image) {
    if (is_traced(image)) return(image$reference)
    if (!is.numeric(image)) abort_not_traced("dim(), nrow() or something else that is not known before the descent")
    image
  })
  trace$steps <- c(trace$steps, list(c(list(op = name), operands, options)))
  traced_image(trace, paste("step", length(trace$steps)))
}

# Weights f(x) for a traced x, where f is a function of R, which is traced as well.
traced_weights <- function(x, f) {
  if (is_traced(x) && is.function(f)) list(x = f(x), f = "identity") else list(x = x, f = f)
}

binary_steps <- c(`+` = "add", `-` = "subtract", `*` = "multiply", `/` = "divide", `^` = "power")

#' @export
Ops.gequi_traced_image <- function(e1, e2) {
  if (missing(e2) && .Generic %in% c("+", "-")) {
    return(if (.Generic == "+") e1 else add_step(e1$trace, "multiply", list(a = e1, b = -1)))
  }
  if (!.Generic %in% names(binary_steps)) {
    abort_not_traced(paste0("`", .Generic, "`"))
  }
  trace <- if (is_traced(e1)) e1$trace else e2$trace
  add_step(trace, binary_steps[[.Generic]], list(a = e1, b = e2))
}

#' @export
Math.gequi_traced_image <- function(x, ...) {
  if (!.Generic %in% c("exp", "log", "sqrt", "abs", "sin", "cos", "tanh") || ...length()) {
    abort_not_traced(paste0("`", .Generic, "`"))
  }
  add_step(x$trace, .Generic, list(x = x))
}

#' @export
t.gequi_traced_image <- function(x) {
  add_step(x$trace, "transpose", list(x = x))
}

#' @export
Summary.gequi_traced_image <- function(..., na.rm = FALSE) {
  abort_not_traced(paste0("`", .Generic, "`"))
}

#' @export
`[.gequi_traced_image` <- function(x, ...) {
  abort_not_traced("`[`")
}

traced_product <- function(x, y) {
  trace <- if (is_traced(x)) x$trace else y$trace
  add_step(trace, "matrix_product", list(a = x, b = y))
}

#' @importFrom methods setMethod setOldClass signature
NULL

setOldClass("gequi_traced_image")
setMethod("%*%", signature("gequi_traced_image", "ANY"), traced_product)
setMethod("%*%", signature("ANY", "gequi_traced_image"), traced_product)
setMethod("%*%", signature("gequi_traced_image", "gequi_traced_image"), traced_product)

abort_not_traced <- function(generic) {
  message <- paste0(
    "`f` uses ", generic, " on an image, which cannot be followed; use image operations, + - * / ^, %*%, t(), exp(), ",
    "log(), sqrt(), abs(), sin(), cos() and tanh()."
  )
  # stop() instead of abort(), because the backtrace would print the contents of the image.
  stop(rlang::error_cnd(c("gequi_input_error", "gequi_error"), message = message, argument = "f"))
}
