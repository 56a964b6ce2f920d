#' An encoder for registration
#'
#' What describes an image at each token in each pose: the designed encoder that [register_images()] uses by itself, a
#' trained one, or one that you train on your images.
#'
#' An encoder is an equivariant network from one trivial field to regular fields of the rotations C_16 of the plane,
#' with a token every 4 pixels: the features of a token in pose g are its regular fields rolled by g. It takes images
#' between 0 and 1, of about 128 pixels along a side.
#'
#' The first layer of the designed one, [layer_oriented_gradients()], lifts the image to the directions of its edges;
#' the second, [layer_ring_descriptor()], reads these on rings about each token. In the trained one, on more rings, two
#' pointwise convolutions are learned on top, from pairs that are made of `images`: parts of an image, the same parts
#' turned by any angle and warped, each with brightness, contrast, noise and sharpness of its own, for contrast `"any"`
#' also through random intensity curves, as edges, and as a few labels.
#'
#' Ctrl-C, or the stop button, ends the training: what comes back is the network as it stands then.
#'
#' @param images a list of at least one image, a matrix (row, column) or an array (row, column, channel) whose channels
#'   show the same thing in several kinds of image, pixel on pixel; of at least 48 pixels along a side. `NULL` gives the
#'   designed encoder; `"multimodal"` one that was trained on pictures with contrast `"any"`, and comes with the
#'   package.
#' @param contrast `"same"`, or `"any"` for images of another contrast, or another kind: see [register_images()].
#' @param steps of training, 4 pairs each.
#' @param minutes after which the training ends early.
#' @param learning_rate the peak of its one-cycle schedule.
#' @param seed of the initial weights and of the pairs; `NULL` draws one.
#' @param device `"cpu"`, `"cuda"`, or `"auto"`.
#' @param progress whether to show a progress bar, or a function, as in [fit()]; `NULL` shows one to a person.
#' @return a network, as [equivariant_network()] makes it, that [register_images()] takes as its `encoder`. A trained
#'   one has a `history`, as [fit()] returns it, with a row for every 50 steps.
#' @section Errors: `gequi_shape_error` for images that are no images, or too small; `gequi_input_error` for a constant
#'   image, or an option out of range; `gequi_setup_error` where the Python packages that training needs are missing.
#' @references Lowe (2004), Distinctive image features from scale-invariant keypoints; Tola, Lepetit and Fua (2010),
#'   DAISY; van den Oord, Li and Vinyals (2018), arXiv 1807.03748.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' encoder <- registration_encoder()
#' encoder
#' image <- sample_image("cat")[101:164, 201:264]
#' equivariance_error(encoder, image)
#'
#' # another kind of image: its edges
#' edges <- sqrt(rbind(0, diff(image))^2 + cbind(0, t(diff(t(image))))^2)
#' trained <- registration_encoder("multimodal")
#' register_images(edges, image, contrast = "any", encoder = trained, min_confidence = 0)
#'
#' # a few steps only: some hundred are of use
#' trained <- registration_encoder(list(image), steps = 2, seed = 1)
#' trained$history
registration_encoder <- function(images = NULL, contrast = "same", steps = 600, minutes = 10, learning_rate = 0.001,
                                 seed = NULL, device = "auto", progress = NULL) {
  here <- rlang::current_env()
  if (is.null(progress)) progress <- is.list(images) && rlang::is_interactive()
  python <- while_reporting(progress, function(report) {
    call_core(
      "registration_encoder", images = images, contrast = contrast, steps = steps, minutes = minutes,
      learning_rate = learning_rate, seed = seed, device = device, progress = report, .call = here
    )
  })
  encoder <- as_model(python, call_core("get_weights", python))
  if (is.null(images) || is.character(images)) return(encoder)
  as_fit(encoder, as_history(call_core("encoder_history", python)), FALSE, NULL)
}

#' Layers that describe images
#'
#' The layers of the designed [registration_encoder()], for the rotations of the plane (`rot2dOnR2` with N of 4 or
#' more). `layer_oriented_gradients()` lifts a grey image between 0 and 1 to the directions of its edges: with g the
#' gradient after Gaussian smoothing, and G_8 a Gaussian of 8 pixels, channel k is
#'
#'   h_k = max(cos(angle of g to direction k), 0)^3 |g| / sqrt(G_8 * |g|^2 + 0.02^2)
#'
#' `layer_ring_descriptor()` reads them, smoothed, at tokens and on rings about each; a channel is the pose in which the
#' ring is read. `layer_token_pool()` takes means over cells that cover an image evenly, for features of any kind: it is
#' exact at every size of image, which a stride is not.
#'
#' @inheritParams layer_conv
#' @param sigma of the Gaussian derivative, pixels.
#' @param signed whether the channels tell on which side of an edge it is brighter; without, there is one channel for
#'   each rotation up to a half turn.
#' @param rings a list of `c(radius, smoothing)`, pixels; radius 0 is the token itself. `NULL` is 0 and 2, 6 and 2.5,
#'   12 and 4.
#' @param token pixels from token to token.
#' @section Shape: (batch, channel, row, column) to (batch, channel', row', column'); for tokens row' =
#'   floor(row / token), which cover the image evenly.
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit the layer; `gequi_input_error` for a
#'   value that an option cannot take. The message names the layer.
#' @family layers
#' @references Lowe (2004), Distinctive image features from scale-invariant keypoints; Tola, Lepetit and Fua (2010),
#'   DAISY.
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 8), c(trivial = 1), seed = 1) |>
#'   layer_oriented_gradients() |>
#'   layer_ring_descriptor(rings = list(c(0, 2), c(6, 2.5)))
#' equivariance_error(network, sample_image("cat")[101:148, 201:248])
layer_oriented_gradients <- function(network, sigma = 1, signed = TRUE) {
  add_layer(network, "oriented_gradients")
}

#' @rdname layer_oriented_gradients
#' @export
layer_ring_descriptor <- function(network, rings = NULL, token = 4) {
  add_layer(network, "ring_descriptor")
}

#' @rdname layer_oriented_gradients
#' @export
layer_token_pool <- function(network, token = 4) {
  add_layer(network, "token_pool")
}
