image <- matrix(0:5 / 5, 2)
png_file <- function() tempfile(fileext = ".png")

test_that("what is written is read again", {
  needs_python()
  file <- png_file()
  expect_identical(write_image(image, file), file)
  expect_invisible(write_image(image, file))
  expect_equal(to_grayscale(file), image, tolerance = 1e-6)
  tiff <- tempfile(fileext = ".tif")
  write_image(image / 257, tiff, bits = 16)
  expect_equal(tiff::readTIFF(tiff), image / 257, tolerance = 1e-4)
  colours <- array(0:23 / 23, c(4, 2, 3))
  write_image(colours, file)
  expect_lt(max(abs(png::readPNG(file) - colours)), 0.5 / 255 + 1e-6)
  write_image(image > 0.5, file)
  expect_equal(to_grayscale(file), (image > 0.5) + 0)
})

test_that("colours of 16 bits are written and read to the last", {
  needs_python()
  whole <- array((seq_len(5 * 4 * 4) * 12345) %% 65536, c(5, 4, 4))
  for (channels in 3:4) for (ending in c(".png", ".tif")) {
    file <- write_image(whole[, , 1:channels] / 65535, tempfile(fileext = ending), bits = 16)
    read <- if (ending == ".png") png::readPNG(file) else tiff::readTIFF(file)
    expect_identical(round(read * 65535, 6), whole[, , 1:channels])
    batch <- as_image_batch(file)
    expect_identical(round(aperm(batch[1, , , ], c(2, 3, 1)) * 65535, 6), whole[, , 1:channels])
    gray <- 0.299 * whole[, , 1] + 0.587 * whole[, , 2] + 0.114 * whole[, , 3]
    expect_equal(to_grayscale(file) * 65535, gray, tolerance = 1e-12)
    network <- equivariant_network(c4(), c(trivial = 3), seed = 1, dtype = "float64") |> layer_global_avg_pool()
    seen <- predict(network, image_files(file, channels = 3)) * 65535
    expect_equal(c(seen), apply(whole[, , 1:3], 3, mean), tolerance = 1e-6) # images in files are float32
  }
  expect_refused(write_image(whole[, , 1:2] / 65535, tempfile(fileext = ".png"), bits = 16), "gray with alpha", "input")
})

test_that("what is clipped or missing is told, and limits are respected", {
  needs_python()
  file <- png_file()
  expect_warning(write_image(volcano, file), "`limits` = NULL the smallest value is black", class = "gequi_warning")
  expect_warning(write_image(matrix(c(NA, 1), 1), file), "1 of 2 values are missing", class = "gequi_warning")
  write_image(volcano, file, limits = NULL)
  expect_equal(to_grayscale(file), (volcano - 94) / (195 - 94), tolerance = 1e-2)
})

test_that("a registration, a raster, a batch and a list are written", {
  needs_python()
  file <- png_file()
  found <- structure(list(warped = image), class = "gequi_registration")
  write_image(found, file)
  expect_equal(to_grayscale(file), image, tolerance = 1e-6)
  write_image(grDevices::as.raster(image), file)
  expect_equal(to_grayscale(file), image, tolerance = 1e-2)
  files <- c(png_file(), png_file())
  write_image(list(image, 1 - image), files)
  expect_equal(to_grayscale(files[2]), 1 - image, tolerance = 1e-6)
  batch <- aperm(array(c(image, image / 2), c(2, 3, 2, 1)), c(3, 4, 1, 2))
  expect_identical(write_image(batch, files), files)
  expect_equal(to_grayscale(files[2]), image / 2, tolerance = 1e-2)
})

test_that("what cannot be written is refused", {
  needs_python()
  expect_refused(write_image(list(image, image), "a.png"), "as many files as there are images, 2; got 1", "shape")
  expect_refused(write_image(plot_image(image), "a.png"), "ggplot2::ggsave() writes it", "input")
  expect_refused(write_image(image, "a.gif"), "must end with one of .png", "input")
  expect_refused(write_image("nowhere.png", "a.png"), "is no file", "input")
})
