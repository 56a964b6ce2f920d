#' Create or train an encoder for registration
#'
#' Creates a network that describes an image at each token and in each pose (position and orientation).
#' [register_images()] uses such encoders to match images. The result is the designed encoder (the default of
#' [register_images()]), a trained encoder that is included in the package, or an encoder trained on your images.
#'
#' An encoder of images is an equivariant network from one trivial field to regular fields of the rotation group C_16 of
#' the plane, with one token every 4 pixels. The features in pose g are the regular fields, cyclically shifted by g. It
#' expects values from 0 to 1 and about 128 pixels per side. An encoder of volumes maps one trivial field to irreps of
#' degree 0 to 3 of the rotations of space, with one token every 4 voxels. It expects values from 0 to 1 and about 56
#' voxels per side.
#'
#' The designed encoder of images consists of [layer_oriented_gradients()], which computes the directions of edges, and
#' [layer_ring_descriptor()], which samples them on rings around each token. The designed encoder of volumes consists of
#' [layer_local_normalization()], which removes slowly varying brightness and contrast, and [layer_sphere_descriptor()],
#' which samples the result on spheres around each token in spherical harmonics.
#'
#' A trained encoder has more rings or spheres and two learned pointwise convolutions. It is trained on pairs that are
#' generated from `images`: parts of an image, and the same parts rotated by a random angle and warped, each with random
#' brightness, contrast, noise and sharpness. For contrast `"any"`, pairs are also transformed by random intensity
#' curves, to edges, and to a few labels.
#'
#' Ctrl-C (or the stop button) ends the training and returns the network in its current state.
#'
#' @param images List of images, each a matrix (row, column) or an array (row, column, channel), or list of volumes,
#'   each an array (depth, row, column) or (depth, row, column, channel). The channels are aligned images of the same
#'   object in several modalities. Images need at least 48 pixels per side, volumes 24 voxels. `NULL` returns the
#'   designed encoder. `"multimodal"` returns an encoder of images that was trained with contrast `"any"` and is
#'   included in the package.
#' @param contrast Character, `"same"`, or `"any"` for images with different contrast or of different modalities, as in
#'   [register_images()].
#' @param dimension Integer, 2 for images or 3 for volumes.
#' @param steps Integer, the number of training steps with 4 pairs each.
#' @param minutes Numeric, the maximum training time in minutes.
#' @param learning_rate Numeric, the maximum of the one-cycle schedule. `NULL` is 0.001 for images and 0.005 for
#'   volumes.
#' @param seed Integer, the seed of the initial weights and of the pairs. `NULL` draws one from R's random number
#'   generator.
#' @param device Character, `"cpu"`, `"cuda"` (GPU) or `"auto"`.
#' @param progress Logical, whether to show a progress bar, or a function, as in [fit()]. `NULL` shows a progress bar in
#'   interactive sessions.
#' @return A network, as returned by [equivariant_network()], for the argument `encoder` of [register_images()]. A
#'   trained encoder has a `history` as from [fit()], with one row per 50 steps.
#' @section Errors: `gequi_shape_error` if `images` are not images or are too small; `gequi_input_error` for a constant
#'   image or an invalid option; `gequi_setup_error` if the Python packages for training are missing.
#' @references Lowe (2004), Distinctive image features from scale-invariant keypoints; Tola, Lepetit and Fua (2010),
#'   DAISY; Kazhdan, Funkhouser and Rusinkiewicz (2003), Rotation invariant spherical harmonic representation of 3D
#'   shape descriptors; van den Oord, Li and Vinyals (2018), arXiv 1807.03748.
#' @concept GPU
#' @concept rotation
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' encoder <- registration_encoder()
#' encoder
#' image <- sample_image("cat")[101:164, 201:264]
#' equivariance_error(encoder, image)
#'
#' # register an image to its edges
#' edges <- sqrt(rbind(0, diff(image))^2 + cbind(0, t(diff(t(image))))^2)
#' trained <- registration_encoder("multimodal")
#' register_images(edges, image, contrast = "any", encoder = trained, min_probability = 0)
#'
#' # two training steps for illustration; use several hundred
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

#' Descriptor layers for images and volumes
#'
#' These layers are the components of the designed encoders of [registration_encoder()].
#'
#' `layer_oriented_gradients()` maps a grayscale image with values from 0 to 1 to the directions of its edges, for the
#' rotations of the plane (`rot2dOnR2` with N of at least 4). With g the gradient after Gaussian smoothing and G_8 a
#' Gaussian of 8 pixels, channel k is
#'
#'     h_k = max(cos(angle of g to direction k), 0)^3 |g| / sqrt(G_8 * |g|^2 + 0.02^2)
#'
#' `layer_ring_descriptor()` smooths these channels and samples them at each token and on rings around it. Each output
#' channel corresponds to one pose of the rings.
#'
#' `layer_local_normalization()` subtracts the local mean of a grayscale image or volume x with values from 0 to 1 and
#' divides by the local standard deviation. With y = G_sigma * x, the output is
#'
#'     (y - mean(y)) / sqrt(variance(y) + 0.05^2)
#'
#' `layer_sphere_descriptor()` smooths a volume and samples it at each token and on spheres around it, in spherical
#' harmonics of degree 0 to 3, for all rotations of space (`rot3dOnR3`). Its fields are one irrep of degree 0 per
#' sphere, followed by one of degree 1, 2 and 3 per sphere.
#'
#' `layer_token_pool()` averages features of any kind over cells that cover the image or volume evenly. Unlike a stride,
#' it is exactly equivariant at every size.
#'
#' On pixels, these layers are exactly equivariant to quarter turns and approximately equivariant to other rotations.
#'
#' @inheritParams layer_conv
#' @param sigma Numeric, the standard deviation of the Gaussian in pixels.
#' @param signed Logical, whether the channels distinguish the two sides of an edge. If `FALSE`,
#'   `layer_oriented_gradients()` has one channel per rotation up to a half turn, and `layer_local_normalization()`
#'   returns absolute values.
#' @param rings List of `c(radius, smoothing)` in pixels. Radius 0 is the token itself. `NULL` is 0 and 2, 6 and 2.5, 12
#'   and 4.
#' @param window Numeric, the standard deviation in pixels of the Gaussian window of the local mean and standard
#'   deviation.
#' @param spheres List of `c(radius, smoothing)` in voxels. `NULL` is 2 and 0.8, 4 and 1, 6 and 1.3, 8 and 1.6, 10 and
#'   2.
#' @param token Integer, the distance between tokens in pixels.
#' @section Shape: (batch, channel, row, column) to (batch, channel', row', column'), or (batch, channel, depth, row,
#'   column) to (batch, channel', depth', row', column'). For layers with tokens, row' = floor(row / token), and the
#'   tokens cover the image evenly.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the layer does not accept the previous fields; `gequi_input_error` for an
#'   invalid option. Messages name the layer.
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
