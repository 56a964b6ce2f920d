#' Turn the inputs of any model upright
#'
#' A small equivariant network, the canonicalizer c, finds the pose of an input. The pose is undone before any other
#' model f sees the input, and its output is turned back:
#' \deqn{F(x) = g f(g^{-1} x), \quad g = c(x)}{F(x) = g f(g^-1 x), g = c(x)}
#' F is equivariant for every model f, since c is. With trivial output fields and an output (batch, channel), F is
#' invariant. Unlike [symmetrize()], it calls the model once per input, with an input in the pose with which the model
#' was trained.
#'
#' c returns one score per element of a finite group. The pose is the element with the largest score. With `refine`,
#' angles between those of the group are found by the probabilities p (softmax of the scores) of the elements before
#' and after it: the pose is turned further by (p_after - p_before) / (p_before + p + p_after) times the smallest
#' angle.
#'
#' `fit_canonicalizer()` trains c with the prior regularizer: upright images are transformed by random elements g, in
#' the plane also by angles between those of the group, and the loss is the cross-entropy of softmax(c(g x)) to g. No
#' classes are required.
#'
#' @param model A model of any kind that [symmetrize()] accepts. It should have been trained with inputs in one pose,
#'   such as upright images.
#' @param canonicalizer A network of a finite group whose output is one regular field without positions, as
#'   `fit_canonicalizer()` trains it.
#' @param input The fields of the input, as in [field_type()]. `NULL` uses those of the canonicalizer.
#' @param output The fields of the output, such as `c(trivial = 10)` for the scores of 10 classes. `NULL` uses the
#'   names of the fields of a network, and is an error for other models.
#' @param refine Logical, whether angles between those of the group are found. `NULL` does so for groups of at least 3
#'   rotations of the plane, if all fields are trivial.
#' @param x Numeric array: for `fit_canonicalizer()`, images in one pose, (batch, channel, row, column) or (batch,
#'   channel, depth, row, column), with sides of equal length; for `predict()`, the inputs.
#' @param space A gspace with a finite group, created by [gspace()]. `NULL` is that of `network`, or `rot2dOnR2` with
#'   `N = 16` for images and `octaOnR3` for volumes.
#' @param network A network whose output is one regular field without positions. A trained copy is returned. `NULL`
#'   creates three steerable convolutions.
#' @param epochs Integer, the number of passes over the images.
#' @param batch_size Integer, the number of images per batch. In `predict()`, `NULL` is 64.
#' @param learning_rate Numeric, the maximum of the one-cycle schedule.
#' @param seed Integer, the seed of the weights and transformations. `NULL` draws one from R's random number generator.
#' @param device Character, `"cpu"`, `"cuda"` or `"auto"`.
#' @param progress As in [fit.gequi_network()] and [predict.gequi_network()].
#' @return `canonicalize()`: an object of class `gequi_canonicalized`, for [predict()] and [equivariance_error()].
#'   Images are turned with a cubic spline and 0 outside, and must be square. Multiples of quarter turns are exact up
#'   to rounding. `fit_canonicalizer()`: the trained network, an object of class `gequi_fit`. `predict()`: a numeric
#'   array whose first axis is the batch.
#' @section Errors: `gequi_input_error` or `gequi_field_error` if the canonicalizer does not have such an output, or
#'   fields are missing; `gequi_shape_error` for images that are not square, and from `predict()` if the model does not
#'   return the fields `output`.
#' @references Kaba et al. (2023), Equivariance with learned canonicalization functions, arXiv:2211.06489. Mondal et
#'   al. (2023), Equivariant adaptation of large pretrained models, arXiv:2310.01647.
#' @seealso [symmetrize()] averages a model over a group. [equivariance_error()] measures its symmetry.
#' @concept equivariance test
#' @concept rotation
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[101:111, 151:161]
#' x <- array(rep(image, each = 8), c(8, 1, 11, 11)) + array(rnorm(8 * 121), c(8, 1, 11, 11)) / 20
#' # one pass for illustration; use several
#' pose <- fit_canonicalizer(x, gspace("rot2dOnR2", N = 4), epochs = 1, batch_size = 4, seed = 1)
#' upper_and_lower <- function(x) cbind(apply(x[, , 1:5, ], 1, mean), apply(x[, , 7:11, ], 1, mean))
#' model <- canonicalize(upper_and_lower, pose, output = c(trivial = 2))
#' equivariance_error(model, x)
#' predict(model, x)
canonicalize <- function(model, canonicalizer, input = NULL, output = NULL, refine = NULL) {
  need_arguments()
  given <- list(
    model = model, canonicalizer = canonicalizer, input = as_fields(input, "input"),
    output = as_fields(output, "output"), refine = refine
  )
  python <- call_core_with("canonicalize", given, rlang::current_env())
  do.call(new_handle, c(list("gequi_canonicalized"), given, list(python = python)))
}

make_python.gequi_canonicalized <- function(x, call) {
  call_core_with("canonicalize", unclass(x)[c("model", "canonicalizer", "input", "output", "refine")], call)
}

#' @rdname canonicalize
#' @export
fit_canonicalizer <- function(x, space = NULL, network = NULL, epochs = 20, batch_size = 64, learning_rate = 0.008,
                              seed = NULL, device = "auto", progress = NULL) {
  need_arguments()
  here <- rlang::current_env()
  python <- while_reporting(rlang::`%||%`(progress, rlang::is_interactive()), function(report) {
    call_core(
      "fit_canonicalizer",
      x = x, space = space, network = network, epochs = epochs, batch_size = batch_size,
      learning_rate = learning_rate, seed = own_seed(seed), device = device, progress = report, .call = here
    )
  })
  trained <- as_model(python, call_core("get_weights", python))
  as_fit(trained, as_history(call_core("encoder_history", python)), FALSE)
}

#' @param object An object from `canonicalize()`.
#' @param ... Not used.
#' @param newdata Alias of `x`, for consistency with other packages.
#' @rdname canonicalize
#' @export
predict.gequi_canonicalized <- function(object, x, ..., batch_size = NULL, newdata = NULL, progress = NULL) {
  refuse_dots(...)
  x <- x_or_newdata(if (!missing(x)) x, newdata)
  predict_wrapped(object, x, batch_size, progress, rlang::current_env())
}

#' @export
format.gequi_canonicalized <- function(x, ...) {
  format_wrapped("canonicalize", x$model, x$canonicalizer$space)
}

#' @export
print.gequi_canonicalized <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("canonicalized model", format(x)), "\n", sep = "")
  invisible(x)
}
