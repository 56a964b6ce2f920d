#' Group self-attention
#'
#' Attention between the poses of an image, exactly equivariant to rotations and reflections of the plane. A pose is a
#' point with a group element; the channels of a regular field are its values at the poses of a point.
#' `layer_lifting_attention()` leads from trivial to regular fields, `layer_group_attention()` from regular to regular
#' fields, and `layer_group_attention_block()` adds to regular fields what attention, then a two-layer map at each
#' pose, make of them. They mix with [layer_conv()] and every other layer for regular fields.
#'
#' For each head, the query of the pose (i, h) scores the key of the pose (j, w) by
#' \deqn{\langle q(i, h), k(j, w) + \rho_P(h^{-1} (x_j - x_i)) + \rho_H(h^{-1} w) \rangle / \sqrt{key\_dim}}{
#'   <q(i, h), k(j, w) + rho_P(h^-1 (x_j - x_i)) + rho_H(h^-1 w)> / sqrt(key_dim)}
#' and the softmax of the scores weighs the values. Positions are seen from the pose of the query, so moving everything
#' by a group element changes no score.
#'
#' @inheritParams layer_conv
#' @param fields regular fields of the output, such as `c(regular = 8)`.
#' @param heads number of heads.
#' @param key_dim features of a head; `NULL` is fields / heads.
#' @param frequencies Fourier features of positions for each head and pair of opposite elements; 0 for none.
#' @param window side of the neighbourhood that a pixel attends to, odd, pixels; `NULL` is the whole image.
#' @param dropout probability that a value of the layer's output is set to 0 while training.
#' @param qk_norm whether queries and keys have a bounded length, which keeps rounding errors small however large the
#'   weights grow.
#' @param positions `"additive"`, as in the formula, or `"rotary"`: positions in the angles of queries and keys, which
#'   costs no more memory than attention without positions; it needs no `frequencies`.
#' @param mlp_ratio hidden units of the two-layer map for each field.
#' @section Shape: (batch, channel, row, column) to (batch, channel', row, column).
#' @return the network with one layer more.
#' @section Errors: `gequi_field_error` where the fields before it do not suit the layer, or the group is not a finite
#'   one of the plane; `gequi_input_error` for a value that an option cannot take. The message names the layer.
#' @family layers
#' @references Romero and Cordonnier (2021), arXiv 2010.00977; see `vignette("group-attention")` for what differs.
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

#' A classifier by group self-attention
#'
#' Its outputs do not change when the image is turned: [layer_lifting_attention()] to `fields` regular fields, `blocks`
#' times [layer_group_attention_block()], the mean over all points, the mean (or maximum) over all poses, and one
#' linear layer. With `patch_size` above 1, a convolution with that kernel size and stride stands in place of the
#' lifting attention.
#'
#' @inheritParams equivariant_network
#' @inheritParams layer_lifting_attention
#' @param units numbers that come out, such as classes.
#' @param fields number of regular fields inside.
#' @param blocks number of residual blocks.
#' @param window side of the neighbourhood that a point attends to, odd, in patches; `NULL` is the whole image.
#' @param patch_size side of a patch, pixels, odd.
#' @param size side of the images, pixels, or c(row, column); needed with patches, which must cover the image exactly,
#'   or turning the image would not turn the patches.
#' @param pool `"mean"` or `"max"`, over poses.
#' @return a network, as [equivariant_network()] makes it.
#' @section Errors: `gequi_input_error` for a size that patches do not cover, or a value that an option cannot take;
#'   `gequi_field_error` for a gspace that is not of the plane, or continuous.
#' @family networks
#' @references Romero and Cordonnier (2021), arXiv 2010.00977.
#' @export
#' @examplesIf gequi_available()
#' network <- gsa_network(gspace("rot2dOnR2", N = 4), units = 3, fields = 4, blocks = 1, seed = 1)
#' x <- volcano[1:9, 1:9] / 100
#' rbind(predict(network, x), predict(network, t(x)[9:1, ]))
gsa_network <- function(space, input = "trivial", units = 10, fields = 8, blocks = 2, heads = 2, key_dim = NULL,
                        frequencies = 2, window = NULL, dropout = 0, qk_norm = TRUE, positions = "additive",
                        mlp_ratio = 2, patch_size = 1, size = NULL, pool = "mean", seed = NULL, dtype = "float32") {
  need_arguments()
  layers <- call_core(
    "gsa_layers",
    units = units, fields = fields, blocks = blocks, heads = heads, key_dim = key_dim, frequencies = frequencies,
    window = window, dropout = dropout, qk_norm = qk_norm, positions = positions, mlp_ratio = mlp_ratio,
    patch_size = patch_size, size = size, pool = pool
  )
  equivariant_network(space, input, layers, seed = seed, dtype = dtype)
}

