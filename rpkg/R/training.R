#' Train a network
#'
#' Trains a network or module on examples and returns the trained network. The original network is not modified. `fit()`
#' is the generic of the package generics, which parsnip and other packages also use.
#'
#' Ctrl-C (or the stop button) ends the training after the current batch and returns the network in its current state.
#'
#' @param object A network, created by [equivariant_network()], a module such as [unet()], or a network that was trained
#'   before.
#' @param x The inputs, one of:
#'   * a numeric array (batch, channel, row, column), (batch, channel, depth, row, column) or (batch, channel);
#'   * the path of a .npy file with such an array, which is read batch by batch;
#'   * a function of the batch number (from 1) that returns `list(x, y)`;
#'   * image files, as accepted by [image_files()]: a folder with one subfolder per class, or a data frame with the
#'     columns `path` and `label`.
#' @param y The targets: classes of images (batch) or of pixels (batch, row, column), or numbers with the shape of the
#'   output. Classes are a factor, a character vector, logical values (a mask), or integers. Integer classes start at 0
#'   if 0 occurs, otherwise at 1. Pixels that are `NA` or `ignore` do not contribute to the loss. The path of a .npy
#'   file is also accepted; its classes start at 0.
#' @param ... Not used.
#' @param loss Character, `"cross_entropy"`, `"binary_cross_entropy"` (targets 0 and 1, outputs are logits), `"mse"`,
#'   `"mae"` or `"huber"`. `NULL` chooses cross-entropy for factors, character, logical and integer targets, and for
#'   integer-valued targets if the network has several outputs per image or pixel; otherwise mean squared error.
#' @param epochs Integer, the number of passes over the examples.
#' @param batch_size Integer, the number of examples per batch, over all devices.
#' @param learning_rate Numeric, the maximum of the learning rate schedule.
#' @param optimizer Character, `"adam"`, `"adamw"` or `"sgd"`, or a list with options, such as `list(optimizer = "sgd",
#'   momentum = 0.9, weight_decay = 1e-4)`.
#' @param schedule Character, the learning rate schedule, updated after each batch: `"constant"`, `"linear"` or
#'   `"cosine"` (decay to 0), or `"one_cycle"` (increase from 1/25 of the maximum, then decay to almost 0).
#' @param validation Numeric, the fraction of the examples to use for validation (drawn with `seed`), or `list(x =, y
#'   =)`.
#' @param augment Character, data augmentation. `"group"` transforms each example by a random element of the group of
#'   the network (for a continuous group, one of [group_elements()]). `"rotation"` rotates images by a random angle.
#'   `"jitter"` turns images by up to half the smallest angle of the group (by up to 8 degrees if the model has no
#'   finite group of rotations) and shifts them by up to half a pixel, so that each is resampled, as an image at another
#'   angle is. Targets with spatial axes or directions are transformed accordingly.
#' @param class_weights Numeric vector, one weight per class, or `"balanced"`.
#' @param ignore A value of `y` to exclude from the loss, such as `ignore = 0`.
#' @param precision Character, `"bfloat16"` for mixed precision. `NULL` uses the type of the network.
#' @param device Character, `"cpu"`, `"cuda"` (GPU) or `"auto"`.
#' @param seed Integer, the seed for the order of examples, augmentation and dropout. `NULL` uses the seed of
#'   `checkpoint` if the file exists, otherwise a seed drawn from R's random number generator. The result stores it as
#'   `fit_seed`. The same seed gives identical weights on the same machine with the same number of threads.
#' @param checkpoint Character, the path of a file that stores the state after each epoch. If the file exists, training
#'   resumes from it.
#' @param patience Integer, the number of epochs without improvement of the validation loss (or of the loss, without
#'   validation) after which training stops. The best weights are restored.
#' @param devices Integer, the number of processes on this machine. Each processes a part of every batch.
#' @param nodes Integer, the number of machines.
#' @param batches Integer, the number of batches per epoch if `x` is a function.
#' @param progress Logical or character: `TRUE` shows a progress bar, `"epochs"` one line per epoch, `FALSE` nothing.
#'   `NULL` shows a progress bar in interactive sessions, one line per epoch after two seconds in scripts, and nothing
#'   in knitr documents. A function is called about ten times per second with a list (`epoch`, `epochs`, `batch`,
#'   `batches`, `step`, `steps`, `seconds_left` and the current metrics). Training stops if it returns `FALSE`.
#' @param callbacks List of functions named `on_epoch_begin`, `on_epoch_end` or `on_batch_end`, or a list of such lists.
#'   Each function receives the same list as `progress`: without metrics at the beginning of an epoch, and with
#'   validation metrics at its end. If a function returns `FALSE`, training stops after the current batch (after the
#'   next one for `on_epoch_begin`) and can be resumed. A training that was stopped within an epoch repeats this epoch.
#'   Callbacks are not available with several processes.
#' @return A network of class `gequi_fit`, which supports all operations on networks. `history` is a data frame with one
#'   row per epoch: `epoch`, `loss` and, for classes, `accuracy` during training; `val_loss` and other validation
#'   metrics, as in [evaluate()]; `learning_rate`; `seconds`; and `stopped`, which is `""` or, in the last row,
#'   `"interrupt"`, `"callback"` or `"patience"`. `plot()` draws the history. [saveRDS()] and [save_model()] store the
#'   weights.
#' @section Reproducibility: On one machine, the same `seed` and number of threads of torch (the environment variable
#'   `OMP_NUM_THREADS`, set before Python starts) give identical weights. This includes trainings that were stopped or
#'   killed and resumed from a checkpoint. With another number of threads or devices, sums are computed in another
#'   order, and the difference grows with each step.
#' @section Errors: `gequi_shape_error` for inputs or targets that do not match the network; `gequi_input_error` for an
#'   invalid option, or if the loss is no longer finite (the weights are not updated); `gequi_setup_error` if the Python
#'   packages lightning or torchmetrics are missing.
#' @references Kingma and Ba (2015), Adam, arXiv:1412.6980. Loshchilov and Hutter (2019), AdamW, arXiv:1711.05101. Smith
#'   and Topin (2018), the one-cycle schedule, arXiv:1708.07120.
#' @seealso [predict.gequi_fit()], [evaluate()], [save_model()]
#' @concept classification
#' @concept segmentation
#' @concept GPU
#' @concept training
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

