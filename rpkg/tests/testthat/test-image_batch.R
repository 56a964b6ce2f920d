# A picture without any symmetry, (row, column, channel), and what it is as a batch. Its values are bytes over 255.
picture <- array(c(255, 0, 51, 102, 153, 204, 0, 255, 17, 34, 68, 85, 1, 2, 255, 3, 5, 250), c(2, 3, 3)) / 255
as_batch <- array(aperm(picture, c(3, 1, 2)), c(1, 3, 2, 3))
gray <- picture[, , 1]
gray_batch_of_one <- array(gray, c(1, 1, 2, 3))

written <- function(ending, write, folder = tempfile("pictures")) {
  dir.create(folder, showWarnings = FALSE)
  file <- file.path(folder, ending)
  write(file)
  file
}

test_that("matrices, colour arrays, lists and batches become batches", {
  x <- matrix(as.numeric(1:6), 2)
  expect_identical(as_image_batch(x), array(x, c(1, 1, 2, 3)))
  two <- as_image_batch(list(x, -x))
  expect_identical(dim(two), c(2L, 1L, 2L, 3L))
  expect_identical(two[2, 1, , ], -x)
  expect_identical(as_image_batch(picture), as_batch)
  expect_identical(as_image_batch(list(picture, picture))[2, 3, , ], picture[, , 3])
  four <- feature(2, 3, 4, 5)
  expect_identical(as_image_batch(four), four)
  expect_identical(as_image_batch(list(four, four)), four[c(1, 2, 1, 2), , , ])
  expect_identical(as_image_batch(matrix(TRUE)), array(TRUE, c(1, 1, 1, 1)))
  expect_identical(dimnames(as_image_batch(list(a = x, b = x)))[[1]], c("a", "b"))
})

test_that("a third axis that is longer than 4 must be named, and each name is a reading of its own", {
  stack <- feature(6, 7, 8)
  refused <- "`x` has the size (6, 7, 8), which can be read in several ways: say `third = \"images\"` for 8 images"
  expect_refused(as_image_batch(stack), refused, "shape")
  expect_refused(as_image_batch(array(0, c(3, 28, 28))), "can be read in several ways", "shape")
  value <- stack[2, 3, 5]
  expect_identical(as_image_batch(stack, third = "images")[5, 1, 2, 3], value)
  expect_identical(as_image_batch(stack, third = "columns")[2, 1, 3, 5], value)
  expect_identical(as_image_batch(stack, third = "channels")[1, 5, 2, 3], value)
  expect_identical(as_image_batch(stack, third = "slices")[1, 1, 5, 2, 3], value)
  expect_identical(dim(as_image_batch(stack, third = "slices")), c(1L, 1L, 8L, 6L, 7L))
  last <- "(20, 28, 28, 3), which looks like (image, row, column, channel): aperm(x, c(1, 4, 2, 3))"
  expect_refused(as_image_batch(array(0, c(20, 28, 28, 3))), last, "shape")
  expect_error(as_image_batch(stack, third = "image"), "`third` must be one of 'channels', 'images'")
})

test_that("channels become grey or colours, as they are asked for", {
  needs_python()
  expect_equal(as_image_batch(picture, channels = 1)[1, 1, , ], to_grayscale(picture))
  expect_identical(as_image_batch(gray, channels = 3), gray_batch_of_one[, c(1, 1, 1), , , drop = FALSE])
  both <- as_image_batch(list(picture, gray), channels = 1)
  expect_equal(both[, 1, , ], aperm(array(c(to_grayscale(picture), gray), c(2, 3, 2)), c(3, 1, 2)))
  words <- "image 1 has (3, 2, 3), image 2 (1, 2, 3). Use `channels = 1` for grayscale or `channels = 3` for color."
  expect_refused(as_image_batch(list(picture, gray)), words, "shape")
  expect_refused(as_image_batch(array(0, c(1, 7, 9, 9)), channels = 3), "has 7 channels", "shape")
  expect_refused(as_image_batch(gray, channels = 2), "`channels` must be NULL, 1 or 3; got 2.", "input")
})

# ---- objects of R and of other packages -----------------------------------------------------------------------------

