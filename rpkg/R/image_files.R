#' Data sets of image files
#'
#' Creates a data set of image files for [fit()], [evaluate()] and [predict()], which read the images batch by batch.
#' Data sets may be larger than the memory, and images may differ in size. These functions also accept a folder or data
#' frame directly; call `image_files()` to resize images.
#'
#' @param x One of: a folder with one subfolder per class, named after the class; a folder of images without classes;
#'   file paths; or a data frame with the column `path`, `file` or `image` and, for classes, the column `label`, `class`
#'   or `y`. Files must end in .npy, .png, .jpg, .tif or .bmp.
#' @param labels Factor or character vector, the class of each file. `NULL` for images without classes.
#' @param size Integer vector (rows, columns) or one integer, the size to which images are resized. `NULL` if all images
#'   have the same size.
#' @param resize Character, `"stretch"` scales each axis independently; `"crop"` scales the image to cover `size` and
#'   crops the center; `"pad"` scales the image to fit into `size` and pads with 0. Images are scaled with linear
#'   interpolation, and averaged when they are reduced.
#' @param channels Integer, 1 (grayscale: 0.299 red + 0.587 green + 0.114 blue) or 3 (color). `NULL` uses the number of
#'   channels of the first image.
#' @return An object of class `gequi_image_files`: a list of `files`, `labels` (a factor, or `NULL`), `shape` (image,
#'   channel, row, column), `size`, `resize` and `channels`. `as.data.frame()` returns the files and labels.
#' @section Errors: `gequi_input_error` if the folder does not exist, contains no images, or a file cannot be read (when
#'   it is read); `gequi_shape_error` if the number of labels does not match, or if images differ in size and `size` is
#'   `NULL`; `gequi_setup_error` if the Python package pillow is missing, which pictures require.
#' @concept classification
#' @concept grayscale
#' @family training
#' @export
#' @examplesIf gequi_available()
#' folder <- tempfile()
#' for (class in c("dark", "bright")) dir.create(file.path(folder, class), recursive = TRUE)
#' for (i in 1:4) {
#'   write_image(matrix(runif(54) / 2, 6), file.path(folder, "dark", paste0(i, ".png")))
#'   write_image(matrix(1 - runif(64) / 2, 8), file.path(folder, "bright", paste0(i, ".png")))
#' }
#' images <- image_files(folder, size = 8)
#' images
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' fitted <- fit(network, images, epochs = 60, learning_rate = 0.1, seed = 1)
#' evaluate(fitted, images, by = "confusion")
image_files <- function(x, labels = NULL, size = NULL, resize = "stretch", channels = NULL) {
  need_arguments()
  here <- rlang::current_env()
  if (is.data.frame(x)) {
    if (is.null(labels)) labels <- column_of(x, c("label", "class", "y"))
    x <- files_of_table(x, here)
  }
  x <- as_path(if (is.factor(x)) as.character(x) else x)
  one <- rlang::is_string(x)
  given <- list(
    x = if (one && !dir.exists(x)) list(x) else if (one) x else as.list(x), labels = as_class_names(labels, here),
    size = size, resize = resize, channels = channels
  )
  python <- call_core_with("image_files", given, here)
  told <- call_core("describe_image_files", python)
  known <- if (is.factor(labels)) levels(labels) else unlist(told$classes)
  new_handle(
    "gequi_image_files", files = unlist(told$files),
    labels = if (length(told$labels)) factor(unlist(told$labels), known), shape = as.integer(unlist(told$shape)),
    size = size, resize = resize, channels = channels, python = python
  )
}

files_of_table <- function(x, call) {
  files <- column_of(x, c("path", "file", "image"))
  if (!is.null(files)) return(files)
  abort_gequi("InputError", paste0(
    "`x`, a data frame, must have a column `path`, `file` or `image` with the names of files; it has the columns ",
    paste(utils::head(names(x), 6), collapse = ", "), "."
  ), "x", call)
}

as_class_names <- function(labels, call) {
  if (is.null(labels)) return(NULL)
  if (!is.atomic(labels) && !is.list(labels)) {
    message <- paste0("`labels` must be names of classes, one for each file; got ", described(labels), ".")
    abort_gequi("InputError", message, "labels", call)
  }
  if (anyNA(labels)) abort_gequi("InputError", "`labels` must not be NA: leave those files out.", "labels", call)
  as.list(as.character(labels))
}

column_of <- function(table, names) {
  found <- intersect(names, names(table))
  if (length(found)) table[[found[1]]]
}

make_python.gequi_image_files <- function(x, call) {
  call_core(
    "image_files", x = as.list(x$files), labels = if (!is.null(x$labels)) as.list(as.character(x$labels)),
    size = x$size, resize = x$resize, channels = x$channels, .call = call
  )
}

#' @export
format.gequi_image_files <- function(x, ...) {
  paste0(
    length(x$files), " images of ", paste(x$shape[3:4], collapse = " x "), " pixels, ", x$shape[2],
    if (x$shape[2] == 1) " channel" else " channels"
  )
}

#' @export
print.gequi_image_files <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("image files", format(x)), "\n", sep = "")
  if (!is.null(x$labels)) {
    count <- table(x$labels)
    cat(cli::col_grey(paste0("classes: ", paste0(names(count), " (", count, ")", collapse = ", "))), "\n", sep = "")
  }
  invisible(x)
}

#' @export
as.data.frame.gequi_image_files <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  table <- data.frame(path = x$files)
  if (!is.null(x$labels)) table$label <- x$labels
  table
}

#' @export
`[.gequi_image_files` <- function(x, i) {
  image_files(x$files[i], if (!is.null(x$labels)) x$labels[i], x$size, x$resize, x$channels)
}

#' @export
length.gequi_image_files <- function(x) length(unclass(x)$files)

# Inputs of fit(), evaluate() and predict(): a folder, several files or a data frame of them are images in files.
as_inputs <- function(x) {
  several <- is.character(x) && is.null(dim(x)) && (length(x) > 1 || (length(x) == 1 && !is.na(x) && dir.exists(x)))
  picture <- rlang::is_string(x) && grepl("[.](png|jpe?g|tiff?|bmp)$", x, ignore.case = TRUE)
  if (several || picture || is.data.frame(x)) image_files(x) else x
}

# The targets that the inputs contain, if none are given.
targets_of_inputs <- function(x, y) if (is.null(y) && inherits(x, "gequi_image_files")) x$labels else y
