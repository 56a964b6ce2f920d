# The one door to the core: every call goes through call_core(), where Python's errors and warnings become R's.

# Calls a function that gequi/_r_interface.py declares, and returns what it returned, as R has it (see from_python()).
#
# ...       the function's arguments under its own names; see to_python().
# .call     the user's function, which errors name.
call_core <- function(.name, ..., .call = rlang::caller_env()) call_core_with(.name, list(...), .call)

# The same with the arguments in a list. do.call() would write their values into the call, which traceback() prints.
call_core_with <- function(.name, arguments, .call) {
  door <- core(.call) # before the first value is converted, which would start Python without our words for it
  withCallingHandlers(force(arguments), error = function(error) need_arguments(.call))
  arguments <- Map(function(value, name) to_python(value, name, .call), arguments, rlang::names2(arguments))
  the$callback_error <- NULL
  reply <- tryCatch(
    do.call(door, c(list(.name), arguments)),
    python.builtin.Exception = function(error) abort_python(error, .call)
  )
  for (warning in item_of(reply, "warnings")) {
    signal <- if ("GequiMessage" %in% warning$kinds) rlang::inform else rlang::warn
    signal(render_message(warning$pieces), class = condition_classes(warning$kinds), call = short_call(.call))
  }
  error <- item_of(reply, "error")
  if (!is.null(error)) abort_core(error, .call)
  shape <- item_of(reply, "shape")
  if (is.null(shape)) item_of(reply, "value") else array_from_python(reticulate::py_get_item(reply, "value"), shape)
}

# Signals an error that the core has returned as data.
abort_core <- function(error, call) {
  abort_gequi(error$kinds, render_message(error$pieces), error$argument, call, error$traceback)
}

# Signals an error of the Python classes `kinds`, the nearest first.
abort_gequi <- function(kinds, message, argument = NULL, call = rlang::caller_env(), traceback = NULL) {
  rlang::abort(
    message, class = union(condition_classes(kinds), "gequi_error"), call = short_call(call), argument = argument,
    traceback = traceback, .frame = if (is.environment(call)) call else rlang::caller_env()
  )
}

# The call of a frame, without the values that do.call() writes into it: an array in it would be printed with the error.
short_call <- function(call) {
  call <- rlang::error_call(call)
  if (!is.call(call)) return(call)
  as.call(c(short_head(call[[1]]), lapply(as.list(call)[-1], short_value)))
}

short_value <- function(value) {
  if (rlang::is_missing(value)) return(value)
  small <- if (is.call(value)) utils::object.size(value) < 1e4 else length(value) <= 4
  if (small && (is.language(value) || rlang::is_bare_atomic(value))) return(value)
  as.name(paste0("<", class(value)[1], ">"))
}

# A function that was called by its value, under the name by which it is known.
short_head <- function(head) {
  if (!is.function(head)) return(head)
  known <- getNamespaceExports("gequiR")
  as.name(c(known[vapply(known, function(name) identical(getExportedValue("gequiR", name), head), NA)], "<fn>")[1])
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

# Refuses what `...` of a function holds that has no further arguments: a misspelt option would do nothing. `.also` are
# names that may be there, for the generic's sake.
refuse_dots <- function(..., .call = rlang::caller_env(), .also = character()) {
  names <- setdiff(rlang::names2(list(...)), .also)
  if (!length(names)) return(invisible())
  name <- names[1]
  known <- setdiff(names(formals(rlang::frame_fn(.call))), "...")
  if (!nzchar(name)) {
    message <- paste0("`...` must be empty: the arguments here are ", toString(known), ".")
    abort_gequi("InputError", message, "...", .call)
  }
  distance <- utils::adist(name, known, ignore.case = TRUE)[1, ]
  hint <- if (min(distance) <= 3) paste0(" Did you mean `", known[which.min(distance)], "`?")
  message <- paste0("`", name, "` is no argument here; these are: ", toString(known), ".", hint)
  abort_gequi("InputError", message, name, .call)
}

# Refuses a call without an argument that has no default. call_core() does so for arguments that only the core reads.
need_arguments <- function(frame = rlang::caller_env()) {
  called <- if (is.environment(frame)) rlang::frame_fn(frame)
  wanted <- if (is.function(called)) formals(called)
  for (name in setdiff(names(wanted), "...")) {
    if (!rlang::is_missing(wanted[[name]]) || !eval(call("missing", as.name(name)), frame)) next
    abort_gequi("InputError", paste0("`", name, "` is missing."), name, frame)
  }
}

# What print() is given beside an object, as where a list is printed that holds it.
of_print <- setdiff(names(formals(print.default)), c("x", "..."))

# What as.data.frame() is given beside an object, as by data.frame().
of_as_data_frame <- c("stringsAsFactors", "nm", "make.names", "col.names", "cut.names", "fix.empty.names")

# ---- messages -----------------------------------------------------------------------------------------------------

# The sentence of a message, from its pieces (see Message.pieces() in gequi/errors.py).
render_message <- function(pieces) paste(vapply(pieces, render_piece, ""), collapse = "")

# Text as it is; a value as code, cut to `limit` characters; an index, which R counts from 1; values in a row; a name.
render_piece <- function(piece) {
  if (is.null(piece$kind)) return(piece$text)
  value <- piece$value
  switch(piece$kind,
    code = cut_short(as_code(value), piece$limit),
    index = as_code(count_from_one(value)),
    list = paste(vapply(as.list(value), function(each) cut_short(as_code(each)), ""), collapse = ", "),
    name = as.character(value),
    extra = "what is missing with install_gequi()" # an extra of the Python package
  )
}

# Without a limit, text ends after 200 characters, with dots.
cut_short <- function(text, limit = NULL) {
  if (!is.null(limit)) return(substr(text, 1, limit))
  if (nchar(text) > 200) paste0(substr(text, 1, 197), "...") else text
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
