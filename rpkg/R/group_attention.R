#' Group self-attention layers
#'
#' These layers compute self-attention between the poses of an image. A pose is a pixel together with a group element;
#' the channels of a regular field are the values at the poses of a pixel.
#' * `layer_lifting_attention()` maps trivial fields to regular fields.
#' * `layer_group_attention()` maps regular fields to regular fields.
#' * `layer_group_attention_block()` adds a residual block: attention followed by a two-layer perceptron at each pose.
#'
#' They can be combined with [layer_conv()] and all other layers for regular fields.
#'
#' For each head, the attention score between the query at pose (i, h) and the key at pose (j, w) is
#' \deqn{\langle q(i, h), k(j, w) + \rho_P(h^{-1} (x_j - x_i)) + \rho_H(h^{-1} w) \rangle / \sqrt{key\_dim}}{
#'   <q(i, h), k(j, w) + rho_P(h^-1 (x_j - x_i)) + rho_H(h^-1 w)> / sqrt(key_dim)}
#' The softmax of the scores weights the values. Positions are expressed relative to the pose of the query, so a common
#' transformation of both poses leaves the score unchanged. The layers are therefore equivariant to the finite groups of
#' rotations and reflections of the plane. On pixels, equivariance is exact to rounding for quarter turns and
#' reflections; on points (see [predict_points()]) it is exact for all group elements.
#'
#' @inheritParams layer_conv
#' @param fields Named integer vector, the regular fields of the output, such as `c(regular = 8)`.
#' @param heads Integer, the number of attention heads.
#' @param key_dim Integer, the number of features per head. `NULL` is fields / heads.
#' @param frequencies Integer, the number of Fourier features of the position, per head and pair of opposite group
#'   elements. 0 uses no positions.
#' @param window Integer, the side of the neighborhood that a pixel attends to, in pixels. Must be odd. `NULL` is the
#'   whole image.
#' @param dropout Numeric, the probability of setting an output value to 0 during training.
#' @param qk_norm Logical, whether to normalize queries and keys to bounded length, which limits rounding errors for
#'   large weights.
#' @param positions Character, `"additive"` as in the formula, or `"rotary"`, which encodes positions as angles of
#'   queries and keys. Rotary positions need no additional memory and ignore `frequencies`.
#' @param mlp_ratio Integer, the number of hidden units of the perceptron per field.
#' @section Shape: (batch, channel, row, column) to (batch, channel', row, column).
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the layer does not accept the previous fields, or if the group is not a
#'   finite group of the plane; `gequi_input_error` for an invalid option. Messages name the layer.
#' @family layers
#' @references Romero and Cordonnier (2021), Group equivariant stand-alone self-attention for vision, arXiv:2010.00977.
#'   `vignette("group-attention")` describes the differences.
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_lifting_attention(c(regular = 4), heads = 2) |>
#'   layer_group_attention_block(heads = 2)
#' equivariance_error(network, volcano[1:9, 1:9])
layer_lifting_attention <- function(network, fields, heads = 1, key_dim = NULL, frequencies = 2, window = NULL,
                                    dropout = 0, qk_norm = TRUE, positions = "additive") {
  add_layer(network, "lifting_attention")
}

#' @rdname layer_lifting_attention
#' @export
layer_group_attention <- function(network, fields, heads = 1, key_dim = NULL, frequencies = 2, window = NULL,
                                  dropout = 0, qk_norm = TRUE, positions = "additive") {
  add_layer(network, "group_attention")
}

#' @rdname layer_lifting_attention
#' @export
layer_group_attention_block <- function(network, heads = 1, key_dim = NULL, frequencies = 2, window = NULL,
                                        dropout = 0, qk_norm = TRUE, positions = "additive", mlp_ratio = 2) {
  add_layer(network, "group_attention_block")
}

