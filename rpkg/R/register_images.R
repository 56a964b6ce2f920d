#' Estimate the transformation that aligns two images
#'
#' Estimates the transformation that aligns two images, and its uncertainty: moving(map(x)) = fixed(x). The images may
#' be turned against each other by any angle. Nothing is trained and nothing is drawn at random. Each token of an image
#' is described in every pose (16 in an image, 216 in a volume); attention over position and pose matches the tokens;
#' linear maps are fitted to the matches and verified on the images; a deformable map without folds follows. Mirror
#' images are not searched.
#'
#' The law: turning the two images, each by its own quarter turn (of a volume, about any axis), turns the map
#' accordingly.
#'
#' @param moving,fixed two images, each as [to_grayscale()] takes it: a matrix (row, column), a colour array, a picture
#'   of magick, a NIfTI image, or the name of a file; or two volumes (depth, row, column); of at least 16 pixels along
#'   each side and of any two sizes. Or two lists of them (or vectors of file names), for many pairs; the options then
#'   hold for each pair. What is said of pixels holds for the voxels of volumes.
#' @param spacing the size of the pixels of `fixed`, one number or one for each axis. `NULL` takes the spacing
#'   that the image states, as NIfTI does; else that of `moving`; else 1. For lists it may be a list, one for each pair.
#' @param moving_spacing that of `moving`; `NULL` takes the spacing that the image states, else `spacing`.
#' @param moving_mask,fixed_mask `TRUE` (or 1) where an image is used; `NULL` is everywhere. Outside of the smallest box
#'   that holds a mask nothing is used, and the map is continued linearly. For lists, one for all or a list of them.
#' @param transform `"deformable"`, or a linear map only: `"affine"`, `"similarity"` (one scale for all directions) or
#'   `"rigid"` (rotation and shift, with lengths in the units of `spacing`).
#' @param contrast `"same"`, up to brightness and contrast that vary slowly; `"any"`, also where dark and bright are
#'   exchanged, in parts or everywhere, or where one image shows the edges of the other.
#' @param encoder a network that describes images, from [registration_encoder()], or any other from one trivial field to
#'   regular fields of rotations of the plane (of volumes, to irreps of the rotations of space), with a token every few
#'   pixels; `NULL` is the designed one of [registration_encoder()], for this `contrast`.
#' @param min_confidence the least confidence at which a map is returned at all; `NULL` is what unrelated images hardly
#'   reach: 0.62, 0.58 with contrast `"any"`, and 0.4 for a linear map.
#' @param dtype `"float32"` or `"float64"`, in which the work is done.
#' @param device `"cpu"` or `"cuda"`, where the work is done; `"auto"` is `"cuda"` where there is one, else `"cpu"`.
#' @param progress for lists, whether to show a progress bar; default: only in interactive sessions. Or a function that
#'   is called after each pair with a list of `done` and `total` (pairs) and `seconds_left`.
#' @return an object of class `gequi_registration`, for lists one of class `gequi_registrations`, a list of them. A
#'   registration prints, plots and [predicts][predict.gequi_registration()]; it is a list of
#'   `map`, (axis, row, column) or (axis, depth, row, column), on `fixed` and `inverse_map` on `moving`, in pixels
#'   from 1;
#'   `affine` (axis, axis + 1), its linear part: moving = affine\[, -n\] fixed + affine\[, n\], with n its last column;
#'   `warped`, `moving` seen through the map;
#'   `jacobian`, the map's determinant in units of length;
#'   `uncertainty`, the standard deviation of the map in pixels of `moving`;
#'   `confidence`, the correlation of the two images after local normalisation, at a coarse scale;
#'   `alternatives`, other linear maps that fit almost as well, each a list of `affine` and `confidence`;
#'   `metrics`: `similarity_before`, `similarity_after`, `folds` (pixels), `overlap`, `inverse_consistency` (pixels)
#'   and `seconds`;
#'   and what it was made of, in grayscale: `moving`, `fixed`, `moving_spacing`, `spacing`, `transform` and `contrast`.
#' @section Errors: `gequi_unrelated_images_error` where no map makes the images look alike; `gequi_shape_error` and
#'   `gequi_input_error` for images, masks and options that do not fit. A `gequi_ambiguous_registration_warning` where
#'   a second map, far from the first, fits almost as well.
#' @references Greer et al. (2024), arXiv 2405.16738; Tola, Lepetit and Fua (2010); Ashburner (2007).
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:178, 151:278]
#' turned <- t(image)[ncol(image):1, ]
#' register_images(moving = turned, fixed = image)
#'
#' # a volume, seen from another side
#' voxels <- expand.grid(depth = 1:24, row = 1:26, column = 1:28)
#' volume <- with(voxels, sin(depth * row / 40) + cos(column / 3) * sin(depth / 4))
#' dim(volume) <- c(24, 26, 28)
#' elsewhere <- aperm(volume, c(2, 3, 1))
#' round(register_images(moving = elsewhere, fixed = volume, transform = "rigid")$affine, 2)
register_images <- function(moving, fixed, spacing = NULL, moving_spacing = NULL, moving_mask = NULL,
                            fixed_mask = NULL, transform = "deformable", contrast = "same", encoder = NULL,
                            min_confidence = NULL, dtype = "float32", device = "auto", progress = NULL) {
  here <- rlang::current_env()
  several <- is_several(moving)
  if (several != is_several(fixed) || (several && length(moving) != length(fixed))) {
    abort_gequi(
      c("ShapeError", "InputError"),
      "`moving` and `fixed` must be two images, or two lists of as many images each.", "fixed"
    )
  }
  pairs <- if (several) seq_along(fixed) else 1
  moving_spacing <- of_each(moving_spacing, length(pairs), "moving_spacing", here)
  spacing <- of_each(spacing, length(pairs), "spacing", here)
  images <- lapply(pairs, function(i) {
    read <- function(images, name) {
      if (!several) return(read_grayscale(images, name, here))
      read_grayscale(images[[i]], paste0(name, "[[", i, "]]"), here)
    }
    as_pair(read(moving, "moving"), read(fixed, "fixed"), moving_spacing[[i]], spacing[[i]])
  })
  part <- function(name) if (several) lapply(images, `[[`, name) else images[[1]][[name]]
  bar <- pairs_reporter(progress, several, here)
  on.exit(bar$close())
  found <- call_core(
    "register_images",
    moving = part("moving"), fixed = part("fixed"), spacing = part("spacing"), moving_spacing = part("moving_spacing"),
    moving_mask = moving_mask, fixed_mask = fixed_mask, transform = transform, contrast = contrast, encoder = encoder,
    min_confidence = min_confidence, dtype = dtype, device = device, progress = bar$report
  )
  if (!several) return(new_registration(found, here))
  names <- if (is.character(fixed)) basename(fixed) else names(fixed)
  structure(stats::setNames(lapply(found, new_registration, here), names), class = "gequi_registrations")
}

