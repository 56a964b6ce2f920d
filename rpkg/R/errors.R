# The one door to the core: every call goes through call_core(), where Python's errors and warnings become R's.

# Calls gequi.<name> once and returns what it returned, as R has it (see from_python()).
#
# ...       the function's arguments under its own names; see to_python().
# .indexes  names of the arguments that are indexes, which messages count from 1.
# .call     the user's function, which errors name.
call_core <- function(.name, ..., .indexes = character(), .call = rlang::caller_env()) {
  arguments <- list(...)
  bridge <- core(.call) # before the first value is converted, which would start Python without our words for it
  arguments <- Map(function(value, name) to_python(value, name, .call), arguments, rlang::names2(arguments))
  the$callback_error <- NULL
  reply <- tryCatch(
    do.call(bridge$call, c(list(.name), arguments)),
    python.builtin.Exception = function(error) abort_python(error, .call)
  )
  for (warning in from_python(reply$get("warnings"))) {
    rlang::warn(in_r_words(warning$message), class = condition_classes(warning$kinds), call = .call)
  }
  error <- from_python(reply$get("error"))
  if (!is.null(error)) {
    message <- in_r_words(error$message)
    if (isTRUE(error$argument %in% .indexes)) message <- count_from_one(message)
    abort_gequi(error$kinds, message, error$argument, .call, error$traceback)
  }
  from_python(reply$get("value"))
}

# Signals an error of the Python classes `kinds`, the nearest first.
abort_gequi <- function(kinds, message, argument = NULL, call = rlang::caller_env(), traceback = NULL) {
  rlang::abort(
    message, class = union(condition_classes(kinds), "gequi_error"), call = call, argument = argument,
    traceback = traceback
  )
}

# The R classes for Python's: gequi_shape_error for ShapeError, gequi_error for GequiError.
condition_classes <- function(kinds) {
  words <- gsub("([a-z])([A-Z])", "\\1_\\2", sub("^Gequi", "", kinds))
  paste0("gequi_", tolower(words))
}

# An error that gequi did not raise on purpose: one of an R function that Python called, or Python's own.
abort_python <- function(error, call) {
  if (!is.null(the$callback_error)) rlang::cnd_signal(the$callback_error)
  last <- reticulate::py_last_error()
  abort_gequi("PythonError", paste0(last$type, ": ", last$value), call = call, traceback = last$message)
}

# The core's sentences speak Python where they quote: None, True, {'regular': 4}.
in_r_words <- function(message) {
  words <- c(None = "NULL", True = "TRUE", False = "FALSE")
  for (word in names(words)) {
    alone <- paste0("(^|[\\s\\[])", word, "(?=$|[\\s.,;\\])])")
    message <- gsub(alone, paste0("\\1", words[[word]]), message, perl = TRUE)
  }
  quoted <- gregexpr("\\{'?\\w+'?: [^{}]*\\}", message)
  regmatches(message, quoted) <- lapply(regmatches(message, quoted), function(dicts) {
    counts <- !grepl("layer", dicts)
    dicts <- gsub("'?(\\w+)'?: ", "\\1 = ", sub("\\}$", ")", sub("^\\{", "", dicts)))
    paste0(ifelse(counts, "c(", "list("), dicts)
  })
  gsub("(\\d),\\)", "\\1)", message)  # a tuple of one
}

# Adds 1 to the numbers in a message about an index, apart from those within names.
count_from_one <- function(message) {
  numbers <- gregexpr("(?<![\\w'.])-?\\d+(\\.\\d+)?", message, perl = TRUE)
  regmatches(message, numbers) <- lapply(regmatches(message, numbers), function(each) {
    vapply(as.numeric(each) + 1, format, "", digits = 15)
  })
  message
}
