#' The steps of a registration
#'
#' What [register_images()] makes of a pair of images on its way, to look at: features, attention, matches and
#' hypotheses. The functions that do it are those that [register_images()] calls, in its first attempt.
#'
#' @param moving,fixed two images or two volumes, as in [register_images()].
#' @param token the number of the token of `fixed` whose attention is shown, from 1, row by row (of a volume, slice by
#'   slice); `NULL` is the one whose match has the largest weight.
#' @param transform,contrast,dtype as in [register_images()].
#' @return a list. Where it says `size`, arrays have (row, column) for images and (depth, row, column) for volumes.
#'   * `fixed` and `moving`, for each image a list of `lifted` (channel, size), the output of the first layer of the
#'     encoder: for an image the answers to edges in 16 directions (in 8, without the sign, with contrast `"any"`), for
#'     a volume one channel, the locally normalized volume; `tokens`, how many along each axis; `positions` (token,
#'     axis), in pixels from 1; `strength` (token);
#'   * `attention`, of one token of `fixed`, a list of its number `token`; its `position` (axis); `scores` (pose, size),
#'     its similarity to each token of `moving` in each pose, between -1 and 1, where an image has 16 poses and a volume
#'     216; `weights` (size), the softmax of the best scores over the poses, times a sharpness;
#'   * `matches`, a list of `token` (match), the numbers of the tokens of `fixed` that were matched, for a volume the
#'     500 strongest; `fixed` and `moving` (match, axis), the positions of each of these and of its match; `rotation`,
#'     for images (match) the angle between them in radians, from rows to columns, for volumes (match, axis, axis) the
#'     rotation matrix; `weight` (match);
#'   * `hypotheses`, a list of lists, the most voted first: `similarity` (axis, axis + 1), on which matches agree;
#'     `votes`, the sum of their weights; `affine`, the linear map that is fitted from there (for `"similarity"` and
#'     `"rigid"` one of that kind); `score`, the correlation of the images under it after a few steps.
#' @section Errors: as in [register_images()]; `gequi_input_error` for a token that
#'   is not there.
#' @seealso `vignette("registering-images", package = "gequiR")`
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:178, 151:278]
#' turned <- t(image)[ncol(image):1, ]
#' steps <- registration_steps(moving = turned, fixed = image)
#' plot_image(steps$attention$scores[4:6, , ], titles = c("pose 4", "pose 5", "pose 6"))
registration_steps <- function(moving, fixed, token = NULL, transform = "deformable", contrast = "same",
                               dtype = "float32") {
  here <- rlang::current_env()
  read <- function(image, argument) read_grayscale(image, argument, here)$pixels
  steps <- call_core(
    "registration_steps",
    moving = read(moving, "moving"), fixed = read(fixed, "fixed"), token = as_index(token), transform = transform,
    contrast = contrast, dtype = dtype
  )
  for (image in c("moving", "fixed")) {
    steps[[image]]$positions <- steps[[image]]$positions + 1
    steps[[image]]$tokens <- as.integer(unlist(steps[[image]]$tokens))
    steps[[image]]$strength <- as_plain(steps[[image]]$strength)
    steps$matches[[image]] <- steps$matches[[image]] + 1
  }
  steps$attention$token <- steps$attention$token + 1L
  steps$matches$token <- as_plain(steps$matches$token) + 1L
  steps$attention$position <- as_plain(steps$attention$position) + 1
  steps$matches$rotation <- as_plain(steps$matches$rotation)
  steps$matches$weight <- as_plain(steps$matches$weight)
  steps$hypotheses <- lapply(steps$hypotheses, function(each) {
    for (map in c("similarity", "affine")) each[[map]] <- affine_from_one(each[[map]])
    each
  })
  steps
}
