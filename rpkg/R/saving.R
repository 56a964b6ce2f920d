#' Save and load models
#'
#' One file holds the recipe of a network, or of a module, as text and its weights as numbers. No code is in it, and
#' none is run when it is opened. Python's `gequi.load_model()` reads it, and R reads what Python saved: the
#' predictions are equal to the bit. It is written under another name and then renamed, so `path` never holds half a
#' model.
#'
#' [saveRDS()], [save()] and [save.image()] keep models too, with the weights that [fit()] or [set_weights()] gave
#' them; the file is then one for R alone.
#'
#' @param model a network, from [equivariant_network()] or [fit()], or a module such as [unet()].
#' @param path the file; one that exists is replaced.
#' @param metadata a named list of plain data to keep beside the model. The classes and the history of a network that
#'   was fitted are kept there in any case.
#' @return `save_model()`: the path, invisibly. `load_model()`: the model, with its history and its classes where it
#'   was fitted. Checkpoints of [fit()] are model files too.
#' @section Errors: `gequi_model_file_error` for a file that is not there, damaged, foreign, from a newer gequi, or
#'   whose weights do not fit its recipe or the filter bases of this machine; `gequi_input_error` for a path that
#'   cannot be written to.
#' @seealso [marshal()], for the same in memory; [export_model()], for other programs.
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

#' A model as raw bytes
#'
#' The model as bytes that can be stored in a database, put into a queue or sent to another process.
#' The bytes are those of the file that [save_model()] writes; no code is in them.
#'
#' A model lives partly in Python, and that part does not outlive its R session. What R keeps of it, the recipe and
#' the weights, does: [saveRDS()], and packages that send objects to workers, need no `marshal()`. It is needed where
#' weights were changed in Python, through [reticulate::r_to_py()], of which R does not know.
#'
#' @param model a network or a module.
#' @param data what `marshal()` returned.
#' @return `marshal()`: a raw vector. `unmarshal()`: the model, with its history and its classes where it was fitted.
#' @section Errors: `gequi_input_error` for what is no model, or weights that are not finite; `gequi_model_file_error`
#'   for bytes that are not those of a model.
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

# What is kept beside a model: of one that was fitted, its history and its classes.
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

# The R object of a model that was saved, and of what was kept beside it.
saved_model <- function(read, call = rlang::caller_env()) {
  metadata <- read$metadata
  model <- as_model(read$handle, call_core("get_weights", read$handle, .call = call), call)
  if (is.null(metadata$classes)) return(model)
  history <- if (length(metadata$history)) as_history(metadata$history)
  as_fit(model, history, metadata$classes, coding_from_plain(metadata), metadata$fit_seed)
}

as_path <- function(path) if (is.character(path)) path.expand(path) else path
