#' Intermediate results of a registration
#'
#' Returns the features, attention, matches and hypotheses that [register_images()] computes in its first attempt, for
#' inspection.
#'
#' @param moving,fixed Two images or two volumes, as in [register_images()].
#' @param token Integer, the token of `fixed` whose attention is returned, from 1, in row-major order (slice by slice
#'   for a volume). `NULL` uses the token whose match has the largest weight.
#' @param transform,contrast,dtype As in [register_images()].
#' @return A list. Below, `size` is (row, column) for images and (depth, row, column) for volumes.
#'   * `fixed` and `moving`: for each image, a list of `lifted` (channel, size), the output of the first layer of the
#'     encoder (for an image the edge responses in 16 directions, or 8 unsigned directions for contrast `"any"`; for a
#'     volume one channel, the locally normalized volume); `tokens`, the number of tokens per axis; `positions` (token,
#'     axis), in pixels from 1; and `strength` (token).
#'   * `attention`: for one token of `fixed`, a list of its number `token`; its `position` (axis); `scores` (pose,
#'     size), the similarity to each token of `moving` in each pose, from -1 to 1, with 16 poses for an image and 216
#'     for a volume; and `weights` (size), the softmax of the scaled maximum of the scores over the poses.
#'   * `matches`: a list of `token` (match), the numbers of the matched tokens of `fixed` (for a volume, the 500
#'     strongest); `fixed` and `moving` (match, axis), the positions of the token and of its match; `rotation`, for
#'     images (match) the angle in radians from rows to columns, for volumes (match, axis, axis) the rotation matrix;
#'     and `weight` (match).
#'   * `hypotheses`: a list of lists in decreasing order of votes: `similarity` (axis, axis + 1), on which matches
#'     agree; `votes`, the sum of their weights; `affine`, the fitted linear map (restricted to the kind of
#'     `"similarity"` and `"rigid"`); and `score`, the correlation of the images under the map after a few steps.
#' @section Errors: The errors of [register_images()]; `gequi_input_error` for a token that does not exist.
#' @references Greer et al. (2024), CARL, arXiv:2405.16738.
#' @seealso The article *Registering images by attention* on the site of the package (`make site`).
#' @concept attention map
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
