# A model that was made here, in the R processes and the programs of others.

picture <- feature(9, 9)
pictures <- function() lapply(1:3, function(turn) picture * turn)

# A small network, and what it predicts here.
small_network <- function() {
  equivariant_network(c4(), "trivial", seed = 1) |>
    layer_conv(c(regular = 1), 3) |>
    layer_relu() |>
    layer_global_avg_pool() |>
    layer_group_pool() |>
    layer_dense(2)
}

test_that("an R that has not loaded gequiR reads a model and predicts the same", {
  needs_python()
  network <- small_network()
  file <- saved_list(list(network, picture))
  read <- in_a_new_r(c(
    paste0("read <- readRDS(", deparse(file), ")"),
    "cat(sprintf('%a', predict(read[[1]], read[[2]])))"
  ))
  expect_identical(read, paste(sprintf("%a", predict(network, picture)), collapse = " "))
})

test_that("the workers of a PSOCK cluster predict the same", {
  needs_python()
  network <- small_network()
  cluster <- parallel::makePSOCKcluster(1)
  on.exit(parallel::stopCluster(cluster))
  there <- parallel::parLapply(cluster, pictures(), function(x, network) predict(network, x), network = network)
  expect_identical(there, lapply(pictures(), function(x) predict(network, x)))
})

test_that("callr::r() predicts the same, gives back a model that it made, and says what is refused", {
  needs_python()
  network <- small_network()
  there <- callr::r(function(network, x) {
    wider <- gequiR::layer_dense(network, 3)
    refused <- tryCatch(predict(network, matrix(1, 2, 2)), error = identity)
    list(values = predict(network, x), network = wider, wider = predict(wider, x), refused = refused)
  }, list(network, picture))
  expect_identical(there$values, predict(network, picture))
  expect_identical(there$wider, predict(there$network, picture))
  expect_refused(stop(there$refused), "features of size (2, 2) are smaller", "shape")
})

test_that("future::multisession predicts the same", {
  needs_python()
  network <- small_network()
  before <- future::plan(future::multisession, workers = I(1))
  on.exit(future::plan(before))
  there <- future::future(predict(network, picture), seed = TRUE)
  expect_identical(future::value(there), predict(network, picture))
})

# Two pairs of images with known angles, and a pair that is refused.
fixed_image <- function() sample_image("cat")[51:114, 151:214]
moving_images <- function() list(t(fixed_image())[64:1, ], fixed_image()[64:1, 64:1], fixed_image() * 0)

# The maps of these pairs that were found elsewhere are those of this session, and the refusal arrives with its class.
expect_registered <- function(there) {
  here <- lapply(moving_images()[1:2], register_images, fixed_image(), transform = "rigid")
  expect_identical(lapply(there[1:2], `[[`, "map"), lapply(here, `[[`, "map"))
  points <- rbind(c(10, 20), c(30, 40))
  expect_identical(predict(there[[2]], points), predict(here[[2]], points))
  expect_refused(stop(there[[3]]), "`moving` is constant", "input")
}

test_that("future.apply registers pairs in the processes of future::multisession", {
  needs_python()
  before <- future::plan(future::multisession, workers = I(1))
  on.exit(future::plan(before))
  there <- future.apply::future_lapply(moving_images(), function(moving, fixed) {
    tryCatch(gequiR::register_images(moving, fixed, transform = "rigid"), error = identity)
  }, fixed = fixed_image(), future.seed = TRUE)
  expect_registered(there)
})

test_that("batchtools registers pairs in an R of its own and keeps the results in its registry", {
  needs_python()
  folder <- tempfile("registry")
  on.exit(unlink(folder, recursive = TRUE))
  suppressMessages(registry <- batchtools::makeRegistry(folder, conf.file = NA, seed = 1))
  registry$cluster.functions <- batchtools::makeClusterFunctionsInteractive(external = TRUE)
  jobs <- batchtools::batchMap(function(moving, fixed) {
    tryCatch(gequiR::register_images(moving, fixed, transform = "rigid"), error = identity)
  }, moving_images(), more.args = list(fixed = fixed_image()), reg = registry)
  jobs$chunk <- 1 # all pairs in one process, which starts Python once
  suppressMessages(batchtools::submitJobs(jobs, reg = registry))
  expect_true(batchtools::waitForJobs(sleep = 0.1, reg = registry))
  expect_registered(batchtools::reduceResultsList(reg = registry))
})

test_that("knitr knits a prediction, and a model lives on in its cache", {
  needs_python()
  folder <- tempfile("knit")
  dir.create(folder)
  before <- setwd(folder)
  on.exit(setwd(before))
  on.exit(unlink(folder, recursive = TRUE), add = TRUE)
  document <- c(
    "```{r model, cache=TRUE}", "network <- small_network()", "calls <- calls + 1", "```",
    "```{r values}", "cat(sprintf('%a', predict(network, picture)))", "```"
  )
  knitted <- function() {
    within <- list2env(list(calls = 0, picture = picture, small_network = small_network), parent = globalenv())
    text <- knitr::knit(text = document, quiet = TRUE, envir = within)
    list(text = text, calls = within$calls)
  }
  first <- knitted()
  again <- knitted()
  expected <- paste(sprintf("%a", predict(small_network(), picture)), collapse = " ")
  expect_match(first$text, expected, fixed = TRUE)
  expect_false(grepl("starting Python|Warning|Error", first$text))
  expect_identical(again, first)
  expect_length(list.files(folder, "^model_.*[.]rdb$", recursive = TRUE), 1)
})

test_that("a Shiny server predicts for each input, and goes on after a refusal", {
  needs_python()
  network <- small_network()
  server <- function(input, output, session) {
    scores <- shiny::reactive(predict(network, picture[seq_len(input$rows), ] * input$scale))
    output$scores <- shiny::renderText(sprintf("%a", scores()))
  }
  shiny::testServer(server, {
    for (scale in 1:5) {
      session$setInputs(rows = 9, scale = scale)
      expect_identical(scores(), predict(network, picture * scale))
      expect_identical(output$scores, paste(sprintf("%a", scores()), collapse = " "))
      session$setInputs(scale = NA)
      expect_error(output$scores, class = "gequi_input_error")
    }
  })
})
