#' Align a stack of serial sections
#'
#' Aligns two-dimensional images of consecutive slices of one block. Each section may be turned by any angle, shifted,
#' turned over and deformed.
#'
#' Near sections are registered with [register_images()], each with the next ones up to `reach` apart, so that a torn or
#' missing section is bridged. All pairs together give the turn, the shift and the side of each section. Pairs that
#' contradict the others lose their weight.
#'
#' The deformation of a section is estimated relative to its neighbors only: the sections were deformed one by one, so
#' deformations are taken as independent, with a mean of 0 along the stack. What neighbors have in common, as a
#' structure that runs obliquely through the block, is kept and does not add up along the stack. The two variances that
#' this requires are estimated from the stack itself.
#'
#' @param images List of the sections in their order, each in any form that [to_grayscale()] accepts, or a character
#'   vector of paths; or a numeric array (section, row, column). The names of a list name the sections. Each side must
#'   have at least 16 pixels. The sizes may differ. A section may be constant; it is marked as failed.
#' @param transform Character, `"deformable"`, or `"rigid"` for turns, shifts and sides only.
#' @param contrast Character, `"same"` or `"any"`, as in [register_images()].
#' @param mirror Logical, whether sections may show the other side: `"search"` tries both sides of each pair, `FALSE`
#'   neither. `TRUE` is for stacks in which every second section is turned over (with `reach = 1`).
#' @param mask Character, `"auto"` or `"none"`, as in [register_images()].
#' @param reach Integer, each section is registered with the next `reach` sections. Where a gap is longer, pairs over it
#'   are added.
#' @param min_probability Numeric, the minimum probability of a pair. Pairs below it are not used.
#' @param interpolation Character, the interpolation of `volume`: `"cubic"`, `"linear"` or `"nearest"`.
#' @param fill Numeric, the value of `volume` more than half a pixel outside a section. `NULL` uses the nearest pixel.
#' @param dtype Character, `"float32"` or `"float64"`, the precision of the registrations.
#' @param device Character, `"cpu"`, `"cuda"` or `"auto"`.
#' @param progress Logical, whether to show a progress bar after two seconds; the default does in interactive sessions.
#'   A function is called after each pair with a list of `done`, `total` and `seconds_left`.
#' @return An object of class `gequi_stack`, with `print()`, `summary()`, `as.data.frame()`, [plot()][plot.gequi_stack]
#'   and [predict()][predict.gequi_stack] methods. It is a list of
#'   * `volume`: (section, row, column), the aligned sections, with `NA` outside and for failed sections;
#'   * `maps`: (section, axis, row, column), the position in each section for each pixel of the volume, in pixels from
#'     1; `NA` for a failed section;
#'   * `table`: a data frame with one row per section, which `summary()` and `as.data.frame()` return: `section`, its
#'     number or name; `status`: `"aligned"`, `"poor"` (does not fit its neighbors, as a torn section; the others are
#'     aligned without it) or `"failed"` (no pair connects it with the reference); `pairs`, how many pairs of it
#'     were registered; `mirrored`, whether it shows the other side than the reference; `rotation`, in degrees,
#'     counter-clockwise as displayed (after the reflection); `shift_row` and `shift_column`, of the center of the
#'     reference from the center of the section, in pixels; `bend`, the root mean square of its deformation in pixels;
#'     and `similarity`, the local correlation with the neighbor that it fits best;
#'   * `pairs`: a data frame with one row per pair: `first` and `second`, the sections; `probability` that their map is
#'     correct; `deviation`, its claimed standard deviation in pixels; `mirrored`; `residual`, the root mean square of
#'     its disagreement with the stack in pixels; and `error`, the error message or `NA`;
#'   * `reference`: the number of the reference: of the largest connected part, the section from which the others are
#'     reached with the smallest variance. It determines the pose and the size of the volume;
#'   * `spread`: the estimated standard deviation of the deformations, in pixels;
#'   * `drift`: the estimated standard deviation of the error that each step along the stack adds, in pixels;
#'   * `images`, `names`, `transform`, `contrast`, `interpolation`, `fill`: the inputs, in grayscale.
#' @section Errors: `gequi_shape_error` for fewer than 2 sections, a section that is not (row, column) or a side of
#'   fewer than 16 pixels; `gequi_input_error` for values that are not finite or an unknown option;
#'   `gequi_unrelated_images_error` if no pair of sections can be registered.
#' @references Singer (2011), Angular synchronization by eigenvectors and semidefinite programming, Appl. Comput.
#'   Harmon. Anal. 30 (turns from pairs). Saalfeld et al. (2012), Elastic volume reconstruction from series of
#'   ultra-thin microscopy sections, Nature Methods 9.
#' @concept serial sections
#' @concept histology
#' @concept image alignment
#' @concept volume
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:98, 151:198]
#' turned <- t(image)[ncol(image):1, ]
#' sections <- list(a = image, b = turned, c = image[nrow(image):1, ])
#' stack <- register_stack(sections, transform = "rigid")
#' stack
#' summary(stack)
register_stack <- function(images, transform = "deformable", contrast = "same", mirror = "search", mask = "auto",
                           reach = 2, min_probability = 0.5, interpolation = "cubic", fill = NA, dtype = "float32",
                           device = "auto", progress = NULL) {
  need_arguments()
  here <- rlang::current_env()
  names <- if (is.character(images)) basename(images) else if (is.list(images)) names(images)
  sections <- images
  if (is_several(images)) {
    sections <- lapply(seq_along(images), function(i) {
      read_grayscale(images[[i]], paste0("images[[", i, "]]"), here)$pixels
    })
    if (!is.null(names)) names(sections) <- make.unique(names, " ")
  }
  bar <- reporter(progress, function() count_bar("Registering"), here)
  on.exit(bar$close())
  found <- call_core(
    "register_stack",
    images = sections, transform = transform, contrast = contrast, mirror = mirror, mask = mask, reach = reach,
    min_probability = min_probability, interpolation = interpolation, fill = na_as_nan(fill), dtype = dtype,
    device = device, progress = bar$report
  )
  new_stack(found, here)
}

