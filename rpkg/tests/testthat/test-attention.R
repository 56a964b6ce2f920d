test_that("softmax sums to 1 along the axis that is named, from 1", {
  needs_python()
  x <- feature(3, 4)
  expect_equal(softmax(x, axis = 2), exp(x) / rowSums(exp(x)), tolerance = 1e-14)
  expect_equal(softmax(x, axis = 1), t(t(exp(x)) / colSums(exp(x))), tolerance = 1e-14)
  expect_identical(softmax(x), softmax(x, axis = 2))
  expect_equal(softmax(c(0, log(3))), c(0.25, 0.75))
  expect_identical(softmax(c(0, -Inf)), c(1, 0))
})

test_that("softmax counts axes from 1 in what it refuses", {
  needs_python()
  for (axis in list(0, -1, 3)) {
    expect_refused(softmax(feature(2, 2), axis), paste0("`axis` must be from 1 to 2; got ", axis), "input")
  }
  expect_refused(softmax(feature(2, 2), 1.5), "`axis` must be a whole number", "input")
  expect_refused(softmax(c(1, NA)), "`x` must have no missing values", "input")
})

test_that("attention is softmax of the products, times the values", {
  needs_python()
  query <- feature(3, 4)
  key <- feature(5, 4) + 0.3
  value <- feature(5, 2)
  scores <- exp(query %*% t(key) / 2)
  expected <- (scores / rowSums(scores)) %*% value
  expect_equal(scaled_dot_product_attention(query, key, value), expected, tolerance = 1e-14)
  both <- scaled_dot_product_attention(query, key, value, weights = TRUE)
  expect_named(both, c("output", "weights"))
  expect_equal(both$weights, scores / rowSums(scores), tolerance = 1e-14)
  mask <- matrix(rep(c(TRUE, FALSE), length.out = 15), 3, 5)
  masked <- scaled_dot_product_attention(query, key, value, mask = mask, weights = TRUE)
  expect_identical(masked$weights[2, c(1, 3, 5)], c(0, 0, 0))
})

test_that("attention names what does not fit", {
  needs_python()
  key <- feature(2, 2)
  expect_refused(scaled_dot_product_attention(feature(3, 4), key, key), "`key` must have the features", "shape")
  none <- matrix(FALSE, 1, 2)
  no_keys <- quote(scaled_dot_product_attention(feature(1, 2), key, key, mask = none))
  expect_refused(eval(no_keys), "each query needs at least one key", "input")
})

test_that("a module prints how it was made and how many parameters it has", {
  needs_python()
  expect_identical(capture.output(print(multi_head_attention(8, 2, seed = 1))), c(
    '<module> multi_head_attention(dim = 8, heads = 2, bias = FALSE, seed = 1, dtype = "float32")', "256 parameters"
  ))
})

test_that("modules of attention predict arrays of the shape of the query", {
  needs_python()
  module <- multi_head_attention(8, 2, seed = 1)
  expect_identical(dim(predict(module, feature(2, 5, 8), feature(2, 7, 8))), c(2L, 5L, 8L))
  visual <- visual_attention(3, key_dim = 4, heads = 2, kernel_size = 3, stride = 3, seed = 1)
  expect_identical(dim(predict(visual, feature(1, 3, 16, 16), feature(1, 3, 9, 12))), c(1L, 3L, 16L, 16L))
  x <- feature(3, 3, 6, 6)
  expect_equal(predict(visual, x, x, batch_size = 2), predict(visual, x, x), tolerance = 1e-6)
  expect_identical(predict(visual, x), predict(visual, x, x))
  expect_identical(predict(visual, newdata = x), predict(visual, x, x))
  expect_refused(
    predict(visual, feature(1, 3, 16, 16), feature(1, 2, 9, 9)),
    "`context` must have the axes (batch, channel = 3, row, column)", "shape"
  )
})

test_that("a misspelt option is refused, not ignored", {
  needs_python()
  x <- feature(1, 3, 4)
  expect_error(predict(multi_head_attention(4, seed = 1), x, x, batchsize = 2), class = "gequi_input_error")
  small <- image_classifier_mlp(c(1, 3, 4), 2, seed = 1)
  expect_error(predict(small, x, batchsize = 2), class = "rlib_error_dots_named")
  expect_error(plot(trace_shapes(small, c(1, 3, 4)), dept = 1), class = "gequi_input_error")
})

test_that("modules are values: other weights make another module", {
  needs_python()
  module <- multi_head_attention(4, 2, seed = 1)
  x <- feature(1, 3, 4)
  before <- predict(module, x, x)
  zero <- set_weights(module, list(output = matrix(0, 4, 4)))
  expect_identical(max(abs(predict(zero, x, x))), 0)
  expect_identical(predict(module, x, x), before)
  expect_identical(get_weights(zero)$query, get_weights(module)$query)
  expect_refused(set_weights(module, list(quary = 1)), "Did you mean 'query'?", "input")
  three <- list(query = diag(3))
  expect_refused(set_weights(module, three), "`weights$query` must have the shape (4, 4); got (3, 3)", "shape")
})

test_that("modules survive a file, with their weights", {
  needs_python()
  module <- set_weights(multi_head_attention(4, 2), list(query = diag(4)))
  x <- feature(1, 3, 4)
  expect_identical(predict(saved_and_read(module), x, x), predict(module, x, x))
})

test_that("a module whose weights were changed in Python says that they are lost", {
  needs_python()
  module <- multi_head_attention(4, 2, seed = 1)
  reticulate::r_to_py(module)
  x <- feature(1, 2, 4)
  expect_refused(predict(saved_and_read(module), x, x), "The weights of this module are lost", "setup")
})