# The options of fit() that the core stores with a training: all arguments except the data and the functions that are
# called in this session.
fit_options <- function() {
  setdiff(names(formals(fit.gequi_network)), c("object", "x", "y", "...", "progress", "callbacks"))
}

# Names of arguments of fit() in other packages.
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

# Callbacks as the core takes them. The training continues unless a function returns FALSE.
as_callbacks <- function(callbacks) {
  if (!is.list(callbacks)) return(callbacks)
  lapply(callbacks, function(each) {
    if (is.function(each)) function(info) !isFALSE(each(info)) else as_callbacks(each)
  })
}

# A copy of the Python object with the same weights for the training, and the R object afterwards.
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

# Calls `train`, a function of the progress function of the core.
while_reporting <- function(progress, train) {
  bar <- progress_reporter(progress)
  # An interrupt waits for the next report, which requests a stop. At another time it would lose the network.
  suspendInterrupts(tryCatch(train(bar$report), finally = bar$close()))
}

# The progress function of the core during a training, called about ten times per second. An interrupt returns FALSE,
# which ends the training after the batch.
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

# What is shown by default.
default_progress <- function() {
  if (rlang::is_interactive()) return(TRUE)
  if (isTRUE(getOption("knitr.in.progress"))) FALSE else "late epochs"
}

# One line per epoch on the standard error; for a short training none, unless they are requested.
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
#' Computes classes, class probabilities or raw outputs of a network that was trained with [fit()].
#'
#' @param object A network, trained with [fit()].
#' @param x,batch_size,dtype,precision,progress As in [predict.gequi_network()]. `x` may also be image files, as
#'   accepted by [image_files()].
#' @param newdata Alias of `x`, for consistency with other packages.
#' @param type Character, `"raw"` for the output of the network, `"class"` or `"prob"` for a network that was trained on
#'   classes, or `"tibble"` for a table. `NULL` is `"class"` if the network has classes, otherwise `"raw"`.
#' @param ... Not used.
#' @return
#'   * `"class"`: the predicted classes in the form of the training targets: a factor with the same levels, logical
#'     values or integers. Classes of pixels have the axes (batch, row, column).
#'   * `"prob"`: a numeric matrix with one row per image and one named column per class. For pixels, an array (batch,
#'     class, row, column).
#'   * `"raw"`: a numeric array whose first axis is the batch.
#'   * `"tibble"`: a tibble with one row per image. Its columns are `.pred_class` and one probability per class, such as
#'     `.pred_cat`; for numeric targets `.pred`, or `.pred_1`, `.pred_2`, ... for several outputs. For pixels, there is
#'     one row per pixel, and the first columns are `image`, `row` and `column` (and `depth` for volumes).
#' @section Errors: The errors of [predict.gequi_network()]; `gequi_input_error` for a `type` that requires classes if
#'   the network has none.
#' @concept classification
#' @concept segmentation
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' fitted <- fit(network, x, factor(rep(c("even", "odd"), 8)), epochs = 1, seed = 1)
#' predict(fitted, x[1:2, , , , drop = FALSE], type = "prob")
predict.gequi_fit <- function(object, x, type = NULL, ..., batch_size = NULL, dtype = NULL, precision = NULL,
                              newdata = NULL, progress = NULL) {
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
  options <- list(object, x = x, batch_size = batch_size, precision = precision, progress = bar$report)
  if (type == "tibble") return(predicted_table(object, options, dtype))
  if (type == "raw") return(call_core_with("predict", c(options, list(dtype = dtype)), rlang::current_env()))
  value <- call_core_with("predict_classes", c(options, list(type = type)), rlang::current_env())
  as_prediction(value, type, coding_of(object))
}

