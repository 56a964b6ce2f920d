# Handles: an R object holds plain data from which its Python object is made, and that object, its handle, once it is
# needed. A handle dies when R saves and reads the object, or in another process; what is plain data lives on.

new_handle <- function(class, ..., python = NULL) {
  handle <- empty_handle()
  handle$python <- python
  structure(list(..., handle = handle), class = c(class, "gequi_handle"))
}

# Where R reads an object whose environment stands on a namespace, it loads that namespace: an R that has not loaded
# gequiR (a worker of parallel or of future, a script that calls readRDS()) finds the methods of what it has been given.
empty_handle <- function() new.env(parent = topenv())

# The Python object; made anew where there is none, or a dead one.
handle_of <- function(x, call = rlang::caller_env()) {
  if (!is_alive(x)) x$handle$python <- make_python(x, call)
  x$handle$python
}

is_alive <- function(x) !is_dead(x$handle$python)

# Makes the Python object of the plain data in `x`.
make_python <- function(x, call) UseMethod("make_python")

# The way out of gequiR: reticulate::r_to_py() gives escnn's or torch's own object.
#' @exportS3Method reticulate::r_to_py
r_to_py.gequi_handle <- function(x, convert = FALSE) {
  python <- handle_of(x)
  x$handle$changed <- TRUE # R is not told of changes that are made in Python
  python
}

#' @export
str.gequi_handle <- function(object, ...) cat(paste0(" <", class(object)[1], "> ", format(object), "\n"))

# What `$` completes to: the plain data, not the handle.
#' @importFrom utils .DollarNames
#' @export
.DollarNames.gequi_handle <- function(x, pattern = "") {
  grep(pattern, setdiff(names(unclass(x)), c("handle", "python")), value = TRUE)
}
