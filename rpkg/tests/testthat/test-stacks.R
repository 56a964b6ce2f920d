image <- function() sample_image("cat")[51:98, 151:198]
turned <- function() t(image())[48:1, ]

stack <- local({
  made <- NULL
  function() {
    needs_python()
    if (is.null(made)) {
      sections <- list(a = image(), b = turned(), c = image()[48:1, ])
      made <<- register_stack(sections, "rigid", mirror = "search", reach = 1)
    }
    made
  }
})

test_that("sections of a list are aligned to a volume, with their names", {
  x <- stack()
  expect_s3_class(x, "gequi_stack")
  expect_identical(dim(x$volume), c(3L, 48L, 48L))
  expect_identical(dim(x$maps), c(3L, 2L, 48L, 48L))
  expect_identical(x$table$section, c("a", "b", "c"))
  expect_identical(x$table$status, rep("aligned", 3))
  expect_identical(xor(x$table$mirrored[1], x$table$mirrored), c(FALSE, FALSE, TRUE))
  inner <- x$volume[, 5:44, 5:44]
  expect_lt(max(abs(inner[2, , ] - inner[1, , ])), 0.1)
  expect_equal(x$maps[x$reference, 1, , ], row(image()) + 0, tolerance = 1e-6)
  expect_identical(as.data.frame(x), as.data.frame(summary(x)))
  expect_identical(x$pairs$first, 1:2)
})

test_that("a stack prints what is aligned, and lives on in a file", {
  x <- stack()
  expect_output(print(x), "<stack> 3 sections of 48 x 48", fixed = TRUE)
  expect_output(print(x), "3 aligned, 0 poor, 0 failed")
  again <- saved_and_read(x)
  expect_equal(predict(again, x$images), predict(x, x$images), tolerance = 1e-6)
  expect_identical(format(again), "3 sections of 48 x 48")
})

test_that("a failed section is named, and is missing in the volume", {
  needs_python()
  told <- list()
  x <- register_stack(
    list(image(), turned(), matrix(1, 20, 20), image()), "rigid", mirror = FALSE, reach = 1,
    progress = function(info) told <<- c(told, list(info))
  )
  expect_identical(x$table$status, c("aligned", "aligned", "failed", "aligned"))
  expect_true(all(is.na(x$volume[3, , ])) && all(is.na(x$maps[3, , , ])))
  expect_output(print(x), "not aligned  3 (failed)", fixed = TRUE)
  expect_identical(is.na(x$pairs$error), x$pairs$first != 3 & x$pairs$second != 3)
  expect_identical(names(told[[1]]), c("done", "total", "seconds_left"))
  expect_equal(predict(saved_and_read(x), x$images), x$volume, tolerance = 1e-5)
})

test_that("labels and other channels are carried", {
  x <- stack()
  labels <- predict(x, lapply(x$images, function(section) section > 0.5))
  expect_type(labels, "logical")
  expect_identical(dim(labels), dim(x$volume))
  expect_equal(predict(x, aperm(simplify2array(x$images), c(3, 1, 2))), x$volume, tolerance = 1e-5)
  expect_refused(predict(x, x$images[1:2]), "`newdata` must have one image for each of the 3 sections; got 2", "shape")
  expect_refused(predict(x, 3), "`newdata` must be a list of matrices", "input")
})

test_that("a stack is drawn as a montage and from the side", {
  x <- stack()
  montage <- ggplot2::ggplot_build(plot(x))
  expect_identical(levels(montage$layout$layout$section), c("a", "b", "c"))
  side <- ggplot2::ggplot_build(plot(x, "side", axis = 1, position = 48))
  expect_identical(as.character(side$layout$layout$section), c("before", "after"))
  expect_identical(nrow(side$data[[1]]), 2L * 3L * 48L)
  expect_refused(plot(x, "top"), "`type` must be", "input")
  expect_refused(plot(x, "side", position = 49), "`position`", "input")
})

test_that("what is no stack is refused", {
  needs_python()
  expect_refused(register_stack(list(image())), "`images` must have at least 2 sections; got 1", "shape")
  expect_refused(register_stack(image()), "`images` must have 3 axes", "shape")
  expect_refused(register_stack(list(image(), image()), reach = 0), "`reach` must be", "input")
  expect_refused(register_stack(list(image(), "missing.png")), "missing.png", "input")
})
