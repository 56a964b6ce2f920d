#' An equivariant network
#'
#' A network of layers that commute with the group of a gspace. It is a recipe: a gspace, the fields of the input, a
#' seed and a list of layers, which the `layer_*()` functions add to, one a pipe. Each layer is checked against the
#' one before it when it is added; the weights are made when they are first needed.
#'
#' Networks are values, as everything in R: adding a layer or setting weights gives a new network and leaves the old
#' one as it was. A longer network keeps the weights that were set. A network that was saved with [saveRDS()] is made
#' again from its recipe, with the weights of its seed or those that were set.
#'
#' @param space a gspace, from [gspace()].
#' @param input the fields of the input, as in [field_type()]: `c(trivial = 1)` for a grey image, `c(trivial = 3)` for
#'   colour, `c(irrep_1 = 1)` for a vector at each pixel.
#' @param layers a list of layers, each such as `list(layer = "conv", fields = c(regular = 4), kernel_size = 3)`;
#'   [layer_kinds()] lists kinds and options. More often they are added by a pipe.
#' @param seed of the initial weights, a whole number; the same seed gives the same weights in R and in Python. `NULL`
#'   draws one from R's random numbers, so that [set.seed()] decides it; the network keeps it.
#' @param dtype `"float32"`, or `"float64"` to check laws to 1e-10.
#' @return an object of class `gequi_network`. [reticulate::r_to_py()] gives the torch module; weights that are
#'   changed through it do not survive [saveRDS()].
#' @section Errors: `gequi_field_error` for a layer that does not fit the fields before it; `gequi_input_error` for an
#'   unknown layer or option, or a value that an option cannot take. Both name the layer.
#' @references Cesa, Lang and Weiler (2022), A program to build E(N)-equivariant steerable CNNs, ICLR.
#' @seealso [layer_conv()] and the other layers, [predict.gequi_network()], [equivariance_error()]
#' @family networks
#' @export
#' @examplesIf gequi_available()
#' space <- gspace("rot2dOnR2", N = 4)
#' network <- equivariant_network(space, input = c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 4), kernel_size = 3) |>
#'   layer_batch_norm() |>
#'   layer_relu() |>
#'   layer_global_avg_pool() |>
#'   layer_group_pool() |>
#'   layer_dense(10)
#' network
#' summary(network, input_shape = c(1, 1, 28, 28))
#' dim(predict(network, volcano))
equivariant_network <- function(space, input, layers = list(), seed = NULL, dtype = "float32") {
  need_arguments()
  new_network(list(
    space = space, input = as_fields(input, "input"), layers = as_layers(layers), seed = own_seed(seed), dtype = dtype
  ))
}

# Checks a recipe and plans its layers; builds nothing.
new_network <- function(recipe, weights = NULL, python = NULL, call = rlang::caller_env()) {
  started <- start_plan(recipe, call)
  recipe$seed <- started$seed # which the core has drawn, where it was NULL
  planned_network(recipe, started$plan, as_table(started$rows), weights, python)
}

# A network keeps its plan, a Python object, so that one more layer is planned without those before it.
planned_network <- function(recipe, plan, table, weights = NULL, python = NULL) {
  network <- do.call(new_handle, c(
    list("gequi_network"), recipe, list(table = table, weights = weights, python = python)
  ))
  network$handle$plan <- plan
  network
}

start_plan <- function(recipe, call) call_core_with("start_plan", recipe, call)

# The plan; made anew where there is none, or a dead one.
plan_of <- function(network, call) {
  if (is_dead(network$handle$plan)) network$handle$plan <- start_plan(recipe_of(network), call)$plan
  network$handle$plan
}

recipe_of <- function(network) unclass(network)[c("space", "input", "layers", "seed", "dtype")]

make_python.gequi_network <- function(x, call) {
  if (isTRUE(x$handle$changed)) {
    abort_gequi("SetupError", c(
      "The weights of this network are lost: they lived in a Python session that has ended.",
      i = "Weights that were changed in Python are not saved with an R object. Make the network anew, or keep",
      " " = "get_weights(network) beside it and put them back with set_weights()."
    ), call = call)
  }
  python <- call_core_with("equivariant_network", recipe_of(x), call)
  if (length(x$weights)) call_core("set_weights", python, x$weights, .call = call)
  python
}

