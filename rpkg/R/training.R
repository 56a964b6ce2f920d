#' Train a network
#'
#' `fit()` gives a network that has learned from examples; the one it was given keeps its own weights. It is the
#' generic of the package generics, as other packages that fit models have it.
#'
#' Ctrl-C, or the stop button, ends the training after the batch: what comes back is the network as it stands then.
#'
#' @param object a network, from [equivariant_network()], a module such as [unet()], or one that was fitted before.
#' @param x inputs (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel); or the path
#'   of a .npy file of them, which is read a batch at a time; or a function that takes the number of a batch, from 1,
#'   and returns `list(x, y)`.
#' @param y targets. A factor, or whole numbers from 1, for classes of images (batch); whole numbers (batch, row,
#'   column) for classes of pixels, where 0 and `NA` are pixels that count for nothing; or numbers of the shape of the
#'   network's output; or the path of a .npy file, in which classes count from 0.
#' @param ... not used.
#' @param loss `"cross_entropy"`, `"binary_cross_entropy"` (targets 0 and 1, outputs are logits), `"mse"`, `"mae"` or
#'   `"huber"`. `NULL` is cross-entropy for factors and integers, else mean squared error.
#' @param epochs how often each example is seen.
#' @param batch_size examples in a batch, over all devices together.
#' @param learning_rate the peak of the schedule.
#' @param optimizer `"adam"`, `"adamw"` or `"sgd"`; or with options, such as
#'   `list(optimizer = "sgd", momentum = 0.9, weight_decay = 1e-4)`.
#' @param schedule of the learning rate, by batches: `"constant"`, `"linear"` or `"cosine"` down to 0, or `"one_cycle"`
#'   up from a 25th and down to almost nothing.
#' @param validation the fraction of the examples to hold out (drawn from `seed`), or `list(x, y)`.
#' @param augment `"group"` moves each example by a random element of the network's group (of a continuous group, one
#'   of [group_elements()]); `"rotation"` turns images by any angle. Targets with a place or a direction move too.
#' @param class_weights a number for each class, or `"balanced"`.
#' @param precision `NULL` for the network's own type, or `"bfloat16"` for mixed precision.
#' @param device `"cpu"`, `"cuda"`, or `"auto"`.
#' @param seed of the order of examples, augmentation and dropout. `NULL` draws one.
#' @param checkpoint a file that keeps the state after every epoch. If it exists, the training goes on from it.
#' @param patience stop after so many epochs without a better validation loss (without validation: loss), and go back
#'   to the best weights.
#' @param devices processes on this machine; each takes a part of every batch.
#' @param nodes machines.
#' @param batches batches in an epoch, where `x` is a function.
#' @param progress whether to show a progress bar; or a function that is called about ten times a second with a list
#'   (`epoch`, `loss`, `step`, `steps`, `seconds_left`, ...); the training stops where it returns `FALSE`.
#' @return a network of class `gequi_fit`: all that works on a network works on it. Its `history` is a data frame with
#'   a row for each epoch: `epoch`, `loss` and, for classes, `accuracy` as the training went; `val_loss` and further
#'   metrics as in [evaluate()]; `learning_rate`, `seconds`, and `stopped`: `""` or, in the last row, `"interrupt"` or
#'   `"patience"`. `plot()` draws it. [saveRDS()] and [save_model()] keep the weights.
#' @section Errors: `gequi_shape_error` for inputs or targets that do not fit the network; `gequi_input_error` for an
#'   option out of range, or a loss that is no longer finite (before it reaches the weights); `gequi_setup_error`
#'   where the Python packages lightning or torchmetrics are missing.
#' @seealso [predict.gequi_fit()], [evaluate()], [save_model()]
#' @family training
#' @importFrom generics fit
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 2), kernel_size = 3) |>
#'   layer_relu() |>
#'   layer_global_avg_pool() |>
#'   layer_group_pool() |>
#'   layer_dense(2)
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' y <- factor(rep(c("even", "odd"), 8))
#' fitted <- fit(network, x, y, epochs = 2, seed = 1)
#' fitted$history
#' predict(fitted, x[1:2, , , , drop = FALSE], type = "class")
fit.gequi_network <- function(object, x, y = NULL, ..., loss = NULL, epochs = 10, batch_size = 32,
                              learning_rate = 0.001, optimizer = "adam", schedule = "constant", validation = NULL,
                              augment = NULL, class_weights = NULL, precision = NULL, device = "auto", seed = NULL,
                              checkpoint = NULL, patience = NULL, devices = 1, nodes = 1, batches = NULL,
                              progress = rlang::is_interactive()) {
  here <- rlang::current_env()
  rlang::check_dots_empty()
  targets <- read_targets(x, y, loss)
  if (is.list(validation) && length(validation) == 2) validation[[2]] <- targets$encode(validation[[2]])
  if (!is.null(names(class_weights))) class_weights <- unname(class_weights[targets$levels()])
  python <- copy_of(object)
  history <- while_reporting(progress, function(report) {
    call_core(
      "fit", network = python, x = targets$x, y = targets$y, loss = targets$loss, epochs = epochs,
      batch_size = batch_size, learning_rate = learning_rate, optimizer = optimizer, schedule = schedule,
      validation = validation, augment = augment, class_weights = class_weights, precision = precision,
      device = device, seed = seed, checkpoint = as_path(checkpoint), patience = patience, devices = devices,
      nodes = nodes, batches = batches, progress = report, .indexes = "class", .call = here
    )
  })
  trained <- trained_from(object, call_core("get_weights", python), python)
  as_fit(trained, as_history(history), targets$classes, targets$levels())
}

