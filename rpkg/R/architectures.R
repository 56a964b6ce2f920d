#' Three architectures
#'
#' As their diagrams draw them: a classifier of linear layers, a residual network with identity mappings, and a U-Net.
#' Given a gspace, each becomes an equivariant network of the same shape, as a recipe, on which everything works that
#' works on those of [equivariant_network()].
#'
#' Given a gspace, n channels become n / |G| regular fields, |G| being the order of the group. The classifiers end
#' with a head that does not change under the group; the output of the U-Net turns with the image. Strides keep
#' exactness where each image that a residual network halves has an odd size (33, 17, 9), and each that a U-Net halves
#' an even one.
#'
#' @param input_shape (channel, row, column) of the images.
#' @param hidden widths of the layers between pixels and classes.
#' @param channels channels of the images.
#' @param classes number of classes: what comes out.
#' @param components residual connections of a block, each with weights of its own.
#' @param widths channels after the first convolution and after each block; those of blocks divisible by 4.
#' @param levels how often the image is halved.
#' @param width channels of the first level; `NULL` is 64 (`"ronneberger"`) or 128 (`"circuit"`).
#' @param variant `"ronneberger"`, the network of 2015, or `"circuit"`, the diagram of the source, which saves the
#'   features of the first level and never joins them.
#' @param output `"logits"`, for training, or `"probabilities"`, which sum to 1.
#' @param space `NULL`, or a gspace on the plane with a finite group, from [gspace()].
#' @param seed of the initial weights; the same seed gives the same weights in R and in Python. `NULL` draws
#'   one from R's random numbers, so that [set.seed()] decides it.
#' @param dtype `"float32"` or `"float64"`.
#' @return an object of class `gequi_module`; with `space`, one of class `gequi_network`. Parameters at the defaults:
#'   669,706 for the classifier, 314,698 for the residual network, 31,030,658 for the U-Net and 123,664,898 for its
#'   variant `"circuit"`.
#' @section Errors: `gequi_input_error` for sizes that are not whole numbers of at least 1, or widths that the order
#'   of the group does not divide.
#' @references Abbott (2024), arXiv 2402.05424, figures 19, 26 and 27; He et al. (2016), arXiv 1603.05027; Ronneberger,
#'   Fischer and Brox (2015), arXiv 1505.04597.
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