# ---- what comes in --------------------------------------------------------------------------------------------------

# Many pairs are given as lists, or as the names of their files.
is_several <- function(x) (is.list(x) && !is.data.frame(x)) || (is.character(x) && length(x) > 1)

# A spacing for each pair, from one for all or a list of them.
of_each <- function(value, pairs, argument, call) {
  if (!is.list(value)) return(rep(list(value), pairs))
  if (length(value) != pairs) {
    abort_gequi(c("ShapeError", "InputError"), paste0(
      "`", argument, "` must be one for all ", pairs, " pairs, or as many; got ", length(value), "."
    ), argument, call)
  }
  value
}

read_grayscale <- function(x, argument, call) {
  picture <- read_picture(x, argument, call)
  list(pixels = as_grayscale(picture, argument, call), spacing = picture$spacing)
}

# A pair as the core takes it. A spacing that is not given is the image's own; where it has none, the other's.
as_pair <- function(moving, fixed, moving_spacing, spacing) {
  if (is.null(spacing)) spacing <- fixed$spacing
  if (is.null(spacing) && is.null(moving_spacing)) spacing <- moving$spacing
  if (is.null(moving_spacing)) moving_spacing <- moving$spacing
  as_axes <- function(value) if (is.numeric(value)) array(value) else value # in a list, one number has an axis too
  list(
    moving = moving$pixels, fixed = fixed$pixels, moving_spacing = as_axes(moving_spacing), spacing = as_axes(spacing)
  )
}

