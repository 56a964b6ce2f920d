# Targets of fit() and evaluate(): whether they are classes, and the numbers of the classes in the core.

# The coding of classes. `class_type` is "factor", "logical" or "whole", the type of the targets, which predict()
# returns as well. `levels` are the names of the classes in the order of the core; NULL means whole numbers from 1.
new_coding <- function(levels = NULL, type = "whole") list(levels = levels, class_type = type)

coding_of <- function(model) {
  if (inherits(model, "gequi_fit") && model$classes) new_coding(model$levels, model$class_type)
}

# Converts the coding to plain data, which are stored with a model, and back. Without a type, it is a factor.
coding_as_plain <- function(coding) list(levels = as.list(coding$levels), class_type = coding$class_type)

coding_from_plain <- function(plain) {
  levels <- unlist(plain$levels)
  type <- if (is.null(plain$class_type)) if (length(levels)) "factor" else "whole" else plain$class_type
  new_coding(levels, type)
}

# Inputs and targets as the core takes them. The coding is known at once, or from the first batch if a function makes
# the batches.
read_targets <- function(object, x, y, loss, ignore = NULL, coding = NULL, call = rlang::caller_env()) {
  refuse_table(y, call)
  check_ignore(ignore, call)
  check_loss_of_classes(y, loss, call)
  known <- !is.null(coding) && may_be_classes(y, loss)
  classes <- known || are_classes(object, x, y, loss, ignore, call)
  encode <- function(y, x) {
    if (is.null(y) || is_file(y, coding)) return(y)
    refuse_table(y, call)
    if (is.null(coding)) coding <<- find_coding(y, ignore, object, x, call)
    as_classes(y, coding, ignore, call)
  }
  if (!classes) encode <- function(y, x) y
  list(
    x = if (is.function(x)) encoding_batches(x, encode) else x, y = encode(y, x),
    loss = rlang::`%||%`(loss, if (classes) "cross_entropy"),
    # For files, the core finds the class to ignore; otherwise it is found here.
    ignore = if (is_file(y, coding)) ignore, classes = classes, coding = function() coding, encode = encode
  )
}

check_ignore <- function(ignore, call) {
  if (is.null(ignore) || is.atomic(ignore) && length(ignore) == 1) return(invisible())
  message <- paste0("`ignore` must be NULL or a value of `y`; got ", described(ignore), ".")
  abort_gequi("InputError", message, "ignore", call)
}

# Whether targets are classes: by their type, by the loss or, for other numbers, by the check of the core.
are_classes <- function(object, x, y, loss, ignore, call) {
  if (is_classes(y, loss)) return(TRUE)
  if (!is.null(loss) || !is.numeric(y) || is.function(x)) return(FALSE)
  found <- call_core("examine_targets", model = object, x = x, y = missing_as_nan(y), .call = call)$classes
  if (found) tell_classes(y, ignore)
  found
}

# Converts a function of R that makes batches, numbered from 1, to one of the core.
encoding_batches <- function(make, encode) {
  function(number) {
    pair <- make(number + 1)
    if (length(pair) == 2) list(pair[[1]], encode(pair[[2]], pair[[1]])) else pair
  }
}

missing_as_nan <- function(y) {
  y[is.na(y)] <- NaN
  y
}

# One string is the path of a file whose classes R does not know; several strings are classes.
is_file <- function(y, coding) rlang::is_string(y) && !y %in% coding$levels

refuse_table <- function(y, call) {
  numbers <- is.atomic(y) && !is.raw(y) && !is.complex(y) && !inherits(y, c("Date", "POSIXt", "difftime"))
  if (is.null(y) || numbers || inherits(y, "python.builtin.object")) return(invisible())
  if (!is.data.frame(y)) {
    message <- paste0("`y` must be a factor or an array of numbers; got ", described(y), ".")
    abort_gequi("InputError", message, "y", call)
  }
  message <- paste0(
    "`y` must be a factor or an array; got a data frame: give a column of it, such as `y[[\"", names(y)[1], "\"]]`."
  )
  abort_gequi("InputError", message, "y", call)
}

may_be_classes <- function(y, loss) is.null(loss) || identical(loss, "cross_entropy") || is.factor(y)

# A factor determines the loss. The core refuses an unknown name of a loss.
check_loss_of_classes <- function(y, loss, call) {
  if (!is.factor(y) || !rlang::is_string(loss, c("binary_cross_entropy", "mse", "mae", "huber"))) return(invisible())
  abort_gequi("InputError", paste0(
    "`loss` must be \"cross_entropy\" or NULL where `y` is a factor; got \"", loss, "\". For another loss give ",
    "numbers, such as as.integer(y) - 1."
  ), "loss", call)
}

