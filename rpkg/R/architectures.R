#' Standard architectures: classifier, residual network and U-Net
#'
#' `image_classifier_mlp()` creates a multilayer perceptron for images, `identity_resnet()` a residual network with
#' identity mappings, and `unet()` a U-Net for segmentation. With a gspace, each function returns an equivariant network
#' with the same structure.
#'
#' With a gspace, n channels become n / |G| regular fields, where |G| is the order of the group. The output of the two
#' classifiers is invariant; the output of the U-Net is equivariant. Strides are exactly equivariant if each image that
#' the residual network halves has an odd size (33, 17, 9) and each image that the U-Net halves has an even size.
#'
#' @param input_shape Integer vector (channel, row, column), the shape of the images.
#' @param hidden Integer vector, the widths of the hidden layers.
#' @param channels Integer, the number of channels of the images.
#' @param classes Integer, the number of classes.
#' @param components Integer, the number of residual connections per block.
#' @param widths Integer vector, the number of channels after the first convolution and after each block. The widths of
#'   blocks must be divisible by 4.
#' @param levels Integer, the number of times the image size is halved.
#' @param width Integer, the number of channels of the first level. `NULL` is 64 (`"ronneberger"`) or 128 (`"circuit"`).
#' @param variant Character, `"ronneberger"` (the network of 2015) or `"circuit"` (the diagram of Abbott, 2024, which
#'   stores the features of the first level without using them).
#' @param output Character, `"logits"` for training, or `"probabilities"`, which sum to 1.
#' @param space A gspace of the plane with a finite group, created by [gspace()], or `NULL` for a network without
#'   equivariance.
#' @param seed Integer, the seed of the initial weights. The same seed gives the same weights in R and in Python. `NULL`
#'   draws a seed from R's random number generator.
#' @param dtype Character, `"float32"` or `"float64"`.
#' @return An object of class `gequi_module`, or of class `gequi_network` if `space` is given. With default arguments,
#'   the number of parameters is 669,706 for the classifier, 314,698 for the residual network, 31,030,658 for the U-Net
#'   and 123,664,898 for its variant `"circuit"`.
#' @section Errors: `gequi_input_error` for sizes that are not integers of at least 1, or widths that are not divisible
#'   by the order of the group.
#' @references Abbott (2024), arXiv 2402.05424, figures 19, 26 and 27; He et al. (2016), arXiv 1603.05027; Ronneberger,
#'   Fischer and Brox (2015), arXiv 1505.04597.
#' @concept segmentation
#' @concept classification
#' @family architectures
#' @export
#' @examplesIf gequi_available()
#' image_classifier_mlp(seed = 1)
#' predict(image_classifier_mlp(seed = 1, output = "probabilities"), array(0.5, c(1, 1, 28, 28)))
#'
#' # A U-Net whose output turns with the image
#' network <- unet(levels = 2, width = 8, space = gspace("rot2dOnR2", N = 4), seed = 1)
#' equivariance_error(network, volcano[1:64, 1:60])
image_classifier_mlp <- function(input_shape = c(1, 28, 28), hidden = c(512, 512), classes = 10, output = "logits",
                                 space = NULL, seed = NULL, dtype = "float32") {
  new_module("image_classifier_mlp", list(
    input_shape = as.list(input_shape), hidden = as.list(hidden), classes = classes, output = output, space = space,
    seed = own_seed(seed), dtype = dtype
  ))
}

#' @rdname image_classifier_mlp
#' @export
identity_resnet <- function(channels = 3, classes = 10, components = 3, widths = c(16, 64, 128, 256), output = "logits",
                            space = NULL, seed = NULL, dtype = "float32") {
  new_module("identity_resnet", list(
    channels = channels, classes = classes, components = components, widths = as.list(widths), output = output,
    space = space, seed = own_seed(seed), dtype = dtype
  ))
}

#' @rdname image_classifier_mlp
#' @export
unet <- function(channels = 1, classes = 2, levels = 4, width = NULL, variant = "ronneberger", space = NULL,
                 seed = NULL, dtype = "float32") {
  new_module("unet", list(
    channels = channels, classes = classes, levels = levels, width = width, variant = variant, space = space,
    seed = own_seed(seed), dtype = dtype
  ))
}
