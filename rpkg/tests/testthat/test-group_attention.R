test_that("lifting, attention and blocks are piped, and the network is equivariant", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1, dtype = "float64") |>
    layer_lifting_attention(c(regular = 4), heads = 2, window = 3) |>
    layer_group_attention(c(regular = 8), heads = 2, positions = "rotary") |>
    layer_group_attention_block(heads = 4)
  expect_identical(kinds_of(network), c("lifting_attention", "group_attention", "group_attention_block"))
  expect_lte(max(equivariance_error(network, feature(1, 1, 6, 6))$error), 1e-12)
})

test_that("attention within each pose is piped, and the network is equivariant in the plane and in space", {
  needs_python()
  network <- equivariant_network(c4(), c(regular = 2), seed = 1, dtype = "float64") |>
    layer_posewise_attention(c(regular = 4), heads = 2, window = 3) |>
    layer_posewise_attention_block(learn_frequencies = FALSE)
  expect_identical(kinds_of(network), c("posewise_attention", "posewise_attention_block"))
  expect_lte(max(equivariance_error(network, feature(1, 8, 5, 5))$error), 1e-12)
  octa <- equivariant_network(gspace("octaOnR3"), c(regular = 1), seed = 1, dtype = "float64") |>
    layer_posewise_attention(c(regular = 2))
  x <- feature(1, 24, 4)
  points <- feature(4, 3)
  expect_identical(dim(predict_points(octa, x, points)), c(1L, 48L, 4L))
  expect_equal(predict_points(octa, x, points), predict_points(octa, x, points + 2), tolerance = 1e-12)
})

test_that("a ready network is a recipe like any other, and its output does not change when the image is turned", {
  needs_python()
  network <- gsa_network(c4(), units = 3, fields = 4, blocks = 1, seed = 1, dtype = "float64")
  expect_s3_class(network, "gequi_network")
  expect_identical(
    kinds_of(network), c("lifting_attention", "posewise_attention_block", "global_avg_pool", "group_pool", "dense")
  )
  pairwise <- gsa_network(c4(), units = 3, fields = 4, blocks = 1, attention = "pairwise", seed = 1)
  expect_identical(kinds_of(pairwise)[2], "group_attention_block")
  x <- feature(7, 7)
  expect_equal(predict(network, x), predict(network, t(x)[7:1, ]), tolerance = 1e-12)
  patches <- gsa_network(c4(), patch_size = 3, size = 9, seed = 1)
  expect_identical(kinds_of(patches)[1], "conv")
})

test_that("points can be turned by any angle of the group", {
  needs_python()
  network <- gsa_network(gspace("rot2dOnR2", N = 8), units = 3, fields = 4, blocks = 1, seed = 1, dtype = "float64")
  points <- cbind(1:5, c(2, 0, -1, 3, 1))
  turn <- matrix(c(1, 1, -1, 1), 2) / sqrt(2)
  x <- feature(2, 1, 5)
  expect_identical(dim(predict_points(network, x, points)), c(2L, 3L))
  expect_equal(predict_points(network, x, points), predict_points(network, x, points %*% t(turn)), tolerance = 1e-12)
})

test_that("points that do not exist change nothing", {
  needs_python()
  network <- gsa_network(c4(), units = 3, fields = 4, blocks = 1, seed = 1, dtype = "float64")
  points <- cbind(1:5, c(2, 0, -1, 3, 1))
  x <- feature(2, 1, 5)
  mask <- rbind(TRUE, c(TRUE, TRUE, TRUE, FALSE, FALSE))[, 1:5]
  out <- predict_points(network, x, points, mask = mask)
  expect_equal(out[1, , drop = FALSE], predict_points(network, x[1, , , drop = FALSE], points), tolerance = 1e-12)
  three <- predict_points(network, x[2, , 1:3, drop = FALSE], points[1:3, ])
  expect_equal(out[2, , drop = FALSE], three, tolerance = 1e-12)
  x[2, 1, 4:5] <- 99
  expect_identical(predict_points(network, x, points, mask = mask), out)
  expect_refused(predict_points(network, x, points, mask = mask[, 1:4]), "`mask` must have the shape", "shape")
  expect_refused(predict_points(network, x, points, mask = mask & c(TRUE, FALSE)), "no point of example 2", "input")
})

test_that("what does not fit is refused by name", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1)
  expect_refused(
    layer_group_attention(network, c(regular = 2)), "layer 1 (group_attention): the layer works on poses", "field"
  )
  expect_refused(layer_lifting_attention(network, c(regular = 2), window = 4), "`window` must be odd", "input")
  expect_refused(
    layer_posewise_attention_block(network), "layer 1 (posewise_attention_block): the layer works on poses", "field"
  )
  regular <- equivariant_network(c4(), c(regular = 2), seed = 1)
  expect_refused(layer_posewise_attention_block(regular, key_dim = 3), "must be even", "input")
  expect_refused(gsa_network(c4(), patch_size = 3, size = 10), "`size` must be divisible by patch_size = 3", "input")
  expect_refused(gsa_network(c4(), patch_size = 3), "`size` is missing", "input")
  expect_refused(gsa_network(c4(), attention = "both"), "`attention` must be one of", "input")
  expect_refused(
    predict_points(layer_conv(network, "regular", 3), feature(1, 1, 4), feature(4, 2)), "needs the grid", "input"
  )
})

test_that("the picture shows the image and every pose, twice, and a difference that is even", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1, dtype = "float64") |>
    layer_conv(c(regular = 2), kernel_size = 3)
  picture <- plot_equivariance(network, feature(6, 6), field = 2)
  layers <- ggplot2::ggplot_build(picture)$data
  rasters <- Filter(function(layer) "fill" %in% names(layer) && nrow(layer) >= 16, layers)
  expect_length(rasters, 2 + 3 * 4)
  expect_true(all(vapply(rasters[11:14], function(layer) length(unique(layer$fill)) == 1, NA)))
  arrows <- Filter(function(layer) "xend" %in% names(layer), layers)[[1]]
  expect_identical(rank(arrows$xend), c(2, 3, 4, 1)) # pose 1 is found in pose 2
  expect_refused(plot_equivariance(network, feature(6, 6), field = 3), "`field` must be from 1 to 2; got 3", "input")
})

test_that("the picture of a function that is not equivariant shows what is left", {
  needs_python()
  x <- feature(6, 6)
  shift <- function(x) x[, , , c(6, 1:5), drop = FALSE]
  picture <- plot_equivariance(shift, x, space = c4(), input = c(trivial = 1), output = c(trivial = 1))
  rasters <- Filter(function(layer) "fill" %in% names(layer) && nrow(layer) >= 16, ggplot2::ggplot_build(picture)$data)
  expect_gt(length(unique(rasters[[5]]$fill)), 1)
})
