# Methods of the generics of broom, ggplot2 and stats for networks, trainings and registrations. tidy() of a
# registration is in registration_decomposition.R.

#' @importFrom generics glance
#' @export
generics::glance

#' @importFrom generics augment
#' @export
generics::augment

# autoplot() is exported without being imported, because loading ggplot2 takes longer than loading all the rest: see
# .onLoad(). Its page is that of the methods.
#' @rawNamespace export(autoplot)
NULL

#' Tidy a network or a training
#'
#' Methods for the generics of the package generics, as in broom. `tidy()` returns one row per component, `glance()` one
#' row in total, and `augment()` the examples with their predictions.
#'
#' @param x A network, a module, or the result of [fit()].
#' @param new_data The inputs, as in [predict.gequi_fit()], including a data frame of files.
#' @param truth The targets of `new_data`, added as the column `.truth`. `NULL` adds no column.
#' @param ... `augment()`: options of [predict.gequi_fit()]. Otherwise not used.
#' @return `tidy()`: for a network, a data frame with one row per layer, as from `as.data.frame()`; for a module, a data
#'   frame with one row per weight array: `term`, `size` and `parameters`.
#'
#'   `glance()`: a data frame with one row: `parameters`; for a network `layers`; for a training `epochs`, the last row
#'   of its history (without `epoch`), and `seconds`, the total time.
#'
#'   `augment()`: the predictions as a table (`type = "tibble"` of [predict.gequi_fit()]), after `.truth` and, if
#'   `new_data` is a data frame, its columns.
#' @section Errors: `augment()`: the errors of [predict.gequi_fit()]. `tidy()` and `glance()` do not fail.
#' @family training
#' @name tidy.gequi_network
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' y <- factor(rep(c("even", "odd"), 8))
#' fitted <- fit(network, x, y, epochs = 1, seed = 1)
#' tidy(fitted)
#' glance(fitted)
#' head(augment(fitted, x, truth = y), 3)
NULL

#' @rdname tidy.gequi_network
#' @export
tidy.gequi_network <- function(x, ...) {
  refuse_dots(...)
  as.data.frame(as.data.frame.gequi_network(x))
}

#' @rdname tidy.gequi_network
#' @export
tidy.gequi_module <- function(x, ...) {
  refuse_dots(...)
  weights <- get_weights(x)
  size <- function(each) if (is.null(dim(each))) length(each) else dim(each)
  data.frame(
    term = names(weights),
    size = vapply(weights, function(each) paste(size(each), collapse = " x "), ""),
    parameters = vapply(weights, length, 0L),
    row.names = NULL
  )
}

#' @rdname tidy.gequi_network
#' @export
glance.gequi_network <- function(x, ...) {
  refuse_dots(...)
  row <- data.frame(parameters = call_core("count_parameters", x))
  if (!is.null(x$layers)) row <- cbind(layers = length(x$layers), row)
  if (!inherits(x, "gequi_fit")) return(row)
  history <- as.data.frame(x$history)
  last <- history[nrow(history), setdiff(names(history), c("epoch", "seconds")), drop = FALSE]
  cbind(row, epochs = nrow(history), last, seconds = sum(history$seconds), row.names = NULL)
}

#' @rdname tidy.gequi_network
#' @export
glance.gequi_module <- glance.gequi_network

#' @rdname tidy.gequi_network
#' @export
augment.gequi_fit <- function(x, new_data, truth = NULL, ...) {
  found <- stats::predict(x, new_data, type = "tibble", ...)
  if (!is.null(truth)) {
    if (NROW(truth) != nrow(found)) {
      abort_gequi(c("ShapeError", "InputError"), paste0(
        "`truth` must be as many targets as there are predictions, ", nrow(found), "; got ", NROW(truth), "."
      ), "truth")
    }
    found <- as_tibble_like(c(list(.truth = truth), unclass(found)))
  }
  if (is.data.frame(new_data)) found <- as_tibble_like(c(unclass(new_data), unclass(found)))
  found
}

# ---- registrations --------------------------------------------------------------------------------------------------

#' Tidy a registration
#'
#' Methods for the generics of the package generics, as in broom. `glance()` summarizes a registration in one row, and
#' `augment()` returns one row per pixel.
#'
#' @param x The result of [register_images()], for one pair or several pairs.
#' @param ... Not used.
#' @return `glance()`: a data frame with one row per pair, as from [summary()]: `probability`, `similarity_before`,
#'   `similarity_after`, `uncertainty` (the median, in pixels of the moving image), `folds`, `overlap`, `others` (the
#'   number of other maps that fit almost as well) and `seconds`.
#'
#'   `augment()`: a data frame with one row per pixel of the fixed image, as from `as.data.frame()`, with the additional
#'   columns `.fixed` and `.warped`, the values of the fixed and the registered image.
#' @section Errors: These methods do not fail.
#' @family registration
#' @name glance.gequi_registration
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' found <- register_images(moving = turned, fixed = image)
#' glance(found)
#' head(augment(found), 3)
NULL

#' @rdname glance.gequi_registration
#' @export
glance.gequi_registration <- function(x, ...) {
  refuse_dots(...)
  table <- as.data.frame(structure(list(x), class = "gequi_registrations"))
  table[setdiff(names(table), c("pair", "error"))]
}

#' @rdname glance.gequi_registration
#' @export
glance.gequi_registrations <- function(x, ...) {
  refuse_dots(...)
  as.data.frame(x)
}

#' @rdname glance.gequi_registration
#' @export
augment.gequi_registration <- function(x, ...) {
  refuse_dots(...)
  cbind(as.data.frame(x), .fixed = c(x$fixed), .warped = c(x$warped))
}

