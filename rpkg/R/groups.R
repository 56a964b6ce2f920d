#' The gspaces
#'
#' A gspace is a base space (the plane, space, or a single point for vectors) with a group that acts on it.
#'
#' @return a data frame with a row for each gspace: `name`, `dimension` (of the base space), `symmetry` (in words) and
#'   the `options` that [gspace()] takes for it.
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' gspaces()
gspaces <- function() as_table(call_core("gspaces"))

#' A space and the group that acts on it
#'
#' @param name one of the names in [gspaces()].
#' @param ... options, where the gspace has them:
#'   * `N`: the number of rotations; -1, the default, is the continuous group.
#'   * `maximum_frequency`: of the irreducible representations of a continuous group.
#'   * `axis`: of a reflection, in radians.
#'   * `group`, for `"no_base_space"`: one of escnn's groups by name (`"cyclic_group"`, `"so3_group"`, ...), with what
#'     that group takes.
#' @return an object of class `gequi_gspace`: plain data (`name`, `options`, `group`, ...), from which escnn's own
#'   object is made when it is needed; [reticulate::r_to_py()] gives it.
#' @section Errors: `gequi_input_error` for an unknown name or option; the message lists what there is.
#' @references Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv:1911.08251. Cesa, Lang and
#'   Weiler (2022), A program to build E(N)-equivariant steerable CNNs, ICLR.
#' @seealso [plot.gequi_gspace()]
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' gspace("rot2dOnR2", N = 4)
#' gspace("octaOnR3")
#' gspace("no_base_space", group = "so3_group", maximum_frequency = 2)
#' summary(gspace("flipRot2dOnR2", N = 4))
gspace <- function(name, ...) {
  options <- list(...)
  if (length(options) && !all(nzchar(rlang::names2(options)))) {
    abort_gequi("InputError", paste0(
      "The options of a gspace must be named, such as N = 4 (a capital N); got ", shown(options[[1]]),
      " without a name."
    ), "...")
  }
  made <- call_core("make_gspace", name = name, ...)
  new_handle(
    "gequi_gspace",
    name = name,
    options = options[!vapply(options, is.null, NA)],
    group = made$group,
    dimension = made$dimension,
    symmetry = made$symmetry,
    finite = made$finite,
    elements = made$elements,
    python = made$handle
  )
}

make_python.gequi_gspace <- function(x, call) {
  call_core_with("gspace", c(list(name = x$name), x$options), call)
}

#' @export
format.gequi_gspace <- function(x, ...) {
  options <- vapply(x$options, function(option) paste(format(option), collapse = ", "), "")
  if (length(options)) options <- paste0("(", paste(names(options), "=", options, collapse = ", "), ")")
  paste0(x$name, paste(options, collapse = ""))
}

#' @export
print.gequi_gspace <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  cat(title_line("gspace", format(x)), "\n", x$symmetry, "\n", describe_group(x), "\n", sep = "")
  invisible(x)
}

describe_group <- function(x) {
  if (x$finite) {
    paste0("group ", x$group, " with ", x$elements, " element", if (x$elements != 1) "s")
  } else {
    paste0("group ", x$group, ", continuous; ", x$elements, " elements stand for it where it is tested")
  }
}

#' @export
summary.gequi_gspace <- function(object, ...) {
  refuse_dots(...)
  structure(
    list(space = object, elements = group_elements(object), representations = representations(object)),
    class = "summary.gequi_gspace"
  )
}

#' @export
print.summary.gequi_gspace <- function(x, ..., n = 24) {
  refuse_dots(..., .also = of_print)
  print(x$space)
  elements <- x$elements
  elements$angle <- ifelse(is.nan(elements$angle), "", formatC(elements$angle, digits = 4, format = "f"))
  if (all(elements$angle == "")) elements$angle <- NULL
  cat("\n")
  print_table(elements, n = n)
  cat("\n")
  print_table(x$representations, n = n)
  invisible(x)
}

#' @export
as.data.frame.gequi_gspace <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  group_elements(x)
}

#' The elements of a group
#'
#' @param space a gspace, from [gspace()].
#' @return a data frame with a row for each element: `element` (its number, from 1), `name`, `angle` (of its rotation,
#'   radians), `reflection` (whether it changes handedness) and `exact` (whether it maps the pixel grid onto itself,
#'   so that it moves an image without interpolation). For a continuous group: escnn's grid of elements to test with.
#' @section Errors: `gequi_input_error` for what is no gspace.
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' group_elements(gspace("flipRot2dOnR2", N = 4))
group_elements <- function(space) as_table(call_core("group_elements", space = space), indexes = "element")

