# Predictions in the form of tidymodels: a column .pred_class, and one column per class or output. `options` are those
# of the functions of the core.
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

# Converts an array (batch, channel, ...) to a matrix with one row per position of each image; images vary fastest.
as_rows <- function(values) {
  axes <- length(dim(values))
  matrix(aperm(values, c(1, seq_len(axes)[-(1:2)], 2)), ncol = if (axes > 1) dim(values)[2] else 1)
}

columns_of <- function(flat, names) stats::setNames(lapply(seq_len(ncol(flat)), function(k) flat[, k]), names)

# The image and the pixel of each row of as_rows(); NULL if there is one row per image.
places_of <- function(values) {
  size <- dim(values)[-2]
  if (length(size) < 2 || all(size[-1] == 1)) return(list())
  as.list(expand.grid(stats::setNames(lapply(size, seq_len), c("image", axis_names(length(size) - 1)))))
}

# A data frame that is a tibble for packages that use tibbles.
as_tibble_like <- function(columns) {
  structure(columns, class = c("tbl_df", "tbl", "data.frame"), row.names = .set_row_names(NROW(columns[[1]])))
}