#' @rdname fit.gequi_network
#' @export
fit.gequi_module <- fit.gequi_network

#' Train on several machines
#'
#' `prepare_job()` writes a training down as a folder, and says which command does it on a cluster. `collect_job()`
#' fetches the network when it is done. On one machine, `fit(devices = 2)` does all of this at once.
#'
#' @param folder an empty folder that all machines see.
#' @param network a network, from [equivariant_network()], or a module such as [unet()].
#' @param x,y inputs and targets, as in [fit()]. The path of a .npy file is passed on, not its contents.
#' @param about a named list of plain data to keep with the job.
#' @param ... options of [fit()]; `devices` are the processes on each of `nodes` machines.
#' @return `prepare_job()`: a list of two commands, of which one is needed: `torchrun`, for each machine, with the name
#'   of the first in place of FIRST_MACHINE; `srun`, for a batch script of SLURM. `collect_job()`: the network, as
#'   [fit()] returns it.
#' @inheritSection fit.gequi_network Errors
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' folder <- tempfile("job")
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' y <- factor(rep(c("even", "odd"), 8))
#' prepare_job(folder, network, x, y, nodes = 2, devices = 4, epochs = 3)$srun
prepare_job <- function(folder, network, x, y, about = NULL, ...) {
  options <- list(...)
  targets <- read_targets(x, y, options$loss)
  if (is.list(options$validation) && length(options$validation) == 2) {
    options$validation[[2]] <- targets$encode(options$validation[[2]])
  }
  options$loss <- targets$loss
  fitted <- list(classes = targets$classes, levels = as.list(targets$levels()))
  do.call(call_core, c(
    list(
      "prepare_job", folder = as_path(folder), network = network, x = targets$x, y = targets$y,
      about = utils::modifyList(as.list(about), fitted)
    ),
    options, list(.indexes = "class", .call = rlang::current_env())
  ))
}

#' @rdname prepare_job
#' @export
collect_job <- function(folder, network) {
  python <- copy_of(network)
  history <- call_core("collect_job", folder = as_path(folder), network = python)
  about <- call_core("training._jobs.about_job", as_path(folder))
  trained <- trained_from(network, call_core("get_weights", python), python)
  as_fit(trained, as_history(history), isTRUE(about$classes), unlist(about$levels))
}

# A Python object of its own with the same weights, for the training to change; and the R object of it afterwards.
copy_of <- function(object) {
  if (inherits(object, "gequi_network")) return(call_core("networks.copy_network", object))
  handle_of(with_weights(object, list()))
}

trained_from <- function(object, weights, python) {
  if (inherits(object, "gequi_network")) new_network(recipe_of(object), weights, python) else as_model(python, weights)
}

#' @importFrom generics fit
#' @export
generics::fit

as_fit <- function(network, history, classes, levels) {
  parts <- unclass(network)
  structure(
    c(parts, list(history = history, classes = classes, levels = levels)),
    class = c("gequi_fit", class(network))
  )
}

# Whether targets are classes: factors are, whole numbers of the integer type unless a loss says otherwise.
is_classes <- function(y, loss) {
  is.factor(y) || identical(loss, "cross_entropy") || (is.null(loss) && (is.integer(y) || is.logical(y)))
}

