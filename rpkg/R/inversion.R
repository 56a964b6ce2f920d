#' Find an input that produces a given output
#'
#' Finds an x near `start` with f(x) close to `target`, by gradient descent on loss(f(x), target) starting at x = start.
#' The loss is not monotone; the best x is returned. Ctrl-C (Esc in RStudio) ends the descent and returns the best x so
#' far.
#'
#' If f is invariant under a group, f(g x) = f(x), the problem has an orbit of solutions. The descent finds a solution
#' near `start`, which may differ from the x that produced the target. See `vignette("inverse-problems", package =
#' "gequiR")`.
#'
#' @param f The map to invert: the name of an image operation, such as `"image_value"`; a network, such as from
#'   [equivariant_network()]; or a function composed of the image operations of this package ([image_product()],
#'   [normalize_image()] and related functions) and of `+ - * / ^`, `%*%`, `t()`, `exp()`, `log()`, `sqrt()`, `abs()`,
#'   `sin()`, `cos()` and `tanh()`. A function is called once; the recorded operations are then evaluated in Python.
#' @param target Numeric array with the shape of f(start), the desired output.
#' @param start Numeric matrix (row, column), or array (batch, channel, row, column) for a network: the initial x.
#' @param steps Integer, the number of steps. Must be at least 0.
#' @param learning_rate Numeric, the learning rate. 0.001 suits `"adam"` with images in \[0, 1\]; 1 suits `"lbfgs"`.
#' @param optimizer Character, `"adam"` or `"sgd"` with the defaults of torch, or `"lbfgs"` with a line search, which
#'   requires a smooth loss (`"squared"` instead of `"norm"`).
#' @param loss Character, `"norm"` (Euclidean norm of f(x) - target), `"squared"` (its square) or `"mean_squared"`.
#' @param dtype Character, `"float32"` or `"float64"`. `NULL` uses the type of the network, and float32 otherwise.
#' @param progress Logical, whether to show a progress bar. `NULL` shows one in interactive sessions. A function is
#'   called at each step with a list (`step`, `steps`, `loss`); the descent ends if it returns `FALSE`.
#' @return An object of class `gequi_inverted_input`: a list of
#'   * `solution`: the best x;
#'   * `value`: f(solution);
#'   * `loss`: a data frame of `step` (0 is the start) and `loss`;
#'   * `best_step`, `best_loss`;
#'   * `stopped`: the reason for stopping: `"steps"`, `"exact"` (the loss is 0), `"progress"`, `"interrupted"` or, with
#'     a warning, `"outside"` (a step left the domain of f);
#'   * `start`, `target`.
#'
#'   `plot()` returns four ggplot objects (start, solution, target and loss) that are drawn side by side.
#'   `as.data.frame()` returns the losses.
#' @section Errors: `gequi_input_error` for an invalid argument, or if f does not accept `start`; `gequi_shape_error` if
#'   the target does not have the shape of f(start).
#' @references Mishka (Michael Bukatin), "Multiplying monochrome images as matrices: A * B and softmax", JuliaCon 2021.
#'   Mahendran and Vedaldi, "Understanding deep image representations by inverting them", CVPR 2015.
#' @aliases %*%,gequi_traced_image,ANY-method %*%,ANY,gequi_traced_image-method
#'   %*%,gequi_traced_image,gequi_traced_image-method
#' @concept inverse problem
#' @export
#' @examplesIf gequi_available()
#' start <- normalize_image(volcano)
#' target <- image_value(oscillatory_warp(start))
#' found <- invert_input("image_value", target, start, steps = 50)
#' found
#'
#' # the same as a composition
#' value <- function(a) gram_image(normalize_columns(a, function(y) y + 1))
#' invert_input(value, target, start, steps = 50)$best_loss
invert_input <- function(
    f, target, start, steps = 300, learning_rate = 0.001, optimizer = "adam", loss = "norm", dtype = NULL,
    progress = NULL) {
  need_arguments()
  if (is.function(f)) f <- trace_steps(f)
  if (!is.function(progress) && !is.null(progress) && !rlang::is_bool(progress)) {
    abort_gequi("InputError", "`progress` must be TRUE, FALSE, NULL or a function.", "progress")
  }
  watch <- watch_interrupts(progress, steps)
  found <- NULL
  tryCatch(
    suspendInterrupts(found <- call_core(
      "invert_input",
      f = f, target = target, start = start, steps = steps, learning_rate = learning_rate, optimizer = optimizer,
      loss = loss, dtype = dtype, progress = watch$progress
    )),
    interrupt = function(interrupt) watch$interrupted <- TRUE
  )
  if (is.null(found)) rlang::interrupt()
  if (watch$interrupted) {
    found$stopped <- "interrupted"
    cli::cli_inform("Interrupted: the best of {length(found$loss)} inputs is returned.")
  }
  found$loss <- data.frame(step = seq_along(found$loss) - 1, loss = as.numeric(found$loss))
  structure(c(found, list(start = start, target = target)), class = "gequi_inverted_input")
}

