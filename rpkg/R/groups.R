#' List the available gspaces
#'
#' Lists the base spaces and symmetry groups that [gspace()] can create. A gspace is a base space (the plane,
#' three-dimensional space, or a single point) together with a group that acts on it.
#'
#' @return A data frame with one row per gspace: `name`, `dimension` of the base space, `symmetry` (a description of the
#'   group) and `options`, the arguments that [gspace()] accepts for it.
#' @section Errors: This function does not fail once Python is installed.
#' @references Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv:1911.08251.
#' @concept symmetry group
#' @concept rotation
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' gspaces()
gspaces <- function() as_table(call_core("gspaces"))

#' Create a gspace: a base space and a symmetry group
#'
#' Creates the combination of a base space and a group acting on it. Field types, layers and networks are defined on a
#' gspace. For example, `gspace("rot2dOnR2", N = 8)` is the plane with the group of rotations by multiples of 45
#' degrees.
#'
#' @param name Character, the name of the gspace, one of those listed by [gspaces()].
#' @param ... Options of the gspace:
#'   * `N`: Integer, the number of rotations. -1 (the default) gives the continuous group.
#'   * `maximum_frequency`: Integer, the highest frequency of the irreducible representations of a continuous group.
#'   * `axis`: Numeric, the angle of the mirror axis of a reflection, in radians.
#'   * `group`: Character, for `"no_base_space"` only: the name of an escnn group (`"cyclic_group"`, `"so3_group"`,
#'     ...). The arguments of that group follow by name.
#' @return An object of class `gequi_gspace`. It stores plain data (`name`, `options`, `group`, ...) and creates the
#'   escnn object when it is needed. [reticulate::r_to_py()] returns the escnn object.
#' @section Errors: `gequi_input_error` for an unknown name or option. The message lists the valid ones.
#' @references Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv:1911.08251. Cesa, Lang and
#'   Weiler (2022), A program to build E(N)-equivariant steerable CNNs, ICLR.
#' @seealso [plot.gequi_gspace()]
#' @concept rotation
#' @concept reflection
#' @concept symmetry group
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

#' List the elements of a group
#'
#' Lists the group elements of a gspace with their number, rotation angle and whether they map the pixel grid onto
#' itself.
#'
#' @param space A gspace, created by [gspace()].
#' @return A data frame with one row per element:
#'   * `element`: the number of the element, from 1;
#'   * `name`: the name of the element;
#'   * `angle`: the rotation angle in radians;
#'   * `reflection`: whether the element reverses orientation;
#'   * `exact`: whether the element maps the pixel grid onto itself, so that transforming an image needs no
#'     interpolation.
#'
#'   For a continuous group, the rows are the sample of elements that escnn uses for testing.
#' @section Errors: `gequi_input_error` if `space` is not a gspace.
#' @references Cesa, Lang and Weiler (2022), A program to build E(N)-equivariant steerable CNNs, ICLR (the order of the
#'   elements is that of escnn).
#' @concept rotation
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' group_elements(gspace("flipRot2dOnR2", N = 4))
group_elements <- function(space) as_table(call_core("group_elements", space = space), indexes = "element")

#' Multiplication table of a finite group
#'
#' Computes the multiplication table (Cayley table) of the group of a gspace.
#'
#' @inheritParams group_elements
#' @return An integer matrix (element, element). Entry `[i, j]` is the number of the product \eqn{g_i g_j}{g_i g_j},
#'   which applies \eqn{g_j} first and then \eqn{g_i}.
#' @section Errors: `gequi_input_error` if the group is continuous.
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' cayley_table(gspace("rot2dOnR2", N = 4))
cayley_table <- function(space) {
  table <- call_core("cayley_table", space = space) + 1
  storage.mode(table) <- "integer"
  table
}

#' List the representations of a group
#'
#' Lists the named representations of the group of a gspace. A representation describes how the channels of a field
#' change when a group element acts. [field_type()] also accepts `quotient(...)`, `induced(...)` and `fourier(...)`.
#'
#' @inheritParams group_elements
#' @return A data frame with one row per representation: `name`, `size` (number of channels), `irreducible` (logical)
#'   and `pointwise` (logical: whether nonlinearities applied to each channel separately, such as ReLU, are
#'   equivariant).
#' @section Errors: `gequi_input_error` if `space` is not a gspace.
#' @family groups
#' @export
#' @examplesIf gequi_available()
#' representations(gspace("rot2dOnR2", N = 4))
representations <- function(space) as_table(call_core("representations", space = space))

#' Matrix of a group element in a representation
#'
#' Computes the matrix \eqn{\rho(g)}{rho(g)} by which a group element acts on the channels of a field. The matrix is
#' orthogonal and satisfies \eqn{\rho(g h) = \rho(g) \rho(h)}{rho(g h) = rho(g) rho(h)}.
#'
#' @inheritParams group_elements
#' @param representation Character, the name of a representation, as in [representations()] or [field_type()].
#' @param element Integer, the number of the group element, from 1, as in [group_elements()].
#' @return A numeric matrix (size, size).
#' @section Errors: `gequi_field_error` for an unknown representation; `gequi_input_error` for an element number that is
#'   out of range.
#' @references Weiler and Cesa (2019), General E(2)-equivariant steerable CNNs, arXiv:1911.08251.
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
#' Plots the representations of a group, or its action on an image. Without `image`, each row of the figure shows one
#' representation and each column one group element, as a heat map of the representation matrix (blue: -1, white: 0,
#' red: 1). With `image`, the figure shows the image transformed by each element.
#'
#' @param x A gspace, created by [gspace()].
#' @param representation Character vector, the representations to show. `NULL` shows those with at most 12 channels.
#' @param elements Integer vector, the group elements to show, from 1. `NULL` shows the first 8.
#' @param image Numeric matrix (row, column), with row 1 at the top.
#' @param ... Not used.
#' @return A ggplot object.
#' @section Errors: The errors of [representation_matrix()] and [transform_field()].
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
  # Without spaces, "(1, 0, 0)" is not broken across lines.
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

# The cells of a square matrix in the unit square, with row 1 at the top, so that matrices of all sizes align.
unit_cells <- function(x, ...) {
  n <- nrow(x)
  value <- pmin(pmax(round(c(x), 12), -1), 1)
  data.frame(x = (c(col(x)) - 0.5) / n, y = 1 - (c(row(x)) - 0.5) / n, size = 1 / n, value = value, ...)
}
