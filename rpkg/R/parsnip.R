# The engine "gequi" of parsnip's mlp(), registered when parsnip is loaded: see .onLoad().

#' Networks in tidymodels
#'
#' If the package parsnip is loaded, `parsnip::mlp()` has the engine `"gequi"` for the modes `"classification"` and
#' `"regression"`. parsnip calls the functions on this page; there is no need to call them directly.
#'
#' The arguments `epochs`, `learn_rate` and `penalty` of `mlp()` correspond to `epochs`, `learning_rate` and the weight
#' decay of [fit()]. `set_engine("gequi", network = , shape = , ...)` takes the network, which is required, and any
#' other option of [fit()].
#'
#' The predictors are either one column of images (file names or a list of matrices) or numeric columns. Numeric columns
#' are channels, or pixels if `shape` is given.
#'
#' @param x Data frame, the predictors.
#' @param y The outcome: a factor, a numeric vector, or a data frame or matrix of several outcomes.
#' @param network A network, created by [equivariant_network()], or a module such as [unet()].
#' @param shape Integer vector (channel, row, column), the shape of the image in each row. The columns are in R's order
#'   of such an array. `NULL` if the columns are channels.
#' @param penalty Numeric, the weight decay of the optimizer `"adamw"`.
#' @param progress As in [fit()].
#' @param object The result of `fit_parsnip()`.
#' @param newdata Data frame, the predictors, as `x`.
#' @param ... `fit_parsnip()`: options of [fit()]. `predict()`: options of [predict.gequi_fit()].
#' @return `fit_parsnip()`: a list of `fit` (the result of [fit()]), `shape`, `columns` (the names of the predictors)
#'   and `outcomes` (the names of the outcomes). `predict()`: as [predict.gequi_fit()].
#' @section Errors: `gequi_input_error` if `network` is missing, and the errors of [fit()].
#' @keywords internal
#' @export
#' @examples
#' \dontrun{
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' pixels <- as.data.frame(matrix(rnorm(16 * 49), 16))
#' pixels$parity <- factor(rep(c("even", "odd"), 8))
#' spec <- parsnip::mlp("classification", epochs = 2) |>
#'   parsnip::set_engine("gequi", network = network, shape = c(1, 7, 7), seed = 1)
#' fitted <- fit(spec, parity ~ ., pixels)
#' predict(fitted, pixels[1:3, ], type = "prob")
#' }
fit_parsnip <- function(x, y, network = NULL, shape = NULL, penalty = NULL, ..., progress = FALSE) {
  if (is.null(network)) {
    abort_gequi("InputError", paste0(
      "`network` is missing: set_engine(\"gequi\", network = ) takes it, as equivariant_network() makes it."
    ), "network")
  }
  check_model(network, "network")
  options <- list(...)
  check_penalty(penalty, rlang::current_env())
  if (!is.null(penalty)) options$optimizer <- list(optimizer = "adamw", weight_decay = penalty)
  if (is.data.frame(y)) y <- as.matrix(y)
  refuse_table(y, rlang::current_env())
  outcomes <- colnames(y)
  if (is.numeric(y)) y <- matrix(as.numeric(y), NROW(y)) # numbers, whatever their type, are no classes here
  arguments <- list(object = network, x = inputs_of_table(x, shape), y = y, progress = progress)
  fitted <- do.call(fit, c(arguments, options), quote = TRUE)
  structure(list(fit = fitted, shape = shape, columns = names(x), outcomes = outcomes), class = "gequi_parsnip")
}

check_penalty <- function(penalty, call) {
  if (is.null(penalty)) return(invisible())
  number <- is.numeric(penalty) && !is.object(penalty) && length(penalty) == 1
  if (!number || !is.finite(penalty) || penalty < 0) {
    given <- if (number) shown(penalty) else described(penalty)
    abort_gequi("InputError", paste0("`penalty` must be a number of at least 0; got ", given, "."), "penalty", call)
  }
}