# Inputs and targets as the core takes them. A factor's levels are known at once or, where a function makes the batches,
# from the first of them.
read_targets <- function(x, y, loss) {
  classes <- is_classes(y, loss)
  known <- levels(y)
  encode <- function(y) {
    if (!classes) return(y)
    if (is.null(known)) known <<- levels(y)
    as_classes(y, known)
  }
  made <- function(number) {
    pair <- x(number + 1)
    if (length(pair) == 2) list(pair[[1]], encode(pair[[2]])) else pair
  }
  list(
    x = if (is.function(x)) made else x, y = encode(y), loss = if (classes) "cross_entropy" else loss,
    classes = classes, levels = function() known, encode = encode
  )
}

# Classes as the core counts them, from 0. What has no class, 0 or NA, becomes -1, which pixels may have.
as_classes <- function(y, levels = NULL) {
  if (is.null(y) || (is.character(y) && is.null(levels))) return(y) # a file counts from 0 already
  size <- dim(y)
  if (is.factor(y) || is.character(y)) y <- match(as.character(y), levels)
  y <- as.numeric(y)
  y[is.na(y)] <- 0
  whole <- all(y == floor(y) & abs(y) < 2^31)
  y <- y - 1
  if (whole) storage.mode(y) <- "integer"
  if (is.null(size)) y else array(y, size)
}

# ---- progress -----------------------------------------------------------------------------------------------------

# What the core reports to while it trains, about ten times a second. An interrupt becomes FALSE, which ends the
# training after the batch.
# What `train` returns, given a function that reports its progress.
while_reporting <- function(progress, train) {
  bar <- progress_reporter(progress)
  # An interrupt waits for the next report, where it becomes the wish to stop: elsewhere it would lose the network.
  suspendInterrupts(tryCatch(train(bar$report), finally = bar$close()))
}

progress_reporter <- function(progress) {
  show <- if (is.function(progress)) progress else if (isTRUE(progress)) training_bar() else function(told) NULL
  list(
    report = function(told) {
      tryCatch(allowInterrupts(!isFALSE(show(told))), interrupt = function(condition) FALSE)
    },
    close = function() if (isTRUE(progress)) close_bar(the$bar)
  )
}

training_bar <- function() {
  the$bar <- NULL
  function(told) {
    text <- paste0("epoch ", told$epoch, "/", told$epochs, "  ", progress_text(told))
    if (is.null(the$bar)) the$bar <- new_bar(told$steps, "{cli::pb_bar} {cli::pb_percent}  {cli::pb_status}")
    cli::cli_progress_update(set = told$step, status = text, id = the$bar)
    TRUE
  }
}

# A progress bar that lives until it is closed, whichever function made it.
new_bar <- function(total, format) {
  cli::cli_progress_bar(total = total, format = format, clear = TRUE, .auto_close = FALSE)
}

close_bar <- function(id) if (!is.null(id)) cli::cli_progress_done(id = id)

progress_text <- function(told) {
  metrics <- intersect(c("loss", "accuracy", "val_loss", "val_accuracy"), names(told))
  values <- vapply(told[metrics], format, "", digits = 3)
  paste0(
    paste(gsub("_", " ", metrics), values, collapse = "  "), "  ", format_seconds(told$seconds_left), " left"
  )
}

format_seconds <- function(seconds) {
  if (seconds < 90) return(paste0(round(seconds), " s"))
  if (seconds < 5400) return(paste0(round(seconds / 60), " min"))
  paste0(format(seconds / 3600, digits = 2), " h")
}

# ---- history ------------------------------------------------------------------------------------------------------

as_history <- function(rows) {
  keys <- unique(unlist(lapply(rows, names)))
  full <- lapply(rows, function(row) stats::setNames(row[keys], keys)) # an interrupted epoch knows less
  table <- as_table(full)
  class(table) <- c("gequi_history", class(table))
  table
}

#' @export
print.gequi_history <- function(x, ..., n = 12) {
  shown <- as.data.frame(x)
  stopped <- shown$stopped[nrow(shown)]
  left_out <- nrow(shown) - n
  if (left_out > 0) {
    cat(cli::col_grey(paste0("  ", left_out, " earlier epochs ...")), "\n", sep = "")
    shown <- shown[-seq_len(left_out), , drop = FALSE]
  }
  shown$stopped <- NULL
  numbers <- setdiff(names(shown), "epoch")
  shown[numbers] <- lapply(shown[numbers], function(column) {
    text <- formatC(as.numeric(column), digits = 3, format = "g", flag = "#")
    ifelse(is.na(column), "", sub("\\.$", "", text))
  })
  print_table(shown, right = numbers)
  reasons <- c(interrupt = "stopped by an interrupt", patience = "stopped by `patience`: the best weights were taken")
  if (nzchar(stopped)) cat(cli::col_grey(reasons[[stopped]]), "\n", sep = "")
  invisible(x)
}

