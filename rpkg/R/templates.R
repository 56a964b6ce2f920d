#' Compute an unbiased template of several images
#'
#' Computes the mean of several images or volumes: the mean of their shapes and of their gray values.
#'
#' The template begins as one of the images. In each round, every image is registered with the present template by
#' [register_images()]. The maps are then composed with the map of the template onto itself after which their mean is
#' the identity, and the new template is the mean of the images, resampled through these maps. The result therefore
#' depends neither on the order of the images nor on the one with which the template begins, up to the errors of the
#' registrations.
#'
#' The mean of the maps is the identity in this sense: the rotations have the mean rotation 0, the logarithms of the
#' stretches have the mean 0, the centers of the images lie about the center of the template, and the deformations that
#' remain have the mean 0 at each pixel. The images may be turned by any angle. If their rotations have no mean (such as
#' 0, 90, 180 and 270 degrees), the template is turned as the image with which it begins. The gray values of the images
#' should differ by little, as they are averaged.
#'
#' @param images List of the images, each in any form that [to_grayscale()] accepts, or of volumes (depth, row, column);
#'   a character vector of paths; or a numeric array (image, row, column). The names of a list name the images. At least
#'   2 images, with at least 16 pixels along each side. The sizes may differ; the template has their mean size.
#' @param transform Character, the kind of map between template and images: `"deformable"`, `"affine"`, `"similarity"`,
#'   `"rigid"` or `"translation"`.
#' @param spacing Numeric, the pixel size of all images, one number or one per axis. `NULL` uses the spacing of the
#'   first image if it states one (NIfTI), otherwise 1.
#' @param start Integer, the number of the image with which the template begins. `NULL` is the image with the median
#'   contrast (standard deviation). If fewer than half of the others can be registered with it, two more are tried.
#' @param rounds Integer, the maximum number of rounds.
#' @param tolerance Numeric, in pixels. The rounds end when the maps change by less than this at nine tenths of the
#'   pixels that the images show.
#' @param mask Character, `"auto"` or `"none"`, as in [register_images()].
#' @param min_probability Numeric, the minimum probability of a registration. An image below it is not used.
#' @param interpolation Character, the interpolation of the images: `"cubic"`, `"linear"` or `"nearest"`.
#' @param dtype Character, `"float32"` or `"float64"`, the precision of the registrations.
#' @param device Character, `"cpu"`, `"cuda"` or `"auto"`.
#' @param progress Logical, whether to show a progress bar after two seconds; the default does in interactive sessions.
#'   A function is called after each registration with a list of `done`, `total` and `seconds_left`.
#' @return An object of class `gequi_group_mean`, with `print()`, `summary()`, `as.data.frame()` and
#'   [plot()][plot.gequi_group_mean] methods. It is a list of
#'   * `template`: array (row, column) or (depth, row, column), the mean of the images that are seen at each pixel; `NA`
#'     where none is;
#'   * `variability`: array of the same size, how much the images differ in shape: the root mean square, over the
#'     images, of the displacements that remain after the linear parts of the maps, in units of `spacing` (pixels);
#'   * `maps`: (image, axis, row, column), the position in each image for each pixel of the template, in pixels from 1;
#'     `NA` for a failed image. `warp_image(labels, asplit(x$maps, 1)[[k]])` carries labels of image k to the template;
#'   * `table`: a data frame with one row per image, which `summary()` and `as.data.frame()` return: `image`, its number
#'     or name; `status`: `"aligned"` or `"failed"` (could not be registered; the template does not contain it);
#'     `error`, the error message or `NA`; `probability`, that its map is correct; `rotation` and `scale` of the image
#'     relative to the template, in degrees (for volumes from 0 to 180) and as a factor; `shift`, the distance of the
#'     centers, and `bend`, the root mean square of the remaining displacements, in units of `spacing`; and
#'     `similarity`, the correlation with the template;
#'   * `changes`: for each round, how much the maps differ from those of the round before, in pixels: nine tenths of the
#'     pixels that the images show differ by less. `NA` for the first round;
#'   * `converged`: whether the last change is below `tolerance`;
#'   * `start`: the number of the image with which the template began;
#'   * `turned_as`: the number of the image that determines the rotation of the template, if the rotations of the images
#'     have no mean; otherwise `NULL`;
#'   * `spacing`, `images`, `names`, `transform`, `interpolation`: the inputs, in grayscale.
#' @section Errors: `gequi_shape_error` for fewer than 2 images, an image and a volume, or a side of fewer than 16
#'   pixels; `gequi_input_error` for values that are not finite, an unknown option or deformations whose mean folds;
#'   `gequi_unrelated_images_error` if no 2 images can be registered with each other.
#' @references Guimond, Meunier and Thirion (2000), Average brain models: a convergence study, Computer Vision and Image
#'   Understanding 77. Avants and Gee (2004), Geodesic estimation for large deformation anatomical shape averaging and
#'   interpolation, NeuroImage 23. Moakher (2002), Means and averaging in the group of rotations, SIAM J. Matrix Anal.
#'   Appl. 24. Pennec, Fillard and Ayache (2006), A Riemannian framework for tensor computing, Int. J. Comput. Vis. 66.
#' @concept atlas
#' @concept template
#' @concept image alignment
#' @concept mean shape
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:98, 151:198]
#' turned <- t(image)[ncol(image):1, ]
#' found <- group_mean(list(a = image, b = turned), transform = "rigid")
#' found
#' summary(found)[c("image", "rotation")]
group_mean <- function(images, transform = "deformable", spacing = NULL, start = NULL, rounds = 6, tolerance = 0.05,
                       mask = "auto", min_probability = 0.5, interpolation = "cubic", dtype = "float32",
                       device = "auto", progress = NULL) {
  need_arguments()
  here <- rlang::current_env()
  names <- if (is.character(images)) basename(images) else if (is.list(images)) names(images)
  given <- images
  if (is_several(images)) {
    read <- lapply(seq_along(images), function(i) read_grayscale(images[[i]], paste0("images[[", i, "]]"), here))
    given <- lapply(read, `[[`, "pixels")
    if (is.null(spacing) && length(read)) spacing <- read[[1]]$spacing
    if (!is.null(names)) names(given) <- make.unique(names, " ")
  }
  bar <- reporter(progress, function() count_bar("Registering"), here)
  on.exit(bar$close())
  found <- call_core(
    "group_mean",
    images = given, transform = transform, spacing = spacing, start = as_index(start), rounds = rounds,
    tolerance = tolerance, mask = mask, min_probability = min_probability, interpolation = interpolation,
    dtype = dtype, device = device, progress = bar$report
  )
  new_group_mean(found, here)
}

