test_that("maps count pixels from 1", {
  needs_python()
  same <- identity_map(c(2, 3))
  expect_equal(same[1, , ], rbind(c(1, 1, 1), c(2, 2, 2)))
  expect_equal(warp_points(c(2, 3), same), c(2, 3))
  expect_equal(warp_image(volcano, identity_map(dim(volcano))), volcano)
  expect_equal(compose_maps(same + 0.5, same), same + 0.5)
  expect_equal(invert_map(same + 0.5), same - 0.5)
  expect_equal(map_jacobian(same), matrix(1, 2, 3))
})

test_that("a map that folds has no inverse", {
  needs_python()
  expect_error(invert_map(identity_map(c(4, 4))[, 4:1, ]), "folds at 16 pixels", class = "gequi_input_error")
})

test_that("two images are registered, with a word about it", {
  needs_python()
  image <- sample_image("cat")[51:130, 151:230]
  turned <- t(image)[rev(seq_len(ncol(image))), ]
  found <- register_images(turned, image)
  expect_s3_class(found, "gequi_registration")
  expect_equal(found$map[, 1, 1], c(80, 1), tolerance = 1e-3)
  expect_equal(c(found$affine %*% c(1, 1, 1)), c(80, 1), tolerance = 1e-2)
  expect_output(print(found), "80 x 80 onto 80 x 80")
  expect_output(print(found), "0 folds")
})

test_that("volumes are registered as images are", {
  needs_python()
  voxels <- expand.grid(depth = 1:20, row = 1:22, column = 1:24)
  volume <- with(voxels, sin(depth * row / 30) + cos(column / 3) * sin(depth / 4))
  dim(volume) <- c(20, 22, 24)
  found <- register_images(aperm(volume, c(2, 3, 1)), volume, transform = "rigid")
  expect_identical(dim(found$map), c(3L, 20L, 22L, 24L))
  expect_equal(c(found$affine %*% c(3, 5, 9, 1)), c(5, 9, 3), tolerance = 1e-3)
  expect_equal(found$map[, 3, 5, 9], c(5, 9, 3), tolerance = 1e-3)
  expect_output(print(found), "22 x 24 x 20 onto 20 x 22 x 24")
  expect_error(register_images(volume[1, , ], volume), "two images or two volumes", class = "gequi_shape_error")
  expect_error(register_images(volume, volume, device = "gpu"), "`device` must be one of", class = "gequi_input_error")
})

test_that("images that have nothing in common are refused", {
  needs_python()
  expect_error(
    register_images(sample_image("camera")[1:128, 1:128], sample_image("retina")[100:227, 100:227]),
    class = "gequi_unrelated_images_error"
  )
})
