# Conversion of values between R and Python, in one place.

# `x` as the core takes it:
#   array           numpy array, a view that the core copies and never modifies
#   vector          numpy array of one axis; a number if the length is 1; a list for text; a bytearray for raw bytes
#   list            list; a dict if it has names
#   function        a function of R arrays
#   gspace, field type, network   their Python handle
# Missing values, and R types other than arrays of numbers, are refused here, because Python cannot represent them.
to_python <- function(x, argument, call) {
  if (is.null(x) || inherits(x, "python.builtin.object")) {
    reticulate::r_to_py(x)
  } else if (inherits(x, "gequi_handle")) {
    handle_of(x, call)
  } else if (is.function(x)) {
    function_to_python(x, argument, call)
  } else if (is.list(x) && !is.data.frame(x)) {
    names <- if (is.null(names(x))) seq_along(x) else names(x)
    own <- if (is_layer(x)) names else paste0(argument, "$", names) # a layer's options are arguments
    inner <- Map(function(each, name, number) {
      within_layer(each, number, argument, to_python(each, name, call), call)
    }, unclass(x), own, seq_along(x))
    names(inner) <- names
    reticulate::r_to_py(if (is.null(names(x))) unname(inner) else inner)
  } else {
    refuse_what_python_cannot_see(x, argument, call)
    atomic_to_python(x)
  }
}

# A layer as plain data: its kind and its options.
is_layer <- function(x) is.list(x) && rlang::is_string(x[["layer"]])

# Returns `value`. An error about an option of a layer in a list of layers names this layer.
within_layer <- function(layer, number, argument, value, call) {
  if (!is_layer(layer)) return(value)
  tryCatch(value, gequi_input_error = function(error) {
    place <- paste0("layer ", number, " (", layer$layer, ") of `", argument, "`: ")
    abort_gequi("InputError", paste0(place, conditionMessage(error)), error$argument, call)
  })
}

refuse_what_python_cannot_see <- function(x, argument, call) {
  refuse <- function(...) abort_gequi("InputError", paste0("`", argument, "` ", ...), argument, call)
  if (is.data.frame(x)) refuse("must be an array of numbers; got a data frame: as.matrix() makes one of it.")
  if (is.factor(x)) refuse("must not be a factor: as.character() or as.integer() say which is meant.")
  if (inherits(x, c("Date", "POSIXt", "difftime"))) {
    refuse("must not be a date or time: as.numeric() or format() say which value is meant.")
  }
  if (!is.atomic(x)) refuse("must be plain R data; got an object of class ", paste(class(x), collapse = ", "), ".")
  refuse_missing(x, argument, call)
}

refuse_missing <- function(x, argument, call) {
  if (seen_finite(x) || !anyNA(x)) return(invisible())
  refuse <- function(...) abort_gequi("InputError", paste0("`", argument, "` ", ...), argument, call)
  missing <- sum(is.na(x) & !(is.double(x) & is.nan(x))) # of NaN, the core tells
  if (missing && length(x) == 1) refuse("must not be NA.")
  if (missing) refuse("must have no missing values; ", missing, " of its ", length(x), " values are NA.")
}

# Whether the core has seen that a large array has finite values only. anyNA() would take twice as long.
seen_finite <- function(x) {
  is.double(x) && length(x) > large && !is.null(dim(x)) && !is.null(the$door) &&
    item_of(the$door("all_finite", reticulate::r_to_py(unclass(x))), "value")
}

large <- 2^16 # values, from which a call of Python is faster than a loop of R

atomic_to_python <- function(x) {
  x <- if (is.character(x)) c(x) else unclass(x)
  if (!is.null(dim(x)) || is.raw(x)) return(reticulate::r_to_py(x))
  reticulate::r_to_py(if (length(x) == 1 || is.character(x)) unname(x) else array(x))
}

# An R error inside the function keeps its class when it passes through Python; see abort_python().
#
# An unevaluated argument keeps a reference to the frames of its callers, including the Python functions in
# call_core_with(). This would be a circular reference through both languages, which no garbage collector finds.
function_to_python <- function(f, argument, call) {
  f <- if (inherits(f, "nn_module")) function_of_module(f) else f
  force(argument)
  force(call)
  reticulate::r_to_py(function(...) {
    tryCatch(to_python(f(...), paste0(argument, "(x)"), call), error = function(error) {
      the$callback_error <- error
      reticulate::r_to_py(list(failed_in_r = TRUE)) # not stop(): reticulate never lets go of its exceptions
    })
  }, convert = TRUE)
}

