# Registration of many pairs of images in files.

#' Register many pairs of images in files
#'
#' Registers pairs of images with [register_images()] and writes the results to a folder. `register_folder()` runs on
#' this machine, in one or several processes. `prepare_registration()` writes a job to a folder and returns the commands
#' that run it on a cluster, and `collect_registration()` reads the table of a finished job.
#'
#' The results of a pair are written before the next pair begins. A second call with the same folder registers only the
#' pairs that are missing: those whose images, options or results have changed, or whose process was killed. A pair that
#' fails becomes a row of the table with the error. If a process is killed, the pairs that were being registered are
#' repeated in the same call.
#'
#' @param images The pairs: the path of a folder, or a vector of file paths, whose images are each registered to
#'   `fixed`; or a data frame with one row per pair, or the path of a .csv file. Its columns are `moving` and `fixed`,
#'   the paths; `pair`, the name of the pair, by default that of the moving file; and the options `spacing`,
#'   `moving_spacing`, `transform`, `contrast`, `mirror`, `mask` and `min_probability`. A missing value is replaced by
#'   the argument of this function. Paths in a .csv file are relative to its folder. Images are .npy, .png, .jpg, .tif
#'   and .bmp files. Colors are converted to grayscale.
#' @param folder Character, the path of the folder of the results. For `register_folder()`, it must be empty or contain
#'   earlier results; for `prepare_registration()`, it must be empty, and all machines must have access to it.
#' @param fixed Character, the path of the fixed image of all pairs that do not name one. It is not registered to
#'   itself.
#' @param dimension Integer, 2 for images, 3 for volumes. The pages of a TIFF file are the slices of a volume.
#' @param spacing,moving_spacing,transform,contrast,mirror,mask,min_probability,dtype,device As in [register_images()].
#' @param warped Logical, whether to write the warped images.
#' @param workers Integer, the number of processes on this machine.
#' @param devices Integer, the number of processes on each of `nodes` machines.
#' @param nodes Integer, the number of machines.
#' @param metadata Named list of plain data to store with the job.
#' @param progress Logical, whether to show a progress bar, or a function that is called after each pair with a list of
#'   `done`, `total` (the number of pairs that this call registers) and `seconds_left`. `NULL` shows a bar in
#'   interactive sessions.
#' @return `register_folder()` and `collect_registration()`: a data frame with one row per pair, which is also written
#'   to `registrations.csv`: `pair`, `moving` and `fixed`; `probability`; `rotation` (degrees), `scale` and `mirror` of
#'   the linear part; `similarity_before`, `similarity_after`, `uncertainty` (the median), `folds`, `overlap`, `others`
#'   (the number of other maps that fit almost as well) and `seconds`; `condition` and `message`, the Python class and
#'   the text of the error of a pair that failed; `map`, the path of the map, a NIfTI displacement field that
#'   [read_transform()] reads; and `warped`, the path of the warped image, an array in a .npy file. The file contains
#'   paths relative to the folder. `prepare_registration()`: a list of alternative commands: `torchrun` and `srun`, as
#'   from [prepare_job()], and `sbatch`, which submits an array of SLURM jobs of one process each.
#' @section Errors: `gequi_input_error` for a table without pairs, an unknown column or option, equal names, a folder
#'   that contains something else or cannot be written, or a job that is not finished; `gequi_shape_error` for columns
#'   of different lengths. Errors of a single pair are not signaled.
#' @references See [register_images()]. Processes: loky.
#' @concept cluster
#' @concept metadata
#' @family registration
#' @export
#' @examplesIf gequi_available() && requireNamespace("png", quietly = TRUE)
#' image <- sample_image("cat")[51:114, 151:214]
#' folder <- tempfile()
#' dir.create(folder)
#' png::writePNG(image, file.path(folder, "fixed.png"))
#' png::writePNG(t(image)[64:1, ], file.path(folder, "turned.png"))
#' png::writePNG(matrix(1, 64, 64), file.path(folder, "flat.png"))
#' fixed <- file.path(folder, "fixed.png")
#' table <- register_folder(folder, file.path(folder, "results"), fixed, transform = "rigid")
#' table[c("pair", "probability", "rotation", "condition")]
register_folder <- function(images, folder, fixed = NULL, dimension = 2, spacing = NULL, moving_spacing = NULL,
                            transform = "deformable", contrast = "same", mirror = FALSE, mask = "auto",
                            min_probability = 0.5, warped = TRUE, dtype = "float32", device = "auto", workers = 1,
                            progress = NULL) {
  need_arguments()
  here <- rlang::current_env()
  bar <- reporter(progress, function() count_bar("Registering"), here)
  on.exit(bar$close())
  as_table(call_core(
    "register_folder",
    images = as_pairs(images), folder = as_path(folder), fixed = as_path(fixed), dimension = dimension,
    spacing = spacing, moving_spacing = moving_spacing, transform = transform, contrast = contrast, mirror = mirror,
    mask = mask, min_probability = min_probability, warped = warped, dtype = dtype, device = device, workers = workers,
    progress = bar$report
  ))
}

#' @rdname register_folder
#' @export
prepare_registration <- function(folder, images, fixed = NULL, dimension = 2, spacing = NULL, moving_spacing = NULL,
                                 transform = "deformable", contrast = "same", mirror = FALSE, mask = "auto",
                                 min_probability = 0.5, warped = TRUE, dtype = "float32", device = "auto",
                                 devices = 1, nodes = 1, metadata = NULL) {
  need_arguments()
  call_core(
    "prepare_registration",
    folder = as_path(folder), images = as_pairs(images), fixed = as_path(fixed), dimension = dimension,
    spacing = spacing, moving_spacing = moving_spacing, transform = transform, contrast = contrast, mirror = mirror,
    mask = mask, min_probability = min_probability, warped = warped, dtype = dtype, device = device, devices = devices,
    nodes = nodes, metadata = metadata
  )
}

#' @rdname register_folder
#' @export
collect_registration <- function(folder) {
  need_arguments()
  as_table(call_core("collect_registration", folder = as_path(folder)))
}

# A table of pairs as the core takes it: one list per row, without missing values.
as_pairs <- function(images) {
  if (!is.data.frame(images)) return(as_path(images))
  columns <- lapply(as.list(images), function(column) if (is.factor(column)) as.character(column) else column)
  lapply(seq_len(nrow(images)), function(i) {
    row <- lapply(columns, function(column) column[[i]])
    row[!vapply(row, function(cell) length(cell) == 1 && is.na(cell), NA)]
  })
}