#' The multiplication table of a finite group
#'
#' @inheritParams group_elements
#' @return an integer matrix (element, element): entry `[i, j]` is the number of \eqn{g_i g_j}{g_i g_j}, the element
#'   that does first \eqn{g_j}, then \eqn{g_i}.
#' @section Errors: `gequi_input_error` for a continuous group.
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' cayley_table(gspace("rot2dOnR2", N = 4))
cayley_table <- function(space) {
  table <- call_core("cayley_table", space = space) + 1
  storage.mode(table) <- "integer"
  table
}

#' The representations of a group
#'
#' A representation says how the channels of a field change when the group acts. Besides the names listed here,
#' `quotient(...)`, `induced(...)` and `fourier(...)` name representations: see [field_type()].
#'
#' @inheritParams group_elements
#' @return a data frame with a row for each representation: `name`, `size` (the channels of one field), `irreducible`
#'   and `pointwise` (whether functions of each channel alone, such as ReLU, are equivariant on it).
#' @section Errors: `gequi_input_error` for what is no gspace.
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' representations(gspace("rot2dOnR2", N = 4))
representations <- function(space) as_table(call_core("representations", space = space))

#' The matrix of an element in a representation
#'
#' @inheritParams group_elements
#' @param representation a name, as in [representations()] or [field_type()].
#' @param element the number of an element, as in [group_elements()], from 1.
#' @return a matrix (size, size), \eqn{\rho(g)}{rho(g)}: orthogonal, with
#'   \eqn{\rho(g h) = \rho(g) \rho(h)}{rho(g h) = rho(g) rho(h)}.
#' @section Errors: `gequi_field_error` for an unknown representation, `gequi_input_error` for an element that there
#'   is not.
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' c4 <- gspace("rot2dOnR2", N = 4)
#' representation_matrix(c4, "irrep_1", 2) # the counter-clockwise quarter turn
representation_matrix <- function(space, representation, element) {
  call_core(
    "representation_matrix",
    space = space, representation = representation, element = as_index(element)
  )
}

#' Plot a group
#'
#' Without an image, the matrices of the representations as heat maps, blue for -1, white for 0 and red for 1: a row
#' of the figure for each representation, a column for each element. With an image, what each element makes of it.
#'
#' @param x a gspace, from [gspace()].
#' @param representation names of representations, as in [field_type()]; `NULL` shows those of at most 12 channels.
#' @param elements numbers of elements, as in [group_elements()]; `NULL` shows the first 8.
#' @param image a matrix (row, column), row 1 on top.
#' @param ... not used.
#' @return a ggplot.
#' @section Errors: as [representation_matrix()] and [transform_field()].
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' c4 <- gspace("rot2dOnR2", N = 4)
#' plot(c4)
#' plot(c4, image = volcano)
plot.gequi_gspace <- function(x, representation = NULL, elements = NULL, image = NULL, ...) {
  refuse_dots(...)
  names <- group_elements(x)$name
  if (is.null(elements)) elements <- seq_len(min(8, length(names)))
  if (!is.null(image)) {
    grey <- field_type(x, c(trivial = 1))
    return(plot_image(lapply(elements, function(g) transform_field(image, grey, g)), titles = names[elements]))
  }
  if (is.null(representation)) {
    known <- representations(x)
    representation <- known$name[known$size <= 12 & known$name != "trivial"] # which is irrep_0 again
  }
  cells <- lapply(representation, function(name) {
    lapply(elements, function(g) unit_cells(representation_matrix(x, name, g), representation = name, element = g))
  })
  cells <- do.call(rbind, unlist(cells, recursive = FALSE))
  cells$representation <- factor(cells$representation, representation)
  # Without blanks in them, "(1, 0, 0)" stays on a line.
  labels <- gsub(", ", ",", make.unique(names[elements], " "))
  cells$element <- factor(cells$element, elements, labels)
  ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, width = .data$size, height = .data$size, fill = .data$value)) +
    ggplot2::geom_tile(colour = "grey80", linewidth = 0.2) +
    ggplot2::facet_grid(
      ggplot2::vars(.data$representation), ggplot2::vars(.data$element),
      switch = "y", labeller = ggplot2::labeller(element = ggplot2::label_wrap_gen(9))
    ) +
    ggplot2::scale_fill_gradient2(
      low = "#2166ac", mid = "white", high = "#b2182b", limits = c(-1, 1), breaks = -1:1, name = NULL
    ) +
    ggplot2::coord_fixed(expand = FALSE) +
    theme_picture() +
    ggplot2::theme(
      strip.text.y.left = ggplot2::element_text(angle = 0, hjust = 1),
      panel.border = ggplot2::element_rect(colour = "grey80", fill = NA)
    )
}

# The cells of a square matrix in the unit square, row 1 on top: matrices of all sizes side by side.
unit_cells <- function(x, ...) {
  n <- nrow(x)
  value <- pmin(pmax(round(c(x), 12), -1), 1)
  data.frame(x = (c(col(x)) - 0.5) / n, y = 1 - (c(row(x)) - 0.5) / n, size = 1 / n, value = value, ...)
}
