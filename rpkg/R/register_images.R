#' Estimate the transformation that aligns two images
#'
#' Estimates the transformation that aligns two images, and its uncertainty: moving(map(x)) = fixed(x). The images may
#' be turned against each other by any angle. Nothing is trained and nothing is drawn at random. Each token of an image
#' is described in every pose (16 in an image, 216 in a volume); attention over position and pose matches the tokens;
#' linear maps are fitted to the matches and verified on the images; a deformable map without folds follows. Where no
#' map of the images as they are is clearly right, the moving image is also tried at 0.5 to 2 times its size.
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
#'   `"rigid"` (rotation and shift) or `"translation"` (shift alone), with lengths in the units of `spacing`.
#' @param contrast `"same"`, up to brightness and contrast that vary slowly; `"any"`, also where dark and bright are
#'   exchanged, in parts or everywhere, where one image shows the edges of the other, or where the grays of one follow
#'   any curve of those of the other, as in a segmentation.
#' @param mirror `FALSE`; `TRUE`, where one of the images shows the mirror image of the other; `"search"` tries both and
#'   takes the map that is right more probably.
#' @param mask `"auto"` masks a constant black or white border, such as the frame of a round field of view, in an image
#'   that has no mask; `"none"` does not. The shares that are masked are in `metrics`. Borders at different places in
#'   the two images may be a background that moves with the object: then the better of both ways is taken. Volumes are
#'   not masked.
#' @param encoder a network that describes images, from [registration_encoder()], or any other from one trivial field to
#'   regular fields of rotations of the plane (of volumes, to irreps of the rotations of space), with a token every few
#'   pixels; `NULL` is the designed one of [registration_encoder()], for this `contrast`.
#' @param initial a start, near which the map is searched instead of everywhere: a linear map (axis, axis + 1) as
#'   `affine` has it, in pixels from 1; landmarks of both images, a list of `moving` and `fixed`, each a matrix (point,
#'   axis) or a data frame with the columns (`depth`,) `row` and `column`; or an earlier registration, also of the same
#'   images in other sizes. For lists, one for all or a list of them, with `NULL` where there is none. No `alternatives`
#'   are looked for then.
#' @param min_probability the least probability of being right at which a map is returned at all.
#' @param interpolation of `warped`: `"cubic"`, an interpolating spline, whose result is clipped to the range of
#'   `moving`; `"linear"`; `"nearest"`.
#' @param fill the value of `warped` outside of `moving` (by more than half a pixel); `NULL` takes the nearest pixel.
#' @param dtype `"float32"` or `"float64"`, in which the work is done.
#' @param device `"cpu"` or `"cuda"`, where the work is done; `"auto"` is `"cuda"` where there is one, else `"cpu"`.
#' @param on_error for lists, whether to `"stop"` at a pair that fails, with its error, or to `"keep"` the error (a
#'   condition) in its place and go on.
#' @param progress whether to show what is done, on the standard error, once it has lasted two seconds: the stage, for
#'   lists a progress bar; default: only in interactive sessions. Or a function that is called with a list while the
#'   work goes on: `stage` (`"preparation"`, `"search"`, `"refinement"` or `"uncertainty"`), its `step`, how many
#'   `steps` it has (`NULL` for searches: how many are needed shows only then) and `seconds` so far. For lists it is
#'   called after each pair, with `done` and `total` (pairs) and `seconds_left`.
#' @return an object of class `gequi_registration`, for lists one of class `gequi_registrations`, a list of them
#'   with the names of `fixed` (or of `moving`, where `fixed` has none), which prints as a table. A
#'   registration prints, plots and [predicts][predict.gequi_registration()]; it is a list of
#'   `map`, (axis, row, column) or (axis, depth, row, column), on `fixed` and `inverse_map` on `moving`, in pixels
#'   from 1;
#'   `affine` (axis, axis + 1), its linear part: moving = affine\[, -n\] fixed + affine\[, n\], with n its last column;
#'   `warped`, `moving` seen through the map, within its range, and `NA` outside of it;
#'   `jacobian`, the map's determinant in units of length;
#'   `uncertainty`, the standard deviation of the map in pixels of `moving`;
#'   `probability`, the probability that the map is right, by the evidence of the search: that the search in the other
#'   direction finds its inverse, that the images are alike under it, and that their detail agrees under it and not
#'   beside it;
#'   `alternatives`, other linear maps that fit almost as well, each a list of `affine` and `score`;
#'   `metrics`: `similarity_before`, `similarity_after`, `folds` (pixels), `overlap`, `inverse_consistency` (pixels),
#'   `score` (the correlation of the images at a coarse scale), `round_trip` (how far from each other the searches in
#'   the two directions are, a share of the longer side), `masked_moving` and `masked_fixed` (the shares of the images
#'   that were found to be a constant border) and `seconds`;
#'   `decomposition`, the linear part as a list of `rotation`, `scale`, `scales`, `shear`, `shift` and `mirror`: see
#'   [tidy()][tidy.gequi_registration()];
#'   and what it was made of, in grayscale: `moving`, `fixed`, `moving_spacing`, `spacing`, `transform`, `contrast`,
#'   `interpolation` and `fill`.
#' @section Errors: `gequi_unrelated_images_error` where no map is right with `min_probability`; its message says if
#'   another `contrast` or `mirror` would be accepted. `gequi_shape_error` and
#'   `gequi_input_error` for images, masks and options that do not fit. A `gequi_ambiguous_registration_warning` where
#'   a second map, far from the first, fits almost as well.
#' @references Greer et al. (2024), arXiv 2405.16738; Tola, Lepetit and Fua (2010); Ashburner (2007);
#'   Roche et al. (1998); Guimond et al. (2001).
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
                            fixed_mask = NULL, transform = "deformable", contrast = "same", mirror = FALSE,
                            mask = "auto", encoder = NULL, initial = NULL, min_probability = 0.5,
                            interpolation = "cubic", fill = NA, dtype = "float32", device = "auto",
                            on_error = "stop", progress = NULL) {
  need_arguments()
  here <- rlang::current_env()
  several <- is_several(moving)
  if (several != is_several(fixed) || (several && length(moving) != length(fixed))) {
    abort_gequi(
      c("ShapeError", "InputError"),
      "`moving` and `fixed` must be two images, or two lists of as many images each.", "fixed"
    )
  }
  on_error <- check_choice(on_error, c("stop", "keep"), "on_error", here)
  images <- read_pairs(moving, fixed, several, moving_spacing, spacing, several && on_error == "keep", here)
  if (several && all(vapply(images, inherits, NA, "error"))) {
    return(structure(images, names = names_of_pairs(moving, fixed), class = "gequi_registrations"))
  }
  part <- function(name) if (several) lapply(images, part_of, name) else images[[1]][[name]]
  bar <- reporter(progress, function() if (several) count_bar("Registering") else stage_line("Registering"), here)
  on.exit(bar$close())
  found <- call_core(
    "register_images",
    moving = part("moving"), fixed = part("fixed"), spacing = part("spacing"), moving_spacing = part("moving_spacing"),
    moving_mask = moving_mask, fixed_mask = fixed_mask, transform = transform, contrast = contrast, mirror = mirror,
    mask = mask, encoder = encoder, initial = as_initial(initial, here), min_probability = min_probability,
    interpolation = interpolation, fill = na_as_nan(fill), dtype = dtype, device = device,
    on_error = on_error, progress = bar$report
  )
  if (!several) return(new_registration(found, here))
  found <- as_registrations(found, images, here)
  structure(unname(found), names = names_of_pairs(moving, fixed), class = "gequi_registrations")
}

