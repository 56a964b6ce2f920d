# Progress of long calls: what is shown, and the functions that the core calls.

# A reporter has `report`, a function that the core calls with a list, or NULL if nothing is shown, and `close()`, which
# removes the output. `show` creates one. An interrupt is handled by R and ends the call.
reporter <- function(progress, show, call) {
  silent <- list(report = NULL, close = function() NULL)
  if (is.function(progress)) return(utils::modifyList(silent, list(report = progress)))
  if (is.null(progress)) progress <- rlang::is_interactive()
  if (!rlang::is_bool(progress)) {
    abort_gequi("InputError", "`progress` must be TRUE, FALSE or a function.", "progress", call)
  }
  if (progress) show() else silent
}

# A progress bar for a number of tasks. cli shows it after two seconds.
count_bar <- function(doing) {
  id <- NULL
  list(
    report = function(info) {
      if (is.null(id)) {
        id <<- new_bar(info$total, paste(doing, "{cli::pb_bar} {cli::pb_current}/{cli::pb_total}  {cli::pb_eta_str}"))
      }
      cli::cli_progress_update(set = info$done, id = id)
    },
    close = function() close_bar(id)
  )
}

# A line with the current stage of a long call, shown after two seconds. It is updated at once, since stages are rare.
stage_line <- function(doing) {
  id <- NULL
  begin <- proc.time()[["elapsed"]]
  report <- function(info) {
    if (is.null(id)) id <<- new_bar(NA, paste0("{cli::pb_spin} ", doing, ": {cli::pb_status}{cli::pb_elapsed}"))
    step <- paste0(info$step, if (!is.null(info$steps)) paste0("/", info$steps))
    late <- proc.time()[["elapsed"]] - begin >= getOption("cli.progress_show_after", 2)
    cli::cli_progress_update(status = paste(info$stage, step), id = id, force = late)
  }
  list(
    report = call_core("at_intervals", progress = report, seconds = 0.1),
    close = function() close_bar(id)
  )
}

# A progress bar that exists until it is closed, in whichever function it was created.
new_bar <- function(total, format) {
  cli::cli_progress_bar(total = total, format = format, clear = TRUE, .auto_close = FALSE)
}

close_bar <- function(id) if (!is.null(id)) cli::cli_progress_done(id = id)