check_network <- function(network, call = rlang::caller_env(), argument = "network") {
  if (!inherits(network, "gequi_network")) {
    abort_gequi("InputError", paste0(
      "`", argument, "` must be a network, as equivariant_network() makes it; got ", described(network), "."
    ), argument, call)
  }
}

# Networks and modules alike.
check_model <- function(model, argument = "model", call = rlang::caller_env()) {
  if (!inherits(model, c("gequi_network", "gequi_module"))) {
    abort_gequi("InputError", paste0(
      "`", argument, "` must be a network, as equivariant_network() makes it, or a module; got ", described(model), "."
    ), argument, call)
  }
}

# ---- layers -------------------------------------------------------------------------------------------------------

# The network with one more layer: its kind, and the options that were given to the calling layer_<kind>().
add_layer <- function(network, kind, frame = rlang::caller_env()) {
  if (missing(network)) need_arguments(frame)
  options <- setdiff(names(formals(sys.function(sys.parent()))), "network")
  given <- options[!vapply(options, function(option) eval(call("missing", as.name(option)), frame), NA)]
  layer <- c(list(layer = kind), stats::setNames(lapply(given, get, envir = frame, inherits = FALSE), given))
  layers <- as_layers(list(layer), frame)
  if (inherits(network, "gequi_sketch")) { # inside a residual layer, which checks it
    network$layers <- c(network$layers, layers)
    return(network)
  }
  check_network(network, frame)
  longer <- call_core("extend_plan", plan = plan_of(network, frame), layer = layers[[1]], .call = frame)
  recipe <- recipe_of(network)
  recipe$layers <- c(recipe$layers, layers)
  planned_network(recipe, longer$plan, add_row(network$table, longer$row), kept_weights(network))
}

# Layers as plain data: fields as pairs, the layers inside a residual layer as lists too.
as_layers <- function(layers, call = rlang::caller_env(), argument = "layers") {
  if (is.function(layers)) {
    sketch <- layers(structure(list(layers = list()), class = "gequi_sketch"))
    if (!inherits(sketch, "gequi_sketch")) {
      abort_gequi("InputError", paste0(
        "A function for `", argument, "` must return the network it is given, with layers added; it returned ",
        described(sketch), "."
      ), argument, call)
    }
    return(sketch$layers)
  }
  if (!is.list(layers)) return(layers)
  lapply(layers, function(layer) {
    if (!is.list(layer)) return(layer)
    for (option in intersect(names(layer), c("layers", "shortcut"))) {
      layer[option] <- list(as_layers(layer[[option]], call, option))
    }
    if ("fields" %in% names(layer)) layer["fields"] <- list(as_fields(layer$fields, call = call))
    if (length(layer$subgroup) > 1) layer$subgroup <- as.list(layer$subgroup)
    layer
  })
}

# Weights that are not those of the seed.
kept_weights <- function(network) {
  if (isTRUE(network$handle$changed)) call_core("get_weights", network) else network$weights
}

# ---- what a network does ------------------------------------------------------------------------------------------

