# Lists of registrations, or of errors of failed pairs: their table, and transformed points and images.

has_failed <- function(x) vapply(unclass(x), inherits, NA, "error", USE.NAMES = FALSE)

pair_names <- function(x) if (is.null(names(x))) seq_along(x) else names(x)

#' @rdname summary.gequi_registration
#' @export
summary.gequi_registrations <- function(object, ...) {
  refuse_dots(...)
  failed <- has_failed(object)
  number <- function(f) {
    vapply(seq_along(object), function(i) if (failed[i]) NA_real_ else as.numeric(f(object[[i]])), 0)
  }
  metric <- function(name) number(function(each) each$metrics[[name]])
  table <- data.frame(
    pair = pair_names(object),
    probability = number(function(each) each$probability),
    similarity_before = metric("similarity_before"), similarity_after = metric("similarity_after"),
    uncertainty = number(function(each) spread_of(each)$median[1]), folds = metric("folds"),
    overlap = metric("overlap"), others = number(function(each) length(each$alternatives)), seconds = metric("seconds"),
    error = vapply(seq_along(object), function(i) if (failed[i]) conditionMessage(object[[i]]) else NA_character_, "")
  )
  structure(table, class = c("gequi_table", "data.frame"))
}

#' @rdname summary.gequi_registration
#' @param row.names,optional Not used.
#' @export
as.data.frame.gequi_registrations <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  as.data.frame(summary(x))
}

#' @export
print.gequi_registrations <- function(x, ..., n = 12) {
  refuse_dots(..., .also = of_print)
  cat(title_line("registrations", paste(length(x), if (length(x) == 1) "pair" else "pairs")), "\n", sep = "")
  if (!length(x)) return(invisible(x))
  table <- as.data.frame(x)
  errors <- utils::head(table[c("pair", "error")], n)
  measured <- c("probability", "similarity_before", "similarity_after", "uncertainty", "overlap", "seconds")
  shown <- table[setdiff(names(table), "error")]
  shown[measured] <- lapply(shown[measured], function(column) ifelse(is.na(column), NA, two_digits(column)))
  print_table(shown, n = n, right = gsub("_", " ", measured))
  errors <- errors[!is.na(errors$error), ]
  if (nrow(errors)) cat(paste0(cli::col_red(errors$pair), ": ", errors$error, "\n"), sep = "")
  invisible(x)
}

#' @export
`[.gequi_registrations` <- function(x, i) structure(NextMethod(), class = "gequi_registrations")

#' @rdname tidy.gequi_registration
#' @export
tidy.gequi_registrations <- function(x, ...) {
  refuse_dots(...)
  x <- stats::setNames(unclass(x), pair_names(x))[!has_failed(x)]
  if (!length(x)) return(data.frame())
  cbind(pair = names(x), do.call(rbind, lapply(unname(x), tidy.gequi_registration)), row.names = NULL)
}

#' @rdname predict.gequi_registration
#' @export
predict.gequi_registrations <- function(object, newdata, ...) {
  if (!is_several(newdata)) newdata <- rep(list(newdata), length(object))
  if (length(newdata) != length(object)) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`newdata` must be one for all ", length(object), " pairs, or as many; got ", length(newdata), "."
    ), "newdata")
  }
  failed <- has_failed(object)
  carried <- lapply(seq_along(object), function(i) {
    if (!failed[i]) stats::predict(object[[i]], newdata[[i]], ...)
  })
  stats::setNames(carried, names(object))
}

# ---- pairs that fail ------------------------------------------------------------------------------------------------

# The registrations of a list of the core as R objects, or the error of the pair, from reading its images or from the
# core.
as_registrations <- function(found, images, call) {
  told <- call_core("describe_registrations", found, .call = call)
  Map(function(each, error, image) {
    if (inherits(image, "error")) return(image)
    if (is.null(error)) new_registration(each, call) else as_condition(error, call)
  }, told$registrations, told$errors, images)
}

# An error of the core that is returned and not signaled.
as_condition <- function(error, call) {
  tryCatch(abort_core(error, call), gequi_error = function(condition) condition)
}
