# A part of the cat, and the same turned by a quarter: what is at (row, column) of `upright` is at (81 - column, row) of
# `turned`.
upright <- function() sample_image("cat")[51:130, 151:230]
turned <- function() t(upright())[80:1, ]
registered <- once(function() register_images(moving = turned(), fixed = upright(), transform = "rigid"))
points <- data.frame(row = c(10, 40, 70), column = c(20, 40, 30))
points_turned <- data.frame(row = 81 - points$column, column = points$row)

test_that("landmarks count from 1, as matrices and as data frames in any order", {
  needs_python()
  found <- registered()
  told <- evaluate_registration(found, landmarks = list(points_turned, points))
  expect_s3_class(told, c("gequi_evaluation", "gequi_table", "data.frame"), exact = TRUE)
  expect_identical(names(told), c("metric", "label", "before", "after", "unit"))
  value <- function(metric, stage = "after") told[[stage]][told$metric == metric]
  expect_lt(value("TRE_max"), 0.05)
  before <- sqrt(rowSums((points_turned - points)^2))
  expect_equal(value("TRE_median", "before"), median(before))
  expect_equal(value("rTRE_max", "before"), max(before) / sqrt(2 * 80^2))
  expect_equal(value("robustness"), 1)
  expect_true(is.na(value("robustness", "before")))
  expect_identical(evaluate_registration(found, list(fixed = points[2:1], moving = points_turned[2:1])), told)
  expect_identical(evaluate_registration(found, list(as.matrix(points_turned), as.matrix(points))), told)
})

test_that("labels are numbers, logicals or factors, which keep their names", {
  needs_python()
  found <- registered()
  dark <- function(image) image < 0.5
  told <- evaluate_registration(found, labels = list(dark(turned()), dark(upright())))
  dice <- told[told$metric == "Dice", ]
  expect_identical(dice$label, 1L)
  expect_gt(dice$after, 0.99)
  overlap <- sum(dark(turned()) & dark(upright()))
  expect_equal(dice$before, 2 * overlap / (sum(dark(turned())) + sum(dark(upright()))))
  named <- function(image, levels) structure(factor(ifelse(dark(image), "dark", NA), levels), dim = dim(image))
  by_name <- evaluate_registration(found, labels = list(named(turned(), c("x", "dark")), named(upright(), "dark")))
  expect_identical(by_name$label[by_name$metric == "HD95"], "dark")
  expect_identical(by_name$after, told$after)
})

test_that("many pairs are told apart by their names or numbers", {
  needs_python()
  found <- register_images(list(turned(), upright()), list(a = upright(), b = upright()), transform = "rigid")
  landmarks <- list(list(points_turned, points), list(points, points))
  told <- evaluate_registration(found, landmarks = landmarks)
  expect_identical(unique(told$pair), c("a", "b", NA))
  expect_identical(told$metric[is.na(told$pair)], c("AUC_3", "AUC_5", "AUC_10"))
  alone <- as.data.frame(evaluate_registration(found$a, landmarks = landmarks[[1]]))
  expect_equal(as.data.frame(told)[which(told$pair == "a"), -1], alone)
  unnamed <- evaluate_registration(unname(unclass(found)), labels = list(NULL, list(upright() < 0.5, upright() < 0.5)))
  expect_identical(unnamed$pair[unnamed$metric == "Dice"], 2L)
})

test_that("a pair that failed has no rows, and an infinite error over the pairs", {
  needs_python()
  found <- structure(list(a = registered(), b = simpleError("no")), class = "gequi_registrations")
  told <- evaluate_registration(found, landmarks = rep(list(list(points_turned, points)), 2))
  expect_identical(unique(told$pair), c("a", NA))
  expect_equal(told$after[is.na(told$pair) & told$metric == "AUC_10"], 0.5, tolerance = 1e-3)
})

test_that("an evaluation prints its rows and no empty column", {
  needs_python()
  told <- evaluate_registration(registered(), landmarks = list(points_turned, points))
  shown <- cli::ansi_strip(capture.output(print(told)))
  expect_match(shown[1], "<evaluation> 10 metrics", fixed = TRUE)
  expect_match(shown[2], "^ +metric +before +after +unit$")
  expect_match(shown, "TRE_median +44[.]3", all = FALSE)
  expect_identical(class(as.data.frame(told)), "data.frame")
})

test_that("what cannot be evaluated is refused by the name of its argument", {
  needs_python()
  found <- registered()
  here <- as.matrix(points)
  refused <- function(words, kind, ...) expect_refused(evaluate_registration(found, ...), words, kind)
  refused("got 3 in the moving and 2 in the fixed", "shape", list(here, here[1:2, ]))
  refused("`landmarks` must be a pair", "shape", list(here))
  refused("`landmarks` must have the columns row, column; column is missing", "input", list(points["row"], points))
  refused("whole numbers", "input", labels = list(upright() < 2, upright()))
  refused("80 x 80, but its labels", "shape", labels = list(turned() < 2, here))
  refused("`labels` are empty", "input", labels = list(turned() > 2, upright() > 2))
  refused("only the moving image", "input", labels = list(turned() < 2, upright() > 2))
  expect_refused(evaluate_registration(4), "`found` must be a registration", "input")
  expect_refused(evaluate_registration(list(found, 4)), "Pair 2 of 2: `found` must be a registration", "input")
  error <- tryCatch(evaluate_registration(found, list(here)), error = identity)
  expect_identical(error$argument, "landmarks")
})
