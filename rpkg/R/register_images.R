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
#' @param moving,fixed two grey images, matrices (row, column), or two volumes, arrays (row, column, depth), of at
#'   least 16 pixels along each side and of any two sizes. Or two lists of them, for many pairs; the options then hold
#'   for each pair. What is said of pixels holds for the voxels of volumes.
#' @param spacing the size of the pixels of `fixed`, one number or one for each axis; `NULL` is 1.
#' @param moving_spacing that of `moving`; `NULL` is `spacing`.
#' @param moving_mask,fixed_mask `TRUE` (or 1) where an image is to be looked at; `NULL` is everywhere.
#' @param transform `"dense"`, or a linear map only: `"affine"`, `"similarity"` (one scale for all directions) or
#'   `"rigid"` (turn and shift, with lengths in the units of `spacing`).
#' @param contrast `"same"`, up to brightness and contrast that vary slowly; `"any"`, also where dark and bright are
#'   exchanged, in parts or everywhere.
#' @param encoder a network that describes images, from [registration_encoder()], or any other from one trivial field to
#'   regular fields of rotations of the plane, with a token every few pixels; `NULL` is the designed one of
#'   [registration_encoder()], for this `contrast`.
#' @param min_confidence the least confidence at which a map is returned at all; `NULL` is what unrelated images hardly
#'   reach: 0.62, 0.58 with contrast `"any"`, and 0.4 for a linear map.
#' @param dtype `"float32"` or `"float64"`, in which the work is done.
#' @param device `"cpu"` or `"cuda"`, where the work is done.
#' @param progress for lists, a function called with (pairs done, pairs) after each.
#' @return an object of class `gequi_registration`, for lists a list of them: a list of
#'   `map`, (axis, row, column) or (axis, row, column, depth), on `fixed` and `inverse_map` on `moving`, in pixels
#'   from 1;
#'   `affine` (axis, axis + 1), its linear part: moving = affine\[, -n\] fixed + affine\[, n\], with n its last column;
#'   `warped`, `moving` seen through the map;
#'   `jacobian`, the map's determinant in units of length;
#'   `uncertainty`, the standard deviation of the map in pixels of `moving`;
#'   `confidence`, the correlation of the two images after local normalisation, at a coarse scale;
#'   `alternatives`, other linear maps that fit almost as well, each a list of `affine` and `confidence`;
#'   `figures`: `similarity_before`, `similarity_after`, `folds` (pixels), `overlap`, `inverse_consistency` (pixels)
#'   and `seconds`.
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
#' round(register_images(moving = aperm(volume, c(2, 3, 1)), fixed = volume, transform = "rigid")$affine, 2)
register_images <- function(moving, fixed, spacing = NULL, moving_spacing = NULL, moving_mask = NULL,
                            fixed_mask = NULL, transform = "dense", contrast = "same", encoder = NULL,
                            min_confidence = NULL, dtype = "float32", device = "cpu", progress = NULL) {
  found <- call_core(
    "register_images",
    moving = moving, fixed = fixed, spacing = spacing, moving_spacing = moving_spacing, moving_mask = moving_mask,
    fixed_mask = fixed_mask, transform = transform, contrast = contrast, encoder = encoder,
    min_confidence = min_confidence, dtype = dtype, device = device, progress = progress
  )
  if (is.list(moving)) lapply(found, new_registration) else new_registration(found)
}

# R counts pixels from 1: a map's values move by 1, and so does the shift of a linear map, at both its ends.
new_registration <- function(found) {
  from_one <- function(affine) {
    last <- ncol(affine)
    affine[, last] <- affine[, last] + 1 - rowSums(affine[, -last])
    affine
  }
  found$map <- found$map + 1
  found$inverse_map <- found$inverse_map + 1
  found$affine <- from_one(found$affine)
  found$alternatives <- lapply(found$alternatives, function(other) {
    other$affine <- from_one(other$affine)
    other
  })
  structure(found, class = "gequi_registration")
}

#' @export
print.gequi_registration <- function(x, ...) {
  sizes <- function(map) paste(dim(map)[-1], collapse = " x ")
  cat(title_line("registration", paste(sizes(x$inverse_map), "onto", sizes(x$map))), "\n", sep = "")
  figures <- x$figures
  cat(
    "confidence ", format(x$confidence, digits = 2), ", similarity ", format(figures$similarity_before, digits = 2),
    " before and ", format(figures$similarity_after, digits = 2), " after\n",
    "uncertainty ", format(stats::median(x$uncertainty), digits = 2), " pixels (median), ",
    format(max(x$uncertainty), digits = 2), " at most; ", figures$folds, " folds\n",
    sep = ""
  )
  if (length(x$alternatives)) cat(length(x$alternatives), "other maps fit almost as well: see $alternatives\n")
  invisible(x)
}