# Wraps a module of the package torch as a function of arrays, in evaluation mode and without gradients.
function_of_module <- function(module) {
  force(module)
  torch <- torch_for_r()
  function(x) {
    if (isTRUE(module$training)) {
      module$eval()
      on.exit(module$train())
    }
    torch$with_no_grad(torch$as_array(module(torch$torch_tensor(x))))
  }
}

torch_for_r <- function() {
  names <- c("torch_tensor", "as_array", "with_no_grad")
  stats::setNames(lapply(names, getExportedValue, ns = "torch"), names)
}

# Converts the result of the core to R: numpy arrays keep their axes, and dicts become named lists. Objects of escnn
# and torch remain Python objects.
from_python <- function(value) if (inherits(value, "python.builtin.object")) reticulate::py_to_r(value) else value

# A large numpy array of the given shape, whose values the core writes into a new array of R. reticulate would make two
# copies of it, in the order of R's memory, which takes twice as long and as much memory.
array_from_python <- function(value, shape) {
  x <- numeric(prod(shape))
  dim(x) <- shape
  the$door("write_to_r", value, reticulate::r_to_py(x)) # which has the same memory, and which nobody else knows yet
  x
}

# One item of a dict from the core. (`reply$get()` would convert a Python function to an R function at each call.)
item_of <- function(reply, key) from_python(reticulate::py_get_item(reply, key))

# Converts a list of dicts with the same keys to a data frame. Columns in `indexes` are counted from 1.
as_table <- function(rows, indexes = character()) {
  keys <- names(rows[[1]])
  columns <- lapply(keys, function(key) {
    column <- lapply(rows, function(row) if (is.null(row[[key]])) NA else row[[key]])
    if (all(lengths(column) == 1 & !vapply(column, is.list, NA))) unlist(column) else I(column)
  })
  table <- as.data.frame(stats::setNames(columns, keys))
  for (key in indexes) table[[key]] <- table[[key]] + 1L
  class(table) <- c("gequi_table", class(table))
  table
}

# Appends a row to the table.
add_row <- function(table, row) {
  columns <- Map(c, unclass(table), row[names(table)])
  structure(columns, class = class(table), row.names = seq_len(nrow(table) + 1))
}

# Returns a seed, or draws one from R's random numbers if it is NULL.
own_seed <- function(seed) if (is.null(seed)) sample.int(.Machine$integer.max, 1) else seed

# R counts from 1 and the core from 0. Values that are not numbers are passed on, and the core refuses them.
as_index <- function(i) if (is.numeric(i) && !is.factor(i)) i - 1 else i

# Fields as the core takes them: pairs, so that a representation may occur twice.
as_fields <- function(fields, argument = "fields", call = rlang::caller_env()) {
  if (inherits(fields, "gequi_gspace")) {
    abort_gequi("InputError", paste0(
      "`", argument, "` must map names of representations to counts, such as c(regular = 4); got a gspace, which ",
      "comes first."
    ), argument, call)
  }
  if (is.null(names(fields)) || inherits(fields, "gequi_field_type")) {
    return(if (is.atomic(fields) && length(fields) > 1) as.list(fields) else fields)
  }
  counts <- Filter(is.atomic, as.list(fields)) # what else there is, the core refuses
  Map(function(count, name) {
    refuse_what_python_cannot_see(count, paste0(argument, "$", name), call)
  }, counts, names(counts))
  unname(Map(list, names(fields), as.list(fields)))
}

# A short description of an object, independent of its size.
described <- function(x) {
  if (is.null(x)) return("NULL")
  if (is.function(x)) return("a function")
  if (is.data.frame(x)) return("a data frame")
  if (is.factor(x)) return("a factor")
  if (is.object(x)) return(paste("an object of class", class(x)[1]))
  kind <- switch(typeof(x), character = "text", logical = "logical values", integer = , double = "numbers", typeof(x))
  if (is.null(dim(x)) && length(x) > 1) paste("a vector of", length(x), if (kind == "text") "texts" else kind) else kind
}
