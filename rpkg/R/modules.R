# Modules of torch other than equivariant networks. R stores the plain data from which they are created.

# Creates a module with a factory of the core. The core attaches its recipe: the name of the factory and the arguments
# with a seed, from which the module can be created again.
#
# factory     name of the function of the core
# arguments   its arguments
new_module <- function(factory, arguments, call = rlang::caller_env()) {
  as_model(call_core_with(factory, arguments, call), call = call)
}

# The data that R stores of a Python model: the recipe of a network, or the factory and arguments of another module.
#
# python      the model
# weights     weights that differ from those of the seed
as_model <- function(python, weights = NULL, call = rlang::caller_env()) {
  recipe <- call_core("recipe_of_model", python, .call = call)
  if (!is.null(recipe$factory)) {
    class <- if (recipe$factory %in% c("multi_head_attention", "visual_attention")) "gequi_attention"
    return(new_handle(
      c(class, "gequi_module"),
      factory = recipe$factory, arguments = recipe$arguments, weights = weights, python = python
    ))
  }
  recipe$space <- do.call(gspace, recipe$space)
  recipe$layers <- as_layers(recipe$layers)
  new_network(recipe, weights, python, call)
}

make_python.gequi_module <- function(x, call) {
  if (isTRUE(x$handle$changed)) {
    abort_gequi("SetupError", c(
      "The weights of this module are lost: they lived in a Python session that has ended.",
      i = "Weights that were changed in Python are not saved with an R object. Make the module anew, or keep",
      " " = "get_weights(module) beside it and put them back with set_weights()."
    ), call = call)
  }
  python <- call_core_with(x$factory, x$arguments, call)
  if (length(x$weights)) call_core("set_weights", python, x$weights, .call = call)
  python
}

# The same module with other weights.
with_weights <- function(module, weights, call = rlang::caller_env()) {
  kept <- kept_weights(module)
  kept[names(weights)] <- weights
  class <- setdiff(class(module), c("gequi_fit", "gequi_handle"))
  made <- new_handle(class, factory = module$factory, arguments = module$arguments, weights = kept)
  tryCatch(made$handle$python <- make_python(made, call), gequi_error = function(error) {
    call_core("set_weights", model = module, weights = weights, .call = call) # names the weight as it was given
    rlang::cnd_signal(error)
  })
  made
}

#' Predict with a module
#'
#' Runs a module on a batch of inputs, in evaluation mode and without gradients.
#'
#' @param object A module, created by [image_classifier_mlp()], [identity_resnet()] or [unet()].
#' @param x Numeric array whose first axis is the batch.
#' @param ... Further numeric arrays, for modules with several inputs.
#' @param batch_size Integer, the number of examples processed at once. `NULL` is 64.
#' @param newdata Alias of `x`, for consistency with other packages.
#' @param progress As in [predict.gequi_network()].
#' @return A numeric array whose first axis is the batch.
#' @section Errors: `gequi_input_error` for values that are not finite; `gequi_shape_error` for shapes that do not
#'   match.
#' @family architectures
#' @export
#' @examplesIf gequi_available()
#' model <- unet(levels = 2, width = 4, seed = 1)
#' dim(predict(model, array(0, c(1, 1, 16, 24))))
predict.gequi_module <- function(object, x, ..., batch_size = NULL, newdata = NULL, progress = NULL) {
  x <- as_inputs(x_or_newdata(if (!missing(x)) x, newdata))
  rlang::check_dots_unnamed() # a misspelt option is no array
  call <- rlang::current_env()
  more <- lapply(list(...), to_python, "...", call)
  bar <- reporter(progress, function() count_bar("Predicting"), call)
  on.exit(bar$close())
  options <- list(batch_size = batch_size, progress = bar$report)
  call_core_with("predict", c(list(object, to_python(x, "x", call)), more, options), call)
}

#' @export
format.gequi_module <- function(x, ...) {
  given <- Filter(Negate(is.null), x$arguments)
  shown <- vapply(given, function(each) {
    if (is.numeric(each)) each <- as.numeric(each) # as one writes it: without an L
    paste(deparse(each, width.cutoff = 500), collapse = "")
  }, "")
  paste0(x$factory, "(", paste0(names(given), " = ", shown, collapse = ", "), ")")
}

#' @export
print.gequi_module <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("module", format(x)), "\n", sep = "")
  if (is_alive(x) || !isTRUE(x$handle$changed)) {
    count <- call_core("count_parameters", x)
    cat(cli::col_grey(paste0(big_number(count), " parameters")), "\n", sep = "")
  }
  invisible(x)
}

#' @export
as.data.frame.gequi_module <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  tidy(x)
}

#' @export
summary.gequi_module <- function(object, ...) {
  refuse_dots(...)
  structure(list(module = object, table = tidy(object)), class = "summary.gequi_module")
}

#' @export
print.summary.gequi_module <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  print(x$module)
  print_table(x$table)
  invisible(x)
}