# The inputs of a method of predict(), as `x` or, as in other packages, as `newdata`.
x_or_newdata <- function(x, newdata, call = rlang::caller_env(), name = "x") {
  if (!is.null(x) && !is.null(newdata)) {
    message <- paste0("Give `", name, "` or `newdata`, not both: they are two names of one argument.")
    abort_gequi("InputError", message, "newdata", call)
  }
  if (is.null(x) && is.null(newdata)) abort_gequi("InputError", paste0("`", name, "` is missing."), name, call)
  if (is.null(x)) newdata else x
}

# Converts predictions of classes to R: named columns, and classes of the type of the targets.
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

#' Evaluate a network on examples with known targets
#'
#' Computes the loss and the usual metrics of classification, segmentation or regression.
#'
#' @param model A network, created by [equivariant_network()] or [fit()], or a module such as [unet()].
#' @param x,y,loss,ignore The inputs, targets, loss and ignored class, as in [fit()].
#' @param batch_size Integer, the number of examples processed at once. `NULL` chooses it as [predict.gequi_network()]
#'   does.
#' @param by Character, `"all"` for metrics over all examples. For classes also `"class"` for metrics per class and
#'   `"confusion"` for the confusion matrix.
#' @param progress Logical, whether to show a progress bar, or a function, as in [predict.gequi_network()].
#' @return
#'   * `"all"`: a data frame with one row. It contains the mean `loss` and, for classes of images, `accuracy` and
#'     `balanced_accuracy` (the mean of the recall over the classes); for classes of pixels, `accuracy` and `mean_iou`;
#'     for binary targets, `accuracy`; for numeric targets, `rmse`, `mae` and `r_squared`.
#'   * `"class"`: a data frame with one row per class: `class`, `count` (number of targets), `precision`, `recall`, `f1`
#'     and `iou`. The metrics are `NaN` if the class occurs neither in the targets nor in the predictions.
#'   * `"confusion"`: a [table()] of counts of the true class (rows) by the predicted class (columns).
#' @inheritSection fit.gequi_network Errors
#' @references Detlefsen et al. (2022), TorchMetrics, Journal of Open Source Software 7(70), 4101.
#' @concept classification
#' @concept segmentation
#' @concept confusion matrix
#' @family training
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_global_avg_pool() |>
#'   layer_dense(2)
#' x <- array(rnorm(16 * 7 * 7), c(16, 1, 7, 7))
#' evaluate(network, x, factor(rep(c("even", "odd"), 8)))
evaluate <- function(model, x, y = NULL, loss = NULL, batch_size = NULL, ignore = NULL, by = "all", progress = NULL) {
  need_arguments()
  here <- rlang::current_env()
  x <- as_inputs(x)
  by <- check_choice(by, c("all", "class", "confusion"), "by", here)
  targets <- read_targets(model, x, targets_of_inputs(x, y), loss, ignore, coding_of(model), here)
  bar <- reporter(progress, function() count_bar("Evaluating"), here)
  on.exit(bar$close())
  found <- call_core(
    "evaluate", model = model, x = x, y = targets$y, loss = targets$loss, batch_size = batch_size,
    ignore = targets$ignore, by = by, progress = bar$report, .call = here
  )
  if (by == "all") return(as_table(list(found)))
  names <- class_names(targets$coding(), if (by == "class") length(found) else nrow(found))
  if (by == "confusion") return(as.table(array(found, dim(found), list(truth = names, prediction = names))))
  table <- as_table(found)
  table$class <- names
  table
}

# The names of the first classes.
class_names <- function(coding, count) {
  names <- if (length(coding$levels)) coding$levels else seq_len(count)
  as.character(utils::head(names, count))
}