# The images of each pair, with their spacings, or the error of reading them where errors are kept.
read_pairs <- function(moving, fixed, several, moving_spacing, spacing, keep, call) {
  pairs <- if (several) seq_along(fixed) else 1
  moving_spacing <- of_each(moving_spacing, length(pairs), "moving_spacing", call)
  spacing <- of_each(spacing, length(pairs), "spacing", call)
  lapply(pairs, function(i) {
    read <- function(images, name) {
      if (!several) return(read_grayscale(images, name, call))
      read_grayscale(images[[i]], paste0(name, "[[", i, "]]"), call)
    }
    read_pair <- function() as_pair(read(moving, "moving"), read(fixed, "fixed"), moving_spacing[[i]], spacing[[i]])
    if (keep) tryCatch(read_pair(), gequi_error = function(error) error) else read_pair()
  })
}

# A start as the core takes it, in pixels from 0: a linear map, landmarks, a registration, or a list of these.
as_initial <- function(x, call) {
  if (is.null(x) || inherits(x, "error")) return(NULL) # of a pair that failed before, there is none
  if (inherits(x, "gequi_registration")) return(x)
  if (is.data.frame(x)) {
    abort_gequi("InputError", paste0(
      "`initial` must be a matrix, or a list of landmarks, `moving` and `fixed`; got a data frame."
    ), "initial", call)
  }
  if (!is.list(x)) return(if (is.matrix(x) && ncol(x) == nrow(x) + 1) affine_moved_by(x, -1) else x)
  if (any(c("moving", "fixed") %in% names(x))) lapply(x, as_landmarks) else unname(lapply(unclass(x), as_initial, call))
}

