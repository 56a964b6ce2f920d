# A part of the cat, and the same turned by a quarter: what is at (row, column) of `upright` is at (81 - column, row) of
# `turned`.
upright <- function() sample_image("cat")[51:130, 151:230]
turned <- function() t(upright())[80:1, ]
registered <- once(function() register_images(moving = turned(), fixed = upright()))

test_that("images are read in any form, and kept", {
  needs_python()
  file <- tempfile(fileext = ".png")
  png::writePNG(array(rep(upright(), 3), c(80, 80, 3)), file)
  found <- register_images(turned(), file)
  expect_equal(found$moving, turned())
  expect_equal(found$fixed, upright(), tolerance = 1e-2)
  expect_lt(max(abs(found$map - registered()$map)), 0.2)
  expect_equal(found$spacing, c(1, 1))
})

test_that("an image's own spacing is taken where none is given", {
  needs_python()
  known <- function(image, spacing) structure(image, class = c("niftiImage", "array"), pixdim = spacing)
  both <- register_images(known(turned(), c(2, 2)), known(upright(), c(2, 2)), transform = "similarity")
  expect_equal(both[c("moving_spacing", "spacing")], list(moving_spacing = c(2, 2), spacing = c(2, 2)))
  halved <- known(warp_image(turned(), identity_map(c(40, 40)) * 2 - 0.5), c(4, 4)) # turned over as the other is
  two <- register_images(halved, known(upright(), c(2, 2)), transform = "rigid") # of one length, in millimetres
  expect_equal(two[c("moving_spacing", "spacing")], list(moving_spacing = c(4, 4), spacing = c(2, 2)))
  expect_equal(abs(det(two$affine[, 1:2])), 1 / 4, tolerance = 1e-3)
  one <- register_images(known(turned(), c(2, 2)), upright(), transform = "similarity")
  expect_equal(one$spacing, c(2, 2))
  given <- register_images(turned(), known(upright(), c(2, 2)), spacing = 3, transform = "similarity")
  expect_equal(given[c("moving_spacing", "spacing")], list(moving_spacing = c(3, 3), spacing = c(3, 3)))
  several <- register_images(
    list(turned(), turned()), list(a = known(upright(), c(2, 2)), b = upright()), transform = "similarity"
  )
  expect_equal(several$a$spacing, c(2, 2))
  expect_equal(several$b$spacing, c(1, 1))
})

test_that("one registration prints and sums up", {
  needs_python()
  found <- registered()
  expect_output(print(found), "<registration> 80 x 80 onto 80 x 80", fixed = TRUE)
  expect_output(print(found), "0 folds; 100 % of the fixed image is seen in both", fixed = TRUE)
  found$alternatives <- list(list(affine = found$affine, score = 0.5))
  expect_output(print(found), "1 other map, far from this one, fits almost as well", fixed = TRUE)
  total <- summary(found)
  expect_s3_class(total, "summary.gequi_registration")
  expect_equal(total$spread$median[1], median(found$uncertainty))
  expect_output(print(total), "other maps that fit almost as well", fixed = TRUE)
})

test_that("many registrations are a list with a table", {
  needs_python()
  told <- NULL
  found <- register_images(
    list(turned(), upright()), list(turn = upright(), none = upright()),
    progress = function(info) told <<- c(told, list(info))
  )
  expect_identical(lapply(told, `[[`, "done"), list(1L, 2L))
  expect_identical(names(told[[1]]), c("done", "total", "seconds_left"))
  expect_s3_class(found, "gequi_registrations")
  expect_s3_class(found$turn, "gequi_registration")
  table <- as.data.frame(found)
  expect_identical(class(table), "data.frame")
  expect_equal(table$pair, c("turn", "none"))
  expect_equal(table$folds, c(0, 0))
  expect_output(print(found), "<registrations> 2 pairs", fixed = TRUE)
  expect_output(print(found[2]), "<registrations> 1 pair\n", fixed = TRUE)
  expect_s3_class(summary(found), "gequi_table")
})