#' Predict with a network of attention on points
#'
#' Points can be turned by any angle, so the law holds exactly for every element of the group, which on pixels it does
#' for quarter turns and mirrors only.
#'
#' @param network a network of attention layers without a window, and layers that treat each point alone or average
#'   over all.
#' @param x features (batch, channel, point).
#' @param points coordinates (point, 2) or (batch, point, 2): x to the right, y up, the distance of two pixels being 1.
#' @param dtype `"float32"` or `"float64"`; `NULL` is the network's own.
#' @return an array (batch, channel, point), or (batch, channel) where the network ends without extent.
#' @section Errors: `gequi_input_error` for a layer that needs a grid, which is named; `gequi_shape_error` for channels
#'   or points that do not fit.
#' @family networks
#' @export
#' @examplesIf gequi_available()
#' network <- gsa_network(gspace("rot2dOnR2", N = 8), units = 3, fields = 4, blocks = 1, seed = 1)
#' points <- cbind(x = cos(1:7) * 1:7, y = sin(1:7) * 1:7)
#' turn <- matrix(c(1, 1, -1, 1), 2) / sqrt(2) # by 45 degrees
#' x <- array(1:7 / 7, c(1, 1, 7))
#' rbind(predict_points(network, x, points), predict_points(network, x, points %*% t(turn)))
predict_points <- function(network, x, points, dtype = NULL) {
  call_core("predict_points", network = network, x = x, points = points, dtype = dtype)
}

#' Plot the equivariance of a network
#'
#' First row: an image and the channels of one field that the map makes of it. Second row: the moved image and what the
#' map makes of that; arrows lead from each channel to the one in which it should be found. Third row: the difference
#' after undoing the motion, in the same shades, which is an even grey where the map is equivariant.
#'
#' @param network a network that leads from images to images; or an R function with `space`, `input` and `output`, as in
#'   [equivariance_error()].
#' @param x an image (row, column), or an array (batch, channel, row, column), of which the first image is shown.
#' @param element the number of the group element, from 1; 2 is the smallest rotation of a group of rotations.
#' @param field the number of the field of the output, from 1.
#' @param space,input,output the declared symmetry of a function; a network declares its own.
#' @param dtype as in [equivariance_error()].
#' @return a ggplot.
#' @section Errors: `gequi_input_error` for a map whose output is no image, or no such element or field.
#' @seealso [equivariance_error()]
#' @export
#' @examplesIf gequi_available()
#' network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
#'   layer_conv(c(regular = 1), kernel_size = 5)
#' plot_equivariance(network, sample_image("cat")[1:60 * 5, 1:60 * 5])
plot_equivariance <- function(network, x, element = 2, field = 1, space = NULL, input = NULL, output = NULL,
                              dtype = NULL) {
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

# The distance of two panels: the largest image, and a quarter of it between.
panel_step <- function(shown) ceiling(1.3 * max(dim(shown$input), dim(shown$maps)[-1]) + 4)

# The pixels of an image at its place in the picture, with values from 0 (the lower limit) to 1.
panel <- function(image, limits, row, column, shown) {
  cells <- centred_cells(as.matrix(image), 1)
  step <- panel_step(shown)
  data.frame(
    x = cells$x + column * step, y = cells$y - row * step,
    value = (cells$value - limits[1]) / max(diff(limits), .Machine$double.eps)
  )
}
