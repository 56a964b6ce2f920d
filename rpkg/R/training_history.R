# The history of a training: a data frame that prints and draws itself.

as_history <- function(rows) {
  keys <- unique(unlist(lapply(rows, names)))
  full <- lapply(rows, function(row) stats::setNames(row[keys], keys)) # an interrupted epoch knows less
  table <- as_table(full)
  class(table) <- c("gequi_history", class(table))
  table
}

#' @export
print.gequi_history <- function(x, ..., n = 12) {
  refuse_dots(..., .also = of_print)
  shown <- as.data.frame(x)
  if (!nrow(shown) || !"epoch" %in% names(shown)) return(NextMethod()) # a part of a history
  stopped <- shown$stopped[nrow(shown)]
  left_out <- nrow(shown) - n
  if (left_out > 0) {
    cat(cli::col_grey(paste0("  ", left_out, " earlier epochs ...")), "\n", sep = "")
    shown <- shown[-seq_len(left_out), , drop = FALSE]
  }
  shown$stopped <- NULL
  numbers <- names(shown)[vapply(shown, is.numeric, NA) & names(shown) != "epoch"]
  shown[numbers] <- lapply(shown[numbers], function(column) {
    text <- formatC(as.numeric(column), digits = 3, format = "g", flag = "#")
    ifelse(is.na(column), "", sub("\\.$", "", text))
  })
  print_table(shown, right = numbers)
  reasons <- c(
    interrupt = "stopped by an interrupt", callback = "stopped by a callback",
    patience = "stopped by `patience`: the best weights were taken"
  )
  if (length(stopped) && nzchar(stopped)) cat(cli::col_grey(reasons[[stopped]]), "\n", sep = "")
  invisible(x)
}

#' @export
as.data.frame.gequi_history <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  class(x) <- "data.frame"
  x
}

#' @export
plot.gequi_history <- function(x, ...) {
  refuse_dots(...)
  table <- as.data.frame(x)
  if (!nrow(table) || !"epoch" %in% names(table)) {
    abort_gequi("InputError", "`x` has no epochs to draw: it must be a history with the column `epoch`.", "x")
  }
  measures <- setdiff(names(table), c("epoch", "learning_rate", "seconds", "stopped"))
  long <- do.call(rbind, lapply(measures, function(name) {
    data.frame(
      epoch = table$epoch, value = as.numeric(table[[name]]), metric = gsub("_", " ", sub("^val_", "", name)),
      examples = if (startsWith(name, "val_")) "validation" else "training"
    )
  }))
  long <- long[!is.na(long$value), ]
  long$metric <- factor(long$metric, unique(long$metric))
  ggplot2::ggplot(long, ggplot2::aes(.data$epoch, .data$value, colour = .data$examples)) +
    ggplot2::geom_line() +
    ggplot2::geom_point(size = 1) +
    ggplot2::facet_wrap(ggplot2::vars(.data$metric), scales = "free_y") +
    ggplot2::scale_colour_manual(values = c(training = "#c2a5cf", validation = "#1b7837"), name = NULL) +
    ggplot2::scale_x_continuous(breaks = function(limits) unique(round(pretty(limits)))) +
    ggplot2::labs(x = "epoch", y = NULL) +
    ggplot2::theme_minimal() +
    ggplot2::theme(
      plot.background = white(), legend.position = "top", panel.grid.minor = ggplot2::element_blank()
    )
}