#' Predict with a network
#'
#' In evaluation mode and without gradients.
#'
#' @param object a network, from [equivariant_network()].
#' @param x an array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel). A single
#'   image (row, column) counts as a batch of one where the input has one channel; [as_image_batch()] makes a batch of
#'   several.
#' @param ... not used.
#' @param batch_size how many go through at once.
#' @param dtype `"float32"` or `"float64"`; `NULL` is the network's own.
#' @param newdata another name for `x`, as other packages have it.
#' @param progress whether to show a progress bar where it takes longer than two seconds; default: only in interactive
#'   sessions. Or a function that is called after each batch with a list of `done` and `total` (of the batch axis) and
#'   `seconds_left`.
#' @return an array, batch first.
#' @section Errors: `gequi_shape_error` for axes or channels that do not fit the network, or an image too small for it
#'   (the message names the layer); `gequi_input_error` for values that are not finite numbers.
#' @section Warnings: `gequi_exactness_warning` at the first image of a size at which a layer breaks exact
#'   equivariance.
#' @family networks
#' @importFrom stats predict
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 3), kernel_size = 3)
#' dim(predict(network, volcano))
#' dim(predict(network, as_image_batch(list(volcano, volcano[87:1, ]))))
predict.gequi_network <- function(object, x, ..., batch_size = 64, dtype = NULL, newdata = NULL, progress = NULL) {
  if ("type" %in% names(list(...))) {
    message <- paste0(
      "`type` is for a network that fit() has trained on classes; got ", shown(list(...)$type), ", but of this one ",
      "predict() returns the output as it is."
    )
    abort_gequi("InputError", message, "type", rlang::current_env())
  }
  refuse_dots(...)
  x <- x_or_newdata(if (!missing(x)) x, newdata)
  bar <- reporter(progress, function() count_bar("Predicting"), rlang::current_env())
  on.exit(bar$close())
  call_core(
    "predict", model = object, x = as_inputs(x), batch_size = batch_size, dtype = dtype, progress = bar$report
  )
}

#' The shape of a network's output
#'
#' Without running the network.
#'
#' @param network a network, from [equivariant_network()].
#' @param input_shape (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel), such as
#'   `c(1, 1, 32, 32)`.
#' @return the dimensions of what `predict()` returns for such an input.
#' @section Errors: `gequi_shape_error` for a shape that does not fit the input fields, or an image too small for a
#'   layer, which is named.
#' @section Warnings: `gequi_exactness_warning` for a stride or padding that breaks exact equivariance at this size;
#'   it names the layer.
#' @family networks
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 3), kernel_size = 3)
#' output_shape(network, c(2, 1, 32, 32))
output_shape <- function(network, input_shape) {
  as.integer(unlist(call_core("output_shape", network = network, input_shape = input_shape)))
}

#' The weights of a network
#'
#' `get_weights()` gives the weights, with the statistics that batch normalisation has gathered; `set_weights()` gives
#' a network with other weights.
#'
#' @param model a network, from [equivariant_network()], or a module, from [multi_head_attention()], [unet()] and
#'   others.
#' @param weights a named list of arrays of the same shapes; weights that are not named stay as they are.
#' @return `get_weights()`: a named list of arrays. The names are torch's, which count layers from 0. `set_weights()`:
#'   a network; the one it was given keeps its own weights.
#' @section Errors: `gequi_input_error` for an unknown name or values that are not finite numbers, `gequi_shape_error`
#'   for a weight of the wrong shape.
#' @family networks
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 1), kernel_size = 3)
#' get_weights(network)
#' ones <- set_weights(network, list(layers.0.weights = rep(1, 6)))
#' get_weights(ones)
get_weights <- function(model) call_core("get_weights", model = model)

#' @rdname get_weights
#' @export
set_weights <- function(model, weights) {
  need_arguments()
  if (inherits(model, "gequi_module")) return(with_weights(model, weights))
  check_model(model)
  copy <- call_core("copy_network", model)
  call_core("set_weights", model = copy, weights = weights)
  kept <- kept_weights(model)
  kept[names(weights)] <- weights
  planned_network(recipe_of(model), model$handle$plan, model$table, kept, copy)
}

# ---- how it looks -------------------------------------------------------------------------------------------------

#' @export
format.gequi_network <- function(x, ...) {
  fields <- x$table$fields
  paste0(fields[1], " -> ", fields[length(fields)], " on ", format(x$space))
}

#' @export
print.gequi_network <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  # Weights that are lost leave the plan to show.
  table <- if (is_alive(x) || !isTRUE(x$handle$changed)) as.data.frame(x) else x$table
  print_network(x, table)
  invisible(x)
}

