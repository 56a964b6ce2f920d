#' Plot a registration
#'
#' Plots a registration in one of these forms:
#' * `"overlay"`: the fixed image in magenta and the moving image in green (with matched gray levels), before and after
#'   registration. The overlay is gray where the images agree and dark where the moving image does not cover the fixed
#'   image. Before registration, the images are aligned by their centers.
#' * `"checkerboard"`: alternating squares of the two images, before and after registration. Edges continue across
#'   squares where the images are aligned.
#' * `"grid"`: a regular grid on the fixed image, and its position on the moving image under the map.
#' * `"jacobian"`: the determinant of the Jacobian of the map. Values below 1 (contraction) are blue, values above 1
#'   (expansion) are red, and folds are black.
#' * `"uncertainty"`: the standard deviation of the map, in pixels of the moving image.
#'
#' For several pairs, one panel per pair shows the registration, or the reason for its failure. All pairs share one
#' color scale for the determinant and the uncertainty.
#'
#' @param x The result of [register_images()], for one pair or several pairs.
#' @param type Character, the form of the plot.
#' @param slice Integer, for a volume: the slice of the fixed image to show, from 1. `NULL` is the middle slice.
#' @param axis Integer, for a volume: the axis perpendicular to the slice, 1 (depth), 2 (row) or 3 (column). The grid of
#'   a volume is projected along this axis.
#' @param squares Integer, the number of squares along the longer side, for checkerboard and grid.
#' @param ... Not used.
#' @return A ggplot object.
#' @section Errors: `gequi_input_error` for an unknown type or a slice that does not exist.
#' @concept overlay
#' @concept checkerboard
#' @concept deformable
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
  refuse_dots(...)
  here <- rlang::current_env()
  type <- check_choice(type, registration_pictures, "type", here)
  cut <- cut_of(x, slice, axis, here)
  squares <- check_squares(squares, type, here)
  switch(type,
    grid = plot_registration_grid(x, cut, squares),
    jacobian = plot_values(x, cut, type),
    uncertainty = plot_values(x, cut, type),
    plot_before_and_after(x, cut, type, squares)
  )
}

registration_pictures <- c("overlay", "grid", "jacobian", "uncertainty", "checkerboard")

check_squares <- function(squares, type, call) {
  if (is.null(squares)) return(if (type == "grid") 16 else 8)
  if (rlang::is_scalar_integerish(squares) && squares >= 1) return(squares)
  abort_gequi("InputError", "`squares` must be a whole number of at least 1.", "squares", call)
}

# ---- slices of volumes ----------------------------------------------------------------------------------------------

# What is shown of a volume: the index of the slice across an axis, and the two axes of the slice; of an image, all.
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

# The displayed matrix of an image or volume.
sliced <- function(image, cut, slice = cut$slice) {
  if (is.null(cut$axis)) return(image)
  asplit(image, cut$axis)[[slice]]
}

# The part of a map for the displayed slice, with all its axes.
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

# Scales the image to [0, 1], with the darkest and the brightest half percent clipped.
stretched <- function(image) call_core("stretched", image = image)

# The cells of both images, with the moving image resampled to the fixed one: `fixed`, `moving`, `seen` (whether there
# is a moving pixel), and `of_fixed` (whether a checkerboard shows the fixed image).
laid_over <- function(x, cut, when, squares, cells_of) {
  axis <- if (is.null(cut$axis)) 0 else cut$axis - 1
  parts <- call_core("laid_over", x, slice = as_index(cut$slice), axis = axis, squares = squares)
  do.call(rbind, lapply(when, function(name) {
    cells <- cells_of(parts$fixed, when = name)
    cells$fixed <- cells$value
    cells$moving <- cells_of(parts[[name]])$value
    cells$seen <- !is.nan(cells$moving)
    cells$of_fixed <- as.logical(cells_of(parts$board)$value)
    cells
  }))
}

overlay_colours <- function(cells) {
  dark <- ifelse(cells$seen, cells$fixed, cells$fixed / 2)
  grDevices::rgb(dark, ifelse(cells$seen, cells$moving, dark), dark)
}

checkerboard_colours <- function(cells) {
  grDevices::grey(ifelse(cells$of_fixed, cells$fixed, ifelse(cells$seen, cells$moving, 0)))
}

plot_before_and_after <- function(x, cut, type, squares) {
  cells_of <- function(image, ...) placed_cells(image, x$spacing[cut$along], ...)
  cells <- laid_over(x, cut, c("before", "after"), squares, cells_of)
  cells$colour <- colours_of(type)(cells)
  cells$when <- factor(cells$when, c("before", "after"))
  ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$colour)) +
    ggplot2::geom_raster() +
    ggplot2::scale_fill_identity() +
    ggplot2::facet_wrap(ggplot2::vars(.data$when)) +
    ggplot2::coord_fixed(expand = FALSE) +
    ggplot2::labs(caption = captions[[type]]) +
    theme_picture() +
    ggplot2::theme(panel.spacing = ggplot2::unit(8, "pt"))
}

