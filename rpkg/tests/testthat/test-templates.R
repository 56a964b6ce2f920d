image <- function() sample_image("cat")[51:98, 151:198]
turned <- function() t(image())[48:1, ]

mean_of <- local({
  made <- NULL
  function() {
    needs_python()
    if (is.null(made)) made <<- group_mean(list(a = image(), b = turned()), "rigid", rounds = 2)
    made
  }
})

test_that("the template lies between two images, with their names", {
  x <- mean_of()
  expect_s3_class(x, "gequi_group_mean")
  expect_identical(dim(x$template), c(48L, 48L))
  expect_identical(dim(x$variability), c(48L, 48L))
  expect_identical(dim(x$maps), c(2L, 2L, 48L, 48L))
  expect_identical(x$table$image, c("a", "b"))
  expect_equal(x$table$rotation, c(-45, 45), tolerance = 1e-2)
  expect_identical(x$table$error, c(NA, NA))
  expect_equal(colMeans(x$maps[, , 24, 24]), c(24, 24), tolerance = 0.02)
  expect_identical(is.na(x$changes), c(TRUE, FALSE))
  expect_identical(as.data.frame(x), as.data.frame(summary(x)))
  first <- warp_image(image(), asplit(x$maps, 1)[[1]])
  expect_lt(max(abs(first - x$template)[15:34, 15:34]), 0.1)
})

test_that("a mean prints its state, and lives on in a file", {
  x <- mean_of()
  expect_output(print(x), "<group mean> 2 images, template of 48 x 48", fixed = TRUE)
  expect_output(print(x), "2 aligned, 0 failed; rigid", fixed = TRUE)
  expect_output(print(x), "rounds       2, converged (last change 0.0", fixed = TRUE)
  again <- saved_and_read(x)
  expect_identical(format(again), "2 images, template of 48 x 48")
  expect_equal(plot(again)$data, plot(x)$data)
})

test_that("an image that fails is named, and rotations without a mean are told", {
  needs_python()
  told <- list()
  quarters <- list(image(), turned(), image()[48:1, 48:1], turned()[48:1, 48:1], matrix(runif(1024), 32))
  x <- group_mean(
    quarters, "rigid", start = 2, rounds = 1, progress = function(info) told <<- c(told, list(info))
  )
  expect_identical(x$table$status, rep(c("aligned", "failed"), c(4, 1)))
  expect_identical(x$table$image, 1:5)
  expect_identical(c(x$start, x$turned_as), c(2L, 2L))
  expect_true(all(is.na(x$maps[5, , , ])))
  expect_output(print(x), "failed       5", fixed = TRUE)
  expect_output(print(x), "not converged")
  expect_identical(names(told[[1]]), c("done", "total", "seconds_left"))
  expect_equal(plot(saved_and_read(x), "variability")$data, plot(x, "variability")$data)
})

test_that("a template and its variability are drawn", {
  x <- mean_of()
  expect_identical(plot(x)$labels$title, "template of 2 images")
  expect_identical(nrow(ggplot2::ggplot_build(plot(x, "variability"))$data[[1]]), 48L * 48L)
  expect_refused(plot(x, "maps"), "`type` must be", "input")
  expect_refused(plot(x, slice = 2), "`slice` is for volumes", "input")
})

test_that("what has no mean is refused", {
  needs_python()
  expect_refused(group_mean(list(image())), "`images` must have at least 2 images; got 1", "shape")
  expect_refused(group_mean(image()), "`images` must have 3 or 4 axes", "shape")
  expect_refused(group_mean(list(image(), image()), start = 3), "`start`", "input")
  expect_refused(group_mean(list(image(), "missing.png")), "missing.png", "input")
})
