#' An encoder for registration
#'
#' A network that describes an image at each token in each pose: the designed encoder that [register_images()] uses by
#' itself, a trained one, or one that you train on your images.
#'
#' An encoder of images is an equivariant network from one trivial field to regular fields of the rotations C_16 of the
#' plane, with a token every 4 pixels: the features of a token in pose g are its regular fields rolled by g. It takes
#' images between 0 and 1, of about 128 pixels along a side. An encoder of volumes leads from one trivial field to
#' irreps of degree 0 to 3 of the rotations of space, with a token every 4 voxels. It takes volumes between 0 and 1, of
#' about 56 voxels along a side.
#'
#' In the designed encoder of images, the first layer, [layer_oriented_gradients()], lifts the image to the directions
#' of its edges; the second, [layer_ring_descriptor()], reads these on rings about each token. In that of volumes, the
#' first layer, [layer_local_normalization()], removes brightness and contrast that vary slowly; the second,
#' [layer_sphere_descriptor()], reads the result on spheres about each token, in spherical harmonics.
#'
#' A trained encoder has more rings or spheres, and two pointwise convolutions that are learned on top. It learns from
#' pairs that are made of `images`: parts of an image, and the same parts rotated by any angle and warped. Each has
#' brightness, contrast, noise and sharpness of its own. For contrast `"any"`, pairs are also shown through random
#' intensity curves, as edges, and as a few labels.
#'
#' Ctrl-C, or the stop button, ends the training: what comes back is the network as it stands then.
#'
#' @param images a list of at least one image, a matrix (row, column) or an array (row, column, channel), or of at least
#'   one volume, an array (depth, row, column) or (depth, row, column, channel). The channels show the same thing in
#'   several kinds of image, pixel on pixel. Images have at least 48 pixels along a side, volumes 24 voxels. `NULL`
#'   gives the designed encoder; `"multimodal"` one of images that was trained on pictures with contrast `"any"`, and
#'   comes with the package.
#' @param contrast `"same"`, or `"any"` for images of another contrast, or another kind: see [register_images()].
#' @param dimension 2 for an encoder of images, 3 for one of volumes.
#' @param steps of training, 4 pairs each.
#' @param minutes after which the training ends early.
#' @param learning_rate the peak of its one-cycle schedule; `NULL` is 0.001 for images and 0.005 for volumes.
#' @param seed of the initial weights and of the pairs; `NULL` draws one from R's random numbers, so that
#'   [set.seed()] decides it.
#' @param device `"cpu"`, `"cuda"`, or `"auto"`.
#' @param progress whether to show a progress bar, or a function, as in [fit()]; `NULL` shows one only in interactive
#'   sessions.
#' @return a network, as [equivariant_network()] makes it, that [register_images()] takes as its `encoder`. A trained
#'   one has a `history`, as [fit()] returns it, with a row for every 50 steps.
#' @section Errors: `gequi_shape_error` for images that are no images, or too small; `gequi_input_error` for a constant
#'   image, or an option out of range; `gequi_setup_error` where the Python packages that training needs are missing.
#' @references Lowe (2004), Distinctive image features from scale-invariant keypoints; Tola, Lepetit and Fua (2010),
#'   DAISY; Kazhdan, Funkhouser and Rusinkiewicz (2003), Rotation invariant spherical harmonic representation of 3D
#'   shape descriptors; van den Oord, Li and Vinyals (2018), arXiv 1807.03748.
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
#' register_images(edges, image, contrast = "any", encoder = trained, min_probability = 0)
#'
#' # a few steps only: some hundred are of use
#' trained <- registration_encoder(list(image), steps = 2, seed = 1)
#' trained$history
#'
#' registration_encoder(dimension = 3)
registration_encoder <- function(images = NULL, contrast = "same", dimension = 2, steps = 600, minutes = 10,
                                 learning_rate = NULL, seed = NULL, device = "auto", progress = NULL) {
  here <- rlang::current_env()
  if (is.null(progress)) progress <- is.list(images) && rlang::is_interactive()
  python <- while_reporting(progress, function(report) {
    call_core(
      "registration_encoder", images = images, contrast = contrast, dimension = dimension, steps = steps,
      minutes = minutes, learning_rate = learning_rate, seed = own_seed(seed), device = device,
      progress = report, .call = here
    )
  })
  encoder <- as_model(python, call_core("get_weights", python))
  if (is.null(images) || is.character(images)) return(encoder)
  as_fit(encoder, as_history(call_core("encoder_history", python)), FALSE)
}

