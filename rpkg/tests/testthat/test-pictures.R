colours <- function() array(c(1, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 1), c(2, 2, 3)) # red, blue / green, white
grays <- matrix(c(0.299, 0.587, 0.114, 1), 2)

file_of <- function(extension, write) {
  file <- tempfile(fileext = paste0(".", extension))
  write(file)
  file
}

test_that("matrices and volumes are grayscale already", {
  expect_identical(to_grayscale(volcano), volcano)
  expect_equal(dim(to_grayscale(array(0, c(4, 5, 6)))), c(4, 5, 6))
  expect_identical(to_grayscale(volcano > 120), volcano > 120)
})

test_that("colours become gray", {
  needs_python()
  expect_equal(to_grayscale(colours()), grays)
  expect_equal(to_grayscale(array(c(colours(), rep(0.5, 4)), c(2, 2, 4))), grays)
})

test_that("files are read, each by its package", {
  needs_python()
  expect_equal(to_grayscale(file_of("png", \(file) png::writePNG(colours(), file))), grays, tolerance = 1e-6)
  expect_equal(to_grayscale(file_of("TIF", \(file) tiff::writeTIFF(grays, file, 16L))), grays, tolerance = 1e-4)
  large <- colours()[rep(1:2, each = 8), rep(1:2, each = 8), ]
  read <- to_grayscale(file_of("jpeg", \(file) jpeg::writeJPEG(large, file, 1)))
  expect_lt(max(abs(read - grays[rep(1:2, each = 8), rep(1:2, each = 8)])), 0.1)
})

test_that("magick's pictures are read, and files of other kinds by it", {
  needs_python()
  picture <- magick::image_read(colours())
  expect_equal(to_grayscale(picture), grays, tolerance = 1e-2)
  expect_refused(to_grayscale(c(picture, picture)), "`x` must be one picture; it holds 2. One of them is x[1]", "shape")
  bitmap <- file_of("bmp", \(file) magick::image_write(picture, file, "bmp"))
  expect_equal(to_grayscale(bitmap), grays, tolerance = 1e-2)
})

test_that("all 16 bits of magick's values are read", {
  needs_python()
  values <- array((0:59 * 1009) %% 65536 / 65535, c(4, 5, 3))
  for (image in list(values, values[, , 1])) {
    picture <- magick::image_read(write_image(image, tempfile(fileext = ".png"), bits = 16))
    read <- as_image_batch(picture)
    expected <- if (length(dim(image)) == 3) aperm(image, c(3, 1, 2)) else image
    expect_equal(array(read, dim(read)[-1]), array(expected, dim(read)[-1]), tolerance = 1e-12)
  }
})

# ---- NIfTI ----------------------------------------------------------------------------------------------------------

# Voxels (i, j, k) of which no two are alike.
voxels <- array(as.numeric(1:60), c(3, 4, 5))

# Objects of RNifti, with the header that RNifti::niftiHeader() would give, where its package was installed.
as_nifti <- function(values, ...) {
  header <- list(...)
  spacing <- header$pixdim[1 + seq_along(dim(values))]
  structure(values, class = c("niftiImage", "array"), pixdim = spacing, header = header)
}

with_rnifti <- function(code) {
  header <- function(package, name) {
    expect_identical(c(package, name), c("RNifti", "niftiHeader"))
    function(image) structure(c(list(sizeof_hdr = 348L), attr(image, "header")), class = "niftiHeader")
  }
  with_internal("is_installed", function(package) package == "RNifti", with_internal("exported", header, code))
}

# The voxels with i along +x, j along +y and k along +z as (depth, row, column): depth along -z, rows along -y.
right_front_up <- function(values) aperm(values, 3:1)[rev(seq_len(dim(values)[3])), rev(seq_len(dim(values)[2])), ]

plain <- function(x) structure(x, spacing = NULL, orientation = NULL, origin = NULL, cosines = NULL)

