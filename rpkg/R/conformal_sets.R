#' Predict sets of classes that contain the right one
#'
#' Calibrates a classifier, so that it predicts sets of classes that contain the right class with a given probability,
#' at every angle (split conformal prediction).
#'
#' The probabilities of the classes are averaged over a finite group, so that they depend little on the pose of an
#' image:
#' \deqn{p(y | x) = \frac{1}{|G|} \sum_g p(y | g x)}{p(y | x) = 1 / |G| sum over g of p(y | g x)}
#' The score s(x, y) is 1 - p(y | x) for `method = "lac"`, and the sum of all p(k | x) that are at least p(y | x) for
#' `"aps"`. With the scores of n calibration examples, the set of an example is all classes whose score is at most the
#' k-th smallest of them, k = ceiling((n + 1) level).
#'
#' Sets of `"lac"` have the smallest mean size. A set is empty if no class is probable enough. If the accuracy a of the
#' model exceeds `level`, about a share a - level of the sets is empty. Sets of `"aps"` always contain the most probable
#' class. Their coverage therefore exceeds `level` if the accuracy does.
#'
#' @param model A classifier of any kind that [symmetrize()] accepts, which returns scores (batch, class).
#' @param x Numeric array, examples with which the model was not trained: (batch, channel, row, column), (batch,
#'   channel, depth, row, column) or (batch, channel).
#' @param y Their classes: a factor, logical values, text, or whole numbers from 1 (from 0 if one of them is 0). For
#'   the result of [fit()], the classes of its training.
#' @param space A gspace with a finite group, created by [gspace()]. With `rot2dOnR2` and `N = 24`, sets are the same
#'   at all multiples of 15 degrees, up to interpolation. `NULL` uses that of a network, and is an error for other
#'   models. `trivialOnR2` averages nothing.
#' @param level Numeric, the probability with which a set contains the right class, between 0 and 1.
#' @param method Character, `"lac"` (least ambiguous sets) or `"aps"` (adaptive sets, without randomization).
#' @param input The fields of `x`, as in [field_type()]. `NULL` takes all channels as trivial, or those of the network.
#' @param rotate Logical, whether to rotate each calibration example by a random angle (cubic spline, 0 outside). Use it
#'   if the images to predict have any angle. `NULL` rotates images in the plane with trivial fields, if the group has
#'   rotations.
#' @param probabilities Logical, whether the output of the model is probabilities. If not, softmax is applied to it.
#'   `NULL` decides by the output for `x`: values of at least 0 with a sum of 1 are probabilities.
#' @param seed Integer, the seed of the angles. `NULL` draws one from R's random number generator.
#' @return `conformal_sets()`: an object of class `gequi_conformal`, for [predict()]. Its parts are `level`, `method`,
#'   `threshold`, `count` (the number of calibration examples) and `classes` (their names). `predict()`: a logical
#'   matrix (image, class), `TRUE` for the members of the set.
#' @section Errors: `gequi_input_error` for fewer than level / (1 - level) examples, or for targets that are not
#'   classes of the model; `gequi_shape_error` if the model does not return (batch, class), or `x` and `y` differ in
#'   length.
#' @references `"lac"`: Sadinle, Lei and Wasserman (2019), Least ambiguous set-valued classifiers with bounded error
#'   levels, JASA 114. `"aps"`: Romano, Sesia and Candes (2020), Classification with valid and adaptive coverage,
#'   arXiv:2006.02544. Split conformal prediction: Papadopoulos et al. (2002), Inductive confidence machines for
#'   regression.
#' @seealso [symmetrize()] averages a model over a group.
#' @concept rotation
#' @concept uncertainty
#' @export
#' @examplesIf gequi_available()
#' set.seed(1)
#' y <- factor(rep(c("dark", "bright"), 50))
#' x <- array(rnorm(100 * 25), c(100, 1, 5, 5)) + as.integer(y)
#' model <- function(x) {
#'   means <- apply(x, 1, mean)
#'   cbind(means - 1.5, 1.5 - means)
#' }
#' sets <- conformal_sets(model, x, y, gspace("rot2dOnR2", N = 4), seed = 1)
#' sets
#' predict(sets, x[1:3, , , , drop = FALSE])
conformal_sets <- function(model, x, y, space = NULL, level = 0.9, method = "lac", input = NULL, rotate = NULL,
                           probabilities = NULL, seed = NULL) {
  need_arguments()
  call <- rlang::current_env()
  refuse_table(y, call)
  coding <- coding_of_classes(model, y)
  made <- call_core(
    "make_conformal",
    model = model, x = as_inputs(x), y = as_classes(y, coding, call = call), space = space, level = level,
    method = method, input = as_fields(input, "input"), rotate = rotate, probabilities = probabilities,
    seed = own_seed(seed)
  )
  first <- if (identical(coding$class_type, "whole") && is.null(coding$levels)) 1 else 0
  levels <- if (coding$class_type == "whole") as.character(seq_len(made$classes) - 1 + first) else coding$levels
  check_names_of_classes(levels, made$classes, call)
  new_handle(
    "gequi_conformal",
    model = model, space = space, level = level, method = method, threshold = made$threshold, count = made$count,
    classes = levels, plain = made[c("input", "known")], python = made$handle
  )
}

# What classes are called: as in the training of the model, or by the targets.
coding_of_classes <- function(model, y) {
  coding <- coding_of(model)
  if (!is.null(coding)) return(coding)
  if (is.character(y)) y <- factor(y)
  if (is.factor(y)) return(new_coding(levels(y), "factor"))
  if (is.logical(y)) return(new_coding(c("FALSE", "TRUE"), "logical"))
  if (any(y == 0, na.rm = TRUE)) new_coding(as.character(seq(0, max(y, 1, na.rm = TRUE))), "whole") else new_coding()
}

check_names_of_classes <- function(levels, classes, call) {
  if (length(levels) == classes) return(invisible())
  abort_gequi(c("ShapeError", "InputError"), paste0(
    "`y` has ", length(levels), " levels, ", quoted(levels), ", but the model has ", classes,
    " outputs: give it one output for each level."
  ), "y", call)
}

make_python.gequi_conformal <- function(x, call) {
  call_core(
    "restore_conformal",
    model = x$model, space = x$space, input = x$plain$input, classes = length(x$classes), known = x$plain$known,
    method = x$method, level = x$level, threshold = x$threshold, count = x$count, .call = call
  )
}

#' @param object An object from `conformal_sets()`.
#' @param ... Not used.
#' @param batch_size Integer, the number of examples processed at once, each with all elements of the group. `NULL` is
#'   64.
#' @param newdata Alias of `x`, for consistency with other packages.
#' @param progress As in [predict.gequi_network()].
#' @rdname conformal_sets
#' @export
predict.gequi_conformal <- function(object, x, ..., batch_size = NULL, newdata = NULL, progress = NULL) {
  refuse_dots(...)
  x <- x_or_newdata(if (!missing(x)) x, newdata)
  members <- predict_wrapped(object, x, batch_size, progress, rlang::current_env())
  matrix(as.logical(members), nrow(members), dimnames = list(NULL, object$classes))
}

#' @export
format.gequi_conformal <- function(x, ...) {
  paste0(length(x$classes), " classes, level ", format(x$level), ", ", x$method)
}

#' @export
print.gequi_conformal <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("conformal sets", format(x)), "\n", sep = "")
  group <- if (is.null(x$space)) x$model$space else x$space
  cat("Averaged over ", format(group), "; ", x$count, " calibration examples, threshold ",
      formatC(x$threshold, digits = 3, format = "g"), "\n", sep = "")
  invisible(x)
}
