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
#'   and returns `list(x, y)`; or images in files, as [image_files()] takes them: a folder with a folder for each class,
#'   or a data frame with the columns `path` and `label`.
#' @param y targets: classes of images (batch) or of pixels (batch, row, column), or numbers of the shape of the
#'   network's output. Classes are a factor, text, logical values (a mask), or whole numbers: from 0 where there is a 0
#'   among them, else from 1. Pixels that are `NA` or `ignore` count for nothing. Or the path of a .npy file, in which
#'   classes count from 0.
#' @param ... not used.
#' @param loss `"cross_entropy"`, `"binary_cross_entropy"` (targets 0 and 1, outputs are logits), `"mse"`, `"mae"` or
#'   `"huber"`. `NULL` is cross-entropy for factors, text, logical values and integers, and for whole numbers, one an
#'   image or a place, where the network has several outputs there; else mean squared error.
#' @param epochs how often each example is seen.
#' @param batch_size examples in a batch, over all devices together.
#' @param learning_rate the peak of the schedule.
#' @param optimizer `"adam"`, `"adamw"` or `"sgd"`; or with options, such as
#'   `list(optimizer = "sgd", momentum = 0.9, weight_decay = 1e-4)`.
#' @param schedule of the learning rate, by batches: `"constant"`, `"linear"` or `"cosine"` down to 0, or `"one_cycle"`
#'   up from a 25th and down to almost nothing.
#' @param validation the fraction of the examples to hold out (drawn from `seed`), or `list(x =, y =)`.
#' @param augment `"group"` moves each example by a random element of the network's group (of a continuous group, one
#'   of [group_elements()]); `"rotation"` turns images by any angle. Targets with a place or a direction move too.
#' @param class_weights a number for each class, or `"balanced"`.
#' @param ignore a value of `y`: the class of pixels that count for nothing, such as `ignore = 0`.
#' @param precision `NULL` for the network's own type, or `"bfloat16"` for mixed precision.
#' @param device `"cpu"`, `"cuda"`, or `"auto"`.
#' @param seed of the order of examples, augmentation and dropout. `NULL` is that of `checkpoint` where it exists, else
#'   one drawn from R's random numbers, so that [set.seed()] decides it. The result has it as `fit_seed`.
#'   The same seed gives the same weights, to the bit, on one machine with one number of threads.
#' @param checkpoint a file that keeps the state after every epoch. If it exists, the training goes on from it.
#' @param patience stop after so many epochs without a better validation loss (without validation: loss), and go back
#'   to the best weights.
#' @param devices processes on this machine; each takes a part of every batch.
#' @param nodes machines.
#' @param batches batches in an epoch, where `x` is a function.
#' @param progress `TRUE` shows a progress bar, `"epochs"` a line for each epoch, `FALSE` nothing; or a function that is
#'   called about ten times a second with a list (`epoch`, `epochs`, `batch`, `batches`, `step`, `steps`, `seconds_left`
#'   and the metrics so far); the training stops where it returns `FALSE`. `NULL` is the bar in interactive sessions; in
#'   scripts, after two seconds, a line for each epoch; in documents that knitr makes, nothing.
#' @param callbacks a list with any of the functions `on_epoch_begin`, `on_epoch_end` and `on_batch_end`, or a list of
#'   such lists. Each function is called with the list that `progress` is called with: without metrics when an epoch
#'   begins, with those of the validation when it ends. Where one of them returns `FALSE`, the training stops after the
#'   batch (of `on_epoch_begin`, the one that follows), and can be resumed. A training that is resumed within an epoch
#'   begins that epoch again. Not where several processes train.
#' @return a network of class `gequi_fit`: all that works on a network works on it. Its `history` is a data frame with
#'   a row for each epoch: `epoch`, `loss` and, for classes, `accuracy` as the training went; `val_loss` and further
#'   metrics as in [evaluate()]; `learning_rate`, `seconds`, and `stopped`: `""` or, in the last row, `"interrupt"`,
#'   `"callback"` or `"patience"`. `plot()` draws it. [saveRDS()] and [save_model()] keep the weights.
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
                              augment = NULL, class_weights = NULL, ignore = NULL, precision = NULL, device = "auto",
                              seed = NULL, checkpoint = NULL, patience = NULL, devices = 1, nodes = 1, batches = NULL,
                              progress = NULL, callbacks = NULL) {
  need_arguments()
  here <- rlang::current_env()
  refuse_other_names(...)
  if (is.null(seed) && !file_exists(checkpoint)) seed <- own_seed(seed)
  x <- as_inputs(x)
  targets <- read_targets(object, x, targets_of_inputs(x, y), loss, ignore, call = here)
  options <- core_options(mget(fit_options(), here), targets)
  python <- copy_of(object)
  history <- while_reporting(progress, function(report) {
    given <- list(model = python, x = targets$x, y = targets$y, progress = report)
    call_core_with("fit", c(given, list(callbacks = as_callbacks(callbacks)), options), here)
  })
  trained <- trained_from(object, call_core("get_weights", python), python)
  as_fit(trained, as_history(history), targets$classes, targets$coding(), seed)
}