# What the core reports to after each pair. An interrupt is R's own: it ends the call.
pairs_reporter <- function(progress, several, call) {
  if (is.function(progress)) return(list(report = progress, close = function() NULL))
  if (is.null(progress)) progress <- rlang::is_interactive()
  if (!rlang::is_bool(progress)) {
    abort_gequi("InputError", "`progress` must be TRUE, FALSE or a function.", "progress", call)
  }
  if (!progress || !several) return(list(report = NULL, close = function() NULL))
  id <- NULL
  list(
    report = function(info) {
      if (is.null(id)) {
        id <<- new_bar(info$total, "Registering {cli::pb_bar} {cli::pb_current}/{cli::pb_total}  {cli::pb_eta_str}")
      }
      cli::cli_progress_update(set = info$done, id = id)
    },
    close = function() close_bar(id)
  )
}

# ---- what comes out -------------------------------------------------------------------------------------------------

# What R keeps of the core's registration: its plain data, and the quantiles that print() and summary() show. R counts
# pixels from 1: a map's values move by 1, and so does the shift of a linear map, at both its ends.
new_registration <- function(python, call) {
  told <- call_core("describe_registration", python, .call = call)
  plain <- moved_by(told$plain, 1)
  plain[c("moving_spacing", "spacing")] <- lapply(plain[c("moving_spacing", "spacing")], as.numeric)
  made <- do.call(new_handle, c(list("gequi_registration"), plain, list(python = python)))
  made$handle$spread <- as_spread(told$spread)
  made
}

make_python.gequi_registration <- function(x, call) {
  call_core("make_registration", plain = moved_by(plain_data(x), -1), .call = call)
}

plain_data <- function(x) {
  x <- unclass(x)
  x[setdiff(names(x), "handle")]
}

# Maps that count from 0, by 1 more, or back.
moved_by <- function(plain, by) {
  for (name in c("map", "inverse_map")) plain[[name]] <- plain[[name]] + by
  plain$affine <- affine_moved_by(plain$affine, by)
  plain$alternatives <- lapply(plain$alternatives, function(other) {
    other$affine <- affine_moved_by(other$affine, by)
    other
  })
  plain
}

affine_moved_by <- function(affine, by) {
  axes <- nrow(affine)
  affine[, axes + 1] <- affine[, axes + 1] + by * (1 - rowSums(affine[, seq_len(axes)]))
  affine
}

affine_from_one <- function(affine) affine_moved_by(affine, 1)

# Rows with the same names, which are shown as they are.
as_spread <- function(rows) {
  columns <- lapply(names(rows[[1]]), function(name) vapply(rows, `[[`, rows[[1]][[name]], name))
  table <- as.data.frame(columns)
  names(table) <- names(rows[[1]])
  table
}

spread_of <- function(x, call = rlang::caller_env()) {
  if (is.null(x$handle$spread)) {
    x$handle$spread <- as_spread(call_core("describe_registration", x, .call = call)$spread)
  }
  x$handle$spread
}

# A registration in which something is replaced is another one, whose Python object is not made yet.
another <- function(x) {
  class <- class(x)
  x <- unclass(x)
  x$handle <- new.env(parent = emptyenv())
  structure(x, class = class)
}

#' @export
`$<-.gequi_registration` <- function(x, name, value) {
  if (name == "handle") NextMethod() else another(NextMethod()) # what is noted in the handle is no change
}

#' @export
`[[<-.gequi_registration` <- function(x, i, value) another(NextMethod())

#' @export
`[<-.gequi_registration` <- function(x, i, value) another(NextMethod())
