#' Pictures of a registration
#'
#' * `"overlay"`: the fixed image in magenta and the moving one in green, grey where they agree; before, laid on each
#'   other by their middles, and after.
#' * `"checkerboard"`: squares of the one and of the other in turn, before and after. Edges go on through the squares
#'   where the images fit.
#' * `"grid"`: a straight grid on the fixed image, and where the map takes it on the moving image.
#' * `"jacobian"`: the map's determinant, below 1 (blue) where the map shrinks and above 1 (red) where it enlarges what
#'   it takes from the fixed image. Folds are black.
#' * `"uncertainty"`: the standard deviation of the map, in pixels of the moving image.
#'
#' @param x what [register_images()] returned for a pair.
#' @param type of the picture.
#' @param slice of a volume, the number of the slice of the fixed image that is shown, from 1; `NULL` is the middle one.
#' @param axis of a volume, the axis that is cut across: 1 (depth), 2 (row) or 3 (column). The grid of a volume is seen
#'   along it.
#' @param squares along the longer side of a checkerboard, or of the grid.
#' @param ... not used.
#' @return a ggplot.
#' @section Errors: `gequi_input_error` for another type, or a slice that is not there.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' found <- register_images(moving = turned, fixed = image)
#' plot(found)
#' plot(found, type = "grid")
plot.gequi_registration <- function(x, type = c("overlay", "grid", "jacobian", "uncertainty", "checkerboard"),
                                    slice = NULL, axis = 1, squares = NULL, ...) {
  rlang::check_dots_empty()
  here <- rlang::current_env()
  kinds <- c("overlay", "grid", "jacobian", "uncertainty", "checkerboard")
  type <- check_choice(type, kinds, "type", here)
  cut <- cut_of(x, slice, axis, here)
  if (is.null(squares)) squares <- if (type == "grid") 16 else 8
  if (!rlang::is_scalar_integerish(squares) || squares < 1) {
    abort_gequi("InputError", "`squares` must be a whole number of at least 1.", "squares", here)
  }
  switch(type,
    overlay = plot_overlay(x, cut),
    checkerboard = plot_checkerboard(x, cut, squares),
    grid = plot_registration_grid(x, cut, squares),
    jacobian = plot_jacobian(x, cut),
    uncertainty = plot_uncertainty(x, cut)
  )
}

# ---- slices of volumes ----------------------------------------------------------------------------------------------

# What is shown: the number of a slice across an axis, and the two axes along it. Of an image, all.
cut_of <- function(x, slice, axis, call) {
  size <- dim(x$fixed)
  if (length(size) == 2) {
    if (is.null(slice)) return(list(along = 1:2))
    abort_gequi("InputError", "`slice` is for volumes; this is a registration of images.", "slice", call)
  }
  if (!rlang::is_scalar_integerish(axis) || !axis %in% 1:3) {
    abort_gequi("InputError", "`axis` must be 1, 2 or 3.", "axis", call)
  }
  if (is.null(slice)) slice <- (size[axis] + 1) %/% 2
  if (!rlang::is_scalar_integerish(slice) || slice < 1 || slice > size[axis]) {
    abort_gequi(
      "InputError", paste0("`slice` must be a whole number from 1 to ", size[axis], "; got ", deparse(slice)[1], "."),
      "slice", call
    )
  }
  list(along = setdiff(1:3, axis), axis = axis, slice = slice)
}

# The matrix that is shown of an image or volume.
sliced <- function(image, cut, slice = cut$slice) {
  if (is.null(cut$axis)) return(image)
  asplit(image, cut$axis)[[slice]]
}

# The part of a map that leads to what is shown, with as many axes as before.
sliced_map <- function(map, cut) {
  if (is.null(cut$axis)) return(map)
  kept <- lapply(dim(map), seq_len)
  kept[[cut$axis + 1]] <- cut$slice
  do.call(`[`, c(list(map), kept, list(drop = FALSE)))
}

# ---- pixels in colour -----------------------------------------------------------------------------------------------

# The pixels of a matrix about (0, 0), in units of length.
placed_cells <- function(image, spacing, ...) {
  cells <- centred_cells(image, max(1, floor(sqrt(length(image) / 5e5))), ...)
  cells$x <- cells$x * spacing[2]
  cells$y <- cells$y * spacing[1]
  cells
}

# The image between 0 and 1, with the darkest and the brightest half percent cut off.
stretched <- function(image) call_core("stretched", image = image)

# The moving image on the pixels of the fixed one, before (by their middles) and after, dark where it is not seen.
moving_on_fixed <- function(x, cut) {
  moving <- stretched(x$moving)
  maps <- list(before = call_core("unmoved_map", x) + 1, after = x$map)
  lapply(maps, function(map) {
    size <- dim(sliced(x$fixed, cut))
    array(warp_image(moving, sliced_map(map, cut), fill = 0), size)
  })
}

before_and_after <- function(x, cut, colours) {
  fixed <- sliced(stretched(x$fixed), cut)
  moving <- moving_on_fixed(x, cut)
  cells <- do.call(rbind, lapply(names(moving), function(name) {
    cells <- placed_cells(fixed, x$spacing[cut$along], when = name)
    cells$colour <- colours(cells$value, placed_cells(moving[[name]], x$spacing[cut$along])$value, cells)
    cells
  }))
  cells$when <- factor(cells$when, names(moving))
  ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$colour)) +
    ggplot2::geom_raster() +
    ggplot2::scale_fill_identity() +
    ggplot2::facet_wrap(ggplot2::vars(.data$when)) +
    ggplot2::coord_fixed(expand = FALSE) +
    theme_picture() +
    ggplot2::theme(panel.spacing = ggplot2::unit(8, "pt"))
}

