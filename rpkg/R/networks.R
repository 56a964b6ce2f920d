#' Create an equivariant network
#'
#' Creates a network whose layers commute with the group of a gspace. Layers are added with the `layer_*()` functions
#' and the pipe. Each layer is checked against the output of the previous layer when it is added. Weights are
#' initialized when they are first needed.
#'
#' Networks have value semantics, like other R objects: adding a layer or setting weights returns a new network and does
#' not modify the original. Adding a layer keeps the weights that were set before. [saveRDS()] stores the network
#' definition together with weights that were trained or set.
#'
#' @param space A gspace, created by [gspace()].
#' @param input Named integer vector, the fields of the input, as in [field_type()]: `c(trivial = 1)` for a grayscale
#'   image, `c(trivial = 3)` for a color image, `c(irrep_1 = 1)` for a vector field.
#' @param layers List of layers, each a list such as `list(layer = "conv", fields = c(regular = 4), kernel_size = 3)`.
#'   [layer_kinds()] lists the kinds and their options.
#' @param seed Integer, the seed of the initial weights. The same seed gives the same weights in R and in Python. `NULL`
#'   draws a seed from R's random number generator (see [set.seed()]) and stores it in the network.
#' @param dtype Character, `"float32"`, or `"float64"` for checks of equivariance to 1e-10.
#' @return An object of class `gequi_network`. [reticulate::r_to_py()] returns the torch module. Weights that are
#'   changed through the torch module are not stored by [saveRDS()].
#' @section Errors: `gequi_field_error` if a layer does not accept the fields of the previous layer; `gequi_input_error`
#'   for an unknown layer, option or value. Messages name the layer.
#' @references Cesa, Lang and Weiler (2022), A program to build E(N)-equivariant steerable CNNs, ICLR.
#' @seealso [layer_conv()] and the other layers, [predict.gequi_network()], [equivariance_error()]
#' @concept classification
#' @concept rotation
#' @concept equivariant neural network
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

# Checks a recipe and plans its layers, without building them.
new_network <- function(recipe, weights = NULL, python = NULL, call = rlang::caller_env()) {
  started <- start_plan(recipe, call)
  recipe$seed <- started$seed # which the core has drawn, where it was NULL
  planned_network(recipe, started$plan, as_table(started$rows), weights, python)
}

# A network stores its plan, a Python object, so that an added layer is planned without planning the others again.
planned_network <- function(recipe, plan, table, weights = NULL, python = NULL) {
  network <- do.call(new_handle, c(
    list("gequi_network"), recipe, list(table = table, weights = weights, python = python)
  ))
  network$handle$plan <- plan
  network
}

start_plan <- function(recipe, call) call_core_with("start_plan", recipe, call)

# The plan; it is created again if it does not exist or is no longer valid.
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

# Used for networks and modules.
check_model <- function(model, argument = "model", call = rlang::caller_env()) {
  if (!inherits(model, c("gequi_network", "gequi_module"))) {
    abort_gequi("InputError", paste0(
      "`", argument, "` must be a network, as equivariant_network() makes it, or a module; got ", described(model), "."
    ), argument, call)
  }
}

# ---- layers -------------------------------------------------------------------------------------------------------

# Adds a layer to a network: its kind, and the options that were passed to layer_<kind>().
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

# Weights that differ from those of the seed.
kept_weights <- function(network) {
  if (isTRUE(network$handle$changed)) call_core("get_weights", network) else network$weights
}

# ---- what a network does ------------------------------------------------------------------------------------------

#' Predict with a network
#'
#' Runs a network on a batch of inputs, in evaluation mode and without gradients.
#'
#' The first call compiles the network: filters are expanded, batch normalizations are merged into the preceding
#' convolutions, and all layers become plain torch modules. Further calls use the compiled network until the network
#' changes. The same batch size gives identical output; another batch size changes it by rounding errors.
#'
#' @param object A network, created by [equivariant_network()].
#' @param x Numeric array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel). A
#'   matrix (row, column) is used as a batch of one if the network has one input channel. [as_image_batch()] creates a
#'   batch from several images.
#' @param ... Not used.
#' @param batch_size Integer, the number of examples processed at once. `NULL` is the largest number up to 64 for which
#'   the largest features of the network have at most 3 * 2^20 values.
#' @param dtype Character, `"float32"` or `"float64"`. `NULL` uses the type of the network.
#' @param precision Character, `"bfloat16"` to compute convolutions in bfloat16, which has 3 significant digits. It is
#'   faster on processors and GPUs that support it. The output has the type `dtype`. `NULL` uses `dtype`.
#' @param newdata Alias of `x`, for consistency with other packages.
#' @param progress Logical, whether to show a progress bar for predictions that take longer than two seconds. The
#'   default shows one in interactive sessions. A function is called after each batch with a list of `done`, `total`
#'   (examples) and `seconds_left`.
#' @return A numeric array whose first axis is the batch.
#' @section Reproducibility: On one machine, the same number of threads of torch gives identical output. Set it with the
#'   environment variable `OMP_NUM_THREADS` before Python starts. With another number of threads, sums are computed in
#'   another order, and outputs agree to 1e-6 (float32) or 1e-12 (float64), relative to the largest value.
#' @section Errors: `gequi_shape_error` if the axes or channels do not match the network, or if an image is too small
#'   for a layer (the message names it); `gequi_input_error` for values that are not finite.
#' @section Warnings: `gequi_exactness_warning` for the first image of a size at which a layer is not exactly
#'   equivariant.
#' @family networks
#' @importFrom stats predict
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 3), kernel_size = 3)
#' dim(predict(network, volcano))
#' dim(predict(network, as_image_batch(list(volcano, volcano[87:1, ]))))
predict.gequi_network <- function(object, x, ..., batch_size = NULL, dtype = NULL, precision = NULL, newdata = NULL,
                                  progress = NULL) {
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
    "predict", model = object, x = as_inputs(x), batch_size = batch_size, dtype = dtype, precision = precision,
    progress = bar$report
  )
}

