small <- function(units = 2) {
  needs_python()
  equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), kernel_size = 3) |>
    layer_global_avg_pool() |>
    layer_group_pool() |>
    layer_dense(units)
}
x <- feature(12, 1, 5, 5)
y <- factor(rep(c("even", "odd"), 6))
quick <- function(network = small(), y, ...) fit(network, x, y, epochs = 2, seed = 1, progress = FALSE, ...)

test_that("a network is tidied by its layers, and glanced at as one row", {
  network <- small()
  expect_identical(tidy(network)$kind, c("", "conv", "global_avg_pool", "group_pool", "dense"))
  fitted <- quick(network, y, validation = 0.25)
  expect_identical(tidy(fitted), tidy(network))
  row <- glance(fitted)
  expect_identical(nrow(row), 1L)
  expect_identical(row$parameters, sum(tidy(network)$parameters))
  expect_identical(row$epochs, 2L)
  expect_identical(row$val_loss, fitted$history$val_loss[2])
  expect_identical(row$seconds, sum(fitted$history$seconds))
  expect_named(glance(network), c("layers", "parameters"))
  module <- image_classifier_mlp(c(1, 5, 5), hidden = 3, classes = 2, seed = 1)
  expect_identical(sum(tidy(module)$parameters), glance(module)$parameters)
  expect_identical(tidy(module)$term, names(get_weights(module)))
  expect_output(print(summary(module)), "parameters")
})

test_that("predictions are a tibble of classes and probabilities", {
  fitted <- quick(y = y)
  table <- predict(fitted, x, type = "tibble")
  expect_s3_class(table, c("tbl_df", "tbl", "data.frame"), exact = TRUE)
  expect_named(table, c(".pred_class", ".pred_even", ".pred_odd"))
  expect_identical(table$.pred_class, predict(fitted, x))
  expect_identical(table$.pred_odd, unname(predict(fitted, x, type = "prob")[, "odd"]))
  with_truth <- augment(fitted, x, truth = y)
  expect_named(with_truth, c(".truth", names(table)))
  expect_identical(with_truth$.truth, y)
  expect_refused(augment(fitted, x, truth = y[1:3]), "as many targets as there are predictions, 12; got 3", "shape")
  expect_output(print(as.data.frame(table)), ".pred_class")
})

test_that("predictions of numbers and of pixels are tibbles too", {
  numbers <- quick(y = matrix(sin(1:24), 12))
  expect_named(predict(numbers, x, type = "tibble"), c(".pred_1", ".pred_2"))
  expect_identical(predict(numbers, x, type = "tibble")$.pred_2, predict(numbers, x)[, 2])
  expect_named(predict(quick(small(1), sin(1:12)), x, type = "tibble"), ".pred")
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(trivial = 2), 3, padding = 1)
  pixels <- quick(network, array(rep(1:2, 150), c(12, 5, 5)))
  table <- predict(pixels, x, type = "tibble")
  expect_named(table, c("image", "row", "column", ".pred_class", ".pred_1", ".pred_2"))
  at <- table$image == 3 & table$row == 2 & table$column == 5
  expect_identical(table$.pred_2[at], predict(pixels, x, type = "prob")[3, 2, 2, 5])
  expect_identical(as.integer(table$.pred_class[at]), predict(pixels, x)[3, 2, 5])
})

test_that("a part of a history prints and a history is a data frame", {
  history <- quick(y = y)$history
  expect_output(print(history[, "loss"]), "[1]", fixed = TRUE)
  expect_output(print(history["loss"]), "loss")
  expect_output(print(history[0, ]), "0 rows", fixed = TRUE)
  expect_output(print(history[c("epoch", "loss")]), "epoch +loss")
  expect_output(print(history[-1]), "stopped")
  expect_output(print(history[, "loss", drop = FALSE]), "loss")
  expect_identical(nrow(rbind(history, history)), 4L)
  expect_refused(plot(history[0, ]), "has no epochs to draw", "input")
})

test_that("autoplot() is plot() and fortify() is as.data.frame()", {
  fitted <- quick(y = y)
  expect_identical(autoplot(fitted)$data, plot(fitted)$data)
  expect_identical(ggplot2::fortify(fitted), as.data.frame(fitted$history))
  expect_s3_class(autoplot(small()), "ggplot")
  expect_s3_class(autoplot(c4()), "ggplot")
  expect_s3_class(plot(small(), input_shape = c(1, 1, 5, 5)), "ggplot")
  bars <- plot(small())$data
  expect_identical(bars$channels, tidy(small())$channels)
  sized <- plot(summary(small(), c(1, 1, 5, 5)))$data
  expect_match(sized$label[2], "2 regular, 3 x 3, 14 parameters", fixed = TRUE)
  module <- image_classifier_mlp(c(1, 5, 5), hidden = 3, classes = 2, seed = 1)
  expect_s3_class(plot(module, c(1, 1, 5, 5)), "ggplot")
  expect_refused(plot(module), "`input_shape` is missing", "input")
})

test_that("coef() is what was learned, and update() changes options", {
  network <- small()
  expect_identical(coef(network), get_weights(network))
  other <- update(network, seed = 2)
  expect_equal(other$seed, 2)
  expect_identical(kinds_of(other), kinds_of(network))
  expect_false(identical(coef(other), coef(network)))
  module <- image_classifier_mlp(c(1, 5, 5), hidden = 3, classes = 2, seed = 1)
  expect_match(format(update(module, hidden = 4)), "hidden = 4", fixed = TRUE)
  expect_refused(update(network, sed = 2), "There is no option `sed`; the options are space, input", "input")
  expect_refused(update(network, 2), "Options must be given by name", "input")
  expect_refused(update(quick(network, y)), "does not keep its examples", "input")
})

test_that("registrations are glanced at, augmented, updated and have coefficients", {
  needs_python()
  image <- sample_image("cat")[51:130, 151:230]
  found <- register_images(t(image)[80:1, ], image, transform = "rigid")
  expect_identical(glance(found)$probability, found$probability)
  expect_identical(nrow(glance(found)), 1L)
  expect_named(augment(found), c(names(as.data.frame(found)), ".fixed", ".warped"))
  expect_identical(augment(found)$.warped, c(found$warped))
  expect_identical(ggplot2::fortify(found), as.data.frame(found))
  expect_identical(unname(coef(found)), found$affine)
  expect_identical(colnames(coef(found)), c("row", "column", "shift"))
  nearest <- update(found, interpolation = "nearest")
  expect_identical(nearest$transform, "rigid")
  expect_equal(nearest$affine, found$affine)
  expect_equal(min(abs(found$moving - nearest$warped[40, 40])), 0, tolerance = 1e-6)
  expect_refused(update(found, moving = image), "There is no option `moving`", "input")
})

test_that("`$` completes to the plain data of an object", {
  fitted <- quick(y = y)
  known <- utils::.DollarNames(fitted, "")
  expect_true(all(c("history", "levels", "seed") %in% known))
  expect_false("handle" %in% known)
  expect_identical(utils::.DollarNames(fitted, "^hist"), "history")
  expect_true("group" %in% utils::.DollarNames(c4(), ""))
})