# Whether targets are classes by their type or by the loss.
is_classes <- function(y, loss) {
  is.factor(y) || identical(loss, "cross_entropy") ||
    (is.null(loss) && (is.integer(y) || is.logical(y) || (is.character(y) && length(y) > 1)))
}

tell_classes <- function(y, ignore) {
  shown <- setdiff(sort(unique(c(y))), ignore)
  shown <- paste(c(utils::head(shown, 6), if (length(shown) > 6) "..."), collapse = ", ")
  rlang::inform(paste0(
    "`y` holds whole numbers, which are taken as the classes ", shown, ", since the network has several outputs."
  ))
}

# The coding of classes that targets define for a network.
find_coding <- function(y, ignore, object, x, call) {
  if (is.character(y)) y <- factor(y)
  if (is.logical(y)) return(new_coding(c("FALSE", "TRUE"), "logical"))
  outputs <- call_core("examine_targets", model = object, x = x, .call = call)$output[[1]]
  if (is.factor(y)) {
    if (!all(ignore %in% levels(y))) {
      abort_gequi("InputError", paste0(
        "`ignore` must be one of the classes of `y`, ", quoted(levels(y)), "; got ", shown(ignore), "."
      ), "ignore", call)
    }
    check_levels(y, outputs, call)
    new_coding(levels(y), "factor")
  } else if (any(setdiff(y, ignore) == 0, na.rm = TRUE)) {
    new_coding(as.character(seq_len(outputs) - 1), "whole")
  } else {
    new_coding()
  }
}

# Lists names, at most ten of them.
quoted <- function(names) {
  toString(c(paste0("\"", utils::head(names, 10), "\""), if (length(names) > 10) "..."))
}

check_levels <- function(y, outputs, call) {
  if (nlevels(y) <= outputs) return(invisible())
  unused <- setdiff(levels(y), unique(as.character(y)))
  advice <- if (nlevels(y) - length(unused) <= outputs) {
    paste0("no target is ", quoted(unused), ": droplevels(y) leaves unused levels out.")
  } else {
    "give the network one output for each level, as by layer_dense()."
  }
  abort_gequi(c("ShapeError", "InputError"), paste0(
    "`y` has ", nlevels(y), " levels, ", quoted(levels(y)), ", but the network has ", outputs,
    if (outputs == 1) " output: " else " outputs: ", advice
  ), "y", call)
}

# Classes as the core counts them, from 0. Pixels that are NA or `ignore` become -1.
as_classes <- function(y, coding, ignore = NULL, call = rlang::caller_env()) {
  size <- dim(y)
  values <- if (is.factor(y) || is.logical(y)) as.character(y) else c(y)
  if (coding$class_type == "logical" && is.numeric(y)) values <- c("FALSE", "TRUE")[y + 1]
  left_out <- is.na(values) | values %in% as.character(ignore)
  if (any(left_out) && length(size) < 2) refuse_missing_class(which(left_out)[1], y, call)
  codes <- if (is.null(coding$levels)) values - 1 else match(values, coding$levels) - 1
  unknown <- which(is.na(codes) & !left_out)
  if (length(unknown)) refuse_unknown_class(values[unknown[1]], coding, call)
  codes[left_out] <- -1
  if (all(codes == floor(codes) & abs(codes) < 2^31)) storage.mode(codes) <- "integer"
  if (is.null(size)) codes else array(codes, size)
}

refuse_missing_class <- function(at, y, call) {
  message <- paste0(
    "`y` has no class for image ", at, ", it is ", format(c(y)[at]), ": leave that image out of `x` and `y`. (Of ",
    "pixels, NA and `ignore` are left out.)"
  )
  abort_gequi("InputError", message, "y", call)
}

refuse_unknown_class <- function(value, coding, call) {
  levels <- if (coding$class_type == "factor") paste0("\"", coding$levels, "\"") else coding$levels
  message <- paste0(
    "`y` must hold the classes ", paste(levels, collapse = ", "), "; got ",
    if (coding$class_type == "factor") paste0("\"", value, "\"") else value, "."
  )
  if (coding$class_type == "whole") {
    message <- paste0(
      message, " The network has one output for each class, and here they count from 0: give it more outputs or, if 0 ",
      "is no class, say `ignore = 0`."
    )
  }
  abort_gequi("InputError", message, "y", call)
}
