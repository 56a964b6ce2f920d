# Calls of the core: call_core() is the only way, and it converts errors and warnings of Python to R conditions.

# Calls a function that gequi/_r_interface.py declares, and returns its result converted by from_python().
#
# ...       the arguments of the function, by its own names; see to_python().
# .call     the function that the user called, which errors name.
call_core <- function(.name, ..., .call = rlang::caller_env()) call_core_with(.name, list(...), .call)

# call_core() with the arguments in a list. do.call() would write their values into the call, which traceback() prints.
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

# Signals an error that the core returned as data.
abort_core <- function(error, call) {
  abort_gequi(error$kinds, render_message(error$pieces), error$argument, call, error$traceback)
}

# Signals an error of the Python classes `kinds`, the most specific first.
abort_gequi <- function(kinds, message, argument = NULL, call = rlang::caller_env(), traceback = NULL) {
  rlang::abort(
    message, class = union(condition_classes(kinds), "gequi_error"), call = short_call(call), argument = argument,
    traceback = traceback, .frame = if (is.environment(call)) call else rlang::caller_env()
  )
}

# The call of a frame without the values that do.call() inserts: an array would be printed with the error.
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

# Replaces a function that was called by its value with its name.
short_head <- function(head) {
  if (!is.function(head)) return(head)
  known <- getNamespaceExports("gequiR")
  as.name(c(known[vapply(known, function(name) identical(getExportedValue("gequiR", name), head), NA)], "<fn>")[1])
}

# Maps Python classes to R classes: ShapeError becomes gequi_shape_error, and GequiError gequi_error.
condition_classes <- function(kinds) {
  words <- gsub("([a-z])([A-Z])", "\\1_\\2", sub("^Gequi", "", kinds))
  paste0("gequi_", tolower(words))
}

# An unexpected error: an error of an R function that Python called, or an error of Python itself.
abort_python <- function(error, call) {
  if (!is.null(the$callback_error)) rlang::cnd_signal(the$callback_error)
  last <- reticulate::py_last_error()
  abort_gequi("PythonError", paste0(last$type, ": ", last$value), call = call, traceback = last$message)
}

# Refuses arguments in `...` of a function without further arguments, because a misspelled option would be ignored.
# `.also` are names that the generic allows.
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

# Refuses a call without a required argument. call_core() does so for arguments that only the core reads.
need_arguments <- function(frame = rlang::caller_env()) {
  called <- if (is.environment(frame)) rlang::frame_fn(frame)
  wanted <- if (is.function(called)) formals(called)
  for (name in setdiff(names(wanted), "...")) {
    if (!rlang::is_missing(wanted[[name]]) || !eval(call("missing", as.name(name)), frame)) next
    abort_gequi("InputError", paste0("`", name, "` is missing."), name, frame)
  }
}

# Arguments that print() may receive besides the object, for example when a list that contains it is printed.
of_print <- setdiff(names(formals(print.default)), c("x", "..."))

# Arguments that as.data.frame() may receive besides the object, for example from data.frame().
of_as_data_frame <- c("stringsAsFactors", "nm", "make.names", "col.names", "cut.names", "fix.empty.names")

# ---- messages -----------------------------------------------------------------------------------------------------

# Joins the parts of a message to a sentence; see Message.pieces() in gequi/errors.py.
render_message <- function(pieces) paste(vapply(pieces, render_piece, ""), collapse = "")

# Formats a part of a message: text, a value as code of up to `limit` characters, an index from 1, a list, a name.
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

# Without a limit, text is cut after 200 characters.
cut_short <- function(text, limit = NULL) {
  if (!is.null(limit)) return(substr(text, 1, limit))
  if (nchar(text) > 200) paste0(substr(text, 1, 197), "...") else text
}

count_from_one <- function(value) {
  if (is.list(value)) lapply(value, count_from_one) else if (is.numeric(value)) value + 1 else value
}

# Formats a value as R code: NULL, TRUE, "text", c(1, 2), c(a = 1), list("a", 2). Other values are shown as their text.
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