#' @rdname fit_parsnip
#' @export
predict.gequi_parsnip <- function(object, newdata, ...) {
  missing <- setdiff(object$columns, names(newdata))
  if (length(missing)) {
    abort_gequi("InputError", paste0("`newdata` has no column `", missing[1], "`, which the network was fitted to."),
                "newdata")
  }
  found <- stats::predict(object$fit, inputs_of_table(newdata[object$columns], object$shape), ...)
  if (length(object$outcomes)) colnames(found) <- object$outcomes
  found
}

#' @export
print.gequi_parsnip <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  print(x$fit)
  invisible(x)
}

# The predictors as a network takes them.
inputs_of_table <- function(x, shape, call = rlang::caller_env()) {
  if (!is.atomic(x) && !is.list(x)) {
    abort_gequi("InputError", paste0("`x` must be a table of the predictors; got ", described(x), "."), "x", call)
  }
  x <- as.data.frame(x)
  if (length(x) == 1 && !is.numeric(x[[1]])) {
    images <- x[[1]]
    return(if (is.list(images)) as_image_batch(unclass(images)) else as.character(images))
  }
  numeric <- vapply(x, is.numeric, NA)
  if (!all(numeric)) {
    abort_gequi("InputError", paste0(
      "The predictors must be columns of numbers, or one column of images; `", names(x)[!numeric][1], "` is neither."
    ), "x", call)
  }
  shaped(as.matrix(x), shape, call)
}

# A matrix with one row per example as an array of examples of a shape.
shaped <- function(values, shape, call) {
  if (is.null(shape)) return(unname(values))
  if (!is.numeric(shape) || anyNA(shape)) {
    message <- paste0("`shape` must be the sizes of an input, such as c(1, 28, 28); got ", described(shape), ".")
    abort_gequi("InputError", message, "shape", call)
  }
  if (prod(shape) != ncol(values)) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`shape` = c(", paste(shape, collapse = ", "), ") is of ", prod(shape), " pixels; there are ", ncol(values),
      " columns."
    ), "shape", call)
  }
  array(values, c(nrow(values), shape))
}

# ---- registration ---------------------------------------------------------------------------------------------------

# Registers the engine with parsnip. Its functions are found by name, so parsnip need not be installed.
register_parsnip_engine <- function() {
  parsnip <- function(name, ...) exported("parsnip", name)(...)
  if ("gequi" %in% parsnip("get_from_env", "mlp")$engine) return(invisible())
  renamed <- c(epochs = "epochs", learn_rate = "learning_rate", penalty = "penalty")
  for (mode in c("classification", "regression")) {
    parsnip("set_model_engine", "mlp", mode, "gequi")
    parsnip("set_dependency", "mlp", "gequi", "gequiR", mode)
    parsnip("set_fit", "mlp", mode, "gequi", list(
      interface = "data.frame", protect = c("x", "y"), func = c(pkg = "gequiR", fun = "fit_parsnip"), defaults = list()
    ))
    parsnip("set_encoding", "mlp", mode, "gequi", list(
      predictor_indicators = "none", compute_intercept = FALSE, remove_intercept = FALSE, allow_sparse_x = FALSE
    ))
  }
  for (name in names(renamed)) {
    tuned <- list(pkg = "dials", fun = name)
    parsnip("set_model_arg", "mlp", "gequi", name, renamed[[name]], tuned, has_submodel = FALSE)
  }
  of_type <- function(mode, type, given, post = NULL) {
    arguments <- list(object = quote(object$fit), newdata = quote(new_data), type = given)
    value <- list(pre = NULL, post = post, func = c(fun = "predict"), args = arguments)
    parsnip("set_pred", "mlp", mode, "gequi", type, value)
  }
  of_type("classification", "class", "class")
  of_type("classification", "prob", "prob", function(x, object) as.data.frame(x))
  of_type("classification", "raw", "raw")
  of_type("regression", "numeric", "raw", function(x, object) if (ncol(x) == 1) c(x) else as.data.frame(x))
  of_type("regression", "raw", "raw")
}
