test_that("einsum is R's own algebra", {
  needs_python()
  a <- feature(3, 4)
  b <- feature(4, 5)
  expect_equal(einsum("i j, j k -> i k", a, b), a %*% b, tolerance = 1e-14)
  expect_identical(einsum("row column -> column row", a), t(a))
  expect_equal(einsum("row column -> row", a), rowSums(a), tolerance = 1e-14)
  expect_equal(einsum("i i ->", a[, 1:3]), sum(diag(a[, 1:3])), tolerance = 1e-14)
  expect_equal(einsum("i, j -> i j", 1:2, 3:5), outer(1:2, 3:5))
})

test_that("errors name the axis", {
  needs_python()
  sizes <- 'axis "j" has the size 2 in operand 1 and 3 in operand 2'
  expect_refused(einsum("i j, j k -> i k", diag(2), diag(3)), sizes, "shape")
  expect_refused(einsum("i j -> i", diag(2), diag(2)), "number of operands: 1, number of arrays: 2", "input")
  expect_refused(einsum("i -> i", c(1, NA)), "`operand 1` must have no missing values", "input")
  expect_refused(rearrange(1:6, "(a b) -> a b", a = 4), "axis (a b) has the size 6, which does not fit a = 4", "shape")
  expect_refused(broadcast_over(sum, "d", "a c -> c"), '`axis` "d" must be an axis', "input")
})

test_that("rearrange splits and joins axes, the first varying slowest", {
  needs_python()
  expect_identical(rearrange(1:6, "(a b) -> a b", a = 2), matrix(1:6, 2, byrow = TRUE))
  expect_identical(rearrange(matrix(1:6, 2), "a b -> (a b)"), c(1L, 3L, 5L, 2L, 4L, 6L))
  expect_identical(dim(rearrange(feature(2, 6, 3), "n (h k) x -> n x h k", h = 2)), c(2L, 3L, 2L, 3L))
})

test_that("a function is repeated over an axis, and its own errors come through", {
  needs_python()
  x <- feature(3, 4)
  expect_equal(broadcast_over(range, "c", "a c -> b c")(x), apply(x, 2, range))
  expect_equal(broadcast_over(sum, "c", "a c -> c")(x), colSums(x))
  expect_equal(broadcast_over(function(row, y) sum(row) * y, "r", "r a, d -> r d")(x, 1:2), outer(rowSums(x), 1:2))
  expect_error(broadcast_over(function(x) stop("mine"), "c", "a c -> c")(x), "mine")
  expect_refused(broadcast_over(sum, "c", "a c -> c")(1:3), "operand 1 must have the axes (a c)", "shape")
})
