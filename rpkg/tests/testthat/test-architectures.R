test_that("the architectures have the parameters of their figures", {
  needs_python()
  expect_output(print(image_classifier_mlp(seed = 1)), "669,706 parameters", fixed = TRUE)
  expect_output(print(identity_resnet(seed = 1)), "314,698 parameters", fixed = TRUE)
  expect_output(print(unet(seed = 1)), "31,030,658 parameters", fixed = TRUE)
})

test_that("plain architectures predict", {
  needs_python()
  probabilities <- predict(image_classifier_mlp(seed = 1, output = "probabilities"), feature(3, 1, 28, 28))
  expect_equal(rowSums(probabilities), c(1, 1, 1), tolerance = 1e-6)
  expect_identical(dim(predict(unet(levels = 2, width = 4, seed = 1), feature(1, 1, 16, 24))), c(1L, 2L, 16L, 24L))
  small <- unet(levels = 2, width = 4, seed = 1)
  expect_refused(predict(small, feature(1, 1, 16, 18)), "rows and columns divisible by 2^levels = 4", "shape")
})

test_that("given a gspace, an architecture is a network like any other", {
  needs_python()
  network <- unet(levels = 2, width = 8, space = c4(), seed = 1)
  expect_s3_class(network, "gequi_network")
  expect_true(is_equivariant(network, feature(1, 1, 16, 16)))
  expect_true("skip" %in% kinds_of(network))
  expect_identical(predict(saved_and_read(network), volcano[1:16, 1:16]), predict(network, volcano[1:16, 1:16]))
  longer <- network |> layer_relu()
  expect_identical(nrow(as.data.frame(longer)), nrow(as.data.frame(network)) + 1L)
  expect_true(is_equivariant(
    identity_resnet(components = 2, widths = c(8, 16, 32), space = c4(), seed = 1), feature(1, 3, 17, 17)
  ))
  flat <- image_classifier_mlp(
    c(1, 9, 9), hidden = c(16, 8), classes = 3, output = "probabilities", space = c4(), seed = 1
  )
  expect_equal(sum(predict(flat, volcano[1:9, 1:9])), 1, tolerance = 1e-6)
})

test_that("errors name the argument", {
  needs_python()
  expect_refused(unet(variant = "ronnberger"), "Did you mean 'ronneberger'?", "input")
  expect_refused(unet(width = 6, space = c4()), "`width` must give layers", "input")
  expect_refused(identity_resnet(widths = c(16, 6)), "`widths` of blocks must be divisible by 4", "input")
  expect_refused(image_classifier_mlp(hidden = 2.5), "`hidden` must be a whole number", "input")
})