as_landmarks <- function(points) {
  if (is.data.frame(points)) points <- as.matrix(points[intersect(axis_names(3), names(points))])
  as_index(unname(points))
}

# A part of a pair: NULL where its images could not be read.
part_of <- function(pair, name) if (!inherits(pair, "error")) pair[[name]]

# The names of the pairs: those of the fixed images, or of the moving ones where these have none.
names_of_pairs <- function(moving, fixed) {
  named <- function(images) if (is.character(images)) basename(images) else names(images)
  if (is.null(named(fixed))) named(moving) else named(fixed)
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

# ---- what comes out -------------------------------------------------------------------------------------------------

# What R keeps of the core's registration: its plain data, and the quantiles that print() and summary() show. R counts
# pixels from 1: a map's values move by 1, and so does the shift of a linear map, at both its ends.
new_registration <- function(python, call) {
  told <- call_core("describe_registration", python, .call = call)
  plain <- missing_by(moved_by(told$plain, 1), with_missing)
  plain[c("moving_spacing", "spacing")] <- lapply(plain[c("moving_spacing", "spacing")], as.numeric)
  derived <- list(decomposition = told$decomposition, python = python)
  made <- do.call(new_handle, c(list("gequi_registration"), plain, derived))
  made$handle$spread <- as_spread(told$spread)
  made
}

make_python.gequi_registration <- function(x, call) {
  plain <- plain_data(x)
  plain$decomposition <- NULL
  call_core("make_registration", plain = missing_by(moved_by(plain, -1), with_nan), .call = call)
}

# What may be missing in a registration, and the value that stands for it.
missing_by <- function(plain, written) {
  for (name in c("warped", "fill")) if (!is.null(plain[[name]])) plain[[name]] <- written(plain[[name]])
  plain
}

# A number that may be missing, as the core takes it.
na_as_nan <- function(x) if (length(x) == 1 && is.na(x)) NaN else x

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

# The linear part in words; NULL where the affine map has been replaced.
decomposition_of <- function(x, call = rlang::caller_env()) {
  if (!is.null(x$decomposition)) return(x$decomposition)
  call_core("describe_registration", x, .call = call)$decomposition
}

# A registration in which something is replaced is another one, whose Python object is not made yet.
another <- function(x, replaced) {
  class <- class(x)
  x <- unclass(x)
  x$handle <- new.env(parent = emptyenv())
  if (!is.character(replaced)) replaced <- names(x)[replaced]
  if (any(c("affine", "spacing", "moving_spacing") %in% replaced)) x$decomposition <- NULL
  structure(x, class = class)
}

#' @export
`$<-.gequi_registration` <- function(x, name, value) {
  if (name == "handle") NextMethod() else another(NextMethod(), name) # what is noted in the handle is no change
}

#' @export
`[[<-.gequi_registration` <- function(x, i, value) another(NextMethod(), i)

#' @export
`[<-.gequi_registration` <- function(x, i, value) another(NextMethod(), i)