test_that("rasters and native rasters are read by their rows", {
  needs_python()
  colours <- grDevices::rgb(picture[, , 1], picture[, , 2], picture[, , 3])
  expect_equal(as_image_batch(grDevices::as.raster(picture)), as_batch)
  expect_equal(as_image_batch(grDevices::as.raster(array(colours, c(2, 3)))), as_batch)
  expect_equal(dim(as_image_batch(grDevices::as.raster(matrix("#FF000080", 2, 3)))), c(1, 4, 2, 3))
  # grDevices: 0xAABBGGRR, the first row first
  bytes <- round(picture * 255)
  packed <- bytes[, , 1] + 256 * bytes[, , 2] + 65536 * bytes[, , 3] + 255 * 2^24 - 2^32
  native <- structure(as.integer(t(packed)), dim = c(2L, 3L), class = "nativeRaster")
  expect_equal(as_image_batch(native), as_batch)
  file <- written("a.png", \(file) png::writePNG(picture, file))
  expect_equal(as_image_batch(png::readPNG(file, native = TRUE)), as_batch)
  gray_file <- written("b.png", \(file) png::writePNG(gray, file))
  expect_equal(as_image_batch(png::readPNG(gray_file, native = TRUE), channels = 1), gray_batch_of_one)
})

test_that("black of alpha 128, which is NA as an integer, is no missing pixel", {
  native <- structure(rep(NA_integer_, 2), dim = 1:2, class = "nativeRaster", channels = 4L)
  expect_equal(as_image_batch(native)[1, , 1, 1], c(0, 0, 0, 128 / 255))
})

test_that("imager's images are (x, y, z, colour)", {
  cimg <- function(values) structure(values, class = c("cimg", "imager_array", "numeric"))
  expect_equal(as_image_batch(cimg(array(aperm(picture, c(2, 1, 3)), c(3, 2, 1, 3)))), as_batch)
  expect_equal(as_image_batch(cimg(array(t(gray), c(3, 2, 1, 1)))), gray_batch_of_one)
  frames <- cimg(array(c(t(gray), -t(gray)), c(3, 2, 2, 1)))
  expect_equal(as_image_batch(frames)[, 1, , ], aperm(array(c(gray, -gray), c(2, 3, 2)), c(3, 1, 2)))
  expect_equal(as_image_batch(frames, third = "slices")[1, 1, 2, , ], -gray)
  one <- cimg(array(t(gray), c(3, 2, 1, 1)))
  expect_equal(as_image_batch(structure(list(one, one), class = c("imlist", "list")))[2, 1, , ], gray)
  expect_refused(as_image_batch(list(one, frames)), "`x[[2]]` holds 2 images; in a list, each must be one.", "shape")
  set <- structure(array(t(gray > 0.5), c(3, 2, 1, 1)), class = c("pixset", "imager_array", "logical"))
  expect_identical(as_image_batch(set)[1, 1, , ], gray > 0.5)
})

test_that("EBImage's images are (x, y), with colours third in colour mode and frames behind", {
  here <- environment()
  methods::setClass("Image", contains = "array", slots = c(colormode = "integer"), where = here)
  on.exit(methods::removeClass("Image", where = here))
  image <- function(values, mode) methods::new("Image", values, colormode = mode)
  across <- aperm(picture, c(2, 1, 3))
  expect_equal(as_image_batch(image(t(gray), 0L)), gray_batch_of_one)
  expect_equal(as_image_batch(image(across, 2L)), as_batch)
  expect_equal(as_image_batch(image(across, 0L))[, 1, , ], as_batch[1, , , ]) # three frames in grey
  coloured_frames <- image(array(c(across, -across), c(3, 2, 3, 2)), 2L)
  expect_equal(as_image_batch(coloured_frames)[2, , , ], -as_batch[1, , , ])
  expect_equal(as_image_batch(list(image(t(gray), 0L), gray))[1, 1, , ], gray)
  needs_python()
  expect_equal(to_grayscale(image(t(gray), 0L)), gray)
  expect_equal(to_grayscale(image(across, 2L)), to_grayscale(picture))
})

