#' Trace the shapes of a network
#'
#' Runs a network once on zeros and records the modules, their input and output shapes, and their connections. `plot()`
#' draws the trace as a neural circuit diagram. `as_dot()` writes it for Graphviz and `DiagrammeR::grViz()`.
#'
#' In the diagram, data flow from left to right. A wire has one line per axis, without the batch axis. Lines are labeled
#' where the shape changes: c channel, y row, x column, z depth, n token, f feature. Smaller images are drawn at a lower
#' level, so a U-Net has the shape of a U. Residual and skip connections pass above the boxes, and a dot marks a branch.
#' Frames show containers.
#'
#' @param model A network, a module of this package, or any torch module, including those of escnn.
#' @param input_shape Integer vector, the shape of the input, such as `c(1, 3, 32, 32)`. For a model with several
#'   inputs, a list of shapes.
#' @return `trace_shapes()`: a data frame of class `gequi_trace` with one row per module, where containers precede their
#'   contents:
#'   * `name`: the torch name;
#'   * `kind`: the class, or an operation such as `"add"` or `"concat"` that combines results;
#'   * `input`, `output`: shapes;
#'   * `axes`: the axes of the output;
#'   * `parameters`: the number of parameters, including contained modules;
#'   * `depth`: the nesting depth;
#'   * `leaf`: whether the module contains no other row;
#'   * `sources`: the leaves that provide the input.
#'
#'   `as_dot()`: a character string; print it with `cat()`. `plot()`: a ggplot object.
#' @section Errors: `gequi_input_error` for a shape that the model does not accept. The message includes the message of
#'   the model.
#' @references Abbott (2024), Neural circuit diagrams, arXiv 2402.05424.
#' @export
#' @examplesIf gequi_available()
#' trace <- trace_shapes(unet(levels = 2, width = 8, seed = 1), c(1, 1, 32, 32))
#' trace
#' plot(trace)
#' cat(as_dot(trace_shapes(multi_head_attention(8, 2, seed = 1), list(c(1, 5, 8), c(1, 7, 8)))))
trace_shapes <- function(model, input_shape) {
  need_arguments()
  if (is.numeric(input_shape)) input_shape <- as.list(input_shape)
  table <- as_table(call_core("trace_shapes", model = model, input_shape = input_shape))
  class(table) <- c("gequi_trace", "data.frame")
  table
}

#' @param trace,x A trace, created by `trace_shapes()`.
#' @param direction Character, the direction of the data flow: `"TB"` (top to bottom) or `"LR"` (left to right).
#' @rdname trace_shapes
#' @export
as_dot <- function(trace, direction = "TB") {
  call_core("as_dot", trace = trace_rows(trace), direction = direction)
}

# A trace as the core returns it: a list of rows.
trace_rows <- function(trace) {
  if (!inherits(trace, "gequi_trace")) return(trace)
  plain <- as.data.frame(trace)
  lapply(seq_len(nrow(plain)), function(row) as.list(plain[row, , drop = FALSE]))
}

#' @export
as.data.frame.gequi_trace <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  class(x) <- "data.frame"
  x
}

#' @export
print.gequi_trace <- function(x, ..., n = 60) {
  refuse_dots(..., .also = of_print)
  if (!all(c("depth", "kind", "output", "parameters") %in% names(x))) return(print(as.data.frame(x), ...))
  shown <- data.frame(
    name = paste0(strrep("  ", x$depth), x$name), kind = x$kind, input = x$input, output = x$output,
    parameters = ifelse(x$parameters > 0, big_number(x$parameters), "")
  )
  print_table(shown, n = n, right = "parameters")
  invisible(x)
}

