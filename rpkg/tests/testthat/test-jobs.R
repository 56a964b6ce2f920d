network <- function() {
  needs_python()
  equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), kernel_size = 3) |> layer_relu() |>
    layer_global_avg_pool() |> layer_group_pool() |> layer_dense(2)
}
x <- feature(12, 1, 7, 7)
y <- factor(rep(c("even", "odd"), 6))
options <- list(epochs = 2, batch_size = 4, seed = 1)
worker <- function(folder) {
  core <- dirname(system.file("python", "gequi", package = "gequiR"))
  system2(
    reticulate::py_config()$python, c("-m", "gequi.training", folder), env = paste0("PYTHONPATH=", core),
    stdout = TRUE, stderr = TRUE
  )
}

test_that("a job is prepared, done by a worker, and collected with its classes", {
  model <- network()
  job <- tempfile("job")
  given <- c(options, list(
    validation = list(x[1:4, , , , drop = FALSE], y[1:4]), class_weights = c(odd = 3, even = 1)
  ))
  lines <- do.call(prepare_job, c(list(job, model, x, y, metadata = list(by = "me"), nodes = 2, devices = 2), given))
  expect_match(lines$srun, "^srun --nodes 2 --ntasks-per-node 2 /.* -m gequi.training ")
  expect_refused(collect_job(job, model), "holds no job that is done", "input")
  alone <- tempfile("job")
  do.call(prepare_job, c(list(alone, model, x, y), given))
  said <- worker(alone)
  expect_true(file.exists(file.path(alone, "history.json")), info = said)
  collected <- collect_job(alone, model)
  fitted <- do.call(fit, c(list(model, x, y, progress = FALSE), given))
  expect_equal(get_weights(collected), get_weights(fitted), tolerance = 1e-5)
  expect_identical(levels(predict(collected, x)), c("even", "odd"))
})

test_that("two processes train what one does", {
  model <- network()
  told <- list()
  together <- do.call(fit, c(list(model, x, y, devices = 2, progress = function(info) {
    told <<- c(told, list(info))
    TRUE
  }), options))
  alone <- do.call(fit, c(list(model, x, y, progress = FALSE), options))
  expect_equal(get_weights(together), get_weights(alone), tolerance = 1e-5)
  expect_identical(told[[length(told)]]$step, 6L)
})

test_that("what does not fit a job is refused before anything is written", {
  model <- network()
  job <- tempfile("job")
  expect_refused(prepare_job(job, model, x, y, epoch = 3), "unknown option `epoch`; the options are", "input")
  expect_refused(prepare_job(job, model, x, y, epochs = 0), "`epochs` must be at least 1", "input")
  expect_refused(prepare_job(job, model, x, y, progress = identity), "where several processes train", "input")
  callbacks <- list(on_epoch_end = identity)
  expect_refused(prepare_job(job, model, x, y, callbacks = callbacks), "where several processes train", "input")
  expect_refused(prepare_job(job, "net", x, y), "`model` must be a network", "input")
  expect_refused(
    prepare_job(job, model, x, rep(1:3, 4)), "from 1 to 2, one for each output of the network; got 3", "input"
  )
  expect_false(file.exists(job))
})