test_that("a progress bar can be shown, and an error of a callback is its own", {
  needs_python()
  rlang::local_options(cli.progress_show_after = 0, cli.dynamic = FALSE)
  pairs <- rep(list(upright()), 2)
  expect_message(register_images(pairs, pairs, progress = TRUE), "2/2")
  expect_error(register_images(pairs, pairs, progress = function(info) stop("enough")), "enough")
  wrong <- "`progress` must be TRUE, FALSE or a function"
  expect_refused(register_images(pairs, pairs, progress = "yes"), wrong, "input")
})

test_that("one registration tells its stages, and shows them once they last", {
  needs_python()
  told <- list()
  found <- register_images(turned(), upright(), progress = function(info) told <<- c(told, list(info)))
  expect_equal(found$map, registered()$map)
  stages <- vapply(told, `[[`, "", "stage")
  expect_identical(unique(stages), c("preparation", "search", "refinement", "uncertainty"))
  expect_null(told[[which(stages == "search")[1]]]$steps)
  last <- told[[max(which(stages == "refinement"))]]
  expect_identical(last$step, last$steps)
  again <- function(...) register_images(turned(), upright(), ...)
  rlang::with_options(expect_message(again(progress = TRUE), NA), cli.progress_show_after = 60) # it is over before
  rlang::local_options(cli.progress_show_after = 0, cli.dynamic = FALSE)
  larger <- sample_image("cat")[11:200, 101:290] # for long enough that cli shows a line
  turned_larger <- t(larger)[190:1, ]
  expect_message(register_images(turned_larger, larger, progress = TRUE), "Registering: (preparation|search) 1")
  expect_message(again(progress = FALSE), NA)
  expect_message(again(), NA) # in no interactive session
  rlang::local_interactive()
  expect_equal(gequiR:::reporter(NULL, function() "shown"), "shown")
  expect_error(again(progress = function(info) stop("enough")), "enough")
  expect_refused(again(progress = "yes"), "`progress` must be TRUE, FALSE or a function", "input")
})

test_that("an interrupt is R's own", {
  needs_python()
  pairs <- rep(list(upright()), 2)
  stop_here <- function(info) rlang::interrupt()
  expect_identical(
    tryCatch(register_images(pairs, pairs, progress = stop_here), interrupt = function(condition) "stopped"), "stopped"
  )
})

test_that("a registration is kept with its R object, and made again from it", {
  needs_python()
  found <- registered()
  points <- rbind(c(10, 20), c(40, 70))
  expected <- predict(found, points, se.fit = TRUE)
  expect_true(is_alive(found))
  read <- saved_and_read(found)
  expect_false(is_alive(read))
  expect_output(print(read), "0 folds", fixed = TRUE)
  expect_false(is_alive(read)) # to print needs no Python
  expect_equal(predict(read, points, se.fit = TRUE), expected, tolerance = 1e-9)
  expect_true(is_alive(read))
  expect_equal(summary(read), summary(found))
})

test_that("what is replaced in a registration counts", {
  needs_python()
  found <- registered()
  before <- predict(found, c(10, 20), "fixed_to_moving", se.fit = TRUE)
  other <- found
  other$uncertainty <- 2 * other$uncertainty
  expect_equal(predict(other, c(10, 20), "fixed_to_moving", se.fit = TRUE)$se.fit, 2 * before$se.fit)
  expect_equal(summary(other)$spread$median[1], 2 * summary(found)$spread$median[1])
  expect_equal(predict(found, c(10, 20), "fixed_to_moving", se.fit = TRUE), before)
  other[["map"]] <- other$map + 1
  expect_equal(predict(other, c(10, 20), "fixed_to_moving"), before$fit + 1)
})

test_that("a registration lists its parts", {
  needs_python()
  expect_output(str(registered()), "$ contrast      : chr \"same\"", fixed = TRUE)
  expect_identical(format(registered()), "80 x 80 onto 80 x 80")
})