#' @param depth Integer, the nesting depth at which containers are drawn as one box. `NULL` chooses the largest depth
#'   that needs at most 34 boxes.
#' @param ... Not used.
#' @rdname trace_shapes
#' @export
plot.gequi_trace <- function(x, ..., depth = NULL) {
  refuse_dots(...)
  drawing <- lapply(call_core("lay_out_diagram", trace = trace_rows(x), depth = depth), function(rows) {
    if (length(rows)) as.data.frame(as_table(rows))
  })
  boxes <- drawing$boxes
  inner <- boxes[boxes$role != "end", ]
  inner$role <- factor(inner$role, names(role_colours))
  frames <- drawing$frames
  thin <- max(0.12, min(0.4, 9 / diff(range(boxes$x)))) # lines of a wide diagram are drawn thinner, as all else in it
  picture <- ggplot2::ggplot() +
    if (!is.null(frames)) ggplot2::geom_rect(
      ggplot2::aes(xmin = .data$left, xmax = .data$right, ymin = .data$bottom, ymax = .data$top), frames,
      fill = NA, colour = "grey55", linetype = "22", linewidth = thin
    )
  picture <- picture +
    ggplot2::geom_path(
      ggplot2::aes(.data$x, .data$y, group = .data$line), drawing$wires, linewidth = thin, lineend = "round"
    ) +
    ggplot2::geom_rect(
      ggplot2::aes(
        xmin = .data$x - .data$width / 2, xmax = .data$x + .data$width / 2, ymin = .data$y - .data$height / 2,
        ymax = .data$y + .data$height / 2, fill = .data$role
      ), inner,
      colour = "black", linewidth = thin
    ) +
    diagram_text(ggplot2::aes(.data$x, .data$y, label = .data$label, height = .data$letters), boxes, angle = 90) +
    diagram_text(
      ggplot2::aes(.data$x, .data$y, label = .data$text, height = .data$height), drawing$labels, hjust = 0, vjust = 0
    )
  if (!is.null(frames)) {
    picture <- picture + diagram_text(
      ggplot2::aes(.data$left, .data$bottom - 0.08, label = .data$label, height = .data$letters), frames,
      hjust = 0, vjust = 1, colour = "grey45"
    )
  }
  if (!is.null(drawing$dots)) {
    picture <- picture + ggplot2::geom_point(ggplot2::aes(.data$x, .data$y), drawing$dots, size = 2.2 * thin)
  }
  picture +
    ggplot2::scale_fill_manual(
      values = vapply(role_colours, `[[`, "", 1), labels = vapply(role_colours, `[[`, "", 2), name = NULL, drop = TRUE
    ) +
    ggplot2::scale_x_continuous(expand = ggplot2::expansion(add = 0.5)) +
    ggplot2::scale_y_continuous(expand = ggplot2::expansion(add = 0.5)) +
    ggplot2::coord_fixed(clip = "off") +
    theme_picture() +
    ggplot2::theme(legend.position = "bottom", legend.key.size = ggplot2::unit(9, "pt"),
                   legend.text = ggplot2::element_text(size = ggplot2::rel(0.75)))
}

# The kind of a box: its color and its name in the legend.
role_colours <- list(
  learned = c("#f4c3a3", "learns weights"), normalizes = c("#c9dff0", "normalizes"),
  nonlinear = c("#d5e8cc", "is nonlinear"), resizes = c("#e3d5ee", "resizes"), join = c("#ffffff", "joins"),
  holds = c("#f3eddd", "holds several"), other = c("#e8e8e8", "other")
)

# Text whose letters have a height in units of the axes, so that a diagram looks the same at every size.
diagram_text <- function(mapping, data, ...) {
  ggplot2::layer(
    geom = GeomDiagramText, stat = "identity", position = "identity", mapping = mapping, data = data,
    inherit.aes = FALSE, show.legend = FALSE, params = list(...)
  )
}

GeomDiagramText <- ggplot2::ggproto(
  "GeomDiagramText", ggplot2::Geom,
  required_aes = c("x", "y", "label", "height"),
  default_aes = ggplot2::aes(colour = "black", angle = 0, hjust = 0.5, vjust = 0.5),
  draw_panel = function(data, panel_params, coord) {
    places <- coord$transform(data, panel_params)
    grid::gTree(places = places, unit = 1 / diff(panel_params$y.range), cl = "gequi_diagram_text")
  }
)

# Sizes are computed when the figure is drawn. Capital letters are about 0.72 of the font size.
#' @exportS3Method grid::makeContent
makeContent.gequi_diagram_text <- function(x) {
  points <- grid::convertHeight(grid::unit(x$unit, "npc"), "points", valueOnly = TRUE)
  places <- x$places
  text <- grid::textGrob(
    places$label, places$x, places$y, default.units = "native", hjust = places$hjust, vjust = places$vjust,
    rot = places$angle[1], gp = grid::gpar(col = places$colour, fontsize = points * places$height / 0.75)
  )
  grid::setChildren(x, grid::gList(text))
}
