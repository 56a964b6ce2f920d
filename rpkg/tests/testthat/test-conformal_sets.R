grey <- c(trivial = 1)
scores <- function(x) {
  means <- apply(x, 1, mean)
  cbind(means - 0.1, 0.1 - means, x[, 1, 2, 1])
}
examples <- function() feature(40, 1, 5, 5)
classes <- function() factor(c("a", "b", "c", "b")[1 + seq_len(40) %% 4])

test_that("the sets are those of the definition, and the same for an image and the image moved", {
  needs_python()
  x <- examples()
  y <- classes()
  sets <- conformal_sets(scores, x, y, c4(), level = 0.8, rotate = FALSE)
  turned <- function(x) aperm(x, c(1, 2, 4, 3))[, , rev(seq_len(dim(x)[4])), , drop = FALSE]
  images <- Reduce(function(x, k) turned(x), 1:3, x, accumulate = TRUE)
  p <- Reduce(`+`, lapply(images, function(x) exp(scores(x)) / rowSums(exp(scores(x))))) / 4
  threshold <- sort(1 - p[cbind(1:40, as.integer(y))])[ceiling(41 * 0.8)]
  expect_equal(sets$threshold, threshold, tolerance = 1e-12)
  members <- predict(sets, x)
  expect_identical(unname(members), 1 - p <= threshold + 1e-9)
  expect_identical(colnames(members), c("a", "b", "c"))
  expect_identical(predict(sets, turned(x)), members)
  expect_identical(predict(sets, newdata = x, batch_size = 3), members)
})

test_that("classes are named as the targets are", {
  needs_python()
  x <- examples()
  y <- classes()
  named <- function(y) colnames(predict(conformal_sets(scores, x, y, c4(), seed = 1), x))
  expect_identical(named(as.character(y)), c("a", "b", "c"))
  expect_identical(named(as.integer(y)), c("1", "2", "3"))
  expect_identical(named(as.integer(y) - 1), c("0", "1", "2"))
  two <- function(x) scores(x)[, 1:2]
  found <- conformal_sets(two, x, y == "a", c4(), seed = 1)
  expect_identical(found$classes, c("FALSE", "TRUE"))
  found <- lapply(list(y, as.integer(y), as.character(y)), function(y) {
    conformal_sets(scores, x, y, c4(), seed = 1)$threshold
  })
  expect_identical(found[[1]], found[[2]])
  expect_identical(found[[1]], found[[3]])
})

test_that("the classes of a fitted network are those of its training", {
  needs_python()
  network <- equivariant_network(c4(), grey, seed = 1) |> layer_conv(c(regular = 1), 3) |> layer_global_avg_pool() |>
    layer_group_pool() |> layer_dense(3)
  x <- examples()
  fitted <- fit(network, x, classes(), epochs = 1, seed = 1, progress = FALSE)
  sets <- conformal_sets(fitted, x, as.character(classes()), seed = 1)
  expect_identical(sets$classes, c("a", "b", "c"))
  expect_refused(conformal_sets(fitted, x, rep("d", 40)), "`y` must hold the classes", "input")
})

test_that("it prints in two lines and survives saveRDS()", {
  needs_python()
  x <- examples()
  for (method in c("lac", "aps")) {
    sets <- conformal_sets(scores, x, classes(), c4(), method = method, seed = 1)
    expect_output(print(sets), paste0("3 classes, level 0.9, ", method), fixed = TRUE)
    expect_output(print(sets), "Averaged over rot2dOnR2(N = 4); 40 calibration examples", fixed = TRUE)
    expect_identical(predict(saved_and_read(sets), x), predict(sets, x))
  }
})

test_that("what cannot be calibrated is refused", {
  needs_python()
  x <- examples()
  y <- classes()
  expect_refused(conformal_sets(scores, x, y, c4(), level = 0.99), "`level` = 0.99 is not possible with 40", "input")
  expect_refused(conformal_sets(scores, x, y), "`space` is missing", "input")
  expect_refused(conformal_sets(scores, x, y[1:3], c4()), "`y` must have one class for each of the 40", "shape")
  expect_refused(conformal_sets(scores, x, factor(as.character(y), letters), c4()), "`y` has 26 levels", "shape")
  expect_refused(conformal_sets(scores, x, as.integer(y) + 1, c4()), "from 1 to 3", "input")
  expect_refused(conformal_sets(scores, x, data.frame(y), c4()), "`y` must be a factor or an array", "input")
  expect_error(conformal_sets(function(x) stop("my own"), x, y, c4()), "my own")
})