test_that("what to_grayscale() and register_images() read has the same axes", {
  needs_python()
  cimg <- structure(array(aperm(picture, c(2, 1, 3)), c(3, 2, 1, 3)), class = c("cimg", "imager_array", "numeric"))
  expect_equal(to_grayscale(cimg), to_grayscale(picture))
  expect_equal(to_grayscale(grDevices::as.raster(picture)), to_grayscale(picture))
  file <- written("a.png", \(file) png::writePNG(picture, file))
  expect_equal(to_grayscale(png::readPNG(file, native = TRUE)), to_grayscale(picture))
})

# ---- files ----------------------------------------------------------------------------------------------------------

test_that("files, folders and data frames of them are read, under their names", {
  folder <- tempfile("folder")
  first <- written("b.png", \(file) png::writePNG(picture, file), folder)
  second <- written("a.PNG", \(file) png::writePNG(1 - picture, file), folder)
  writeLines("no picture", file.path(folder, "notes.txt"))
  expect_equal(as_image_batch(first), as_batch)
  both <- as_image_batch(folder)
  expect_identical(dimnames(both)[[1]], c("a.PNG", "b.png"))
  expect_equal(unname(both)[2, , , ], as_batch[1, , , ])
  expect_identical(as_image_batch(c(second, first)), both)
  expect_identical(as_image_batch(data.frame(label = c("x", "y"), path = c(second, first))), both)
  frame <- data.frame(label = c("x", "y"))
  frame$image <- list(gray, -gray)
  expect_equal(as_image_batch(frame)[2, 1, , ], -gray)
  expect_refused(as_image_batch(frame["label"]), "a data frame with no column of images (a list, or names of", "input")
  expect_refused(as_image_batch(dirname(folder)[0]), "`x` must be images", "input")
  above <- file.path(tempfile("above"))
  dir.create(file.path(above, "cats"), recursive = TRUE)
  expect_refused(as_image_batch(above), "but with the folders 'cats': give one of them", "input")
})

test_that("all pages of a TIFF and all frames of an animation are read, never the first alone", {
  needs_python()
  pages <- written("p.tif", \(file) tiff::writeTIFF(list(gray, 1 - gray), file, 16L))
  expect_equal(as_image_batch(pages)[1, 1, , ], gray, tolerance = 1e-4)
  expect_equal(as_image_batch(pages)[2, 1, , ], 1 - gray, tolerance = 1e-4)
  expect_equal(as_image_batch(pages, third = "slices")[1, 1, 2, , ], 1 - gray, tolerance = 1e-4)
  expect_equal(to_grayscale(pages)[2, , ], 1 - gray, tolerance = 1e-4)
  single <- written("s.tif", \(file) tiff::writeTIFF(gray, file))
  expect_refused(as_image_batch(c(single, pages)), "holds the file 'p.tif' of 2 pages; among several files", "shape")
  frames <- magick::image_join(magick::image_read(picture), magick::image_read(picture[2:1, , ]))
  expect_equal(as_image_batch(frames)[2, , , ], aperm(picture[2:1, , ], c(3, 1, 2)))
  moving <- written("m.gif", \(file) magick::image_write(frames, file, "gif"))
  expect_identical(dim(as_image_batch(moving, channels = 3)), c(2L, 3L, 2L, 3L))
  expect_identical(dim(to_grayscale(moving)), c(2L, 2L, 3L))
  sizes <- written("d.tif", \(file) tiff::writeTIFF(list(gray, t(gray)), file))
  expect_refused(as_image_batch(sizes), "image 1 has (1, 2, 3), image 2 (1, 3, 2)", "shape")
})

test_that("what is no image is refused by what it is", {
  refused <- function(x, words, kind = "input") expect_refused(as_image_batch(x), words, kind)
  refused(1:3, "`x` must have 2, 3 or 4 axes; got 0, a vector of 3 numbers.", "shape")
  refused("a", "`x` is no file: 'a'.")
  refused(matrix("a"), "`x` must be images: an array of numbers, names of files, or a list of these; got text.")
  refused(factor("a"), "got a factor.")
  refused(NULL, "got NULL.")
  refused(mean, "got a function.")
  refused(list(), "`x` is an empty list.")
  refused(list(gray, "a"), "`x[[2]]` is no file: 'a'.")
  refused(list(volcano, t(volcano)), "image 1 has (1, 87, 61), image 2 (1, 61, 87).", "shape")
  refused(data.frame(a = 1), "`x` is a data frame with no column of images")
})
