#' Estimate the transformation that aligns two images
#'
#' Registers two images or volumes: estimates a map with moving(map(x)) = fixed(x), its uncertainty, and the probability
#' that it is correct. The images may be rotated relative to each other by any angle. The method requires no training
#' and uses no random numbers.
#'
#' Each token of an image is described in every pose (16 poses in an image, 216 in a volume). Attention over positions
#' and poses matches the tokens of the two images. Linear maps are fitted to the matches and verified on the images. A
#' deformable map without folds refines the result. If no map is clearly correct, the moving image is also tried at 0.5
#' to 2 times its size.
#'
#' The estimate is equivariant: rotating each of the two images by a quarter turn (of a volume, about any axis)
#' transforms the map accordingly.
#'
#' @param moving,fixed The images, in any form that [to_grayscale()] accepts: a numeric matrix (row, column), a color
#'   array, a magick image, a NIfTI image or a file path; or volumes (depth, row, column). Each side must have at least
#'   16 pixels. The sizes may differ. For several pairs, give two lists (or character vectors of paths); the options
#'   then apply to each pair. For volumes, "pixel" means voxel.
#' @param spacing Numeric, the pixel size of `fixed`, one number or one per axis. `NULL` uses the spacing of the image
#'   if it states one (NIfTI), otherwise the spacing of `moving`, otherwise 1. For several pairs, optionally a list.
#' @param moving_spacing Numeric, the pixel size of `moving`. `NULL` uses the spacing of the image if it states one,
#'   otherwise `spacing`.
#' @param moving_mask,fixed_mask Logical (or 0/1) array with the size of the image, `TRUE` where the image is used.
#'   `NULL` uses the whole image. Pixels outside the bounding box of a mask are not used, and the map is extrapolated
#'   linearly there. For several pairs, one mask for all or a list.
#' @param transform Character, the type of transformation: `"deformable"`, `"affine"`, `"similarity"` (rotation,
#'   translation and one scale), `"rigid"` (rotation and translation) or `"translation"`. Lengths are in the units of
#'   `spacing`.
#' @param contrast Character, `"same"` for images that differ by slowly varying brightness and contrast; `"any"` for
#'   images with inverted intensities (partly or everywhere), an image and its edges, or intensities that are related by
#'   any curve, such as an image and its segmentation.
#' @param mirror Logical, whether one image shows the mirror image of the other. `"search"` tries both and returns the
#'   map with the higher probability.
#' @param mask Character, `"auto"` masks a constant black or white border, such as the frame of a round field of view,
#'   in an image without mask. `"none"` does not. `metrics` contains the masked fractions. Borders at different
#'   positions may be a background that moves with the object; then both options are tried and the better result is
#'   returned. Volumes are not masked automatically.
#' @param encoder A network that describes images, from [registration_encoder()], or another network from one trivial
#'   field to regular fields of the rotations of the plane (for volumes: irreps of the rotations of space), with a token
#'   every few pixels. `NULL` is the designed encoder for this `contrast`.
#' @param initial The initial estimate, near which the map is searched: a numeric matrix (axis, axis + 1) in the form of
#'   `affine`, in pixels from 1; landmarks of both images, a list of `moving` and `fixed`, each a matrix (point, axis)
#'   or a data frame with the columns (`depth`,) `row` and `column`; or an earlier registration, also of the same images
#'   in other sizes. `NULL` searches everywhere. For several pairs, one for all or a list with `NULL` entries. No
#'   `alternatives` are searched if `initial` is given.
#' @param min_probability Numeric, the minimum probability of being correct. Below it, an error is signaled.
#' @param interpolation Character, the interpolation of `warped`: `"cubic"` (spline, clipped to the range of `moving`),
#'   `"linear"` or `"nearest"`.
#' @param fill Numeric, the value of `warped` more than half a pixel outside `moving`. `NULL` uses the nearest pixel.
#' @param dtype Character, `"float32"` or `"float64"`, the precision of the computation.
#' @param device Character, `"cpu"`, `"cuda"` (GPU) or `"auto"`, which uses a GPU if one is available.
#' @param on_error Character, for several pairs: `"stop"` signals the error of a pair that fails, `"keep"` stores the
#'   error (a condition) in its place and continues.
#' @param progress Logical, whether to report progress on the standard error after two seconds: the stage, or a progress
#'   bar for several pairs. The default reports in interactive sessions. A function is called with a list of `stage`
#'   (`"preparation"`, `"search"`, `"refinement"` or `"uncertainty"`), `step`, `steps` (`NULL` for searches, whose
#'   number of steps is not known in advance) and `seconds`. For several pairs it is called after each pair, with
#'   `done`, `total` and `seconds_left`.
#' @return An object of class `gequi_registration`. For several pairs, an object of class `gequi_registrations`, a list
#'   with the names of `fixed` (or of `moving`), which prints as a table. A registration has `print()`, `plot()` and
#'   [predict()][predict.gequi_registration()] methods. It is a list of
#'   * `map`: (axis, row, column) or (axis, depth, row, column), the position in `moving` for each pixel of `fixed`, in
#'     pixels from 1;
#'   * `inverse_map`: the position in `fixed` for each pixel of `moving`;
#'   * `affine`: (axis, axis + 1), the linear part: moving = affine\[, -n\] fixed + affine\[, n\], where n is the last
#'     column;
#'   * `warped`: `moving`, resampled through the map, with the range of `moving` and `NA` outside;
#'   * `jacobian`: the determinant of the Jacobian of the map, in units of length;
#'   * `uncertainty`: the standard deviation of the map in pixels of `moving`;
#'   * `probability`: the probability that the map is correct, given the evidence: the search in the opposite direction
#'     finds the inverse map, the images are similar under the map, and their fine details agree under the map but not
#'     beside it;
#'   * `alternatives`: other linear maps that fit almost as well, each a list of `affine` and `score`;
#'   * `metrics`: `similarity_before`, `similarity_after`, `folds` (pixels), `overlap`, `inverse_consistency` (pixels),
#'     `score` (correlation of the images at a coarse scale), `round_trip` (distance between the results of the searches
#'     in the two directions, as a fraction of the longer side), `masked_moving` and `masked_fixed` (fractions detected
#'     as a constant border) and `seconds`;
#'   * `decomposition`: the linear part as a list of `rotation`, `scale`, `scales`, `shear`, `shift` and `mirror`, see
#'     [tidy()][tidy.gequi_registration()];
#'   * `moving`, `fixed`, `moving_spacing`, `spacing`, `transform`, `contrast`, `interpolation`, `fill`: the inputs, in
#'     grayscale.
#' @section Errors: `gequi_unrelated_images_error` if no map reaches `min_probability` (the message states whether
#'   another `contrast` or `mirror` would be accepted); `gequi_shape_error` and `gequi_input_error` for invalid images,
#'   masks and options.
#' @section Warnings: `gequi_ambiguous_registration_warning` if a second, clearly different map fits almost as well.
#' @references Greer et al. (2024), CARL, arXiv:2405.16738 (attention for registration). Tola, Lepetit and Fua (2010),
#'   DAISY, IEEE TPAMI 32 (descriptors). Ashburner (2007), A fast diffeomorphic image registration algorithm, NeuroImage
#'   38. Roche et al. (1998), the correlation ratio, MICCAI. Guimond et al. (2001), Three-dimensional multimodal brain
#'   warping using the demons algorithm and adaptive intensity corrections, IEEE TMI 20.
#' @concept deformable
#' @concept rotation
#' @concept landmark
#' @concept GPU
#' @concept overlay
#' @concept image alignment
#' @concept affine
#' @concept rigid
#' @concept segmentation
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:178, 151:278]
#' turned <- t(image)[ncol(image):1, ]
#' register_images(moving = turned, fixed = image)
#'
#' # a volume with permuted axes
#' voxels <- expand.grid(depth = 1:24, row = 1:26, column = 1:28)
#' volume <- with(voxels, sin(depth * row / 40) + cos(column / 3) * sin(depth / 4))
#' dim(volume) <- c(24, 26, 28)
#' permuted <- aperm(volume, c(2, 3, 1))
#' round(register_images(moving = permuted, fixed = volume, transform = "rigid")$affine, 2)
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