test_that("NIfTI objects are known by their class, and bring their spacing", {
  needs_python()
  ours <- structure(voxels, class = c("niftiImage", "array"), pixdim = c(2, 2.5, 3), pixunits = "mm")
  read <- to_grayscale(ours)
  expect_identical(plain(read), right_front_up(voxels))
  expect_identical(attr(read, "spacing"), c(3, 2.5, 2))
  flat <- structure(voxels[, , 1, drop = FALSE], class = c("niftiImage", "array"), pixdim = c(2, 2.5, 3))
  read <- to_grayscale(flat)
  expect_identical(plain(read), t(voxels[, , 1])[4:1, ])
  expect_identical(attr(read, "spacing"), c(2.5, 2))
  series <- structure(array(0, c(3, 4, 5, 2)), class = c("niftiImage", "array"), pixdim = c(1, 1, 1, 2))
  words <- "`x` must be one image or volume; its NIfTI has the axes 3 x 4 x 5 x 2"
  expect_refused(to_grayscale(series), words, "shape")
})

test_that("the sform says where the voxels lie", {
  needs_python()
  # i to the left, j down, k to the front: the middle of the head seen from the front, slice by slice
  coronal <- as_nifti(
    voxels, sform_code = 1L, srow_x = c(-2, 0, 0, 90), srow_y = c(0, 0, 3, -100), srow_z = c(0, -2.5, 0, 60),
    qform_code = 0L, pixdim = c(-1, 2, 2.5, 3, 1, 0, 0, 0)
  )
  read <- with_rnifti(to_grayscale(coronal))
  # depth runs down as j does, rows to the back against k, columns to the right against i
  expected <- aperm(voxels, c(2, 3, 1))[, 5:1, 3:1]
  expect_identical(plain(read), expected)
  expect_identical(attr(read, "spacing"), c(2.5, 3, 2))
  to_array <- attr(read, "orientation")
  voxel <- c(1, 3, 2)
  position <- c(to_array[, 1:3] %*% voxel + to_array[, 4])
  expect_identical(read[t(position)], voxels[t(voxel)])
  expect_equal(solve(to_array[, 1:3], position - to_array[, 4]), voxel)
  ras <- c(-2 * (voxel[1] - 1) + 90, 3 * (voxel[3] - 1) - 100, -2.5 * (voxel[2] - 1) + 60) # by the sform, from 0
  steps <- rev((position - 1) * attr(read, "spacing")) # along columns, rows and slices
  expect_equal(c(attr(read, "origin") + attr(read, "cosines") %*% steps), ras * c(-1, -1, 1))
})

test_that("the qform is taken where there is no sform", {
  needs_python()
  # half a turn about z: i to the left, j to the back; qfac -1 has k down
  given <- as_nifti(
    voxels, sform_code = 0L, qform_code = 1L, quatern_b = 0, quatern_c = 0, quatern_d = 1,
    pixdim = c(-1, 2, 2.5, 3, 1, 0, 0, 0)
  )
  read <- with_rnifti(to_grayscale(given))
  expect_identical(plain(read), aperm(voxels, 3:1)[, , 3:1])
  expect_identical(attr(read, "orientation"), cbind(c(0, 0, -1), c(0, 1, 0), c(1, 0, 0), c(0, 0, 4)))
  expect_null(attr(read, "origin")) # the offset is not there
})

test_that("a slice is turned as its volume is", {
  needs_python()
  sagittal <- as_nifti(
    voxels[, , 1], sform_code = 1L, srow_x = c(0, 0, 1, 0), srow_y = c(-2, 0, 0, 0), srow_z = c(0, 3, 0, 0),
    pixdim = c(1, 2, 3, 1, 0, 0, 0, 0)
  )
  read <- with_rnifti(to_grayscale(sagittal))
  expect_identical(plain(read), t(voxels[, , 1])[4:1, ])
  expect_identical(attr(read, "spacing"), c(3, 2))
})