#' Attention within each pose
#'
#' These layers compute self-attention on regular fields. A token is a pixel or point, and its features are regular
#' fields, one value per pose (group element). Each pose is a head (or several), which attends to all positions, so the
#' number of compared pairs is that of plain attention with |G| heads. [layer_group_attention()] instead compares every
#' pose with every other pose, which is |G| times as many pairs.
#' * `layer_posewise_attention()` maps regular fields to regular fields.
#' * `layer_posewise_attention_block()` adds a residual block: x + attention(norm(x)), then x + perceptron(norm(x)).
#'
#' They can be combined with [layer_conv()], [layer_group_attention()] and all other layers for regular fields.
#'
#' The output at the position x_i and the pose g is
#' \deqn{y(i, g) = \sum_j softmax_j(\langle R(g^{-1} x_i) q(i, g), R(g^{-1} x_j) k(j, g) \rangle / \sqrt{key\_dim})
#'   v(j, g)}{y(i, g) = sum_j softmax_j(<R(g^-1 x_i) q(i, g), R(g^-1 x_j) k(j, g)> / sqrt(key_dim)) v(j, g)}
#' where R(x) multiplies the features, as complex numbers, by exp(i <w, x>), with one wave vector w per number (rotary
#' positions). Queries, keys, values and the output are linear maps that mix the poses:
#' \deqn{q(i, g) = \sum_h W(g^{-1} h) f(i, h) + b}{q(i, g) = sum_h W(g^-1 h) f(i, h) + b}
#'
#' The layers are equivariant for all weights under two conditions: the head of the pose g uses positions turned back by
#' g, and the weight between two poses depends only on \eqn{g^{-1} h}{g^-1 h}. Then a group element u, which moves the
#' feature at (x, h) to (u x, u h), moves the output in the same way. Scores depend on differences of positions, so
#' shifts of all points leave the output unchanged. On pixels, equivariance is exact to rounding for the elements that
#' map the grid onto itself; on points (see [predict_points()]) it is exact for all elements of the group.
#'
#' @inheritParams layer_lifting_attention
#' @param heads Integer, the number of attention heads per pose.
#' @param key_dim Integer, the number of features per head, even. `NULL` is fields / heads.
#' @param window Integer, the side of the neighborhood that a pixel attends to, in pixels. Must be odd. `NULL` is the
#'   whole image. Volumes require `NULL`.
#' @param learn_frequencies Logical, whether training changes the wave vectors. Their initial wavelengths are 2 to 16
#'   pixels, in directions that are spread evenly.
#' @param mlp_ratio Numeric, the number of hidden fields of the perceptron per field.
#' @section Shape: (batch, channel, ...) to (batch, channel', ...), for images and volumes.
#' @return The network with the layer added.
#' @section Errors: `gequi_field_error` if the previous fields are not regular, or if the group is not a finite group of
#'   the plane or of space; `gequi_input_error` for an invalid option. Messages name the layer.
#' @family layers
#' @references Islam et al. (2025), Platonic transformers: a solid choice for equivariance, arXiv:2510.03511. Octic
#'   vision transformers: quicker ViTs through equivariance (2025), arXiv:2505.15441. Su et al. (2021), RoFormer:
#'   enhanced transformer with rotary position embedding, arXiv:2104.09864.
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("flipRot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 4), kernel_size = 3) |>
#'   layer_posewise_attention_block()
#' equivariance_error(network, volcano[1:9, 1:9])
layer_posewise_attention <- function(network, fields, heads = 1, key_dim = NULL, window = NULL, dropout = 0,
                                     qk_norm = TRUE, learn_frequencies = TRUE) {
  add_layer(network, "posewise_attention")
}

#' @rdname layer_posewise_attention
#' @export
layer_posewise_attention_block <- function(network, heads = 1, key_dim = NULL, window = NULL, dropout = 0,
                                           qk_norm = TRUE, learn_frequencies = TRUE, mlp_ratio = 4) {
  add_layer(network, "posewise_attention_block")
}

#' Image classifier based on group self-attention
#'
#' Creates a classifier whose output is invariant to rotations and reflections of the image. It consists of a
#' [layer_lifting_attention()] to `fields` regular fields, `blocks` times [layer_posewise_attention_block()] (or
#' [layer_group_attention_block()]), the mean over all pixels, the mean or maximum over the group, and a linear layer.
#' If `patch_size` is above 1, a convolution with this kernel size and stride replaces the lifting attention.
#'
#' @inheritParams equivariant_network
#' @inheritParams layer_lifting_attention
#' @param units Integer, the number of outputs, such as classes.
#' @param fields Integer, the number of regular fields in the hidden layers.
#' @param blocks Integer, the number of residual blocks.
#' @param window Integer, the side of the neighborhood that a token attends to, in patches. Must be odd. `NULL` is the
#'   whole image.
#' @param patch_size Integer, the side of a patch in pixels. Must be odd.
#' @param size Integer, the side of the images in pixels, or c(row, column). Required if `patch_size` is above 1, to
#'   check that the patches cover the image exactly.
#' @param key_dim Integer, the number of features per head, even for posewise attention. `NULL` is fields / heads.
#' @param frequencies Integer, the number of Fourier features of the position, per head and pair of opposite group
#'   elements, in the lifting attention and in pairwise attention. 0 uses no positions there.
#' @param positions Character, `"additive"` or `"rotary"`, in the lifting attention and in pairwise attention. The
#'   positions of posewise attention are rotary.
#' @param pool Character, `"mean"` or `"max"`, the pooling over the group.
#' @param attention Character, `"posewise"`, where each pose attends to all positions, or `"pairwise"`, where it attends
#'   to all poses, as in Romero and Cordonnier. Pairwise attention compares |G| times as many pairs.
#' @return A network, as returned by [equivariant_network()].
#' @section Errors: `gequi_input_error` if the patches do not cover the image or an option is invalid;
#'   `gequi_field_error` if the gspace is not a finite group of the plane.
#' @concept classification
#' @family networks
#' @references Romero and Cordonnier (2021), arXiv 2010.00977. Islam et al. (2025), arXiv:2510.03511.
#' @export
#' @examplesIf gequi_available()
#' network <- gsa_network(gspace("rot2dOnR2", N = 4), units = 3, fields = 4, blocks = 1, seed = 1)
#' x <- volcano[1:9, 1:9] / 100
#' rbind(predict(network, x), predict(network, t(x)[9:1, ]))
gsa_network <- function(space, input = "trivial", units = 10, fields = 8, blocks = 2, heads = 2, key_dim = NULL,
                        frequencies = 2, window = NULL, dropout = 0, qk_norm = TRUE, positions = "additive",
                        mlp_ratio = 2, patch_size = 1, size = NULL, pool = "mean", attention = "posewise", seed = NULL,
                        dtype = "float32") {
  need_arguments()
  layers <- call_core(
    "gsa_layers",
    units = units, fields = fields, blocks = blocks, heads = heads, key_dim = key_dim, frequencies = frequencies,
    window = window, dropout = dropout, qk_norm = qk_norm, positions = positions, mlp_ratio = mlp_ratio,
    patch_size = patch_size, size = size, pool = pool, attention = attention
  )
  equivariant_network(space, input, layers, seed = seed, dtype = dtype)
}

#' Predict with a network on point clouds
#'
#' Runs a network of attention layers on points with coordinates instead of a pixel grid. Points can be rotated by any
#' angle without interpolation, so equivariance is exact for every group element.
#'
#' @param network A network of attention layers without a window, and of layers that act on each point or average over
#'   all points.
#' @param x Numeric array (batch, channel, point), the features.
#' @param points Numeric array (point, axis) or (batch, point, axis), the coordinates (x, y), or (x, y, z) in space: x
#'   to the right, y up, z towards the viewer, in units of the pixel distance.
#' @param mask Logical matrix (batch, point), `TRUE` where a point exists, for examples with different numbers of
#'   points. The others are filled up, with any numbers. They change neither the existing points nor the mean over all
#'   points, and their own output is 0. `NULL` is all points.
#' @param dtype Character, `"float32"` or `"float64"`. `NULL` uses the type of the network.
#' @return A numeric array (batch, channel, point), or (batch, channel) if the network averages over all points.
#' @section Errors: `gequi_input_error` if a layer requires a grid (the message names it); `gequi_shape_error` for
#'   channels, points or a mask that do not match.
#' @references Romero and Cordonnier (2021), Group equivariant stand-alone self-attention for vision, arXiv:2010.00977.
#' @family networks
#' @export
#' @examplesIf gequi_available()
#' network <- gsa_network(gspace("rot2dOnR2", N = 8), units = 3, fields = 4, blocks = 1, seed = 1)
#' points <- cbind(x = cos(1:7) * 1:7, y = sin(1:7) * 1:7)
#' turn <- matrix(c(1, 1, -1, 1), 2) / sqrt(2) # by 45 degrees
#' x <- array(1:7 / 7, c(1, 1, 7))
#' rbind(predict_points(network, x, points), predict_points(network, x, points %*% t(turn)))
#' first_five <- matrix(1:7 <= 5, 1) # an example of 5 points
#' predict_points(network, x, points, mask = first_five)
predict_points <- function(network, x, points, mask = NULL, dtype = NULL) {
  call_core("predict_points", network = network, x = x, points = points, mask = mask, dtype = dtype)
}

#' Plot the equivariance of a network
#'
#' Shows an image, the features of the image, and the features of the transformed image.
#' * First row: the image and the channels of one output field.
#' * Second row: the transformed image and its features. Arrows connect each channel with the channel to which the group
#'   element moves it.
#' * Third row: the difference after undoing the transformation, on the same scale. It is uniformly gray for an
#'   equivariant map.
#'
#' @param network A network from images to images, or an R function with `space`, `input` and `output`, as in
#'   [equivariance_error()].
#' @param x Numeric matrix (row, column), or array (batch, channel, row, column) whose first image is used.
#' @param element Integer, the number of the group element, from 1. In a rotation group, 2 is the smallest rotation.
#' @param field Integer, the number of the output field, from 1.
#' @param space,input,output The gspace and fields of a function. A network declares its own.
#' @param dtype Character, `"float32"` or `"float64"`, as in [equivariance_error()].
#' @return A ggplot object.
#' @section Errors: `gequi_input_error` if the output is not an image, or if the element or field does not exist.
#' @seealso [equivariance_error()]
#' @concept rotation
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 1), kernel_size = 5)
#' plot_equivariance(network, sample_image("cat")[1:60 * 5, 1:60 * 5])
plot_equivariance <- function(network, x, element = 2, field = 1, space = NULL, input = NULL, output = NULL,
                              dtype = NULL) {
  need_arguments()
  if (!is.function(network)) check_model(network, "network")
  shown <- call_core(
    "equivariance_maps",
    f = network, x = x, element = as_index(element), field = as_index(field), space = space,
    input = as_fields(input, "input"), output = as_fields(output, "output"), dtype = dtype
  )
  channels <- dim(shown$maps)[1]
  range <- range(shown$maps, shown$maps_of_moved)
  images <- range(shown$input)
  scale <- max(abs(range))
  panels <- c(
    list(panel(shown$input, images, 0, 0, shown), panel(shown$moved, images, 1, 0, shown)),
    lapply(seq_len(channels), function(i) panel(shown$maps[i, , ], range, 0, i, shown)),
    lapply(seq_len(channels), function(i) panel(shown$maps_of_moved[i, , ], range, 1, i, shown)),
    lapply(seq_len(channels), function(i) panel(shown$difference[i, , ], c(-scale, scale), 2, i, shown))
  )
  step <- panel_step(shown)
  edge <- max(dim(shown$maps)[-1], dim(shown$maps_of_moved)[-1]) / 2 + 0.5
  heads <- data.frame(x = (0:channels) * step, y = step * 0.62, label = c("image", shown$names))
  sides <- data.frame(
    x = -step * 0.62, y = -step * c(0, 1, 2),
    label = c("f(x)", paste0("f(g x)\n", shown$name), "difference")
  )
  picture <- ggplot2::ggplot(mapping = ggplot2::aes(.data$x, .data$y)) +
    lapply(panels, function(each) ggplot2::geom_raster(ggplot2::aes(fill = .data$value), each)) +
    ggplot2::scale_fill_gradient(low = "black", high = "white", limits = c(0, 1), oob = squish, guide = "none") +
    ggplot2::geom_text(ggplot2::aes(label = .data$label), heads, size = 3) +
    ggplot2::geom_text(ggplot2::aes(label = .data$label), sides, size = 3, angle = 90) +
    ggplot2::annotate(
      "text", x = 0, y = -2 * step, size = 3,
      label = paste0("largest\n", formatC(shown$error, digits = 1, format = "e"))
    ) +
    ggplot2::coord_fixed(expand = FALSE, clip = "off", xlim = c(-0.7, channels + 0.55) * step,
                         ylim = c(-2.55, 0.7) * step) +
    theme_picture()
  if (is.null(shown$moves_to)) return(picture)
  arrows <- data.frame(
    x = seq_len(channels) * step, y = -edge - 1, xend = (unlist(shown$moves_to) + 1) * step, yend = -step + edge + 1
  )
  picture + ggplot2::geom_segment(
    ggplot2::aes(xend = .data$xend, yend = .data$yend), arrows, colour = "#b2182b", linewidth = 0.5,
    arrow = ggplot2::arrow(length = ggplot2::unit(4, "pt"), type = "closed")
  )
}

# The distance of two panels: the size of the largest image and a quarter of it.
panel_step <- function(shown) ceiling(1.3 * max(dim(shown$input), dim(shown$maps)[-1]) + 4)

# The pixels of an image at its position in the figure, with values scaled from 0 (the lower limit) to 1.
panel <- function(image, limits, row, column, shown) {
  cells <- centred_cells(as.matrix(image), 1)
  step <- panel_step(shown)
  data.frame(
    x = cells$x + column * step, y = cells$y - row * step,
    value = (cells$value - limits[1]) / max(diff(limits), .Machine$double.eps)
  )
}