#' Layers that describe images and volumes
#'
#' The layers of the designed encoders of [registration_encoder()].
#'
#' For images and the rotations of the plane (`rot2dOnR2` with N of 4 or more): `layer_oriented_gradients()` lifts a
#' grey image between 0 and 1 to the directions of its edges. With g the gradient after Gaussian smoothing, and G_8 a
#' Gaussian of 8 pixels, channel k is
#'
#'   h_k = max(cos(angle of g to direction k), 0)^3 |g| / sqrt(G_8 * |g|^2 + 0.02^2)
#'
#' `layer_ring_descriptor()` reads them, smoothed, at tokens and on rings about each; a channel is the pose in which the
#' ring is read.
#'
#' For images and volumes: `layer_local_normalization()` subtracts the local mean of a grey image or volume x between 0
#' and 1 and divides by its local standard deviation, with y = G_sigma * x:
#'
#'   (y - mean(y)) / sqrt(variance(y) + 0.05^2)
#'
#' For volumes and all rotations of space (`rot3dOnR3`): `layer_sphere_descriptor()` reads a volume, smoothed, at tokens
#' and on spheres about each, in spherical harmonics of degree 0 to 3. Its fields are an irrep of degree 0 for each
#' sphere, then one of degree 1, of degree 2 and of degree 3 each.
#'
#' `layer_token_pool()` takes means over cells that cover an image or volume evenly, for features of any kind: it is
#' exact at every size, which a stride is not.
#'
#' @inheritParams layer_conv
#' @param sigma of the Gaussian derivative, or of the Gaussian smoothing, pixels.
#' @param signed whether the channels tell on which side of an edge it is brighter. Without, there is one channel for
#'   each rotation up to a half turn, and `layer_local_normalization()` takes the absolute value.
#' @param rings a list of `c(radius, smoothing)`, pixels; radius 0 is the token itself. `NULL` is 0 and 2, 6 and 2.5,
#'   12 and 4.
#' @param window of the local mean and standard deviation, the standard deviation of a Gaussian, pixels.
#' @param spheres a list of `c(radius, smoothing)`, voxels. `NULL` is 2 and 0.8, 4 and 1, 6 and 1.3, 8 and 1.6, 10 and
#'   2.
#' @param token pixels from token to token.
#' @section Shape: (batch, channel, row, column) to (batch, channel', row', column'), or (batch, channel, depth, row,
#'   column) to (batch, channel', depth', row', column'); for tokens row' = floor(row / token), which cover the image
#'   evenly.
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit the layer; `gequi_input_error` for a
#'   value that an option cannot take. The message names the layer.
#' @family layers
#' @references Lowe (2004), Distinctive image features from scale-invariant keypoints; Tola, Lepetit and Fua (2010),
#'   DAISY; Kazhdan, Funkhouser and Rusinkiewicz (2003), Rotation invariant spherical harmonic representation of 3D
#'   shape descriptors.
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 8), c(trivial = 1), seed = 1) |>
#'   layer_oriented_gradients() |>
#'   layer_ring_descriptor(rings = list(c(0, 2), c(6, 2.5)))
#' equivariance_error(network, sample_image("cat")[101:148, 201:248])
#'
#' network <- equivariant_network(gspace("rot3dOnR3"), c(trivial = 1), seed = 1) |>
#'   layer_local_normalization() |>
#'   layer_sphere_descriptor(spheres = list(c(2, 1), c(4, 1.5)))
#' network
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
layer_local_normalization <- function(network, window = 4, sigma = 0.7, signed = TRUE) {
  add_layer(network, "local_normalization")
}

#' @rdname layer_oriented_gradients
#' @export
layer_sphere_descriptor <- function(network, spheres = NULL, token = 4) {
  add_layer(network, "sphere_descriptor")
}

#' @rdname layer_oriented_gradients
#' @export
layer_token_pool <- function(network, token = 4) {
  add_layer(network, "token_pool")
}