print_network <- function(x, table) {
  cat(title_line("network", format(x)), "\n", cli::col_grey(paste0(x$dtype, ", seed ", x$seed)), "\n", sep = "")
  shown <- table
  if (!is.null(shown$parameters)) shown$parameters <- ifelse(shown$parameters, big_number(shown$parameters), "")
  names(shown)[1:2] <- c("", "layer")
  shown$layer[1] <- "input"
  shown[[1]][1] <- ""
  print_table(shown, right = "parameters")
  if (!is.null(table$parameters)) {
    cat(cli::col_grey(paste0(big_number(sum(table$parameters)), " parameters")), "\n", sep = "")
  }
}

big_number <- function(x) format(x, big.mark = ",", trim = TRUE)

#' @param object a network.
#' @param input_shape a shape of the input, for the sizes between the layers.
#' @param ... not used.
#' @rdname equivariant_network
#' @export
summary.gequi_network <- function(object, input_shape = NULL, ...) {
  refuse_dots(...)
  table <- as_table(call_core("describe_network", network = object, input_shape = input_shape))
  structure(list(network = object, table = table), class = "summary.gequi_network")
}

#' @export
print.summary.gequi_network <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  print_network(x$network, x$table)
  invisible(x)
}

#' @export
as.data.frame.gequi_network <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  as_table(call_core("describe_network", network = x))
}

#' Plot a network
#'
#' @param x a network, its [summary()], or a module.
#' @param input_shape the shape of an input, such as `c(1, 1, 32, 32)`, for the diagram of [trace_shapes()], in which
#'   all modules and their connections are drawn. For a module it is required.
#' @param ... of the diagram, options of `plot()` of [trace_shapes()]; else not used.
#' @return a ggplot: without `input_shape`, a bar for the channels after each layer, from top to bottom, with the fields
#'   and the number of parameters; else the diagram.
#' @family networks
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 4), kernel_size = 3) |>
#'   layer_relu() |>
#'   layer_global_avg_pool()
#' plot(network)
#' plot(network, input_shape = c(1, 1, 9, 9))
plot.gequi_network <- function(x, input_shape = NULL, ...) {
  if (!is.null(input_shape)) return(plot(trace_shapes(x, input_shape), ...))
  refuse_dots(...)
  plot_layers(as.data.frame(as.data.frame.gequi_network(x)), format(x$space))
}

#' @rdname plot.gequi_network
#' @export
plot.summary.gequi_network <- function(x, ...) {
  refuse_dots(...)
  plot_layers(as.data.frame(x$table), format(x$network$space))
}

#' @rdname plot.gequi_network
#' @export
plot.gequi_module <- function(x, input_shape, ...) {
  if (missing(input_shape)) {
    abort_gequi("InputError", "`input_shape` is missing: a module has no shape of its own. c(1, 1, 32, 32) is one.",
                "input_shape")
  }
  plot(trace_shapes(x, input_shape), ...)
}

plot_layers <- function(table, title) {
  count <- table$parameters
  label <- table$fields
  if (!is.null(table$size)) label <- paste0(label, ifelse(nzchar(table$size), paste0(", ", table$size), ""))
  label <- paste0(label, ifelse(count > 0, paste0(", ", big_number(count), " parameters"), ""))
  bars <- data.frame(
    place = seq_len(nrow(table)), channels = table$channels, label = label,
    learned = factor(ifelse(count > 0, "with weights", "without"), c("with weights", "without"))
  )
  names <- c("input", table$kind[-1])
  ggplot2::ggplot(bars, ggplot2::aes(.data$place, .data$channels, fill = .data$learned)) +
    ggplot2::geom_col(width = 0.36) +
    ggplot2::geom_text(ggplot2::aes(y = 0, label = .data$label), hjust = 0, nudge_x = 0.38, size = 2.8) +
    ggplot2::scale_x_reverse(breaks = bars$place, labels = gsub("_", " ", names)) +
    ggplot2::scale_fill_manual(values = c(`with weights` = "#1b7837", without = "#c2a5cf"), name = NULL, drop = FALSE) +
    ggplot2::coord_flip(clip = "off") +
    ggplot2::labs(x = NULL, y = "channels", title = title) +
    ggplot2::theme_minimal() +
    ggplot2::theme(
      plot.background = white(), legend.position = "top", panel.grid.major.y = ggplot2::element_blank(),
      panel.grid.minor = ggplot2::element_blank()
    )
}
