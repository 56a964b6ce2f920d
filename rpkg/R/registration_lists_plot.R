# Small pictures of many registrations.

#' @rdname plot.gequi_registration
#' @export
plot.gequi_registrations <- function(x, type = c("overlay", "grid", "jacobian", "uncertainty", "checkerboard"),
                                     slice = NULL, axis = 1, squares = NULL, ...) {
  refuse_dots(...)
  here <- rlang::current_env()
  type <- check_choice(type, registration_pictures, "type", here)
  squares <- check_squares(squares, type, here)
  if (!length(x)) abort_gequi("InputError", "There is no pair to show.", call = here)
  failed <- has_failed(x)
  titles <- make.unique(as.character(pair_names(x)), " ")
  numbers <- which(!failed)
  cuts <- lapply(numbers, function(i) cut_of(x[[i]], slice, axis, here))
  cells <- Map(function(i, cut) small_cells(x[[i]], cut, type, squares, titles[i], titles), numbers, cuts)
  picture <- ggplot2::ggplot(mapping = ggplot2::aes(.data$x, .data$y)) +
    lapply(cells, function(each) { # a layer each: their pixels may have many sizes
      ggplot2::geom_raster(ggplot2::aes(fill = .data$shown), each)
    }) +
    why_failed(x, which(failed), titles) +
    ggplot2::facet_wrap(ggplot2::vars(.data$pair), drop = FALSE) +
    ggplot2::coord_fixed(expand = FALSE) +
    theme_picture()
  if (!length(numbers)) return(picture)
  if (type %in% c("jacobian", "uncertainty")) {
    values <- unlist(lapply(cells, `[[`, "shown"))
    return(picture + scale_of(type, values, axes_of(x[[numbers[1]]])))
  }
  picture <- picture + ggplot2::labs(caption = captions[[type]])
  if (type != "grid") return(picture + ggplot2::scale_fill_identity())
  lines <- do.call(rbind, Map(function(i, cut) small_grid(x[[i]], cut, squares, titles[i], titles), numbers, cuts))
  picture + grid_layers(lines) + ggplot2::theme(legend.position = "bottom")
}

most_small_cells <- 60000 # of one picture

# The cells of a picture with a longer side of 1, and the value or the color that is `shown` in each.
small_cells <- function(x, cut, type, squares, title, titles) {
  grid <- type == "grid"
  spacing <- (if (grid) x$moving_spacing else x$spacing)[cut$along]
  unit <- longer_side(x, cut, grid)
  cells_of <- function(image, ...) {
    step <- max(1, floor(sqrt(length(image) / most_small_cells)))
    cells <- centred_cells(image, step, ...)
    cells$x <- cells$x * step * spacing[2] / unit
    cells$y <- cells$y * step * spacing[1] / unit
    cells
  }
  if (grid) {
    cells <- cells_of(moving_under_grid(x, cut))
  } else if (type %in% c("jacobian", "uncertainty")) {
    cells <- value_cells(x, cut, type, cells_of)
  } else {
    cells <- laid_over(x, cut, "after", squares, cells_of)
  }
  coloured <- type %in% c("overlay", "checkerboard")
  cells$shown <- if (coloured) colours_of(type)(cells) else cells$value
  cells$pair <- factor(title, titles)
  cells
}

longer_side <- function(x, cut, moving) {
  size <- dim(if (moving) x$moving else x$fixed)[cut$along]
  max(size * (if (moving) x$moving_spacing else x$spacing)[cut$along])
}

small_grid <- function(x, cut, squares, title, titles) {
  lines <- carried_grid(x, cut, squares, NA)
  unit <- longer_side(x, cut, TRUE)
  data.frame(
    x = lines$x / unit, y = lines$y / unit, kind = lines$kind, line = paste(title, lines$line),
    pair = factor(title, titles)
  )
}

# The error of each failed pair, in place of its picture.
why_failed <- function(x, failed, titles) {
  if (!length(failed)) return(NULL)
  text <- vapply(failed, function(i) paste(strwrap(conditionMessage(x[[i]]), 28), collapse = "\n"), "")
  ggplot2::geom_text(
    ggplot2::aes(label = .data$text),
    data.frame(x = 0, y = 0, text = text, pair = factor(titles[failed], titles)), size = 2.6
  )
}
