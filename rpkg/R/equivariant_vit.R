#' Patches: from an image to tokens and back
#'
#' * `layer_patch_embedding()` maps each patch of an image or volume to one token of regular fields. Patches do not
#'   overlap.
#' * `layer_patch_expansion()` maps each token of regular fields to a patch of the output fields. With the same weights
#'   and without bias, it is the transpose of the embedding.
#' * `layer_patch_merging()` maps each patch of tokens to one token, by [layer_token_norm()] and an embedding. It is for
#'   networks of several resolutions.
#'
#' Embedding and expansion are linear. The value of the token at the pose g is the product of the patch with the filter
#' of g, which is the filter of the identity, turned by g: \eqn{W_g(p) = W(g^{-1} p) \rho(g)^{-1}}{W_g(p) = W(g^-1 p)
#' rho(g)^-1}. If every group element maps the pixel grid onto itself, all entries of W are free numbers, and the layers
#' are exactly equivariant for patches of odd and even sizes, provided that the patches cover the image.
#' [output_shape()] warns if they do not. For other groups, such as C8, the layers are steerable convolutions
#' ([layer_conv()]).
#'
#' @inheritParams layer_conv
#' @param fields Named integer vector, the output fields. Those of `layer_patch_embedding()` and `layer_patch_merging()`
#'   must be regular. `NULL` is twice as many fields as before the layer.
#' @param patch_size Integer, the side of a patch in pixels, or in tokens for `layer_patch_merging()`. Must be odd if
#'   some group element does not map the pixel grid onto itself.
#' @section Shape: (batch, channel, row, column) to (batch, channel', row / patch_size, column / patch_size); expansion
#'   to (batch, channel', row patch_size, column patch_size). Volumes likewise.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the fields are not regular where they must be, or if the group is not a
#'   finite group of the plane or of space; `gequi_input_error` for an invalid option. Messages name the layer.
#' @family layers
#' @references Dosovitskiy et al. (2021), An image is worth 16x16 words, arXiv:2010.11929. Merging: Liu et al. (2021),
#'   Swin transformer: hierarchical vision transformer using shifted windows, arXiv:2103.14030.
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("flipRot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_patch_embedding(c(regular = 4), patch_size = 4) |>
#'   layer_posewise_attention_block() |>
#'   layer_patch_expansion(c(trivial = 1), patch_size = 4)
#' equivariance_error(network, volcano[1:12, 1:12])
#'
#' equivariant_network(gspace("flipRot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_patch_embedding(c(regular = 2), patch_size = 2) |>
#'   layer_posewise_attention_block() |>
#'   layer_patch_merging() |>
#'   layer_posewise_attention_block()
layer_patch_embedding <- function(network, fields, patch_size, bias = TRUE) {
  add_layer(network, "patch_embedding")
}

#' @rdname layer_patch_embedding
#' @export
layer_patch_expansion <- function(network, fields, patch_size, bias = TRUE) {
  add_layer(network, "patch_expansion")
}

#' @rdname layer_patch_embedding
#' @export
layer_patch_merging <- function(network, fields = NULL, patch_size = 2, bias = FALSE) {
  add_layer(network, "patch_merging")
}

#' Equivariant vision transformer
#'
#' Creates a vision transformer for images or volumes that commutes with rotations and reflections. Each patch becomes
#' one token of width / |G| regular fields, where |G| is the order of the group. `blocks` times
#' [layer_posewise_attention_block()] follow, whose positions are rotary and relative, then [layer_token_norm()]. The
#' output is a list of fields for the whole image, or with `dense` for each pixel:
#' * trivial fields are invariant: the classes of an image, or the classes of its pixels, which move with the image;
#' * other fields turn with the image: `irrep_1` of C_N (`irrep_1,1` of D_N) is a vector in the plane.
#'
#' With as many channels as a plain vision transformer, the blocks have 1 / |G| of its parameters.
#'
#' @inheritParams equivariant_network
#' @inheritParams layer_posewise_attention
#' @param size Integer, the side of the images in pixels, or c(row, column) or c(depth, row, column). The patches must
#'   cover the images exactly; otherwise rotating an image would not rotate its patches. `NULL` is allowed for
#'   `patch_size = 1`, as for [predict_points()].
#' @param output Named integer vector, the fields of the output, such as `c(trivial = 10)` for 10 classes.
#' @param variant Character, `"tiny"`, `"small"` or `"base"`: a width of 192, 384 or 768 channels, and 12 blocks.
#' @param patch_size Integer, the side of a patch in pixels. Must be odd if some group element does not map the pixel
#'   grid onto itself, and a power of 2 for `stem = "convolutions"`.
#' @param stem Character, `"patches"`, one linear map per patch ([layer_patch_embedding()]), or `"convolutions"`:
#'   steerable convolutions with batch normalization and ReLU, each followed by the mean of 2 x 2 pixels. They learn
#'   faster from few images. With `dense`, the last layers also use the features of the first convolution. `NULL` is
#'   `"convolutions"` for images with a `patch_size` of 2, 4, 8, ..., and `"patches"` otherwise.
#' @param dense Logical, whether the output has one value per pixel, such as a segmentation, instead of one per image.
#' @param pool Character, `"max"` or `"mean"`, the pooling over the group. It applies to trivial output fields of the
#'   whole image. With the mean, the head is linear and learns more slowly.
#' @param width Integer, the number of channels of a token, a multiple of the order of the group. `NULL` is that of
#'   `variant`, rounded to an even number of fields.
#' @param blocks Integer, the number of blocks. `NULL` is that of `variant`.
#' @param heads Integer, the number of attention heads per pose. `NULL` is one for each 64 fields.
#' @param window Integer, the side of the neighborhood that a token attends to, in patches. Must be odd. `NULL` is the
#'   whole image.
#' @return A network, as returned by [equivariant_network()].
#' @section Errors: `gequi_input_error` if the patches do not cover the image, if the order of the group does not divide
#'   the width, or if an option is invalid; `gequi_field_error` if the gspace is not a finite group of the plane or of
#'   space, or for unknown fields.
#' @concept classification
#' @concept segmentation
#' @family networks
#' @references Dosovitskiy et al. (2021), arXiv:2010.11929. Xiao et al. (2021), Early convolutions help transformers see
#'   better, arXiv:2106.14881. Islam et al. (2025), arXiv:2510.03511. Octic vision transformers (2025),
#'   arXiv:2505.15441.
#' @export
#' @examplesIf gequi_available()
#' d4 <- gspace("flipRot2dOnR2", N = 4)
#' network <- equivariant_vit(d4, 16, output = c(trivial = 3), width = 32, blocks = 1, seed = 1)
#' x <- volcano[1:16, 1:16] / 100
#' rbind(predict(network, x), predict(network, t(x)[16:1, ]))
#'
#' # A segmentation that turns with the image
#' segmenter <- equivariant_vit(
#'   d4, 16, output = c(trivial = 2), dense = TRUE, width = 32, blocks = 1, seed = 1
#' )
#' equivariance_error(segmenter, x)
equivariant_vit <- function(space, size, input = "trivial", output = c(trivial = 10), variant = "tiny", patch_size = 4,
                            stem = NULL, dense = FALSE, pool = "max", width = NULL, blocks = NULL, heads = NULL,
                            key_dim = NULL, window = NULL, dropout = 0, qk_norm = TRUE, learn_frequencies = TRUE,
                            mlp_ratio = 4, seed = NULL, dtype = "float32") {
  need_arguments()
  layers <- call_core(
    "vit_layers",
    space = space, size = size, output = as_fields(output, "output"), variant = variant, patch_size = patch_size,
    stem = stem, dense = dense, pool = pool, width = width, blocks = blocks, heads = heads, key_dim = key_dim,
    window = window, dropout = dropout, qk_norm = qk_norm, learn_frequencies = learn_frequencies,
    mlp_ratio = mlp_ratio
  )
  equivariant_network(space, input, layers, seed = seed, dtype = dtype)
}
