# The one door to the core: every call goes through call_core(), where Python's errors and warnings become R's.

# Calls a function that gequi/_r_interface.py declares, and returns what it returned, as R has it (see from_python()).
#
# ...       the function's arguments under its own names; see to_python().
# .call     the user's function, which errors name.
call_core <- function(.name, ..., .call = rlang::caller_env()) {
  arguments <- list(...)
  door <- core(.call) # before the first value is converted, which would start Python without our words for it
  arguments <- Map(function(value, name) to_python(value, name, .call), arguments, rlang::names2(arguments))
  the$callback_error <- NULL
  reply <- tryCatch(
    do.call(door, c(list(.name), arguments)),
    python.builtin.Exception = function(error) abort_python(error, .call)
  )
  for (warning in item_of(reply, "warnings")) {
    signal <- if ("GequiMessage" %in% warning$kinds) rlang::inform else rlang::warn
    signal(render_message(warning$pieces), class = condition_classes(warning$kinds), call = .call)
  }
  error <- item_of(reply, "error")
  if (!is.null(error)) abort_core(error, .call)
  item_of(reply, "value")
}

# Signals an error that the core has returned as data.
abort_core <- function(error, call) {
  abort_gequi(error$kinds, render_message(error$pieces), error$argument, call, error$traceback)
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

# ---- messages -----------------------------------------------------------------------------------------------------

# The sentence of a message, from its pieces (see Message.pieces() in gequi/errors.py).
render_message <- function(pieces) paste(vapply(pieces, render_piece, ""), collapse = "")

# Text as it is; a value as code, cut to `limit` characters; an index, which R counts from 1; values in a row; a name.
render_piece <- function(piece) {
  if (is.null(piece$kind)) return(piece$text)
  value <- piece$value
  switch(piece$kind,
    code = substr(as_code(value), 1, if (is.null(piece$limit)) 1e6 else piece$limit),
    index = as_code(count_from_one(value)),
    list = paste(vapply(as.list(value), as_code, ""), collapse = ", "),
    name = as.character(value),
    extra = "what is missing with install_gequi()" # an extra of the Python package
  )
}

count_from_one <- function(value) {
  if (is.list(value)) lapply(value, count_from_one) else if (is.numeric(value)) value + 1 else value
}

# A value as one writes it in R: NULL, TRUE, "text", c(1, 2), c(a = 1), list("a", 2). What is no plain value comes as
# its text.
as_code <- function(value) {
  if (is.null(value)) return("NULL")
  if (is.list(value)) {
    if (identical(names(value), "object")) return(value$object)
    numbers <- vapply(value, function(each) is.numeric(each) && length(each) == 1, NA)
    open <- if (length(value) && all(numbers)) "c(" else "list("
    return(paste0(open, paste0(names_as_code(value), vapply(value, as_code, ""), collapse = ", "), ")"))
  }
  cells <- if (is.character(value)) {
    encodeString(value, quote = "\"")
  } else if (is.numeric(value)) {
    vapply(value, number_as_code, "")
  } else {
    as.character(value)
  }
  if (length(cells) == 1) cells else paste0("c(", paste(cells, collapse = ", "), ")")
}

number_as_code <- function(x) {
  whole <- is.finite(x) && x == round(x) && abs(x) < 1e15
  format(x, digits = 15, scientific = if (whole) FALSE else NA)
}

names_as_code <- function(x) {
  names <- names(x)
  if (is.null(names)) return(rep("", length(x)))
  names <- ifelse(names == make.names(names), names, paste0("`", names, "`"))
  paste0(names, " = ")
}