#' @rdname fit.gequi_network
#' @export
fit.gequi_module <- fit.gequi_network

# The names of the options of fit() that the core keeps with a training: all arguments but the data and what is called
# in this session.
fit_options <- function() {
  setdiff(names(formals(fit.gequi_network)), c("object", "x", "y", "...", "progress", "callbacks"))
}

# What other packages call an argument of fit().
other_names <- c(
  validation_split = "validation", validation_data = "validation", valid_data = "validation", lr = "learning_rate",
  verbose = "progress", max_epochs = "epochs", class_weight = "class_weights", weights = "class_weights"
)

refuse_other_names <- function(..., call = rlang::caller_env()) {
  given <- intersect(names(list(...)), names(other_names))
  if (length(given)) {
    message <- paste0("`", given[1], "` is called `", other_names[[given[1]]], "` here.")
    abort_gequi("InputError", message, given[1], call)
  }
  refuse_dots(..., .call = call)
}

file_exists <- function(path) rlang::is_string(path) && file.exists(path.expand(path))

# Options of fit() as the core takes them; `targets` are those of read_targets().
core_options <- function(options, targets, call = rlang::caller_env()) {
  options["loss"] <- list(targets$loss)
  options["ignore"] <- list(targets$ignore)
  if (is.list(options$validation) && length(options$validation) == 2) {
    if (setequal(names(options$validation), c("x", "y"))) options$validation <- options$validation[c("x", "y")]
    options$validation <- unname(options$validation)
    x <- as_inputs(options$validation[[1]])
    options$validation <- list(x, targets_of_inputs(x, options$validation[[2]]))
    options$validation[[2]] <- targets$encode(options$validation[[2]], options$validation[[1]])
  }
  options["class_weights"] <- list(weights_of_classes(options$class_weights, targets$coding()$levels, call))
  if (!is.null(options$checkpoint)) options$checkpoint <- as_path(options$checkpoint)
  options
}

# Named weights in the order of the classes.
weights_of_classes <- function(weights, levels, call) {
  if (is.null(names(weights))) return(weights)
  if (is.null(levels)) levels <- as.character(seq_along(weights))
  if (!setequal(names(weights), levels)) {
    abort_gequi("InputError", paste0(
      "`class_weights` must have the names of the classes, ", quoted(levels), "; got ", quoted(names(weights)), "."
    ), "class_weights", call)
  }
  unname(weights[levels])
}

# Callbacks as the core takes them: whatever else than FALSE a function returns, the training goes on.
as_callbacks <- function(callbacks) {
  if (!is.list(callbacks)) return(callbacks)
  lapply(callbacks, function(each) {
    if (is.function(each)) function(info) !isFALSE(each(info)) else as_callbacks(each)
  })
}

# A Python object of its own with the same weights, for the training to change; and the R object of it afterwards.
copy_of <- function(object) {
  if (inherits(object, "gequi_network")) return(call_core("copy_network", object))
  handle_of(with_weights(object, list()))
}

trained_from <- function(object, weights, python) {
  if (inherits(object, "gequi_network")) new_network(recipe_of(object), weights, python) else as_model(python, weights)
}

#' @importFrom generics fit
#' @export
generics::fit

as_fit <- function(network, history, classes, coding = NULL, seed = NULL) {
  parts <- unclass(network)
  structure(
    c(parts, list(
      history = history, classes = classes, levels = coding$levels, class_type = coding$class_type, fit_seed = seed
    )),
    class = c("gequi_fit", class(network))
  )
}

# ---- progress -----------------------------------------------------------------------------------------------------