#' @export
as.data.frame.gequi_history <- function(x, row.names = NULL, optional = FALSE, ...) {
  class(x) <- "data.frame"
  x
}

#' @export
plot.gequi_history <- function(x, ...) {
  table <- as.data.frame(x)
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

#' @export
plot.gequi_fit <- function(x, ...) plot(x$history, ...)

#' @export
print.gequi_fit <- function(x, ...) {
  NextMethod()
  if (length(x$levels)) cat(cli::col_grey(paste0("classes: ", paste(x$levels, collapse = ", "))), "\n", sep = "")
  if (!is.null(x$history)) {
    cat(cli::col_grey(paste0("trained for ", nrow(x$history), " epochs; the last:")), "\n", sep = "")
    print(x$history[nrow(x$history), ])
  }
  invisible(x)
}

# ---- predicting and measuring -------------------------------------------------------------------------------------

#' What a trained network makes of images
#'
#' @param object a network that [fit()] trained.
#' @param x,batch_size,dtype as in [predict.gequi_network()].
#' @param type `"raw"`, what the network puts out; for a network that was trained on classes also `"class"` and
#'   `"prob"`. `NULL` is `"class"` where there are classes, else `"raw"`.
#' @param ... not used.
#' @return `"class"`: a factor with the levels of the targets (whole numbers from 1 where they had none; an array
#'   (batch, row, column) of them for classes of pixels). `"prob"`: a matrix with a row for each image and a column for
#'   each class, named; for pixels an array (batch, class, row, column). `"raw"`: an array, batch first.
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' fitted <- fit(network, x, factor(rep(c("even", "odd"), 8)), epochs = 1, seed = 1)
#' predict(fitted, x[1:2, , , , drop = FALSE], type = "prob")
predict.gequi_fit <- function(object, x, type = NULL, ..., batch_size = 64, dtype = NULL) {
  if (is.null(type)) type <- if (object$classes) "class" else "raw"
  allowed <- c("raw", if (object$classes) c("class", "prob"))
  if (!rlang::is_string(type) || !type %in% allowed) {
    abort_gequi("InputError", paste0(
      "`type` must be one of ", paste0("'", allowed, "'", collapse = ", "), "; got ", deparse(type)[1], "."
    ), "type", rlang::current_env())
  }
  rlang::check_dots_empty()
  if (type == "raw") return(call_core("predict", object, x = x, batch_size = batch_size, dtype = dtype))
  value <- call_core("training.predict_classes", object, x = x, type = type, batch_size = batch_size)
  as_prediction(value, type, object$levels)
}

# What the core predicts of classes, as R has it: named columns, and classes that count from 1 or are those of a factor.
as_prediction <- function(value, type, levels) {
  if (type == "prob") {
    if (length(levels)) dimnames(value) <- c(list(NULL, levels), rep(list(NULL), length(dim(value)) - 2))
  } else if (type == "class") {
    value <- value + 1L
    storage.mode(value) <- "integer"
    if (length(dim(value)) == 1 && length(levels)) value <- factor(levels[value], levels)
  }
  value
}

#' How well a network does
#'
#' @param network a network, from [equivariant_network()] or [fit()], or a module such as [unet()].
#' @param x,y,loss inputs, targets and loss, as in [fit()].
#' @param batch_size how many go through at once.
#' @return a data frame of one row: `loss`, the mean; for classes of images `accuracy` and `balanced_accuracy` (the
#'   mean over the classes); for classes of pixels `accuracy` and `mean_iou`; for binary targets `accuracy`; for
#'   numbers and fields `rmse`, `mae` and `r_squared`.
#' @inheritSection fit.gequi_network Errors
#' @references torchmetrics, for the metrics.
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' evaluate(network, x, factor(rep(c("even", "odd"), 8)))
evaluate <- function(network, x, y, loss = NULL, batch_size = 64) {
  if (is_classes(y, loss)) {
    levels <- if (inherits(network, "gequi_fit") && length(network$levels)) network$levels else levels(y)
    y <- as_classes(y, levels)
    loss <- "cross_entropy"
  }
  value <- call_core("evaluate", network = network, x = x, y = y, loss = loss, batch_size = batch_size,
                     .indexes = "class")
  as_table(list(value))
}
