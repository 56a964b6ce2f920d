# Shared parts of the print methods. They write plain lines to the standard output, without addresses or Python names.

# The class of an object in gray, followed by its description.
title_line <- function(kind, text) paste0(cli::col_grey(paste0("<", kind, ">")), " ", cli::style_bold(text))

# A data frame with text to the left, numbers to the right, yes or no for logicals; at most n rows.
# Columns in `right` are numbers that have become text.
print_table <- function(table, n = Inf, right = character()) {
  left_out <- nrow(table) - n
  if (left_out > 0) table <- table[seq_len(n), , drop = FALSE]
  columns <- Map(function(column, name) {
    text <- if (is.logical(column)) c("no", "yes")[column + 1] else format(column, trim = TRUE, justify = "none")
    text[is.na(column)] <- ""
    cells <- c(name, text)
    align <- if (is.numeric(column) || name %in% right) "right" else "left"
    cli::ansi_align(cells, width = max(cli::ansi_nchar(cells, "width")), align = align)
  }, table, gsub("_", " ", names(table)))
  lines <- trimws(do.call(paste, c(unname(columns), sep = "  ")), "right")
  cat(paste0("  ", c(cli::col_grey(lines[1]), lines[-1])), sep = "\n")
  if (left_out > 0) cat(cli::col_grey(paste0("  ... and ", left_out, " more")), "\n", sep = "")
}

# The tables that functions return are data frames with this print method.
#' @export
print.gequi_table <- function(x, ..., n = Inf) {
  refuse_dots(..., .also = of_print)
  if (!length(x) || !nrow(x)) return(NextMethod())
  print_table(as.data.frame(x), n = n)
  invisible(x)
}

#' @export
as.data.frame.gequi_table <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  class(x) <- "data.frame"
  x
}

# Several pictures side by side: a list of ggplots that draws itself when it is printed.
new_plots <- function(plots) structure(plots, class = "gequi_plots")

#' @export
print.gequi_plots <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  grid::grid.newpage()
  grid::pushViewport(grid::viewport(layout = grid::grid.layout(1, length(x))))
  for (i in seq_along(x)) print(x[[i]], vp = grid::viewport(layout.pos.col = i))
  grid::popViewport()
  invisible(x)
}

#' @export
plot.gequi_plots <- function(x, ...) {
  refuse_dots(...)
  print(x)
}