# The value of `train`, a function of the function that the core reports its progress to.
while_reporting <- function(progress, train) {
  bar <- progress_reporter(progress)
  # An interrupt waits for the next report, where it becomes the wish to stop: elsewhere it would lose the network.
  suspendInterrupts(tryCatch(train(bar$report), finally = bar$close()))
}

# What the core reports to while it trains, about ten times a second. An interrupt becomes FALSE, which ends the
# training after the batch.
progress_reporter <- function(progress) {
  if (is.null(progress)) progress <- default_progress()
  show <- if (is.function(progress)) progress else if (isTRUE(progress)) training_bar() else
    if (is.character(progress)) epoch_lines(progress) else function(told) NULL
  list(
    report = function(told) {
      tryCatch(allowInterrupts(!isFALSE(show(told))), interrupt = function(condition) FALSE)
    },
    close = function() if (isTRUE(progress)) close_bar(the$bar)
  )
}

# What is shown where nothing is asked for.
default_progress <- function() {
  if (rlang::is_interactive()) return(TRUE)
  if (isTRUE(getOption("knitr.in.progress"))) FALSE else "late epochs"
}

# A line for each epoch, on the standard error; of a short training none, unless they are asked for.
epoch_lines <- function(progress) {
  began <- proc.time()[["elapsed"]]
  function(told) {
    late <- progress == "epochs" || proc.time()[["elapsed"]] - began > seconds_of_silence
    if (late && told$batch == told$batches) {
      message("epoch ", told$epoch, "/", told$epochs, "  ", progress_text(told))
    }
    TRUE
  }
}

seconds_of_silence <- 2

training_bar <- function() {
  the$bar <- NULL
  function(told) {
    text <- paste0("epoch ", told$epoch, "/", told$epochs, "  ", progress_text(told))
    if (is.null(the$bar)) the$bar <- new_bar(told$steps, "{cli::pb_bar} {cli::pb_percent}  {cli::pb_status}")
    cli::cli_progress_update(set = told$step, status = text, id = the$bar)
    TRUE
  }
}

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

#' @export
plot.gequi_fit <- function(x, ...) plot(x$history, ...)

#' @export
print.gequi_fit <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  NextMethod()
  if (length(x$levels)) cat(cli::col_grey(paste0("classes: ", paste(x$levels, collapse = ", "))), "\n", sep = "")
  if (!is.null(x$history)) {
    cat(cli::col_grey(paste0(
      "trained for ", nrow(x$history), " epochs", if (!is.null(x$fit_seed)) paste(" with seed", x$fit_seed),
      "; the last:"
    )), "\n", sep = "")
    print(x$history[nrow(x$history), ])
  }
  invisible(x)
}

# ---- predicting and measuring -------------------------------------------------------------------------------------

#' Predict with a trained network
#'
#' @param object a network that [fit()] trained.
#' @param x,batch_size,dtype,progress as in [predict.gequi_network()]; `x` may also be images in files, as
#'   [image_files()] takes them.
#' @param newdata another name for `x`, as other packages have it.
#' @param type `"raw"`, the output of the network; for a network that was trained on classes also `"class"` and
#'   `"prob"`; `"tibble"`, all of it as a table. `NULL` is `"class"` where there are classes, else `"raw"`.
#' @param ... not used.
#' @return `"class"`: classes as the targets had them, a factor with the same levels, logical values or whole numbers;
#'   for classes of pixels with the axes (batch, row, column). `"prob"`: a matrix with a row for each image and a column
#'   for each class, named; for pixels an array (batch, class, row, column). `"raw"`: an array, batch first.
#'   `"tibble"`: a data frame (with the class of a tibble) with a row for each image: `.pred_class` and, for each class,
#'   its probability, `.pred_cat` for the class cat; of numbers `.pred`, or `.pred_1`, `.pred_2` ... where there are
#'   several outputs. For each pixel it has a row, after the columns `image`, `row` and `column` (volumes: `depth`).
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' fitted <- fit(network, x, factor(rep(c("even", "odd"), 8)), epochs = 1, seed = 1)
#' predict(fitted, x[1:2, , , , drop = FALSE], type = "prob")
predict.gequi_fit <- function(object, x, type = NULL, ..., batch_size = 64, dtype = NULL, newdata = NULL,
                              progress = NULL) {
  x <- x_or_newdata(if (!missing(x)) x, newdata)
  if (is.null(type)) type <- if (object$classes) "class" else "raw"
  allowed <- c("raw", if (object$classes) c("class", "prob"), "tibble")
  if (!rlang::is_string(type) || !type %in% allowed) {
    abort_gequi("InputError", paste0(
      "`type` must be one of ", paste0("'", allowed, "'", collapse = ", "), "; got ", deparse(type)[1], "."
    ), "type", rlang::current_env())
  }
  refuse_dots(...)
  x <- as_inputs(x)
  bar <- reporter(progress, function() count_bar("Predicting"), rlang::current_env())
  on.exit(bar$close())
  options <- list(object, x = x, batch_size = batch_size, progress = bar$report)
  if (type == "tibble") return(predicted_table(object, options, dtype))
  if (type == "raw") return(call_core_with("predict", c(options, list(dtype = dtype)), rlang::current_env()))
  value <- call_core_with("predict_classes", c(options, list(type = type)), rlang::current_env())
  as_prediction(value, type, coding_of(object))
}

