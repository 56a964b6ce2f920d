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

test_that("images that have nothing in common are refused", {
  needs_python()
  expect_error(
    register_images(sample_image("camera")[1:128, 1:128], sample_image("retina")[100:227, 100:227]),
    class = "gequi_unrelated_images_error"
  )
})