# ---- ggplot2 --------------------------------------------------------------------------------------------------------

#' ggplot2 methods
#'
#' `autoplot()` calls `plot()`. `fortify()`, which [ggplot2::ggplot()] calls, calls `as.data.frame()`.
#'
#' @param object,model An object of this package with a `plot()` or `as.data.frame()` method.
#' @param data Not used.
#' @param ... Arguments of `plot()` or `as.data.frame()`.
#' @return `autoplot()`: a ggplot object, or a list of ggplot objects that is drawn when printed. `fortify()`: a data
#'   frame.
#' @section Errors: The errors of `plot()` and `as.data.frame()` of the object.
#' @family networks
#' @name autoplot.gequi_network
#' @aliases autoplot
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 1), kernel_size = 3)
#' autoplot(network)
NULL

plotted <- function(object, ...) plot(object, ...)

tabulated <- function(model, data, ...) as.data.frame(model, ...)

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_network
autoplot.gequi_network <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_module
autoplot.gequi_module <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_gspace
autoplot.gequi_gspace <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_registration
autoplot.gequi_registration <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_fit
autoplot.gequi_fit <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_history
autoplot.gequi_history <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_equivariance
autoplot.gequi_equivariance <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_local_equivariance
autoplot.gequi_local_equivariance <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_trace
autoplot.gequi_trace <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_registrations
autoplot.gequi_registrations <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_inverse_function
autoplot.gequi_inverse_function <- plotted

#' @rdname autoplot.gequi_network
#' @exportS3Method ggplot2::autoplot gequi_inverted_input
autoplot.gequi_inverted_input <- plotted

#' @rdname autoplot.gequi_network
#' @method fortify gequi_handle
#' @exportS3Method ggplot2::fortify gequi_handle
fortify.gequi_handle <- tabulated

#' @rdname autoplot.gequi_network
#' @method fortify gequi_registrations
#' @exportS3Method ggplot2::fortify gequi_registrations
fortify.gequi_registrations <- tabulated

#' @rdname autoplot.gequi_network
#' @method fortify gequi_inverted_input
#' @exportS3Method ggplot2::fortify gequi_inverted_input
fortify.gequi_inverted_input <- tabulated

#' @rdname autoplot.gequi_network
#' @method fortify gequi_fit
#' @exportS3Method ggplot2::fortify gequi_fit
fortify.gequi_fit <- function(model, data, ...) as.data.frame(model$history)

# ---- stats ----------------------------------------------------------------------------------------------------------

#' Extract coefficients, or refit with other options
#'
#' `coef()` returns the weights of a network or the linear part of a registration. `update()` creates the object again
#' with other options.
#'
#' @param object A network, a module, or the result of [register_images()] for one pair.
#' @param ... `update()`: named options: `space`, `input`, `layers`, `seed` or `dtype` for a network, the arguments of
#'   its function for a module, and the arguments of [register_images()] for a registration. `coef()`: not used.
#' @return `coef()`: for a network, the result of [get_weights()]; for a registration, `affine` with row and column
#'   names. `update()`: a network with newly initialized weights, or a new registration of the same images. A
#'   registration keeps its options (`transform`, `contrast`, `interpolation`, `fill` and the spacings) unless others
#'   are given.
#' @section Errors: `gequi_input_error` for an unknown option, and for `update()` of the result of [fit()], which does
#'   not store its examples.
#' @family networks
#' @name coef.gequi_network
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 1), kernel_size = 3)
#' coef(network)
#' update(network, seed = 2)
NULL

#' @rdname coef.gequi_network
#' @export
coef.gequi_network <- function(object, ...) {
  refuse_dots(...)
  get_weights(object)
}

#' @rdname coef.gequi_network
#' @export
coef.gequi_module <- coef.gequi_network

#' @rdname coef.gequi_network
#' @export
coef.gequi_registration <- function(object, ...) {
  refuse_dots(...)
  axes <- axis_names(axes_of(object))
  structure(object$affine, dimnames = list(axes, c(axes, "shift")))
}

#' @importFrom stats update
#' @rdname coef.gequi_network
#' @export
update.gequi_network <- function(object, ...) {
  given <- check_update(list(...), names(recipe_of(object)))
  recipe <- recipe_of(object)
  recipe[names(given)] <- given
  do.call(equivariant_network, recipe)
}

#' @rdname coef.gequi_network
#' @export
update.gequi_module <- function(object, ...) {
  arguments <- object$arguments
  given <- check_update(list(...), names(arguments))
  arguments[names(given)] <- given
  new_module(object$factory, arguments)
}

#' @rdname coef.gequi_network
#' @export
update.gequi_fit <- function(object, ...) {
  abort_gequi("InputError", paste0(
    "`object` is a training, which does not keep its examples: fit(object, x, y, ...) goes on with it, and ",
    "update() of the network that was fitted changes its options."
  ), "object")
}

#' @rdname coef.gequi_network
#' @export
update.gequi_registration <- function(object, ...) {
  kept <- c("spacing", "moving_spacing", "transform", "contrast", "interpolation", "fill")
  given <- check_update(list(...), setdiff(names(formals(register_images)), c("moving", "fixed")))
  options <- unclass(object)[setdiff(kept, names(given))]
  do.call(register_images, c(list(moving = object$moving, fixed = object$fixed), options, given))
}

check_update <- function(given, known, call = rlang::caller_env()) {
  unknown <- setdiff(rlang::names2(given), known)
  if (!length(unknown)) return(given)
  abort_gequi("InputError", paste0(
    if (nzchar(unknown[1])) paste0("There is no option `", unknown[1], "`") else "Options must be given by name",
    "; the options are ", paste(known, collapse = ", "), "."
  ), unknown[1], call)
}