# What R keeps of the core's stack. R counts pixels and sections from 1.
new_stack <- function(python, call) {
  plain <- call_core("describe_stack", python, .call = call)
  plain$volume <- with_missing(plain$volume)
  plain$maps <- with_missing(plain$maps) + 1
  plain$table <- as_table(plain$table, indexes = if (is.null(plain$names)) "section" else character())
  plain$pairs <- as_table(plain$pairs, indexes = c("first", "second"))
  plain$reference <- plain$reference + 1L
  if (!is.null(plain$fill)) plain$fill <- with_missing(plain$fill)
  do.call(new_handle, c(list("gequi_stack"), plain, list(python = python)))
}

make_python.gequi_stack <- function(x, call) {
  plain <- plain_data(x)
  plain$volume <- with_nan(plain$volume)
  plain$maps <- with_nan(plain$maps) - 1
  plain$table <- as_section_rows(plain$table, if (is.null(plain$names)) "section" else character())
  plain$pairs <- as_section_rows(plain$pairs, c("first", "second"))
  plain$reference <- plain$reference - 1L
  if (!is.null(plain$fill)) plain$fill <- with_nan(plain$fill)
  plain$names <- as.list(plain$names)
  call_core("make_stack", plain = plain, .call = call)
}

# The reverse of as_table(): a list of rows, with NULL for what is missing.
as_section_rows <- function(table, indexes = character()) {
  for (key in indexes) table[[key]] <- table[[key]] - 1L
  lapply(seq_len(nrow(table)), function(i) {
    lapply(as.data.frame(table), function(column) if (!is.na(column[[i]])) column[[i]])
  })
}

sections_of <- function(x) paste(dim(x$volume)[1], "sections of", paste(dim(x$volume)[-1], collapse = " x "))

#' @export
format.gequi_stack <- function(x, ...) sections_of(x)

#' @export
str.gequi_stack <- function(object, ...) utils::str(plain_data(object), ...)

#' @export
print.gequi_stack <- function(x, ..., n = 12) {
  refuse_dots(..., .also = of_print)
  cat(title_line("stack", sections_of(x)), "\n", sep = "")
  table <- as.data.frame(x)
  count <- function(status) paste(sum(table$status == status), status)
  cat(
    "sections     ", count("aligned"), ", ", count("poor"), ", ", count("failed"), "; ",
    sum(table$mirrored, na.rm = TRUE), " mirrored; reference ", format(table$section[x$reference]), "\n",
    "similarity   ", two_digits(stats::median(table$similarity, na.rm = TRUE)), " of neighbors (median); ",
    sum(is.na(x$pairs$error)), " pairs\n",
    "deformation  ", two_digits(x$spread), " pixels, ", x$transform, "\n",
    sep = ""
  )
  bad <- table[table$status != "aligned", ]
  if (nrow(bad)) {
    named <- utils::head(paste0(bad$section, " (", bad$status, ")"), n)
    more <- if (nrow(bad) > n) paste(" and", nrow(bad) - n, "more")
    cat(cli::col_red("not aligned"), "  ", toString(named), more, "\n", sep = "")
  }
  invisible(x)
}

#' @rdname register_stack
#' @param object,x The result of `register_stack()`.
#' @param ... Not used.
#' @export
summary.gequi_stack <- function(object, ...) {
  refuse_dots(...)
  object$table
}