test_that("points are carried both ways, with their error", {
  needs_python()
  found <- registered()
  points <- data.frame(name = c("a", "b"), row = c(10, 40), column = c(20, 70))
  there <- predict(found, points, "fixed_to_moving", se.fit = TRUE)
  expect_equal(there$fit, data.frame(name = c("a", "b"), row = c(61, 11), column = c(10, 40)), tolerance = 1e-3)
  expect_equal(there$se.fit, c(found$uncertainty[10, 20], found$uncertainty[40, 70]))
  back <- predict(found, there$fit, se.fit = TRUE)
  expect_equal(back$fit, points, tolerance = 1e-3)
  expect_equal(back$se.fit, there$se.fit, tolerance = 1e-2)
  expect_equal(predict(found, rbind(c(10, 20)), "fixed_to_moving"), rbind(c(61, 10)), tolerance = 1e-3)
  expect_equal(predict(found, c(10, 20), "fixed_to_moving"), c(61, 10), tolerance = 1e-3)
})

test_that("points outside are NA unless they are extrapolated", {
  needs_python()
  found <- registered()
  points <- data.frame(row = c(10, -20), column = c(20, 20))
  there <- predict(found, points, "fixed_to_moving", se.fit = TRUE)
  expect_identical(is.na(there$fit$row), c(FALSE, TRUE))
  expect_identical(is.na(there$se.fit), c(FALSE, TRUE))
  expect_false(any(is.nan(there$se.fit)))
  onward <- predict(found, points, "fixed_to_moving", se.fit = TRUE, extrapolate = TRUE)
  expect_equal(onward$fit$column, c(10, -20), tolerance = 0.05)
  expect_gt(onward$se.fit[2], onward$se.fit[1])
  expect_refused(predict(found, points, extrapolate = NA), "`extrapolate` must be TRUE or FALSE", "input")
  expect_refused(predict(found, turned(), extrapolate = TRUE), "`extrapolate` is for points", "input")
})

test_that("the error of a point changes with the scale that it is carried through", {
  needs_python()
  coarse <- warp_image(turned(), identity_map(c(40, 40)) * 2 - 0.5)
  found <- register_images(coarse, upright(), transform = "similarity") # 2 pixels of fixed to one of moving
  there <- predict(found, rbind(c(40, 40)), "fixed_to_moving", se.fit = TRUE)
  back <- predict(found, there$fit, se.fit = TRUE)
  expect_equal(back$se.fit / there$se.fit, 2, tolerance = 0.02)
})

test_that("images and labels are carried both ways", {
  needs_python()
  found <- registered()
  expect_equal(predict(found, turned()), found$warped, tolerance = 1e-5)
  expect_lt(max(abs(predict(found, upright(), "fixed_to_moving") - turned())), 0.02)
  labels <- matrix(0L, 80, 80)
  labels[11:30, 21:60] <- 7L
  carried <- predict(found, labels, "fixed_to_moving", type = "labels")
  expect_identical(carried, t(labels)[80:1, ])
  expect_identical(predict(found, labels == 7, "fixed_to_moving"), t(labels)[80:1, ] == 7)
  tissue <- structure(factor(c("no", "yes")[1 + (labels == 7)]), dim = dim(labels))
  expect_identical(levels(predict(found, tissue)), c("no", "yes"))
  colour <- array(rep(turned(), 3), c(80, 80, 3))
  expect_equal(predict(found, colour)[, , 2], found$warped, tolerance = 1e-5)
})

test_that("what cannot be carried is refused", {
  needs_python()
  found <- registered()
  expect_refused(predict(found, volcano), "the size of the moving image, 80 x 80; got 87 x 61", "shape")
  expect_refused(predict(found, volcano > 100, "fixed_to_moving"), "the size of the fixed image", "shape")
  expect_refused(predict(found, data.frame(row = 1)), "column is missing", "input")
  expect_refused(predict(found, 1:3, type = "points"), "`newdata` must have 2 coordinates", "shape")
  expect_refused(predict(found, c(NA, 1)), "`newdata` must have no missing values", "input")
  expect_refused(predict(found, turned(), se.fit = TRUE), "`se.fit` is for points", "input")
  expect_refused(predict(found, turned(), "up"), "`direction` must be one of 'moving_to_fixed'", "input")
  expect_refused(predict(found, turned(), type = "area"), "`type` must be one of", "input")
})

