#' Register two images or two volumes
#'
#' The map that carries one image onto another, at any angle, with what is not known about it: moving(map(x)) =
#' fixed(x). Nothing is trained and nothing is drawn at random: a descriptor of each token in every pose (16 in an
#' image, 216 in a volume), attention over position and pose, the linear maps on which strong matches agree, each
#' verified on the images, and a dense map without folds. Mirror images are not searched.
#'
#' The law: turning the two images, each by its own quarter turn (of a volume, about any axis), turns the map
#' accordingly.
#'
#' @param moving,fixed two images, each as [grey_image()] takes it: a matrix (row, column), a colour array, a picture of
#'   magick, a NIfTI image, or the name of a file; or two volumes (row, column, depth); of at least 16 pixels along each
#'   side and of any two sizes. Or two lists of them (or vectors of file names), for many pairs; the options then hold
#'   for each pair. What is said of pixels holds for the voxels of volumes.
#' @param spacing the size of the pixels of `fixed`, one number or one for each axis. `NULL` is what the image says of
#'   itself, as NIfTI does; else what `moving` says; else 1. For lists it may be a list too, one for each pair.
#' @param moving_spacing that of `moving`; `NULL` is what the image says of itself, else `spacing`.
#' @param moving_mask,fixed_mask `TRUE` (or 1) where an image is to be looked at; `NULL` is everywhere. Outside of
#'   the smallest box that holds a mask nothing is looked at, and the map goes on straight. For lists, one for all
#'   pairs, or a list of them.
#' @param transform `"dense"`, or a linear map only: `"affine"`, `"similarity"` (one scale for all directions) or
#'   `"rigid"` (turn and shift, with lengths in the units of `spacing`).
#' @param contrast `"same"`, up to brightness and contrast that vary slowly; `"any"`, also where dark and bright are
#'   exchanged, in parts or everywhere.
#' @param encoder a network that describes images, from [registration_encoder()], or any other from one trivial field to
#'   regular fields of rotations of the plane (of volumes, to irreps of the rotations of space), with a token every few
#'   pixels; `NULL` is the designed one of [registration_encoder()], for this `contrast`.
#' @param min_confidence the least confidence at which a map is returned at all; `NULL` is what unrelated images hardly
#'   reach: 0.62, 0.58 with contrast `"any"`, and 0.4 for a linear map.
#' @param dtype `"float32"` or `"float64"`, in which the work is done.
#' @param device `"cpu"` or `"cuda"`, where the work is done.
#' @param progress for lists, whether to show a progress bar; `NULL` shows one in an interactive session. Or a function
#'   that is called with (pairs done, pairs) after each.
#' @return an object of class `gequi_registration`, for lists one of class `gequi_registrations`, a list of them. A
#'   registration prints, plots and [predicts][predict.gequi_registration()]; it is a list of
#'   `map`, (axis, row, column) or (axis, row, column, depth), on `fixed` and `inverse_map` on `moving`, in pixels
#'   from 1;
#'   `affine` (axis, axis + 1), its linear part: moving = affine\[, -n\] fixed + affine\[, n\], with n its last column;
#'   `warped`, `moving` seen through the map;
#'   `jacobian`, the map's determinant in units of length;
#'   `uncertainty`, the standard deviation of the map in pixels of `moving`;
#'   `confidence`, the correlation of the two images after local normalisation, at a coarse scale;
#'   `alternatives`, other linear maps that fit almost as well, each a list of `affine` and `confidence`;
#'   `figures`: `similarity_before`, `similarity_after`, `folds` (pixels), `overlap`, `inverse_consistency` (pixels)
#'   and `seconds`;
#'   and what it was made of, in grey: `moving`, `fixed`, `moving_spacing` and `spacing`.
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
#' volume <- with(expand.grid(x = 1:24, y = 1:26, z = 1:28), sin(x * y / 40) + cos(z / 3) * sin(x / 4))
#' dim(volume) <- c(24, 26, 28)
#' elsewhere <- aperm(volume, c(2, 3, 1))
#' round(register_images(moving = elsewhere, fixed = volume, transform = "rigid")$affine, 2)
register_images <- function(moving, fixed, spacing = NULL, moving_spacing = NULL, moving_mask = NULL,
                            fixed_mask = NULL, transform = "dense", contrast = "same", encoder = NULL,
                            min_confidence = NULL, dtype = "float32", device = "cpu", progress = NULL) {
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
      if (several) read_grey(images[[i]], paste0(name, "[[", i, "]]"), here) else read_grey(images, name, here)
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
  if (!several) return(new_registration(found, images[[1]]))
  names <- if (is.character(fixed)) basename(fixed) else names(fixed)
  structure(stats::setNames(Map(new_registration, found, images), names), class = "gequi_registrations")
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

read_grey <- function(x, argument, call) {
  picture <- read_picture(x, argument, call)
  list(pixels = in_grey(picture, argument, call), spacing = picture$spacing)
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
    report = function(done, pairs) {
      if (is.null(id)) {
        id <<- new_bar(pairs, "Registering {cli::pb_bar} {cli::pb_current}/{cli::pb_total}  {cli::pb_eta_str}")
      }
      cli::cli_progress_update(set = done, id = id)
    },
    close = function() close_bar(id)
  )
}

# ---- what comes out -------------------------------------------------------------------------------------------------

# R counts pixels from 1: a map's values move by 1, and so does the shift of a linear map, at both its ends.
new_registration <- function(found, images) {
  axes <- length(dim(images$fixed))
  found$map <- found$map + 1
  found$inverse_map <- found$inverse_map + 1
  found$affine <- affine_from_one(found$affine)
  found$alternatives <- lapply(found$alternatives, function(other) {
    other$affine <- affine_from_one(other$affine)
    other
  })
  spacing <- if (is.null(images$spacing)) 1 else as.numeric(images$spacing)
  moving_spacing <- if (is.null(images$moving_spacing)) spacing else as.numeric(images$moving_spacing)
  made_of <- list(
    moving = images$moving, fixed = images$fixed, moving_spacing = rep_len(moving_spacing, axes),
    spacing = rep_len(spacing, axes)
  )
  structure(c(found, made_of), class = "gequi_registration")
}

affine_from_one <- function(affine) {
  axes <- nrow(affine)
  affine[, axes + 1] <- affine[, axes + 1] + 1 - rowSums(affine[, seq_len(axes)])
  affine
}
