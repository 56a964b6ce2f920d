#' Predict the images of a folder
#'
#' Predicts images that do not fit in memory. Images are read batch by batch, in one or several processes or on several
#' machines. `predict_folder()` runs on this machine. `prepare_prediction()` writes a job to a folder and returns the
#' command that runs it on a cluster, and `collect_prediction()` reads the results.
#'
#' Each process handles a part of the files independently of the others. Running a command again processes the files
#' that are not finished.
#'
#' @param model A network or a module. A network trained with [fit()] includes its classes.
#' @param images Character, the path of a folder, whose .npy, .png, .jpg, .tif and .bmp files are used in alphabetical
#'   order, or a vector of file paths. All images must have the same size. Pictures have one (grayscale) or three
#'   channels with values from 0 to 1. A .npy file contains an array (channel, row, column) or (row, column), which is
#'   used unchanged.
#' @param type Character, `"raw"` for the output of the network, `"prob"` for class probabilities or `"class"` for the
#'   most probable class.
#' @param batch_size Integer, the number of images processed at once.
#' @param device Character, `"cpu"`, `"cuda"` (GPU) or `"auto"`.
#' @param devices Integer, the number of processes on this machine, or on each of `nodes` machines.
#' @param folder Character, the path of an empty folder that all machines can access.
#' @param nodes Integer, the number of machines.
#' @param metadata Named list of plain data to store with the job.
#' @return `predict_folder()` and `collect_prediction()`: a list of `files` (the paths) and `output`, in the order of
#'   the files and in the form that [predict.gequi_fit()] returns for `type`. `prepare_prediction()`: a list of two
#'   alternative commands, as from [prepare_job()].
#' @section Errors: `gequi_input_error` if the folder does not exist or a file cannot be read; `gequi_shape_error` if
#'   images differ in size or do not match the network (the message names the file); `gequi_training_error` if a process
#'   was killed; `gequi_setup_error` if the Python package pillow is missing, which pictures require.
#' @concept GPU
#' @concept classification
#' @concept segmentation
#' @concept metadata
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