test_that("the map is a table", {
  needs_python()
  found <- registered()
  table <- as.data.frame(found)
  expect_identical(names(table), c("row", "column", "map_row", "map_column", "jacobian", "uncertainty"))
  row <- table[table$row == 10 & table$column == 20, ]
  expect_equal(c(row$map_row, row$map_column), found$map[, 10, 20])
  expect_equal(row$uncertainty, found$uncertainty[10, 20])
})

test_that("each kind of picture can be drawn", {
  needs_python()
  found <- register_images(turned()[, 5:80], upright(), moving_spacing = c(1, 1))
  for (type in c("overlay", "grid", "jacobian", "uncertainty", "checkerboard")) {
    expect_s3_class(ggplot2::ggplot_build(plot(found, type = type))$plot, "ggplot")
  }
  expect_refused(plot(found, type = "mesh"), "`type` must be one of 'overlay'", "input")
  cells <- plot(found)$data
  overlay <- as.raster(found)
  expect_identical(dim(overlay), dim(found$fixed))
  expect_identical(as.vector(as.matrix(overlay)), cells$colour[cells$when == "after"])
  cells <- plot(found, "checkerboard")$data
  expect_identical(as.vector(as.matrix(as.raster(found, "checkerboard"))), cells$colour[cells$when == "after"])
  warped <- as.matrix(as.raster(found, "warped"))
  expect_identical(is.na(warped) | warped == "transparent", is.na(found$warped))
  expect_refused(as.raster(found, "grid"), "`type` must be one of 'overlay'", "input")
  expect_refused(plot(found, slice = 3), "`slice` is for volumes", "input")
})

test_that("the overlay is grey after and coloured before", {
  needs_python()
  cells <- plot(registered())$data
  channels <- grDevices::col2rgb(cells$colour)
  apart <- tapply(abs(channels["red", ] - channels["green", ]), cells$when, mean)
  expect_lt(apart[["after"]], 2)
  expect_gt(apart[["before"]], 20)
})

test_that("the steps of a registration count from 1", {
  needs_python()
  steps <- registration_steps(turned(), upright(), token = 21)
  expect_identical(steps$attention$token, 21L)
  expect_equal(steps$attention$position, c(6.5, 2.5)) # 20 tokens to a row of 80 pixels
  expect_equal(steps$hypotheses[[1]]$affine, cbind(c(0, 1), c(-1, 0), c(81, 0)), tolerance = 1e-2)
  expect_refused(registration_steps(turned(), upright(), token = 0), "`token` must be from 1 to 400; got 0", "input")
})