#' @rdname register_stack
#' @param row.names,optional Not used.
#' @export
as.data.frame.gequi_stack <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  as.data.frame(x$table)
}

#' Carry other images of the sections into the volume
#'
#' Resamples other images of the sections of a stack, such as other channels or labels, through its maps.
#'
#' @param object The result of [register_stack()].
#' @param newdata List of numeric or logical matrices, one for each section and with its size; or an array (section,
#'   row, column).
#' @param interpolation Character, `"cubic"`, `"linear"` or `"nearest"`. `NULL` is `"cubic"` for images and `"nearest"`
#'   for labels.
#' @param fill Numeric, the value outside a section. `NULL` uses the nearest pixel.
#' @param type Character, `"image"` or `"labels"`. `NULL` takes logical values and integers as labels.
#' @param ... Not used.
#' @return An array (section, row, column).
#' @section Errors: `gequi_shape_error` for another number of images, or an image of another size than its section;
#'   `gequi_input_error` for an unknown option.
#' @concept serial sections
#' @concept segmentation
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:98, 151:198]
#' stack <- register_stack(list(image, t(image)[ncol(image):1, ]), transform = "rigid")
#' dim(predict(stack, lapply(stack$images, function(section) section > 0.5)))
predict.gequi_stack <- function(object, newdata, interpolation = NULL, fill = NA, type = NULL, ...) {
  refuse_dots(...)
  need_arguments()
  if (is.numeric(newdata) || is.logical(newdata)) {
    if (length(dim(newdata)) == 3) newdata <- asplit(newdata, 1)
  }
  if (!is.list(newdata)) {
    abort_gequi("InputError", "`newdata` must be a list of matrices, or an array (section, row, column).", "newdata")
  }
  values <- unlist(lapply(newdata, typeof))
  kind <- if (all(values %in% c("logical", "integer"))) values[1] else "double"
  newdata <- lapply(unname(newdata), function(image) {
    image <- matrix(as.vector(image), nrow(image))
    if (is.numeric(image) || is.logical(image)) storage.mode(image) <- kind
    image
  })
  carried <- with_missing(call_core(
    "warp_stack", object, newdata,
    interpolation = interpolation, fill = na_as_nan(fill), type = type
  ))
  carried
}

#' Plot a stack of sections
#'
#' Plots the aligned sections in their order (`"montage"`; sections that are poor or failed are named so), or the same
#' row or column of all sections, one below the other, as given and aligned (`"side"`). The values of each section are
#' stretched to the same range of grays.
#'
#' @param x The result of [register_stack()].
#' @param type Character, `"montage"` or `"side"`.
#' @param axis Integer, for `"side"`: the axis along which the stack is cut, 1 at a row, 2 at a column.
#' @param position Integer, for `"side"`: the number of that row or column. `NULL` is the middle.
#' @param ... Not used.
#' @return A ggplot object.
#' @section Errors: `gequi_input_error` for an unknown type or a position outside the volume.
#' @concept serial sections
#' @concept montage
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:98, 151:198]
#' stack <- register_stack(list(image, t(image)[ncol(image):1, ], image), transform = "rigid")
#' plot(stack)
#' plot(stack, type = "side")
plot.gequi_stack <- function(x, type = c("montage", "side"), axis = 2, position = NULL, ...) {
  refuse_dots(...)
  here <- rlang::current_env()
  type <- check_choice(type, c("montage", "side"), "type", here)
  shown <- call_core("shown_stack", x, type = type, axis = as_index(axis), position = as_index(position))
  titles <- vapply(shown, `[[`, "", "title")
  if (type == "montage") {
    status <- vapply(shown, `[[`, "", "status")
    titles <- format(x$table$section, trim = TRUE)
    titles <- ifelse(status == "aligned", titles, paste(titles, status))
  }
  step <- max(1, ceiling(sqrt(sum(lengths(lapply(shown, `[[`, "pixels"))) / 5e5)))
  step <- if (type == "side") 1 else step
  cells <- do.call(rbind, Map(function(each, title) {
    centred_cells(with_missing(each$pixels), step, section = factor(title, unique(titles)))
  }, shown, titles))
  picture <- ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$value)) +
    ggplot2::geom_raster() +
    ggplot2::scale_fill_gradient(low = "black", high = "white", limits = c(0, 1), guide = "none") +
    ggplot2::facet_wrap(ggplot2::vars(.data$section)) +
    theme_picture()
  if (type == "montage") return(picture + ggplot2::coord_fixed(expand = FALSE))
  picture + ggplot2::coord_cartesian(expand = FALSE) +
    ggplot2::labs(caption = "one section below the other, as given and aligned")
}
