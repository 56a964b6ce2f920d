# The border: R values to Python and back, in one place.

# `x` as the core takes it:
#   array           numpy array, a view that the core copies and never writes to
#   vector          numpy array of one axis; of length 1, a number; of text, a list; of raw bytes, a bytearray
#   list            list; with names, a dict
#   function        a function of arrays, as R has them
#   gspace, field type, network   their Python handle
# Missing values, and R's own types that are no array of numbers, are refused here: Python cannot see them.
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

# A layer as plain data, which has its kind and its options.
is_layer <- function(x) is.list(x) && rlang::is_string(x[["layer"]])

# `value`, where an error about an option of a layer in a list of layers says which layer it is.
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

# An R error inside the function keeps its class on its way through Python: see abort_python().
#
# An argument that is not evaluated yet holds on to the frames of its callers, call_core_with()'s with the Python
# functions among them: a circle through both languages, which no garbage collector sees.
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

# A module of the package torch as a function of arrays, in evaluation mode and without gradients.
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

# What the core returned, as R has it: numpy arrays with the same axes, dicts as named lists. Objects of escnn and
# torch stay Python's.
from_python <- function(value) if (inherits(value, "python.builtin.object")) reticulate::py_to_r(value) else value

# A large numpy array of the given shape, whose values the core writes into a new array of R. reticulate would make two
# copies of it, in the order of R's memory, which takes twice as long and as much memory.
array_from_python <- function(value, shape) {
  x <- numeric(prod(shape))
  dim(x) <- shape
  the$door("write_to_r", value, reticulate::r_to_py(x)) # which has the same memory, and which nobody else knows yet
  x
}

# One item of a dict that the core returned. (`reply$get()` would make an R function of a Python one at each call.)
item_of <- function(reply, key) from_python(reticulate::py_get_item(reply, key))

# A list of dicts with the same keys as a data frame. Columns in `indexes` count from 1.
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

# The table with one row more.
add_row <- function(table, row) {
  columns <- Map(c, unclass(table), row[names(table)])
  structure(columns, class = class(table), row.names = seq_len(nrow(table) + 1))
}

# A seed as it came, or for NULL one from R's random numbers.
own_seed <- function(seed) if (is.null(seed)) sample.int(.Machine$integer.max, 1) else seed

# R counts from 1, the core from 0. What is no number is passed on, for the core to refuse.
as_index <- function(i) if (is.numeric(i) && !is.factor(i)) i - 1 else i

# Fields as the core takes them: pairs, so that a representation may come twice.
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

# What an object is, in a few words, whatever its size.
described <- function(x) {
  if (is.null(x)) return("NULL")
  if (is.function(x)) return("a function")
  if (is.data.frame(x)) return("a data frame")
  if (is.factor(x)) return("a factor")
  if (is.object(x)) return(paste("an object of class", class(x)[1]))
  kind <- switch(typeof(x), character = "text", logical = "logical values", integer = , double = "numbers", typeof(x))
  if (is.null(dim(x)) && length(x) > 1) paste("a vector of", length(x), if (kind == "text") "texts" else kind) else kind
}
