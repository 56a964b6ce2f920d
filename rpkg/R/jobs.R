#' Train on a cluster
#'
#' `prepare_job()` writes a training job to a folder and returns the command that runs it on a cluster. `collect_job()`
#' reads the trained network when the job is complete. On a single machine, `fit(devices = 2)` does both.
#'
#' @param folder Character, the path of an empty folder that all machines can access.
#' @param model A network, created by [equivariant_network()], or a module such as [unet()].
#' @param x,y The inputs and targets, as in [fit()]. For a .npy file, the job stores the path, not the contents.
#' @param metadata Named list of plain data to store with the job.
#' @param ... Options of [fit()], except `progress` and `callbacks`. `devices` is the number of processes on each of
#'   `nodes` machines.
#' @return `prepare_job()`: a list of two alternative commands. `torchrun` is run on each machine, with FIRST_MACHINE
#'   replaced by the name of the first machine. `srun` is used in a SLURM batch script. `collect_job()`: the network, as
#'   returned by [fit()].
#' @inheritSection fit.gequi_network Errors
#' @concept GPU
#' @concept metadata
#' @concept cluster
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
  check_model(model)
  python <- copy_of(model)
  history <- call_core("collect_job", folder = as_path(folder), model = python)
  metadata <- call_core("job_metadata", as_path(folder))
  trained <- trained_from(model, call_core("get_weights", python), python)
  as_fit(trained, as_history(history), isTRUE(metadata$classes), coding_from_plain(metadata))
}