test_that("oro.nifti's objects are known without the package, turned by it or not", {
  needs_python()
  slots <- c(
    pixdim = "numeric", sform_code = "numeric", srow_x = "numeric", srow_y = "numeric", srow_z = "numeric",
    qform_code = "numeric", reoriented = "logical"
  )
  defined <- setClass("nifti", contains = "array", slots = slots, where = environment())
  on.exit(removeClass("nifti", where = environment()))
  theirs <- defined(
    voxels, pixdim = c(-1, 2, 2.5, 3, 0, 0, 0, 0), sform_code = 2, srow_x = c(0, 2.5, 0, 0), srow_y = c(2, 0, 0, 0),
    srow_z = c(0, 0, -3, 0), qform_code = 0, reoriented = FALSE
  )
  read <- to_grayscale(theirs)
  expect_identical(plain(read), aperm(voxels, c(3, 1, 2))[, 3:1, ])
  expect_identical(attr(read, "spacing"), c(3, 2, 2.5))
  turned <- theirs
  turned@reoriented <- TRUE # x to the left, y to the front, z up
  expect_identical(plain(to_grayscale(turned)), right_front_up(voxels)[, , 3:1])
})

test_that("a spacing of NIfTI goes with its axis into a registration", {
  needs_python()
  voxels <- with(expand.grid(i = 1:20, j = 1:22, k = 1:24), sin(i * j / 30) + cos(k / 3) * sin(i / 4))
  dim(voxels) <- c(20, 22, 24)
  upright <- as_nifti(voxels, pixdim = c(1, 1, 1.5, 2, 0, 0, 0, 0))
  lying <- as_nifti(
    aperm(voxels, c(3, 1, 2)), sform_code = 1L, srow_x = c(0, 1, 0, 0), srow_y = c(0, 0, 1.5, 0),
    srow_z = c(2, 0, 0, 0), pixdim = c(1, 2, 1, 1.5, 0, 0, 0, 0)
  )
  expect_identical(plain(with_rnifti(to_grayscale(lying))), plain(with_rnifti(to_grayscale(upright))))
  found <- with_rnifti(register_images(lying, upright, transform = "rigid", min_probability = 0))
  expect_identical(dim(found$fixed), c(24L, 22L, 20L))
  expect_equal(found$spacing, c(2, 1.5, 1))
  expect_equal(found$affine, cbind(diag(3), 0), tolerance = 1e-2)
})

test_that("NIfTI files are read by a package that is installed, or all are named", {
  needs_python()
  file <- file_of("nii.gz", file.create)
  with_internal("is_installed", function(package) FALSE, {
    expect_refused(to_grayscale(file), "needs one of the packages RNifti, oro.nifti, Rniftilib", "setup")
  })
  reader <- function(package, name) {
    expect_identical(c(package, name), c("Rniftilib", "nifti.image.read"))
    function(file) structure(matrix(1:6, 2), class = "niftiImage", pixdim = c(4, 5))
  }
  with_internal("is_installed", function(package) package == "Rniftilib", with_internal("exported", reader, {
    read <- to_grayscale(file)
  }))
  expect_identical(plain(read), rbind(5:6, 3:4, 1:2))
  expect_identical(attr(read, "spacing"), c(5, 4))
  unturned <- function(package, name) {
    function(file, reorient) structure(matrix(as.numeric(!reorient), 2, 3), class = "niftiImage", pixdim = c(4, 5))
  }
  with_internal("is_installed", function(package) package == "oro.nifti", with_internal("exported", unturned, {
    expect_identical(plain(to_grayscale(file)), matrix(1, 3, 2))
  }))
})

# ---------------------------------------------------------------------------------------------------------------------

test_that("a package that is missing is named", {
  file <- file_of("png", \(file) png::writePNG(grays, file))
  with_internal("is_installed", function(package) FALSE, {
    expect_refused(to_grayscale(file), "The package png is needed to read", "setup")
  })
})

test_that("what is no picture is refused", {
  expect_refused(to_grayscale("nowhere.png"), "`x` is no file: 'nowhere.png'", "input")
  expect_refused(to_grayscale(c("a.png", "b.png")), "`x` must be the name of one file; got 2 names", "input")
  expect_refused(to_grayscale(file_of("png", file.create)), "`x` cannot be read", "input")
  expect_refused(to_grayscale(1:3), "number of axes: 1", "shape")
  expect_refused(to_grayscale(matrix("a")), "`x` must be an image; got character", "input")
  expect_refused(to_grayscale(matrix(NA_real_)), "`x` must not be NA", "input")
  expect_refused(to_grayscale(datasets::cars), "got a data frame", "input")
})