plot_overlay <- function(x, cut) {
  before_and_after(x, cut, function(fixed, moving, cells) grDevices::rgb(fixed, moving, fixed)) +
    ggplot2::labs(caption = "fixed in magenta, moving in green, grey where they agree")
}

plot_checkerboard <- function(x, cut, squares) {
  before_and_after(x, cut, function(fixed, moving, cells) {
    side <- max(diff(range(cells$x)), diff(range(cells$y))) / squares
    of <- function(at) floor((at - min(at)) / (side * (1 + 1e-9)))
    of_fixed <- (of(cells$x) + of(-cells$y)) %% 2 == 0
    grDevices::grey(ifelse(of_fixed, fixed, moving))
  }) +
    ggplot2::labs(caption = "squares of the fixed and of the moving image in turn")
}

# ---- the map --------------------------------------------------------------------------------------------------------

plot_registration_grid <- function(x, cut, squares) {
  panels <- c("fixed, with a grid", "moving, with the grid carried over")
  # The slice of the moving image that holds the middle of what is shown; the grid is seen along the axis.
  middle <- if (is.null(cut$axis)) {
    NULL
  } else {
    through <- sliced(asplit(x$map, 1)[[cut$axis]], cut)
    min(max(round(stats::median(through)), 1), dim(x$moving)[cut$axis])
  }
  fixed <- placed_cells(sliced(stretched(x$fixed), cut), x$spacing[cut$along], panel = panels[1])
  moving <- placed_cells(sliced(stretched(x$moving), cut, middle), x$moving_spacing[cut$along], panel = panels[2])
  pictures <- lapply(list(fixed, moving), function(cells) { # a layer each: their pixels may have two sizes
    cells$panel <- factor(cells$panel, panels)
    ggplot2::geom_raster(ggplot2::aes(fill = .data$value), cells)
  })
  straight <- asplit(identity_map(dim(x$fixed)), 1)[cut$along]
  carried <- asplit(x$map, 1)[cut$along]
  lines <- rbind(
    grid_lines(lapply(straight, sliced, cut), dim(x$fixed)[cut$along], x$spacing[cut$along], squares, panels[1]),
    grid_lines(lapply(carried, sliced, cut), dim(x$moving)[cut$along], x$moving_spacing[cut$along], squares, panels[2])
  )
  lines$panel <- factor(lines$panel, panels)
  ggplot2::ggplot(mapping = ggplot2::aes(.data$x, .data$y)) +
    pictures +
    ggplot2::scale_fill_gradient(low = "black", high = "white", limits = c(0, 1), guide = "none") +
    ggplot2::geom_path(ggplot2::aes(colour = .data$kind, group = .data$line), lines, linewidth = 0.5) +
    ggplot2::scale_colour_manual(values = c(rows = "#ff7f0e", columns = "#35b6ff"), name = NULL) +
    ggplot2::facet_wrap(ggplot2::vars(.data$panel)) +
    ggplot2::coord_fixed() +
    theme_picture() +
    ggplot2::theme(legend.position = "bottom")
}

# Every so many rows and columns of a map, as lines in the image that it leads to.
grid_lines <- function(map, size, spacing, squares, panel) {
  rows <- nrow(map[[1]])
  columns <- ncol(map[[1]])
  step <- max(1, round((max(rows, columns) - 1) / squares))
  every <- function(n) unique(c(seq(1, n, by = step), n))
  line <- function(picked, kind, number) {
    data.frame(
      x = (picked(map[[2]]) - (size[2] + 1) / 2) * spacing[2], y = ((size[1] + 1) / 2 - picked(map[[1]])) * spacing[1],
      kind = kind, line = paste(kind, number), panel = panel
    )
  }
  do.call(rbind, c(
    lapply(every(rows), function(i) line(function(part) part[i, ], "rows", i)),
    lapply(every(columns), function(i) line(function(part) part[, i], "columns", i))
  ))
}

plot_jacobian <- function(x, cut) {
  cells <- placed_cells(sliced(x$jacobian, cut), x$spacing[cut$along])
  cells$value[cells$value <= 0] <- NA
  most <- max(1.1, exp(max(abs(log(cells$value)), na.rm = TRUE)))
  ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$value)) +
    ggplot2::geom_raster() +
    ggplot2::scale_fill_gradientn(
      colours = c("#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2182b"), trans = "log2", limits = c(1 / most, most),
      breaks = most^c(-0.95, -0.5, 0, 0.5, 0.95), labels = two_digits, oob = squish, na.value = "black",
      name = if (is.null(cut$axis)) "area" else "volume"
    ) +
    ggplot2::coord_fixed(expand = FALSE) +
    theme_picture()
}

plot_uncertainty <- function(x, cut) {
  cells <- placed_cells(sliced(x$uncertainty, cut), x$spacing[cut$along])
  ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$value)) +
    ggplot2::geom_raster() +
    ggplot2::scale_fill_viridis_c(
      option = "magma", trans = "log10", name = pixels_of(x),
      labels = function(breaks) formatC(breaks, digits = 2, format = "g")
    ) +
    ggplot2::coord_fixed(expand = FALSE) +
    theme_picture()
}