test_that("volumes are registered, cut, carried and tabulated", {
  needs_python()
  place <- identity_map(c(30, 30, 30))
  blob <- function(number) {
    middle <- 15.5 + 11 * sin(number * c(1, 2.3, 3.7))
    (-1)^number * exp(-colSums((place - middle)^2) / 12)
  }
  volume <- Reduce(`+`, lapply(1:40, blob))
  turned <- aperm(volume, c(2, 1, 3))[30:1, , ] # what is at (depth, row, column) is at (31 - row, depth, column)
  found <- register_images(turned, volume, transform = "rigid", spacing = 2)
  expect_output(print(found), "<registration> 30 x 30 x 30 onto 30 x 30 x 30", fixed = TRUE)
  expect_output(print(summary(found)), "depth", fixed = TRUE)
  expect_equal(predict(found, rbind(c(10, 20, 15)), "fixed_to_moving"), rbind(c(11, 10, 15)), tolerance = 1e-2)
  expect_length(predict(found, rbind(c(10, 20, 15), c(3, 4, 5)), se.fit = TRUE)$se.fit, 2)
  expect_lt(max(abs(predict(found, turned)[5:26, 5:26, 5:26] - volume[5:26, 5:26, 5:26])), 0.05)
  expect_identical(predict(found, turned > 0.4)[15, , ], volume[15, , ] > 0.4)
  points <- data.frame(column = 15, name = "a", depth = 10, row = 20)
  there <- predict(found, points, "fixed_to_moving")
  expect_equal(there, data.frame(column = 15, name = "a", depth = 11, row = 10), tolerance = 1e-2)
  words <- "the columns depth, row, column; depth, column is missing"
  expect_refused(predict(found, data.frame(row = 1)), words, "input")
  expect_identical(names(as.data.frame(found))[1:6], c("depth", "row", "column", "map_depth", "map_row", "map_column"))
  expect_identical(unique(plot(found, "uncertainty", slice = 9)$data$value), unique(c(found$uncertainty[9, , ])))
  for (type in c("overlay", "grid", "jacobian", "uncertainty", "checkerboard")) {
    for (axis in 1:3) expect_s3_class(ggplot2::ggplot_build(plot(found, type, slice = 9, axis = axis))$plot, "ggplot")
  }
  expect_refused(plot(found, slice = 31), "`slice` must be a whole number from 1 to 30; got 31", "input")
  expect_refused(plot(found, axis = 4), "`axis` must be 1, 2 or 3", "input")
})

test_that("the linear part is told in words", {
  needs_python()
  found <- register_images(turned(), upright(), transform = "rigid")
  row <- tidy(found)
  expect_s3_class(row, "data.frame")
  expect_identical(names(row), c(
    "rotation", "scale", "scale_row", "scale_column", "shear", "shift_row", "shift_column", "mirror"
  ))
  expect_equal(row$rotation, 90, tolerance = 1e-3)
  expect_equal(c(row$scale, row$shear), c(1, 0))
  expect_false(row$mirror)
  expect_output(print(found), "linear part  rotation 90.0 degrees, scale 1.000, shift (", fixed = TRUE)
  expect_output(print(summary(found)), "scale column", fixed = TRUE)
  expect_equal(summary(found)$decomposition, found$decomposition)
  read <- saved_and_read(found)
  expect_equal(tidy(read), row)
  expect_false(is_alive(read))
  for (replace in list(
    function(x, new) `$<-`(x, "affine", new), function(x, new) `[[<-`(x, "affine", new),
    function(x, new) `[<-`(x, "affine", list(new))
  )) {
    mirrored <- replace(found, cbind(c(0, 2), c(2, 0), c(1, 1)))
    expect_true(tidy(mirrored)$mirror)
    expect_equal(tidy(mirrored)$scale, 2)
  }
  found$uncertainty <- 2 * found$uncertainty
  expect_equal(tidy(found), row)
  several <- register_images(list(turned()), list(quarter = upright()), transform = "rigid")
  expect_equal(tidy(several), cbind(pair = "quarter", row), ignore_attr = TRUE)
})

test_that("what lies outside is NA, and what is interpolated stays in its range", {
  needs_python()
  found <- register_images(turned()[5:80, ], upright(), transform = "similarity")
  unseen <- is.na(found$warped)
  expect_gt(sum(unseen), 200)
  expect_false(any(is.nan(found$warped)))
  expect_identical(found$fill, NA_real_)
  expect_lte(max(found$warped, na.rm = TRUE), max(upright()))
  expect_identical(is.na(predict(found, turned()[5:80, ])), unseen)
  expect_true(all(predict(found, turned()[5:80, ], fill = -1)[unseen] == -1))
  expect_false(anyNA(predict(found, turned()[5:80, ], fill = NULL)))
  other <- register_images(
    turned()[5:80, ], upright(), transform = "similarity", interpolation = "linear", fill = NULL
  )
  expect_false(anyNA(other$warped))
  expect_identical(other["fill"], list(fill = NULL))
  for (each in list(found, other)) {
    read <- saved_and_read(each)
    expect_equal(predict(read, turned()[5:80, ]), predict(each, turned()[5:80, ]), tolerance = 1e-12)
    expect_equal(read$fill, each$fill)
  }
})

