#' Train on several machines
#'
#' `prepare_job()` writes a training down as a folder, and says which command does it on a cluster. `collect_job()`
#' fetches the network when it is done. On one machine, `fit(devices = 2)` does all of this at once.
#'
#' @param folder an empty folder that all machines see.
#' @param model a network, from [equivariant_network()], or a module such as [unet()].
#' @param x,y inputs and targets, as in [fit()]. The path of a .npy file is passed on, not its contents.
#' @param metadata a named list of plain data to keep with the job.
#' @param ... options of [fit()], apart from `progress` and `callbacks`; `devices` are the processes on each of `nodes`
#'   machines.
#' @return `prepare_job()`: a list of two commands, of which one is needed: `torchrun`, for each machine, with the name
#'   of the first in place of FIRST_MACHINE; `srun`, for a batch script of SLURM. `collect_job()`: the network, as
#'   [fit()] returns it.
#' @inheritSection fit.gequi_network Errors
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' folder <- tempfile("job")
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' y <- factor(rep(c("even", "odd"), 8))
#' prepare_job(folder, network, x, y, nodes = 2, devices = 4, epochs = 3)$srun
prepare_job <- function(folder, model, x, y = NULL, metadata = NULL, ...) {
  need_arguments()
  here <- rlang::current_env()
  x <- as_inputs(x)
  targets <- read_targets(model, x, targets_of_inputs(x, y), list(...)$loss, list(...)$ignore, call = here)
  options <- core_options(list(...), targets)
  fitted <- c(list(classes = targets$classes), coding_as_plain(targets$coding()))
  metadata <- utils::modifyList(as.list(metadata), fitted)
  given <- list(folder = as_path(folder), model = model, x = targets$x, y = targets$y, metadata = metadata)
  call_core_with("prepare_job", c(given, options), here)
}

#' @rdname prepare_job
#' @export
collect_job <- function(folder, model) {
  need_arguments()
  python <- copy_of(model)
  history <- call_core("collect_job", folder = as_path(folder), model = python)
  metadata <- call_core("job_metadata", as_path(folder))
  trained <- trained_from(model, call_core("get_weights", python), python)
  as_fit(trained, as_history(history), isTRUE(metadata$classes), coding_from_plain(metadata))
}