#' Convert a registration to a raster image
#'
#' Creates an overlay, a checkerboard or the registered image at the original resolution, for [graphics::plot()],
#' [grid::grid.raster()] or [write_image()].
#'
#' @param x The result of [register_images()] for one pair.
#' @param type Character, `"overlay"` or `"checkerboard"` of the two images after registration, as in the `plot()`
#'   method, or `"warped"`, the registered image in grayscale.
#' @param slice,axis,squares As in [plot()][plot.gequi_registration()].
#' @param ... Not used.
#' @return A raster, a matrix (row, column) of colors. Missing values of `warped` are transparent.
#' @section Errors: `gequi_input_error` for an unknown type or a slice that does not exist.
#' @concept overlay
#' @concept checkerboard
#' @family registration
#' @importFrom grDevices as.raster
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' plot(as.raster(register_images(moving = turned, fixed = image)))
as.raster.gequi_registration <- function(x, type = c("overlay", "checkerboard", "warped"), slice = NULL, axis = 1,
                                         squares = NULL, ...) {
  refuse_dots(...)
  here <- rlang::current_env()
  type <- check_choice(type, c("overlay", "checkerboard", "warped"), "type", here)
  cut <- cut_of(x, slice, axis, here)
  if (type == "warped") {
    image <- sliced(x$warped, cut)
    return(grDevices::as.raster(as_colours(list(image), NULL)[[1]]))
  }
  place <- function(image, ...) {
    at <- list(x = c(col(image)) * x$spacing[cut$along[2]], y = -c(row(image)) * x$spacing[cut$along[1]])
    data.frame(at, value = c(image), ...)
  }
  cells <- laid_over(x, cut, "after", check_squares(squares, type, here), place)
  grDevices::as.raster(matrix(colours_of(type)(cells), dim(x$fixed)[cut$along[1]]))
}

colours_of <- function(type) if (type == "overlay") overlay_colours else checkerboard_colours

captions <- c(
  overlay = "fixed in magenta, moving in green, gray where they agree, dark outside the moving image",
  checkerboard = "alternating squares of the fixed and the moving image",
  grid = "the grid of the fixed image, mapped to the moving image"
)

# ---- the map --------------------------------------------------------------------------------------------------------

plot_registration_grid <- function(x, cut, squares) {
  panels <- c("fixed, with a grid", "moving, with the grid carried over")
  fixed <- placed_cells(sliced(stretched(x$fixed), cut), x$spacing[cut$along], panel = panels[1])
  moving <- placed_cells(moving_under_grid(x, cut), x$moving_spacing[cut$along], panel = panels[2])
  pictures <- lapply(list(fixed, moving), function(cells) { # a layer each: their pixels may have two sizes
    cells$panel <- factor(cells$panel, panels)
    ggplot2::geom_raster(ggplot2::aes(fill = .data$value), cells)
  })
  straight <- asplit(identity_map(dim(x$fixed)), 1)[cut$along]
  lines <- rbind(
    grid_lines(lapply(straight, sliced, cut), dim(x$fixed)[cut$along], x$spacing[cut$along], squares, panels[1]),
    carried_grid(x, cut, squares, panels[2])
  )
  lines$panel <- factor(lines$panel, panels)
  ggplot2::ggplot(mapping = ggplot2::aes(.data$x, .data$y)) +
    pictures +
    grid_layers(lines) +
    ggplot2::facet_wrap(ggplot2::vars(.data$panel)) +
    ggplot2::coord_fixed() +
    theme_picture() +
    ggplot2::theme(legend.position = "bottom")
}

# Lines on gray pictures.
grid_layers <- function(lines) {
  list(
    ggplot2::scale_fill_gradient(low = "black", high = "white", limits = c(0, 1), guide = "none"),
    ggplot2::geom_path(ggplot2::aes(colour = .data$kind, group = .data$line), lines, linewidth = 0.5),
    ggplot2::scale_colour_manual(values = c(rows = "#ff7f0e", columns = "#35b6ff"), name = "lines of the fixed image")
  )
}

# The slice of the moving image that contains the center of the displayed slice; the grid is projected along the axis.
moving_under_grid <- function(x, cut) {
  if (is.null(cut$axis)) return(stretched(x$moving))
  through <- sliced(asplit(x$map, 1)[[cut$axis]], cut)
  sliced(stretched(x$moving), cut, min(max(round(stats::median(through)), 1), dim(x$moving)[cut$axis]))
}

# The grid on the moving image, at the positions given by the map.
carried_grid <- function(x, cut, squares, panel) {
  carried <- lapply(asplit(x$map, 1)[cut$along], sliced, cut)
  grid_lines(carried, dim(x$moving)[cut$along], x$moving_spacing[cut$along], squares, panel)
}

# Lines through every n-th row and column of a map, in the moving image.
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

plot_values <- function(x, cut, type) {
  cells <- value_cells(x, cut, type, function(image) placed_cells(image, x$spacing[cut$along]))
  title <- c(jacobian = "determinant of the map", uncertainty = "uncertainty of the map")[[type]]
  ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$value)) +
    ggplot2::geom_raster() +
    scale_of(type, cells$value, axes_of(x)) +
    ggplot2::coord_fixed(expand = FALSE) +
    ggplot2::ggtitle(title) +
    theme_picture()
}

# The cells of the determinant or of the uncertainty; folds have no value.
value_cells <- function(x, cut, type, cells_of) {
  cells <- cells_of(sliced(x[[type]], cut))
  if (type == "jacobian") cells$value[cells$value <= 0] <- NA
  cells
}

# The color scale for the values of `type`.
scale_of <- function(type, values, axes) {
  if (type == "uncertainty") {
    unit <- if (axes == 3) "voxels" else "pixels"
    return(ggplot2::scale_fill_viridis_c(
      option = "magma", trans = "log10", name = paste0("standard deviation\n(", unit, ")"),
      labels = function(breaks) formatC(breaks, digits = 2, format = "g")
    ))
  }
  most <- max(1.1, exp(max(abs(log(values)), na.rm = TRUE)))
  ggplot2::scale_fill_gradientn(
    colours = c("#2166ac", "#92c5de", "#f7f7f7", "#f4a582", "#b2182b"), trans = "log2", limits = c(1 / most, most),
    breaks = most^c(-0.95, -0.5, 0, 0.5, 0.95), labels = two_digits, oob = squish, na.value = "black",
    name = paste0(if (axes == 3) "volume" else "area", "\n(moving / fixed)")
  )
}