# What R keeps of the core's mean. R counts pixels and images from 1.
new_group_mean <- function(python, call) {
  plain <- call_core("describe_group_mean", python, .call = call)
  plain$template <- with_missing(plain$template)
  plain$maps <- with_missing(plain$maps) + 1
  plain$table <- as_table(plain$table, indexes = if (is.null(plain$names)) "image" else character())
  plain$changes <- with_missing(as.numeric(plain$changes))
  plain$start <- plain$start + 1L
  if (!is.null(plain$turned_as)) plain$turned_as <- plain$turned_as + 1L
  plain$spacing <- as.numeric(plain$spacing)
  do.call(new_handle, c(list("gequi_group_mean"), plain, list(python = python)))
}

make_python.gequi_group_mean <- function(x, call) {
  plain <- plain_data(x)
  plain$template <- with_nan(plain$template)
  plain$maps <- with_nan(plain$maps) - 1
  plain$table <- as_section_rows(plain$table, if (is.null(plain$names)) "image" else character())
  plain$changes <- with_nan(plain$changes)
  plain$start <- plain$start - 1L
  if (!is.null(plain$turned_as)) plain$turned_as <- plain$turned_as - 1L
  plain$names <- as.list(plain$names)
  call_core("make_group_mean", plain = plain, .call = call)
}