#' Output shape of a network
#'
#' Computes the shape of the output for a given input shape, without running the network.
#'
#' @param network A network, created by [equivariant_network()].
#' @param input_shape Integer vector, (batch, channel, row, column), (batch, channel, depth, row, column) or (batch,
#'   channel), such as `c(1, 1, 32, 32)`.
#' @return An integer vector, the dimensions of the array that [predict()] returns.
#' @section Errors: `gequi_shape_error` if the shape does not match the input fields or is too small for a layer (the
#'   message names it).
#' @section Warnings: `gequi_exactness_warning` if a stride or padding breaks exact equivariance at this size. The
#'   message names the layer.
#' @family networks
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 3), kernel_size = 3)
#' output_shape(network, c(2, 1, 32, 32))
output_shape <- function(network, input_shape) {
  as.integer(unlist(call_core("output_shape", network = network, input_shape = input_shape)))
}

#' Get or set the weights of a network
#'
#' `get_weights()` returns the weights, including the running statistics of batch normalization. `set_weights()` returns
#' a copy of the network with other weights.
#'
#' @param model A network, created by [equivariant_network()], or a module, created by [multi_head_attention()],
#'   [unet()] or similar functions.
#' @param weights Named list of numeric arrays with the shapes of the weights. Weights that are not in the list are
#'   kept.
#' @return `get_weights()`: a named list of numeric arrays. The names are those of torch, which counts layers from 0.
#'   `set_weights()`: a network. The original network is not modified.
#' @section Errors: `gequi_input_error` for an unknown name or values that are not finite; `gequi_shape_error` for a
#'   weight of the wrong shape.
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
  # If the weights are lost, the plan can still be shown.
  table <- if (is_alive(x) || !isTRUE(x$handle$changed)) as.data.frame(x) else x$table
  print_network(x, table)
  invisible(x)
}

print_network <- function(x, table) {
  cat(title_line("network", format(x)), "\n", cli::col_grey(paste0(x$dtype, ", seed ", x$seed)), "\n", sep = "")
  shown <- table
  for (count in intersect(c("parameters", "flops"), names(shown))) {
    shown[[count]] <- ifelse(shown[[count]] %in% c(0, NA), "", big_number(shown[[count]]))
  }
  names(shown)[1:2] <- c("", "layer")
  shown$layer[1] <- "input"
  shown[[1]][1] <- ""
  print_table(shown, right = c("parameters", "flops"))
  if (!is.null(table$parameters)) {
    total <- paste0(big_number(sum(table$parameters)), " parameters")
    if (!is.null(table$flops)) {
      known <- if (anyNA(table$flops)) " in the layers for which they are known"
      total <- paste0(total, ", ", big_number(sum(table$flops, na.rm = TRUE)), " FLOPs for one input", known)
    }
    cat(cli::col_grey(total), "\n", sep = "")
  }
}

big_number <- function(x) format(x, big.mark = ",", trim = TRUE)

#' @param object A network.
#' @param input_shape Integer vector, the shape of the input. If it is given, the summary lists the size after each
#'   layer, and its FLOPs: the multiplications and additions of matrix products, convolutions and attention for one
#'   input. Other layers have 0, and layers for which the number is not known `NA`.
#' @param ... Not used.
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
#' Plots the number of channels after each layer as a bar chart, or the network as a diagram if `input_shape` is given.
#'
#' @param x A network, its [summary()], or a module.
#' @param input_shape Integer vector, the shape of an input, such as `c(1, 1, 32, 32)`. If it is given, the diagram of
#'   [trace_shapes()] is drawn, with all modules and connections. It is required for a module.
#' @param ... Options of the `plot()` method of [trace_shapes()], for the diagram.
#' @return A ggplot object. The bar chart lists the fields and the number of parameters of each layer, from top to
#'   bottom.
#' @section Errors: `gequi_input_error` if a module is given without `input_shape`, and the errors of [trace_shapes()].
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
