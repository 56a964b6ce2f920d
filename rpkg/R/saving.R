#' Save and load a model
#'
#' `save_model()` writes the definition and the weights of a network or module to a file. `load_model()` reads the file.
#' The file contains text and numbers but no code, so loading it does not execute code. Files can be exchanged with
#' `gequi.load_model()` and `gequi.save_model()` in Python; predictions are identical. The file is written under a
#' temporary name and then renamed, so that `path` never contains an incomplete model.
#'
#' [saveRDS()], [save()] and [save.image()] also store models, including trained weights. Python cannot read these
#' files.
#'
#' A loaded model computes the same on every machine. The filter bases of files from early versions of gequiR depend on
#' the machine on which they were saved. `load_model()` converts such a file there; saved again, it can be loaded
#' everywhere.
#'
#' # Other R processes
#'
#' Models can be sent to the workers of [parallel::makePSOCKcluster()], `callr::r()` and `future::multisession`, and
#' stored in the cache of a knitr chunk. The worker loads gequiR when it receives a model, starts its own Python and
#' computes the same predictions. Code that calls functions of gequiR by name also needs `library(gequiR)` in the
#' worker. Call `future::future()` with `seed = TRUE`: starting Python initializes R's random number generator, which
#' future reports otherwise. Forked processes, such as those of `parallel::mclapply()`, are not supported and signal an
#' error.
#'
#' @param model A network, created by [equivariant_network()] or [fit()], or a module such as [unet()].
#' @param path Character, the path of the file. An existing file is replaced.
#' @param metadata Named list of plain data to store with the model. The classes and the history of a trained network
#'   are always stored.
#' @return `save_model()`: the path, invisibly. `load_model()`: the model, with the history and classes of a trained
#'   network. It also reads the checkpoints of [fit()].
#' @section Errors: `gequi_model_file_error` if the file does not exist, is damaged, is not a model file, was written by
#'   a newer version of gequi, or contains weights that do not match its definition or the filter bases of this machine;
#'   `gequi_input_error` if the path cannot be written.
#' @seealso [marshal()], for the same in memory; [export_model()], for other programs.
#' @concept metadata
#' @concept serialization
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 3), kernel_size = 3)
#' file <- tempfile(fileext = ".gequi")
#' save_model(network, file)
#' all.equal(predict(load_model(file), volcano), predict(network, volcano))
save_model <- function(model, path, metadata = NULL) {
  need_arguments()
  check_model(model)
  invisible(call_core("save_model", model = model, path = as_path(path), metadata = metadata_of(model, metadata)))
}

#' @rdname save_model
#' @export
load_model <- function(path) {
  need_arguments()
  path <- as_path(path)
  saved_model(call_core("read_model_file", path = path))
}

#' Convert a model to raw bytes
#'
#' `marshal()` converts a model to a raw vector, which can be stored in a database, put in a queue or sent to another
#' process. `unmarshal()` restores the model. The bytes are those of the file that [save_model()] writes and contain no
#' code.
#'
#' The Python part of a model exists only in its R session. R stores the definition and the weights, so [saveRDS()] and
#' packages that send objects to workers do not need `marshal()`. It is needed if weights were changed in Python through
#' [reticulate::r_to_py()].
#'
#' @param model A network or a module.
#' @param data Raw vector, the result of `marshal()`.
#' @return `marshal()`: a raw vector. `unmarshal()`: the model, with the history and classes of a trained network.
#' @section Errors: `gequi_input_error` if `model` is not a model or its weights are not finite;
#'   `gequi_model_file_error` if `data` is not a marshaled model.
#' @concept serialization
#' @family training
#' @export
#' @examplesIf gequi_available()
#' module <- multi_head_attention(4, heads = 2, seed = 1)
#' data <- marshal(module)
#' x <- array(rnorm(12), c(1, 3, 4))
#' identical(predict(unmarshal(data), x, x), predict(module, x, x))
marshal <- function(model) {
  need_arguments()
  check_model(model)
  as.raw(call_core("model_to_bytes", model = model, metadata = metadata_of(model)))
}

#' @rdname marshal
#' @export
unmarshal <- function(data) {
  need_arguments()
  if (!is.raw(data)) {
    message <- paste0("`data` must be a raw vector, as marshal() makes it; got ", described(data), ".")
    abort_gequi("InputError", message, "data", rlang::current_env())
  }
  saved_model(call_core("read_model_bytes", data = data, name = "`data`"))
}

# Data that are stored with a model: for a trained model, its history and its classes.
metadata_of <- function(model, metadata = NULL) {
  if (!inherits(model, "gequi_fit")) return(metadata)
  rows <- lapply(seq_len(NROW(model$history)), function(i) {
    row <- as.list(as.data.frame(model$history)[i, ])
    row[!vapply(row, is.na, NA)]
  })
  fitted <- list(history = rows, classes = model$classes, fit_seed = model$fit_seed)
  fitted <- c(fitted, coding_as_plain(coding_of(model)))
  utils::modifyList(as.list(metadata), fitted)
}

# Creates the R object of a saved model and of the data that were stored with it.
saved_model <- function(read, call = rlang::caller_env()) {
  metadata <- read$metadata
  model <- as_model(read$handle, call_core("get_weights", read$handle, .call = call), call)
  if (is.null(metadata$classes)) return(model)
  history <- if (length(metadata$history)) as_history(metadata$history)
  as_fit(model, history, metadata$classes, coding_from_plain(metadata), metadata$fit_seed)
}

as_path <- function(path) if (is.character(path)) path.expand(path) else path
