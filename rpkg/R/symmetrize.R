#' Make any model equivariant by averaging
#'
#' Averages a model over a finite group, or over the frame of each image. Over a group:
#' \deqn{(S f)(x) = \frac{1}{|G|} \sum_g g^{-1} f(g x)}{(S f)(x) = 1 / |G| sum over g of g^-1 f(g x)}
#' The group acts on x by the fields `input` and on f(x) by the fields `output`. With trivial output fields and an
#' output (batch, channel), the result is invariant.
#'
#' The model is called once with the inputs moved by all elements. The symmetry is exact, up to rounding, for the
#' elements that map the pixel grid onto itself, also if the group has others: those interpolate with a cubic spline, as
#' in [transform_field()].
#'
#' For all rotations of the plane, SO(2), or with reflections, O(2), the average runs over the frame of each image: the
#' two rotations (and two reflections) that turn the horizontal axis onto the main direction of its gradients. The
#' result is exactly equivariant, up to rounding, to quarter turns and to the reflections across rows and columns. To
#' other angles it is equivariant up to the interpolation of the image and up to the change of the main direction by
#' this interpolation, which is small for images with a clear main direction. Images must be square.
#'
#' @param model A network, created by [equivariant_network()], or any other model that [equivariance_error()] accepts,
#'   such as an R function from an array (batch, channel, ...) to an array, or the path of a TorchScript or ONNX file.
#' @param space A gspace with a finite group, or with all rotations of the plane, created by [gspace()].
#' @param input The fields of the input, as in [field_type()], such as `c(trivial = 3)` for a color image. `NULL` uses
#'   the names of the fields of a network, and is an error for other models.
#' @param output The fields of the output, such as `c(trivial = 10)` for the scores of 10 classes. `NULL` as for
#'   `input`.
#' @return `symmetrize()`: an object of class `gequi_symmetrized`, for [predict()] and [equivariance_error()]. Functions
#'   compute in float64, networks and modules in their own type. `predict()`: a numeric array whose first axis is the
#'   batch.
#' @section Errors: `gequi_input_error` or `gequi_field_error` if the group is continuous and not that of the plane, or
#'   fields are missing or not those of the model; `gequi_shape_error` from `predict()` if the model does not return the
#'   fields `output`; for SO(2) and O(2), `gequi_input_error` from `predict()` if an image has no main direction, as an
#'   image with the symmetry of a square.
#' @references Puny et al. (2022), Frame averaging for invariant and equivariant network design, arXiv:2110.03336. Basu
#'   et al. (2023), Equi-tuning: group equivariant fine-tuning of pretrained models, arXiv:2210.06475.
#' @seealso [equivariance_error()] measures the symmetry of a model.
#' @concept equivariance test
#' @concept rotation
#' @export
#' @examplesIf gequi_available()
#' space <- gspace("flipRot2dOnR2", N = 4)
#' gray <- c(trivial = 1)
#' shift <- function(x) x[, , , c(5, 1:4), drop = FALSE]^2
#' x <- array(rnorm(25), c(1, 1, 5, 5))
#' equivariance_error(shift, x, space, input = gray, output = gray)
#' model <- symmetrize(shift, space, input = gray, output = gray)
#' equivariance_error(model, x)
#' dim(predict(model, x))
symmetrize <- function(model, space, input = NULL, output = NULL) {
  need_arguments()
  given <- list(model = model, space = space, input = as_fields(input, "input"), output = as_fields(output, "output"))
  python <- call_core_with("symmetrize", given, rlang::current_env())
  do.call(new_handle, c(list("gequi_symmetrized"), given, list(python = python)))
}

make_python.gequi_symmetrized <- function(x, call) {
  call_core_with("symmetrize", unclass(x)[c("model", "space", "input", "output")], call)
}

#' @param object An object from `symmetrize()`.
#' @param x Numeric array, the inputs.
#' @param ... Not used.
#' @param batch_size Integer, the number of examples processed at once, each with all elements of the group. `NULL` is
#'   64.
#' @param newdata Alias of `x`, for consistency with other packages.
#' @param progress As in [predict.gequi_network()].
#' @rdname symmetrize
#' @export
predict.gequi_symmetrized <- function(object, x, ..., batch_size = NULL, newdata = NULL, progress = NULL) {
  refuse_dots(...)
  x <- x_or_newdata(if (!missing(x)) x, newdata)
  predict_wrapped(object, x, batch_size, progress, rlang::current_env())
}

#' @export
format.gequi_symmetrized <- function(x, ...) {
  format_wrapped("symmetrize", x$model, x$space)
}

#' @export
print.gequi_symmetrized <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("symmetrized model", format(x)), "\n", sep = "")
  invisible(x)
}

# ---- models that contain another model -------------------------------------------------------------------------------

# Predicts with a model that contains another one, which may be a model of another package.
predict_wrapped <- function(object, x, batch_size, progress, call) {
  bar <- reporter(progress, function() count_bar("Predicting"), call)
  on.exit(bar$close())
  arguments <- list(model = object, x = as_inputs(x), batch_size = batch_size, progress = bar$report)
  call_core_with("predict", arguments, call)
}

format_wrapped <- function(how, model, space) {
  paste0(how, "(", if (inherits(model, "gequi_handle")) format(model) else described(model), ") on ", format(space))
}
