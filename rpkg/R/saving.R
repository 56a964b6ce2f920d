#' Save and load networks
#'
#' One file holds the recipe of a network as text and its weights as numbers. No code is in it, and none is run when it
#' is opened. Python's `gequi.load_model()` reads it, and R reads what Python saved: the predictions are equal to the
#' bit. It is written under another name and then renamed, so `path` never holds half a model.
#'
#' [saveRDS()] and [save.image()] keep networks too, with the weights that [fit()] or [set_weights()] gave them; the
#' file is then one for R alone.
#'
#' @param model a network, from [equivariant_network()] or [fit()].
#' @param path the file; one that exists is replaced.
#' @param about a named list of plain data to keep beside the model. The classes and the history of a network that was
#'   fitted are kept there in any case.
#' @return `save_model()`: the path, invisibly. `load_model()`: the network, with its history and its classes where it
#'   was fitted. Checkpoints of [fit()] are model files too.
#' @section Errors: `gequi_model_file_error` for a file that is not there, damaged, foreign, from a newer gequi, or
#'   whose weights do not fit its recipe or the filter bases of this machine; `gequi_input_error` for a path that
#'   cannot be written to.
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 3), kernel_size = 3)
#' file <- tempfile(fileext = ".gequi")
#' save_model(network, file)
#' all.equal(predict(load_model(file), volcano), predict(network, volcano))
save_model <- function(model, path, about = NULL) {
  check_network(model, argument = "model")
  if (inherits(model, "gequi_fit")) {
    rows <- lapply(seq_len(NROW(model$history)), function(i) {
      row <- as.list(as.data.frame(model$history)[i, ])
      row[!vapply(row, is.na, NA)]
    })
    fitted <- list(history = rows, classes = model$classes, levels = as.list(model$levels))
    about <- utils::modifyList(as.list(about), fitted)
  }
  invisible(call_core("save_model", model = model, path = as_path(path), about = about))
}

#' @rdname save_model
#' @export
load_model <- function(path) {
  path <- as_path(path)
  python <- call_core("load_model", path = path)
  told <- call_core("saving.describe_model_file", path = path)
  network <- network_of(python, told$recipe)
  if (is.null(told$about$classes)) return(network)
  history <- if (length(told$about$history)) as_history(told$about$history)
  as_fit(network, history, told$about$classes, unlist(told$about$levels))
}

# The R object of a network that Python made by a recipe.
network_of <- function(python, recipe) {
  recipe$space <- do.call(gspace, recipe$space)
  recipe$layers <- as_layers(recipe$layers)
  new_network(recipe, call_core("get_weights", python), python)
}

as_path <- function(path) if (is.character(path)) path.expand(path) else path