# While the core computes, an interrupt waits until R is called for progress, and ends the descent there. Elsewhere R
# would leave the core by a long jump, which Python does not survive.
#
# A function of the user is called at each step; a progress bar is updated ten times per second.
watch_interrupts <- function(progress, steps, frame = rlang::caller_env()) {
  watch <- new.env(parent = emptyenv())
  watch$interrupted <- FALSE
  shown <- if (is.function(progress)) {
    progress
  } else if (isTRUE(progress) || (is.null(progress) && rlang::is_interactive())) {
    descent_bar(steps, frame)
  } else {
    function(info) NULL
  }
  look <- function(info) {
    tryCatch(
      allowInterrupts({
        go_on <- shown(info)
        Sys.sleep(1e-6) # R asks for interrupts here
        go_on
      }),
      interrupt = function(interrupt) {
        watch$interrupted <- TRUE
        FALSE
      }
    )
  }
  if (!is.function(progress)) look <- call_core("at_intervals", progress = look, seconds = 0.1)
  watch$progress <- look
  watch
}

# A progress bar that exists as long as the function of that frame.
descent_bar <- function(steps, frame) {
  bar <- cli::cli_progress_bar(
    total = if (is.numeric(steps)) steps else NA, .envir = frame,
    format = "{cli::pb_bar} {cli::pb_current}/{cli::pb_total} steps, {cli::pb_status}"
  )
  function(info) {
    cli::cli_progress_update(set = info$step, status = sprintf("loss %.4g", info$loss), id = bar, .envir = frame)
    NULL
  }
}

#' @export
print.gequi_inverted_input <- function(x, ...) {
  refuse_dots(..., .also = of_print)
  taken <- nrow(x$loss) - 1
  why <- c(
    steps = "all steps taken", exact = "a loss of 0", progress = "stopped by `progress`", interrupted = "interrupted",
    outside = "a step left the domain of f"
  )
  reached <- sprintf("loss %.4g -> %.4g at step %d of %d", x$loss$loss[1], x$best_loss, x$best_step, taken)
  cat(title_line("inverted input", reached), cli::col_grey(paste0(" (", why[[x$stopped]], ")")), "\n", sep = "")
  cat("  input ", shown_size(x$solution), ", output ", shown_size(x$target), "\n", sep = "")
  cat(sprintf("  the solution is %.4g from the start\n", sqrt(sum((x$solution - x$start)^2))))
  invisible(x)
}

shown_size <- function(x) {
  paste(if (is.null(dim(x))) length(x) else dim(x), collapse = " x ")
}

#' @export
as.data.frame.gequi_inverted_input <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  x$loss
}

#' @param x An object of class `gequi_inverted_input`.
#' @param ... Not used.
#' @rdname invert_input
#' @export
plot.gequi_inverted_input <- function(x, ...) {
  refuse_dots(...)
  shade <- range(x$start, x$solution)
  new_plots(list(
    value_panel(x$start, "start", shade),
    value_panel(x$solution, sprintf("solution, step %d", x$best_step), shade),
    value_panel(x$target, "target", range(x$target)),
    loss_panel(x)
  ))
}

# An image; of an array (batch, channel, row, column) its first channel; of anything else its values in order.
value_panel <- function(x, title, shade) {
  size <- dim(x)
  if (length(size) > 2) {
    title <- if (prod(size[1:2]) > 1) sprintf("%s, channel 1 of %d", title, size[2]) else title
    x <- array(x, c(prod(size[1:2]), size[-(1:2)]))
    x <- matrix(x[slice.index(x, 1) == 1], size[3])
  }
  if (is.null(dim(x)) || any(dim(x) == 1)) {
    values <- data.frame(index = seq_along(x), value = as.numeric(x))
    return(
      ggplot2::ggplot(values, ggplot2::aes(.data$index, .data$value)) +
        ggplot2::geom_col(width = 0.8) +
        ggplot2::labs(title = title, x = NULL, y = NULL) +
        ggplot2::theme_minimal() +
        theme_panel()
    )
  }
  grey <- (x - shade[1]) / max(diff(shade), .Machine$double.eps)
  corner <- data.frame(column = c(0, ncol(x)), row = c(0, nrow(x)))
  ggplot2::ggplot(corner, ggplot2::aes(.data$column, .data$row)) +
    ggplot2::geom_blank() +
    ggplot2::annotation_raster(grDevices::as.raster(grey), 0, ncol(x), 0, nrow(x)) +
    ggplot2::coord_fixed(expand = FALSE) +
    ggplot2::ggtitle(title) +
    theme_picture() +
    theme_panel()
}

loss_panel <- function(x) {
  curve <- x$loss[x$loss$loss > 0, ]
  ggplot2::ggplot(curve, ggplot2::aes(.data$step, .data$loss)) +
    ggplot2::geom_line() +
    ggplot2::geom_point(data = curve[curve$step == x$best_step, ], colour = "#b2182b") +
    ggplot2::scale_y_log10() +
    ggplot2::labs(title = "loss", x = "step", y = NULL) +
    ggplot2::theme_minimal() +
    theme_panel() +
    ggplot2::theme(aspect.ratio = 1, axis.title = ggplot2::element_text(size = ggplot2::rel(0.8)))
}

theme_panel <- function() {
  ggplot2::theme(plot.title = ggplot2::element_text(size = ggplot2::rel(0.9), hjust = 0.5))
}