# The images of each pair with their spacings, or the error of reading them if errors are kept.
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

# A part of a pair; NULL if its images could not be read.
part_of <- function(pair, name) if (!inherits(pair, "error")) pair[[name]]

# The names of the pairs: the names of the fixed images, or of the moving images if these have none.
names_of_pairs <- function(moving, fixed) {
  named <- function(images) if (is.character(images)) basename(images) else names(images)
  if (is.null(named(fixed))) named(moving) else named(fixed)
}

# ---- what comes in --------------------------------------------------------------------------------------------------

# Several pairs are given as lists or as names of files.
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

# A pair as the core takes it. A missing spacing is that of the image, or that of the other image if it has none.
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

# The data that R stores of a registration: plain data, and the quantiles that print() and summary() show. R counts
# pixels from 1, so the values of a map increase by 1, and the shift of a linear map changes on both sides.
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

# Values that may be missing in a registration, and what represents them.
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

# Converts maps between pixels counted from 0 and from 1.
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

# The linear part as text; NULL if the affine map has been replaced.
decomposition_of <- function(x, call = rlang::caller_env()) {
  if (!is.null(x$decomposition)) return(x$decomposition)
  call_core("describe_registration", x, .call = call)$decomposition
}

# Replacing a part of a registration creates another registration, without a Python object.
another <- function(x, replaced) {
  class <- class(x)
  x <- unclass(x)
  x$handle <- empty_handle()
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
