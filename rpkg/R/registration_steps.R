#' The steps of a registration
#'
#' What [register_images()] makes of a pair of images on its way, to look at: features, attention, matches and
#' hypotheses. The functions that do it are those that [register_images()] calls, in its first attempt.
#'
#' @param moving,fixed two images, as in [register_images()].
#' @param token the number of the token of `fixed` whose attention is shown, from 1, row by row; `NULL` is the one whose
#'   match has the largest weight.
#' @param transform,contrast,dtype as in [register_images()].
#' @return a list:
#'   * `fixed` and `moving`, for each image a list of `lifted` (channel, row, column), the answers to edges in 16
#'     directions (in 8, blind to the sign, with contrast `"any"`); `tokens`, how many (row, column); `positions`
#'     (token, axis), in pixels from 1; `strength` (token);
#'   * `attention`, of one token, a list of `token`; `position` (axis); `scores` (pose, row, column), how alike it is to
#'     each token of `moving` in each pose, between -1 and 1; `weights` (row, column), the softmax of the best scores
#'     over the poses, times a sharpness;
#'   * `matches`, a list of `fixed` and `moving` (token, axis), the positions of each token and of its match;
#'     `rotation` (token), the angle between them in radians, from rows to columns; `weight` (token);
#'   * `hypotheses`, a list of lists, the most voted first: `similarity`, on which matches agree; `votes`, the sum of
#'     their weights; `affine`, the linear map that is fitted from there (for `"similarity"` and `"rigid"` one of that
#'     kind); `confidence`, the correlation of the images under it after a few steps.
#' @section Errors: as in [register_images()]; `gequi_shape_error` for volumes and `gequi_input_error` for a token that
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
  steps$attention$position <- as_plain(steps$attention$position) + 1
  steps$matches$rotation <- as_plain(steps$matches$rotation)
  steps$matches$weight <- as_plain(steps$matches$weight)
  steps$hypotheses <- lapply(steps$hypotheses, function(each) {
    for (map in c("similarity", "affine")) each[[map]] <- affine_from_one(each[[map]])
    each
  })
  steps
}
