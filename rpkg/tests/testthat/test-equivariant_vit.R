d4 <- function() gspace("flipRot2dOnR2", N = 4)

test_that("patches and tokens are piped, and the network is equivariant", {
  needs_python()
  network <- equivariant_network(d4(), c(trivial = 1), seed = 1, dtype = "float64") |>
    layer_patch_embedding(c(regular = 2), patch_size = 2) |>
    layer_posewise_attention_block() |>
    layer_token_norm(eps = 1e-4) |>
    layer_patch_expansion(c(`irrep_1,1` = 1), patch_size = 2, bias = FALSE)
  expect_identical(
    kinds_of(network), c("patch_embedding", "posewise_attention_block", "token_norm", "patch_expansion")
  )
  expect_identical(dim(predict(network, feature(1, 1, 6, 4))), c(1L, 2L, 6L, 4L))
  expect_lte(max(equivariance_error(network, feature(1, 1, 6, 4))$error), 1e-12)
})

test_that("tokens are merged", {
  needs_python()
  network <- equivariant_network(d4(), c(regular = 2), seed = 1, dtype = "float64") |> layer_patch_merging()
  expect_identical(dim(predict(network, feature(1, 16, 6, 4))), c(1L, 32L, 3L, 2L))
  expect_lte(max(equivariance_error(network, feature(1, 16, 6, 4))$error), 1e-12)
  expect_warning(output_shape(network, c(1, 16, 5, 4)), "breaks exact equivariance")
})

test_that("a vision transformer is a recipe like any other, and its output does not change when the image is turned", {
  needs_python()
  network <- equivariant_vit(d4(), 6, output = c(trivial = 3), patch_size = 2, stem = "patches", width = 16, blocks = 1,
                             seed = 1, dtype = "float64")
  expect_s3_class(network, "gequi_network")
  expect_identical(
    kinds_of(network),
    c("patch_embedding", "posewise_attention_block", "token_norm", "global_avg_pool", "group_pool", "dense")
  )
  x <- feature(6, 6)
  expect_equal(predict(network, x), predict(network, t(x)[6:1, ]), tolerance = 1e-12)
  expect_gt(max(abs(predict(network, x))), 1e-3)
})

test_that("vectors turn, and dense output moves, with the image", {
  needs_python()
  x <- feature(8, 8)
  vector <- equivariant_vit(c4(), 8, output = "irrep_1", patch_size = 4, width = 8, blocks = 1, seed = 1,
                            dtype = "float64")
  turned <- predict(vector, t(x)[8:1, ])
  expect_equal(c(turned), c(matrix(c(0, 1, -1, 0), 2) %*% c(predict(vector, x))), tolerance = 1e-10)
  pixels <- equivariant_vit(c4(), 8, output = c(trivial = 1), stem = "convolutions", dense = TRUE, width = 8,
                            blocks = 1, seed = 1, dtype = "float64")
  map <- predict(pixels, x)[1, 1, , ]
  expect_equal(predict(pixels, t(x)[8:1, ])[1, 1, , ], t(map)[8:1, ], tolerance = 1e-10)
})

test_that("what does not fit is refused by name", {
  needs_python()
  expect_refused(equivariant_vit(c4(), 10), "`size` must be divisible by patch_size = 4", "input")
  expect_refused(equivariant_vit(c4(), NULL), "`size` is missing", "input")
  expect_refused(equivariant_vit(c4(), 8, width = 10), "`width` must be divisible by the order of the group", "input")
  expect_refused(equivariant_vit(c4(), 8, output = "irrep_9"), "irrep_9", "field")
  start <- equivariant_network(c4(), c(trivial = 1), seed = 1)
  expect_refused(layer_patch_embedding(start, "irrep_1", 2), "`fields` must be regular", "field")
  expect_refused(layer_patch_expansion(start, "trivial", 2), "layer 1 (patch_expansion): the layer works on", "field")
})
