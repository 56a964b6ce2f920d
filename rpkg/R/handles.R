# Handles. An R object contains plain data and, once it is needed, a handle: the Python object created from the data. A
# handle becomes invalid when R saves and reads the object, or in another process; it is then created again.

new_handle <- function(class, ..., python = NULL) {
  handle <- empty_handle()
  handle$python <- python
  structure(list(..., handle = handle), class = c(class, "gequi_handle"))
}

# When R reads an object whose environment is a child of a namespace, it loads this namespace. An R session that has not
# loaded gequiR (a parallel or future worker, a script that calls readRDS()) then finds the methods of the object.
empty_handle <- function() new.env(parent = topenv())

# The Python object; it is created again if it does not exist or is no longer valid.
handle_of <- function(x, call = rlang::caller_env()) {
  if (!is_alive(x)) x$handle$python <- make_python(x, call)
  x$handle$python
}

is_alive <- function(x) !is_dead(x$handle$python)

# Creates the Python object of the plain data in `x`.
make_python <- function(x, call) UseMethod("make_python")

# Access to the Python objects: reticulate::r_to_py() returns the object of escnn or torch.
#' @exportS3Method reticulate::r_to_py
r_to_py.gequi_handle <- function(x, convert = FALSE) {
  python <- handle_of(x)
  x$handle$changed <- TRUE # R is not told of changes that are made in Python
  python
}

#' @export
str.gequi_handle <- function(object, ...) cat(paste0(" <", class(object)[1], "> ", format(object), "\n"))

# Completion after `$` offers the plain data, not the handle.
#' @importFrom utils .DollarNames
#' @export
.DollarNames.gequi_handle <- function(x, pattern = "") {
  grep(pattern, setdiff(names(unclass(x)), c("handle", "python")), value = TRUE)
}