test_that("labels keep their type and levels, and are missing outside", {
  needs_python()
  found <- register_images(turned()[5:80, ], upright(), transform = "similarity")
  unseen <- is.na(found$warped)
  numbers <- (row(matrix(0, 76, 80)) %/% 20L) + 10L * (col(matrix(0, 76, 80)) %/% 30L)
  storage.mode(numbers) <- "integer"
  expect_message(carried <- predict(found, numbers), "taken for labels", class = "gequi_message")
  expect_type(carried, "integer")
  expect_identical(is.na(carried), unseen)
  expect_true(all(carried[!unseen] %in% numbers))
  expect_silent(again <- predict(found, numbers, type = "labels"))
  expect_identical(again, carried)
  words <- "`newdata` has the type integer and is interpolated as an image"
  expect_message(between <- predict(found, numbers, interpolation = "linear"), words, fixed = TRUE)
  expect_type(between, "double")
  expect_silent(image <- predict(found, numbers, type = "image"))
  expect_false(all(image[!unseen] %in% numbers))
  expect_silent(flags <- predict(found, numbers > 11))
  expect_identical(flags, carried > 11)
  tissue <- structure(factor(c("bone", "skin")[1 + (numbers > 11)], c("skin", "bone", "fat")), dim = dim(numbers))
  expect_silent(kept <- predict(found, tissue, fill = "fat"))
  expect_identical(levels(kept), levels(tissue))
  expect_identical(dim(kept), dim(found$fixed))
  expect_true(all(kept[unseen] == "fat"))
  expect_identical(as.vector(kept)[!unseen], c("bone", "skin")[1 + flags[!unseen]])
  expect_true(all(is.na(predict(found, tissue)[unseen])))
  nearest <- predict(found, numbers + 0.5, interpolation = "nearest")
  expect_type(nearest, "double")
  expect_refused(predict(found, tissue, fill = "air"), "must be NA or one of the levels \"skin\"", "input")
  expect_refused(predict(found, factor(1:9)), "a factor without dim()", "shape")
  expect_refused(predict(found, numbers, type = "labels", interpolation = "cubic"), "\"nearest\" for labels", "input")
  numbers[3] <- NA
  expect_refused(predict(found, numbers), "`newdata` must have no missing values", "input")
})

test_that("a list keeps its names, and the error of each pair that fails", {
  needs_python()
  flat <- matrix(1, 80, 80)
  moving <- list(a = turned(), b = flat, c = upright(), d = "nowhere.png")
  fixed <- rep(list(upright()), 4)
  expect_refused(register_images(moving[1:3], fixed[1:3]), "Pair 2 of 3: `moving` is constant", "input")
  told <- NULL
  found <- register_images(moving, fixed, on_error = "keep", progress = function(info) told <<- info$done)
  expect_identical(told, 4L)
  expect_named(found, c("a", "b", "c", "d"))
  expect_s3_class(found$a, "gequi_registration")
  expect_s3_class(found$c, "gequi_registration")
  expect_s3_class(found$b, c("gequi_input_error", "gequi_error"), exact = FALSE)
  expect_match(conditionMessage(found$b), "Pair 2 of 4: `moving` is constant", fixed = TRUE)
  expect_identical(found$b$argument, "moving")
  expect_match(conditionMessage(found$d), "`moving[[4]]` is no file: 'nowhere.png'", fixed = TRUE)
  table <- as.data.frame(found)
  expect_identical(is.na(table$probability), c(FALSE, TRUE, FALSE, TRUE))
  expect_identical(is.na(table$error), c(TRUE, FALSE, TRUE, FALSE))
  expect_output(print(found), "b: Pair 2 of 4: `moving` is constant", fixed = TRUE)
  expect_identical(tidy(found)$pair, c("a", "c"))
  expect_s3_class(saved_and_read(found)$b, "gequi_input_error")
  neither <- register_images(list("x.png"), list(q = "y.png"), on_error = "keep")
  expect_named(neither, "q")
  expect_output(print(neither), "q: `fixed[[1]]` is no file", fixed = TRUE)
  expect_refused(register_images(moving, fixed, on_error = "skip"), "`on_error` must be one of 'stop', 'keep'", "input")
})

