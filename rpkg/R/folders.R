#' Predictions for a folder of images
#'
#' For more images than fit in memory: they are read a batch at a time, in one process, in several, or on several
#' machines. `prepare_prediction()` writes the work down as a folder and says which command does it on a cluster;
#' `collect_prediction()` fetches what came out. On one machine, `predict_folder(devices = 2)` does all of this at
#' once.
#'
#' Each process takes a part of the files and waits for no other. A line that is run again does what is left.
#'
#' @param model a network or a module; one that [fit()] trained knows its classes.
#' @param images a folder, of which all .npy, .png, .jpg, .tif and .bmp files are taken in the order of their names;
#'   or a character vector of files. All have one size. A picture has one channel (grey) or three, from 0 to 1; a .npy
#'   file holds (channel, row, column), or (row, column) of one channel, as it is.
#' @param type `"raw"`, the output of the network; for classes `"prob"`, their probabilities, or `"class"`, the most
#'   probable one.
#' @param batch_size how many go through at once.
#' @param device `"cpu"`, `"cuda"`, or `"auto"`.
#' @param devices processes on this machine, or on each of `nodes` machines.
#' @param folder an empty folder that all machines see.
#' @param nodes machines.
#' @param metadata a named list of plain data to keep with the job.
#' @return `predict_folder()` and `collect_prediction()`: a list of `files`, their paths, and `output`, in the order
#'   of the files, as [predict.gequi_fit()] returns it for each `type`. `prepare_prediction()`: a list of two
#'   commands, of which one is needed, as of [prepare_job()].
#' @section Errors: `gequi_input_error` for no such folder or a file that cannot be read; `gequi_shape_error` for
#'   images of several sizes, or that do not fit the network, with the name of the file; `gequi_training_error` for a
#'   process that was killed; `gequi_setup_error` for pictures, where the Python package pillow is missing.
#' @family training
#' @export
#' @examplesIf gequi_available() && requireNamespace("png", quietly = TRUE)
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' folder <- tempfile()
#' dir.create(folder)
#' for (i in 1:3) png::writePNG(matrix(i / 4, 5, 5), file.path(folder, paste0(i, ".png")))
#' predict_folder(network, folder, type = "prob")$output
predict_folder <- function(model, images, type = "raw", batch_size = 64, device = "auto", devices = 1) {
  found <- call_core(
    "predict_folder", model = model, images = as_path(images), type = type, batch_size = batch_size,
    device = device, devices = devices
  )
  as_prediction_of_files(found, type, coding_of(model))
}

#' @rdname predict_folder
#' @export
prepare_prediction <- function(folder, model, images, type = "raw", batch_size = 64, device = "auto", devices = 1,
                               nodes = 1, metadata = NULL) {
  call_core(
    "prepare_prediction", folder = as_path(folder), model = model, images = as_path(images), type = type,
    batch_size = batch_size, device = device, devices = devices, nodes = nodes,
    metadata = utils::modifyList(as.list(metadata), coding_as_plain(coding_of(model)))
  )
}

#' @rdname predict_folder
#' @export
collect_prediction <- function(folder) {
  found <- call_core("collect_prediction", folder = as_path(folder))
  job <- call_core("prediction_job", as_path(folder))
  as_prediction_of_files(found, job$type, coding_from_plain(job$metadata))
}

as_prediction_of_files <- function(found, type, coding) {
  list(files = unlist(found$files), output = as_prediction(found$output, type, coding))
}
