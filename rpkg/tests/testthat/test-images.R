test_that("sample images are matrices, and listed", {
  needs_python()
  table <- sample_image()
  expect_identical(table$name, c("volcano", "camera", "cat", "retina", "cell"))
  expect_identical(dim(sample_image("cat")), c(300L, 451L))
  expect_identical(sample_image("volcano"), unclass(datasets::volcano) + 0)
  expect_refused(sample_image("catt"), "Did you mean 'cat'?", "input")
})

test_that("an image is plotted with row 1 on top", {
  cells <- plot_image(matrix(1:6, 2))$data
  expect_identical(cells$value[cells$y == max(cells$y)], c(1, 3, 5))
  expect_identical(cells$value[cells$x == min(cells$x)], c(1, 2))
  expect_silent(ggplot2::ggplotGrob(plot_image(volcano)))
})

test_that("several images come side by side, with their titles", {
  cells <- plot_image(list(matrix(1:6, 2), matrix(1:6, 3)), titles = c("flat", "tall"))$data
  expect_identical(levels(cells$image), c("flat", "tall"))
  stack <- plot_image(array(1:12, c(3, 2, 2)))$data
  expect_identical(stack$value[stack$image == 2], c(2, 5, 8, 11))
  expect_identical(plot_image(volcano, titles = "Maunga Whau")$labels$title, "Maunga Whau")
})

test_that("large images are thinned out, evenly", {
  cells <- plot_image(matrix(0, 3000, 2000))$data
  expect_lte(nrow(cells), 1e6)
  expect_identical(max(table(cells$x)), 1000L)
})

test_that("what is no image is refused", {
  expect_refused(plot_image(1:3), "must be a matrix", "shape")
  expect_refused(plot_image(matrix("a")), "must be a matrix", "shape")
  expect_refused(plot_image(list()), "must be a matrix", "shape")
})
