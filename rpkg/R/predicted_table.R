# Predictions as tidymodels has them: a column .pred_class, and one for each class or output. `options` are those of the
# core's functions.
predicted_table <- function(object, options, dtype, call = rlang::caller_env()) {
  if (!object$classes) {
    values <- call_core_with("predict", c(options, list(dtype = dtype)), call)
    flat <- as_rows(values)
    names <- if (ncol(flat) == 1) ".pred" else paste0(".pred_", seq_len(ncol(flat)))
    return(as_tibble_like(c(places_of(values), columns_of(flat, names))))
  }
  values <- call_core_with("predict_classes", c(options, list(type = "prob")), call)
  flat <- as_rows(values)
  levels <- if (length(object$levels)) object$levels[seq_len(ncol(flat))] else as.character(seq_len(ncol(flat)))
  class <- factor(levels[max.col(flat, ties.method = "first")], levels)
  as_tibble_like(c(places_of(values), list(.pred_class = class), columns_of(flat, paste0(".pred_", levels))))
}

# An array (batch, channel, ...) as a matrix with a row for each place of each image, images fastest.
as_rows <- function(values) {
  axes <- length(dim(values))
  matrix(aperm(values, c(1, seq_len(axes)[-(1:2)], 2)), ncol = if (axes > 1) dim(values)[2] else 1)
}

columns_of <- function(flat, names) stats::setNames(lapply(seq_len(ncol(flat)), function(k) flat[, k]), names)

# The image and the pixel of each row of as_rows(); nothing, where there is a row for each image.
places_of <- function(values) {
  size <- dim(values)[-2]
  if (length(size) < 2 || all(size[-1] == 1)) return(list())
  as.list(expand.grid(stats::setNames(lapply(size, seq_len), c("image", axis_names(length(size) - 1)))))
}

# A data frame that is a tibble to packages that know tibbles.
as_tibble_like <- function(columns) {
  structure(columns, class = c("tbl_df", "tbl", "data.frame"), row.names = .set_row_names(NROW(columns[[1]])))
}
