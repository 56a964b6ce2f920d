colours <- function() array(c(1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1), c(2, 2, 3)) # red, blue / green, white
greys <- matrix(c(0.299, 0.587, 0.114, 1), 2)

file_of <- function(extension, write) {
  file <- tempfile(fileext = paste0(".", extension))
  write(file)
  file
}

test_that("matrices and volumes are grey already", {
  expect_identical(grey_image(volcano), volcano)
  expect_equal(dim(grey_image(array(0, c(4, 5, 6)))), c(4, 5, 6))
  expect_identical(grey_image(volcano > 120), volcano > 120)
})

test_that("colours become grey", {
  needs_python()
  expect_equal(grey_image(colours()), greys)
  expect_equal(grey_image(array(c(colours(), rep(0.5, 4)), c(2, 2, 4))), greys)
})

test_that("files are read, each by its package", {
  needs_python()
  expect_equal(grey_image(file_of("png", \(file) png::writePNG(colours(), file))), greys, tolerance = 1e-6)
  expect_equal(grey_image(file_of("TIF", \(file) tiff::writeTIFF(greys, file, 16L))), greys, tolerance = 1e-4)
  large <- colours()[rep(1:2, each = 8), rep(1:2, each = 8), ]
  read <- grey_image(file_of("jpeg", \(file) jpeg::writeJPEG(large, file, 1)))
  expect_lt(max(abs(read - greys[rep(1:2, each = 8), rep(1:2, each = 8)])), 0.1)
})

test_that("magick's pictures are read, and files of other kinds by it", {
  needs_python()
  picture <- magick::image_read(colours())
  expect_equal(grey_image(picture), greys, tolerance = 1e-2)
  expect_refused(grey_image(c(picture, picture)), "`x` must be one picture; it holds 2. One of them is x[1]", "shape")
  bitmap <- file_of("bmp", \(file) magick::image_write(picture, file, "bmp"))
  expect_equal(grey_image(bitmap), greys, tolerance = 1e-2)
})

test_that("NIfTI objects are known by their class, and bring their spacing", {
  values <- array(as.numeric(1:60), c(3, 4, 5))
  ours <- structure(values, class = c("niftiImage", "array"), pixdim = c(2, 2.5, 3), pixunits = "mm")
  expect_identical(grey_image(ours), structure(values, spacing = c(2, 2.5, 3)))
  flat <- structure(values[, , 1, drop = FALSE], class = c("niftiImage", "array"), pixdim = c(2, 2.5, 3))
  expect_identical(grey_image(flat), structure(values[, , 1], spacing = c(2, 2.5)))
  # oro.nifti's class, as it is known without the package
  defined <- setClass("nifti", contains = "array", slots = c(pixdim = "numeric"), where = environment())
  on.exit(removeClass("nifti", where = environment()))
  theirs <- defined(values, pixdim = c(-1, 2, 2.5, 3, 0, 0, 0, 0))
  expect_identical(grey_image(theirs), structure(values, spacing = c(2, 2.5, 3)))
  series <- structure(array(0, c(3, 4, 5, 2)), class = c("niftiImage", "array"), pixdim = c(1, 1, 1, 2))
  expect_refused(grey_image(series), "`x` must be one image or volume; its NIfTI has the axes 3 x 4 x 5 x 2", "shape")
})

test_that("NIfTI files are read by a package that is installed, or all are named", {
  file <- file_of("nii.gz", file.create)
  with_internal("is_installed", function(package) FALSE, {
    expect_refused(grey_image(file), "needs one of the packages RNifti, oro.nifti, Rniftilib", "setup")
  })
  reader <- function(package, name) {
    expect_identical(c(package, name), c("Rniftilib", "nifti.image.read"))
    function(file) structure(matrix(0, 2, 3), class = "niftiImage", pixdim = c(4, 5))
  }
  with_internal("is_installed", function(package) package == "Rniftilib", with_internal("exported", reader, {
    expect_identical(grey_image(file), structure(matrix(0, 2, 3), spacing = c(4, 5)))
  }))
})

test_that("a package that is missing is named", {
  file <- file_of("png", \(file) png::writePNG(greys, file))
  with_internal("is_installed", function(package) FALSE, {
    expect_refused(grey_image(file), "The package png is needed to read", "setup")
  })
})

test_that("what is no picture is refused", {
  expect_refused(grey_image("nowhere.png"), "`x` is no file: 'nowhere.png'", "input")
  expect_refused(grey_image(c("a.png", "b.png")), "`x` must be the name of one file; got 2 names", "input")
  expect_refused(grey_image(file_of("png", file.create)), "`x` cannot be read", "input")
  expect_refused(grey_image(1:3), "got 1 axes", "shape")
  expect_refused(grey_image(matrix("a")), "`x` must be an image; got character", "input")
  expect_refused(grey_image(matrix(NA_real_)), "`x` must not be NA", "input")
  expect_refused(grey_image(datasets::cars), "got a data frame", "input")
})
