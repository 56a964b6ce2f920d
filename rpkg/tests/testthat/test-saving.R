small <- function() {
  needs_python()
  equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2, irrep_1 = 1), kernel_size = 3) |>
    layer_conv(c(regular = 2), kernel_size = 3) |>
    layer_relu() |>
    layer_global_avg_pool() |>
    layer_group_pool() |>
    layer_dense(2)
}
x <- feature(12, 1, 7, 7)
y <- factor(rep(c("even", "odd"), 6))
fitted <- function() fit(small(), x, y, epochs = 2, seed = 1, validation = 0.25, progress = FALSE)
file <- tempfile(fileext = ".gequi")

test_that("a network comes back with its weights, layers and predictions", {
  network <- set_weights(small(), list(layers.0.weights = sin(seq_along(get_weights(small())$layers.0.weights))))
  expect_identical(withVisible(save_model(network, file))$visible, FALSE)
  again <- load_model(file)
  expect_identical(predict(again, x), predict(network, x))
  expect_identical(as.data.frame(again), as.data.frame(network))
  expect_identical(class(again), class(network))
})

test_that("a fitted network comes back with its classes and its history", {
  model <- fitted()
  save_model(model, file, about = list(author = "me"))
  again <- load_model(file)
  expect_identical(predict(again, x, type = "prob"), predict(model, x, type = "prob"))
  expect_identical(predict(again, x), predict(model, x))
  expect_equal(again$history, model$history)
})

test_that("saveRDS() keeps a fitted network, in this session and in another", {
  model <- fitted()
  again <- saved_and_read(model)
  expect_identical(predict(again, x, type = "prob"), predict(model, x, type = "prob"))
  expect_identical(again$history, model$history)
  rds <- tempfile(fileext = ".rds")
  saveRDS(list(model, x), rds)
  printed <- in_a_new_r(sprintf(paste0(
    'library(gequiR); saved <- readRDS("%s"); ',
    'cat(format(predict(saved[[1]], saved[[2]], type = "prob"), digits = 7))'
  ), rds))
  expect_identical(tail(printed, 1), paste(format(predict(model, x, type = "prob"), digits = 7), collapse = " "))
})

test_that("what is no model file is refused", {
  saveRDS(1:3, file)
  expect_refused(load_model(file), "is a compressed file: in R, readRDS() may read it", "model_file")
  expect_refused(load_model(tempfile()), "there is no file", "model_file")
  expect_refused(save_model(small(), file.path(tempdir(), "no", "folder")), "cannot be written", "input")
  expect_refused(save_model("net", file), "`model` must be a network", "input")
  module <- image_classifier_mlp(c(1, 7, 7), hidden = 4, classes = 2, seed = 1)
  expect_refused(save_model(module, file), "`model` must be a network, as equivariant_network() makes it", "input")
  expect_refused(load_model(3), "`path` must be the path of a file", "input")
})