# What a method of predict() is given to predict for: as `x` or, as in other packages, as `newdata`.
x_or_newdata <- function(x, newdata, call = rlang::caller_env(), name = "x") {
  if (!is.null(x) && !is.null(newdata)) {
    message <- paste0("Give `", name, "` or `newdata`, not both: they are two names of one argument.")
    abort_gequi("InputError", message, "newdata", call)
  }
  if (is.null(x) && is.null(newdata)) abort_gequi("InputError", paste0("`", name, "` is missing."), name, call)
  if (is.null(x)) newdata else x
}

# What the core predicts of classes, as R has it: named columns, and classes of the type that the targets had.
as_prediction <- function(value, type, coding) {
  levels <- coding$levels
  if (type == "prob" && length(levels)) {
    levels <- levels[seq_len(dim(value)[2])]
    dimnames(value) <- c(list(NULL, levels), rep(list(NULL), length(dim(value)) - 2))
  } else if (type == "class") {
    size <- dim(value)
    value <- switch(if (length(levels)) coding$class_type else "numbers",
      numbers = value + 1L, factor = factor(levels[value + 1], levels), logical = value == 1,
      whole = as.integer(levels[value + 1])
    )
    if (length(size) > 1 || !is.factor(value)) dim(value) <- size
    if (is.numeric(value)) storage.mode(value) <- "integer"
  }
  value
}

#' Measure a network on examples with known targets
#'
#' @param model a network, from [equivariant_network()] or [fit()], or a module such as [unet()].
#' @param x,y,loss,ignore inputs, targets, loss and the class to ignore, as in [fit()].
#' @param batch_size how many go through at once.
#' @param by `"all"` for measures of all examples; of classes also `"class"` for measures of each, and `"confusion"` for
#'   the confusion matrix.
#' @return `"all"`: a data frame of one row: `loss`, the mean; for classes of images `accuracy` and `balanced_accuracy`
#'   (the mean over the classes); for classes of pixels `accuracy` and `mean_iou`; for binary targets `accuracy`; for
#'   numbers and fields `rmse`, `mae` and `r_squared`. `"class"`: a data frame with a row for each class: `class`,
#'   `count` (of its targets), `precision`, `recall`, `f1` and `iou`, which are `NaN` where a class occurs in no target
#'   and in no prediction. `"confusion"`: a [table()] of counts, of the true class by the predicted one.
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
evaluate <- function(model, x, y = NULL, loss = NULL, batch_size = 64, ignore = NULL, by = "all") {
  need_arguments()
  here <- rlang::current_env()
  x <- as_inputs(x)
  by <- check_choice(by, c("all", "class", "confusion"), "by", here)
  targets <- read_targets(model, x, targets_of_inputs(x, y), loss, ignore, coding_of(model), here)
  found <- call_core(
    "evaluate", model = model, x = x, y = targets$y, loss = targets$loss, batch_size = batch_size,
    ignore = targets$ignore, by = by, .call = here
  )
  if (by == "all") return(as_table(list(found)))
  names <- class_names(targets$coding(), if (by == "class") length(found) else nrow(found))
  if (by == "confusion") return(as.table(array(found, dim(found), list(truth = names, prediction = names))))
  table <- as_table(found)
  table$class <- names
  table
}

# The names of the first so many classes.
class_names <- function(coding, count) {
  names <- if (length(coding$levels)) coding$levels else seq_len(count)
  as.character(utils::head(names, count))
}