test_that("a list carries over one for all, or one for each", {
  needs_python()
  found <- register_images(
    list(a = turned(), b = matrix(1, 80, 80), c = upright()), rep(list(upright()), 3), on_error = "keep"
  )
  points <- data.frame(row = c(10, 40), column = c(20, 70))
  carried <- predict(found, points, se.fit = TRUE)
  expect_named(carried, c("a", "b", "c"))
  expect_identical(carried$a, predict(found$a, points, se.fit = TRUE))
  expect_null(carried$b)
  each <- predict(found, list(turned(), NULL, upright()), interpolation = "linear")
  expect_identical(each$c, predict(found$c, upright(), interpolation = "linear"))
  expect_refused(predict(found, list(1, 2)), "`newdata` must be one for all 3 pairs, or as many; got 2", "shape")
})

test_that("a start is a linear map, landmarks or a registration, counted from 1", {
  needs_python()
  quarter <- cbind(c(0, 1), c(-1, 0), c(81, 0)) # of pixels from 1
  expected <- register_images(turned(), upright(), transform = "rigid")
  fixed <- data.frame(row = c(10, 60, 30), column = c(20, 30, 70))
  marks <- list(moving = cbind(81 - fixed$column, fixed$row) + 1, fixed = fixed)
  for (start in list(quarter + 2 * c(0, 0, 0, 0, 1, -1), marks, expected, saved_and_read(expected))) {
    found <- register_images(turned(), upright(), transform = "rigid", initial = start)
    expect_equal(found$affine, expected$affine, tolerance = 1e-3)
  }
  several <- register_images(
    list(a = turned(), b = upright()), list(upright(), upright()), transform = "rigid", initial = list(quarter, NULL)
  )
  expect_equal(several$a$affine, expected$affine, tolerance = 1e-3)
  again <- register_images(list(turned(), upright()), rep(list(upright()), 2), transform = "rigid", initial = several)
  expect_equal(again[[1]]$affine, several$a$affine, tolerance = 1e-3)
  expect_refused(register_images(turned(), upright(), initial = fixed), "got a data frame", "input")
  expect_refused(register_images(turned(), upright(), initial = marks["fixed"]), "landmarks of both images", "input")
})

test_that("a translation only shifts", {
  needs_python()
  found <- register_images(sample_image("cat")[48:127, 151:230], upright(), transform = "translation")
  expect_equal(found$affine, cbind(diag(2), c(3, 0)), tolerance = 1e-2)
  expect_equal(tidy(found)$rotation, 0)
})

test_that("a list has a small picture of each pair, or the reason why there is none", {
  needs_python()
  found <- register_images(
    list(a = turned(), b = matrix(1, 80, 80), c = upright()[1:60, ]), rep(list(upright()), 3), on_error = "keep"
  )
  for (type in c("overlay", "grid", "jacobian", "uncertainty", "checkerboard")) {
    built <- ggplot2::ggplot_build(plot(found, type))
    expect_identical(as.character(built$layout$layout$pair), c("a", "b", "c"))
  }
  shown <- plot(found, "uncertainty")
  expect_equal(shown$layers[[1]]$data$shown, c(found$a$uncertainty))
  expect_match(shown$layers[[3]]$data$text, "Pair 2 of 3")
  expect_s3_class(ggplot2::ggplot_build(plot(found["b"]))$plot, "ggplot")
  expect_refused(plot(found[0]), "There is no pair to show", "input")
  expect_refused(plot(found, "mesh"), "`type` must be one of 'overlay'", "input")
})