size_of_mean <- function(x) {
  paste0(nrow(x$table), " images, template of ", paste(dim(x$template), collapse = " x "))
}

#' @export
format.gequi_group_mean <- function(x, ...) size_of_mean(x)

#' @export
str.gequi_group_mean <- function(object, ...) utils::str(plain_data(object), ...)

#' @export
print.gequi_group_mean <- function(x, ..., n = 12) {
  refuse_dots(..., .also = of_print)
  cat(title_line("group mean", size_of_mean(x)), "\n", sep = "")
  table <- as.data.frame(x)
  rounds <- length(x$changes)
  cat(
    "images       ", sum(table$status == "aligned"), " aligned, ", sum(table$status == "failed"), " failed; ",
    x$transform, "\n",
    "rounds       ", rounds, ", ", if (x$converged) "converged" else cli::col_red("not converged"),
    if (rounds > 1) paste0(" (last change ", two_digits(x$changes[rounds]), " pixels)"), "\n",
    "variability  ", two_digits(stats::median(x$variability)), " (median), ", two_digits(max(x$variability)),
    " at most\n",
    "similarity   ", two_digits(stats::median(as.numeric(table$similarity), na.rm = TRUE)), " (median)\n",
    sep = ""
  )
  failed <- table$image[table$status == "failed"]
  if (length(failed)) {
    more <- if (length(failed) > n) paste(" and", length(failed) - n, "more")
    cat(cli::col_red("failed"), "       ", toString(utils::head(failed, n)), more, "\n", sep = "")
  }
  invisible(x)
}

#' @rdname group_mean
#' @param object,x The result of `group_mean()`.
#' @param ... Not used.
#' @export
summary.gequi_group_mean <- function(object, ...) {
  refuse_dots(...)
  object$table
}

#' @rdname group_mean
#' @param row.names,optional Not used.
#' @export
as.data.frame.gequi_group_mean <- function(x, row.names = NULL, optional = FALSE, ...) {
  refuse_dots(..., .also = of_as_data_frame)
  as.data.frame(x$table)
}

#' Plot a template of several images
#'
#' Plots the template, with its values stretched to the range of grays, or the variability of the shapes of the images.
#'
#' @param x The result of [group_mean()].
#' @param type Character, `"template"` or `"variability"`.
#' @param slice Integer, for a volume: the slice to show, from 1. `NULL` is the middle slice.
#' @param axis Integer, for a volume: the axis perpendicular to the slice, 1 (depth), 2 (row) or 3 (column).
#' @param ... Not used.
#' @return A ggplot object.
#' @section Errors: `gequi_input_error` for an unknown type or a slice that does not exist.
#' @concept atlas
#' @concept template
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:98, 151:198]
#' found <- group_mean(list(image, t(image)[ncol(image):1, ]), transform = "rigid")
#' plot(found)
plot.gequi_group_mean <- function(x, type = c("template", "variability"), slice = NULL, axis = 1, ...) {
  refuse_dots(...)
  here <- rlang::current_env()
  type <- check_choice(type, c("template", "variability"), "type", here)
  shown <- call_core("shown_group_mean", x, type = type, slice = as_index(slice), axis = as_index(axis))
  colors <- if (type == "template") {
    ggplot2::scale_fill_gradient(low = "black", high = "white", limits = c(0, 1), guide = "none")
  } else {
    ggplot2::scale_fill_viridis_c(
      option = "magma", limits = c(0, max(x$variability, 1e-9)), name = "displacement,\nroot mean square"
    )
  }
  cells <- placed_cells(with_missing(shown$pixels), as.numeric(shown$spacing))
  ggplot2::ggplot(cells, ggplot2::aes(.data$x, .data$y, fill = .data$value)) +
    ggplot2::geom_raster() +
    colors +
    ggplot2::coord_fixed(expand = FALSE) +
    ggplot2::ggtitle(paste(type, "of", sum(x$table$status == "aligned"), "images")) +
    theme_picture()
}
