x <- feature(6, 1, 7, 7) / 2 + 0.5
y <- factor(rep(c("even", "odd"), 3))
folder <- tempfile()
dir.create(folder)
for (i in 6:1) png::writePNG(round(x[i, 1, , ] * 255) / 255, file.path(folder, paste0("image-", i, ".png")))
seen <- round(x * 255) / 255
trained <- function() {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), kernel_size = 3) |> layer_relu() |>
    layer_global_avg_pool() |> layer_group_pool() |> layer_dense(2)
  fit(network, x, y, epochs = 2, seed = 1, progress = FALSE)
}

test_that("a folder of pictures is predicted as R reads them, with classes as factors", {
  model <- trained()
  found <- predict_folder(model, folder)
  expect_identical(basename(found$files), paste0("image-", 1:6, ".png"))
  expect_equal(found$output, predict(model, seen, type = "raw"), tolerance = 1e-6)
  expect_identical(predict_folder(model, folder, type = "class")$output, predict(model, seen, type = "class"))
  probabilities <- predict_folder(model, found$files[c(4, 2)], type = "prob")$output
  expect_equal(probabilities, predict(model, seen[c(4, 2), , , , drop = FALSE], type = "prob"), tolerance = 1e-6)
  expect_identical(colnames(probabilities), c("even", "odd"))
})

test_that("two processes predict what one does", {
  model <- trained()
  together <- predict_folder(model, folder, type = "prob", batch_size = 2, devices = 2)
  expect_equal(together, predict_folder(model, folder, type = "prob"), tolerance = 1e-6)
})

test_that("a job keeps the classes of the network", {
  model <- trained()
  job <- tempfile("job")
  lines <- prepare_prediction(job, model, folder, type = "class", nodes = 2, devices = 4, metadata = list(by = "me"))
  expect_match(lines$srun, "^srun --nodes 2 --ntasks-per-node 4 /.* -m gequi.folders ")
  expect_refused(collect_prediction(job), "is not finished; none of its parts exist", "input")
  python <- reticulate::py_config()$python
  core <- dirname(system.file("python", "gequi", package = "gequiR"))
  said <- system2(
    python, c("-m", "gequi.folders", job), env = paste0("PYTHONPATH=", core), stdout = TRUE, stderr = TRUE
  )
  expect_identical(collect_prediction(job)$output, predict(model, seen), info = said)
})

test_that("what does not fit is refused", {
  model <- trained()
  expect_refused(predict_folder(model, tempfile()), "there is no folder", "input")
  expect_refused(predict_folder(model, folder, type = "klass"), "Did you mean 'class'?", "input")
  expect_refused(predict_folder("net", folder), "`model` must be a network", "input")
  expect_refused(prepare_prediction(folder, model, folder), "is not empty", "input")
  expect_refused(collect_prediction(folder), "holds no predictions", "input")
  colours <- equivariant_network(c4(), c(trivial = 3), seed = 1)
  expect_refused(predict_folder(colours, folder), "image-1.png' does not fit the model", "shape")
})
