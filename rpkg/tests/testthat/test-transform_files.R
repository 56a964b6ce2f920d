# A registration whose map is known: two rows down and one column to the left, and with `bend` a wave on top.
shifted <- function(bend = 0) {
  image <- sample_image("cat")[51:114, 151:210]
  found <- register_images(moving = image, fixed = image, spacing = c(4, 2), transform = "rigid")
  found$map <- identity_map(dim(image)) + c(2, -1) + bend * sin(identity_map(dim(image)) / 5)
  found$affine <- cbind(diag(2), c(2, -1))
  if (bend > 0) found$transform <- "deformable"
  found
}

in_file <- function(found, ending, ...) {
  file <- tempfile(fileext = ending)
  write_transform(found, file, ...)
  file
}

test_that("a linear map is written in points and read in pixels from 1", {
  needs_python()
  found <- shifted()
  table <- utils::read.csv(in_file(found, ".csv", origin = c(10, 20)))
  expect_equal(table, data.frame(axis = c("x", "y"), x = c(1L, 0L), y = 0:1, shift = c(-2L, 8L)))
  expect_match(readLines(in_file(found, ".tfm", origin = c(10, 20))), "^Parameters: 1 0 0 1 -2 8$", all = FALSE)
  for (ending in c(".csv", ".tfm", ".txt", ".mat")) {
    read <- read_transform(in_file(found, ending), spacing = c(4, 2))
    expect_s3_class(read, c("gequi_transform", "gequi_handle"), exact = TRUE)
    expect_equal(read$affine, found$affine)
    expect_null(read$map)
    expect_equal(predict(read, cbind(5, 7), direction = "fixed_to_moving"), cbind(7, 6))
  }
  expect_equal(read[c("spacing", "moving_spacing")], list(spacing = c(4, 2), moving_spacing = c(4, 2)))
  turned <- in_file(found, ".tfm", cosines = rbind(c(0, -1), c(1, 0)), origin = c(1, 2))
  expect_equal(read_transform(turned, c(4, 2), origin = c(1, 2), cosines = c(0, -1, 1, 0))$affine, found$affine)
})

test_that("a field is written and read in each of its formats", {
  needs_python()
  found <- shifted(bend = 0.4)
  for (ending in c(".mha", ".nii", ".nii.gz")) {
    read <- read_transform(in_file(found, ending))
    expect_equal(read$map, found$map)
    expect_equal(read$spacing, c(4, 2))
  }
  expect_equal(read_transform(in_file(found, ".nii.gz", format = "niftyreg"))$map, found$map)
  back <- read_transform(in_file(found, ".mha", direction = "fixed_to_moving"))
  expect_equal(back$map, found$inverse_map)
  straight <- read_transform(in_file(found, ".mha", linear = TRUE))
  expect_equal(straight$map, identity_map(c(64, 60)) + c(2, -1))
})

test_that("a transform prints, and saveRDS() keeps it", {
  needs_python()
  field <- read_transform(in_file(shifted(bend = 0.4), ".mha"))
  expect_match(cli::ansi_strip(capture.output(print(field))), "<transform> displacement field on 64 x 60, from 'file",
               fixed = TRUE, all = FALSE)
  straight <- read_transform(in_file(shifted(), ".csv"), spacing = c(4, 2))
  shown <- cli::ansi_strip(capture.output(print(straight)))
  expect_match(shown[1], "<transform> linear, of images, from 'file", fixed = TRUE)
  expect_match(shown, "^ +row +1[.]000 +0[.]000 +2[.]000$", all = FALSE)
  points <- cbind(c(4, 30.5), c(9, 20))
  for (transform in list(field, straight)) {
    expect_identical(predict(saved_and_read(transform), points), predict(transform, points))
    expect_output(str(transform), "<gequi_transform>", fixed = TRUE)
  }
  straight$affine[, 3] <- c(0, 5)
  expect_equal(predict(straight, cbind(1, 1), direction = "fixed_to_moving"), cbind(1, 6))
})

test_that("a transform carries points, images and labels", {
  needs_python()
  found <- shifted(bend = 0.4)
  read <- read_transform(in_file(found, ".mha"))
  points <- data.frame(name = c("a", "b"), row = c(10, 20.5), column = c(12, 30))
  there <- predict(read, points, direction = "fixed_to_moving")
  expect_equal(unname(as.matrix(there[-1])), warp_points(as.matrix(points[-1]), found$map), ignore_attr = TRUE)
  expect_equal(predict(read, there), points, tolerance = 1e-8)
  expect_equal(predict(read, found$moving, interpolation = "linear", fill = NULL), warp_image(found$moving, found$map))
  expect_identical(predict(read, found$moving), predict(found, found$moving))
  colours <- array(rep(found$moving, 3), c(dim(found$moving), 3))
  expect_equal(predict(read, colours)[, , 2], predict(read, found$moving))
  dark <- predict(read, found$moving < 0.5, fill = NULL)
  expect_identical(dark, warp_image(found$moving < 0.5, found$map, "nearest") == 1)
  straight <- read_transform(in_file(shifted(), ".csv"), spacing = c(4, 2))
  expect_identical(dim(predict(straight, volcano)), dim(volcano))
  expect_identical(dim(predict(straight, volcano, fill = 0, shape = c(5, 6))), c(5L, 6L))
})

test_that("what cannot be written or read is refused by the name of its argument", {
  needs_python()
  found <- shifted(bend = 0.4)
  file <- in_file(found, ".mha")
  expect_refused(write_transform(found, file), "`overwrite` = TRUE replaces it", "input")
  expect_invisible(write_transform(found, file, overwrite = TRUE))
  expect_refused(in_file(found, ".tfm"), "`linear` = TRUE writes its linear part", "input")
  expect_refused(in_file(found, ".h5"), "`path` must end in one of", "input")
  expect_refused(in_file(found, ".nii", cosines = diag(3)), "`cosines` must be a matrix of 2 x 2", "shape")
  expect_refused(in_file(found, ".nii", origin = 1), "`origin` must have 2 coordinates, x, y; got 1", "shape")
  expect_refused(write_transform(1, tempfile(fileext = ".mha")), "`found` must be a registration", "input")
  expect_refused(read_transform("nowhere.nii"), "there is no file", "transform_file")
  writeBin(readBin(file, "raw", 500), file)
  expect_refused(read_transform(file), "is cut off", "transform_file")
  read <- read_transform(in_file(found, ".mha"))
  expect_refused(predict(read, cbind(1, 2, 3), type = "points"), "`newdata` must have 2 coordinates", "shape")
  expect_refused(predict(read, data.frame(row = 1)), "column is missing", "input")
  expect_refused(predict(read, volcano, shape = c(3, 4)), "`shape` must be 64 x 60", "shape")
  expect_refused(predict(read, volcano, direction = "fixed_to_moving"), "`newdata` must have the size of", "shape")
})
