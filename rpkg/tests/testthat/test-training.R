small <- function(units = 2) {
  needs_python()
  equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), kernel_size = 3) |>
    layer_batch_norm() |>
    layer_relu() |>
    layer_global_avg_pool() |>
    layer_group_pool() |>
    layer_dense(units)
}
x <- feature(12, 1, 7, 7)
y <- factor(rep(c("even", "odd"), 6))
quick <- function(network = small(), ..., epochs = 2, seed = 1, batch_size = 4) {
  fit(network, x, ..., epochs = epochs, seed = seed, batch_size = batch_size, progress = FALSE)
}

test_that("a fitted network is a new network; the old one keeps its weights", {
  network <- small()
  before <- get_weights(network)
  fitted <- quick(network, y)
  expect_s3_class(fitted, c("gequi_fit", "gequi_network"), exact = FALSE)
  expect_identical(get_weights(network), before)
  expect_false(identical(get_weights(fitted), before))
})

test_that("factors come back as factors, and probabilities as a named matrix", {
  fitted <- quick(y = y)
  classes <- predict(fitted, x)
  expect_identical(levels(classes), c("even", "odd"))
  expect_length(classes, 12)
  probabilities <- predict(fitted, x, type = "prob")
  expect_identical(dim(probabilities), c(12L, 2L))
  expect_identical(colnames(probabilities), c("even", "odd"))
  expect_equal(rowSums(probabilities), rep(1, 12), tolerance = 1e-6)
  expect_identical(unname(classes), factor(c("even", "odd")[max.col(probabilities)], c("even", "odd")))
  expect_identical(dim(predict(fitted, x, type = "raw")), c(12L, 2L))
  expect_refused(predict(fitted, x, type = "numeric"), "`type` must be one of 'raw', 'class', 'prob'", "input")
  numbers <- quick(y = matrix(sin(1:24), 12))
  expect_refused(predict(numbers, x, type = "class"), "`type` must be one of 'raw'", "input")
  expect_identical(dim(predict(numbers, x)), c(12L, 2L))
})

test_that("predict() takes `newdata` as other packages do", {
  fitted <- quick(y = y)
  expect_identical(predict(fitted, newdata = x), predict(fitted, x))
  expect_identical(predict(fitted, newdata = x, type = "prob"), predict(fitted, x, "prob"))
  expect_refused(predict(fitted, x, newdata = x), "Give `x` or `newdata`, not both", "input")
  expect_refused(predict(fitted), "`x` is missing", "input")
})

test_that("each type of prediction tells how many images are done", {
  fitted <- quick(y = y)
  for (type in c("raw", "prob", "class", "tibble")) {
    told <- c()
    predict(fitted, x, type, batch_size = 8, progress = function(info) told <<- c(told, info$done))
    expect_identical(told, c(8L, 12L))
  }
})

test_that("classes count from 1 as integers do, and the order of a factor's levels is kept", {
  as_factor <- quick(y = y)
  as_integers <- quick(y = as.integer(y))
  expect_identical(get_weights(as_factor), get_weights(as_integers))
  expect_identical(as.vector(predict(as_integers, x)), as.integer(predict(as_factor, x)))
  turned <- quick(y = factor(y, c("odd", "even")))
  expect_false(identical(get_weights(turned), get_weights(as_factor)))
  expect_refused(quick(y = rep(1:3, 4)), "from 1 to 2, one for each output of the network; got 3", "input")
})

pixel_network <- function() {
  equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(trivial = 2), 3, padding = 1)
}

test_that("pixels that are NA or `ignore` count for nothing", {
  needs_python()
  classes <- array(as.integer(x > 0) + 1L, c(12, 7, 7))
  with_zeros <- with_na <- classes
  with_zeros[, 1:3, ] <- 0L
  with_na[, 1:3, ] <- NA
  measured <- evaluate(pixel_network(), x, with_na)
  expect_identical(evaluate(pixel_network(), x, with_zeros, ignore = 0), measured)
  expect_identical(evaluate(pixel_network(), x, ifelse(is.na(with_na), 7, with_na), ignore = 7), measured)
  expect_refused(evaluate(pixel_network(), x, with_zeros), "must hold the classes 0, 1; got 2. The", "input")
  fitted <- quick(pixel_network(), with_na)
  expect_identical(dim(predict(fitted, x)), c(12L, 7L, 7L))
  expect_identical(dim(predict(fitted, x, type = "prob")), c(12L, 2L, 7L, 7L))
})

test_that("masks of 0 and 1, of TRUE and FALSE and of a factor are two classes, and are predicted as they were given", {
  needs_python()
  mask <- array(x > 0.5, c(12, 7, 7))
  named <- structure(factor(ifelse(mask, "cell", "back"), c("back", "cell")), dim = dim(mask))
  fits <- lapply(list(logical = mask, integer = mask + 0L, double = mask + 0, factor = named), function(y) {
    suppressMessages(quick(pixel_network(), y))
  })
  for (fitted in fits) expect_identical(get_weights(fitted), get_weights(fits$logical))
  measured <- evaluate(fits$factor, x, named)
  expect_lt(measured$accuracy, 1) # were 0 left out, every pixel would be right
  expect_identical(evaluate(fits$double, x, mask + 0), measured)
  expect_identical(evaluate(fits$logical, x, mask + 0), measured)
  predicted <- lapply(fits, predict, x)
  expect_identical(dim(predicted$factor), dim(mask))
  expect_identical(levels(predicted$factor), c("back", "cell"))
  expect_identical(predicted$integer, predicted$double)
  expect_identical(predicted$logical, predicted$integer == 1L)
  expect_identical(predicted$logical, array(predicted$factor == "cell", dim(mask)))
  expect_identical(colnames(predict(fits$integer, x, type = "prob")), c("0", "1"))
  again <- unmarshal(marshal(fits$logical))
  expect_identical(predict(again, x), predicted$logical)
})

test_that("whole numbers are classes where the network has several outputs, and a message says so", {
  numbers <- rep(c(1, 2), 6)
  expect_message(fitted <- quick(y = numbers), "taken as the classes 1, 2, since the network has several outputs")
  expect_identical(get_weights(fitted), get_weights(quick(y = as.integer(numbers))))
  expect_no_message(one <- quick(small(1), numbers))
  expect_false(one$classes)
  expect_no_message(quick(y = as.character(y)))
  expect_identical(predict(quick(y = as.character(y)), x), predict(quick(y = factor(as.character(y))), x))
})

test_that("targets that do not fit are refused by the name of their class", {
  three <- factor(rep(c("a", "b", "c"), 4))
  expect_refused(quick(y = three), '`y` has 3 levels, "a", "b", "c", but the network has 2 outputs: give', "shape")
  unused <- factor(y, c(levels(y), "neither"))
  expect_refused(quick(y = unused), 'no target is "neither": droplevels(y)', "shape")
  missing <- y
  missing[3] <- NA
  expect_refused(quick(y = missing), "`y` has no class for image 3, it is NA", "input")
  expect_refused(quick(y = data.frame(label = y)), 'a data frame: give a column of it, such as `y[["label"]]`', "input")
  fitted <- quick(y = y)
  expect_refused(evaluate(fitted, x, rep(c("even", "prime"), 6)), 'the classes "even", "odd"; got "prime"', "input")
})

test_that("set.seed() decides the seeds that are drawn, and the results say which", {
  needs_python()
  drawn <- function() {
    network <- equivariant_network(c4(), c(trivial = 1)) |> layer_conv(c(trivial = 2), 3) |> layer_global_avg_pool()
    fit(network, x, y, epochs = 1, progress = FALSE)
  }
  set.seed(4)
  once <- drawn()
  set.seed(4)
  again <- drawn()
  expect_identical(get_weights(again), get_weights(once))
  expect_false(identical(get_weights(drawn()), get_weights(once)))
  expect_identical(again$fit_seed, once$fit_seed)
  expect_output(print(once), paste("trained for 1 epochs with seed", once$fit_seed), fixed = TRUE)
  set.seed(4)
  module <- multi_head_attention(4)
  set.seed(4)
  expect_identical(get_weights(multi_head_attention(4)), get_weights(module))
})

test_that("a checkpoint keeps its seed where none is given", {
  file <- tempfile(fileext = ".ckpt")
  first <- fit(small(), x, y, epochs = 1, checkpoint = file, progress = FALSE)
  resumed <- fit(small(), x, y, epochs = 2, checkpoint = file, progress = FALSE)
  whole <- fit(small(), x, y, epochs = 2, seed = first$fit_seed, progress = FALSE)
  expect_identical(get_weights(resumed), get_weights(whole))
})

test_that("validation data may be named, and names of other packages are answered", {
  pair <- list(x = x[1:4, , , , drop = FALSE], y = y[1:4])
  expected <- quick(y = y, validation = unname(pair))
  columns <- setdiff(names(expected$history), "seconds")
  expect_identical(quick(y = y, validation = pair)$history[columns], expected$history[columns])
  expect_identical(quick(y = y, validation = rev(pair))$history[columns], expected$history[columns])
  expect_refused(quick(y = y, validation_split = 0.2), "`validation_split` is called `validation` here", "input")
  expect_error(quick(y = y, epoch = 3), "epoch")
})

test_that("a history prints, draws and is a data frame", {
  fitted <- quick(y = y, validation = 0.25)
  history <- fitted$history
  expect_identical(history$epoch, 1:2)
  expect_named(as.data.frame(history), c(
    "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy", "learning_rate", "seconds",
    "stopped"
  ))
  expect_output(print(history), "epoch +loss +accuracy +val loss")
  expect_output(print(fitted), "classes: even, odd", fixed = TRUE)
  picture <- plot(fitted)
  expect_s3_class(picture, "ggplot")
  expect_setequal(levels(ggplot2::layer_data(picture)$PANEL), c("1", "2", "3"))
})

test_that("a function makes the batches, numbered from 1", {
  asked <- NULL
  make <- function(number) {
    asked <<- c(asked, number)
    rows <- (number - 1) * 6 + 1:6
    list(x[rows, , , , drop = FALSE], y[rows])
  }
  fitted <- fit(small(), make, loss = "cross_entropy", batches = 2, epochs = 2, seed = 1, progress = FALSE)
  expect_identical(asked, c(1, 1, 2, 1, 2))
  expect_identical(nrow(fitted$history), 2L)
})

test_that("a progress function sees where the training is and stops it with FALSE", {
  told <- list()
  fitted <- fit(small(), x, y, epochs = 100, seed = 1, progress = function(now) {
    told <<- c(told, list(now))
    length(told) < 3
  })
  expect_identical(fitted$history$stopped[nrow(fitted$history)], "interrupt")
  expect_lt(nrow(fitted$history), 100)
  expect_identical(told[[1]]$step, 1L)
  expect_output(print(fitted$history), "stopped by an interrupt", fixed = TRUE)
  expect_error(fit(small(), x, y, progress = function(now) stop("of mine")), "of mine")
})

test_that("callbacks are called when an epoch begins, a batch ends and an epoch ends", {
  told <- list()
  note <- function(event) function(info) told <<- c(told, list(c(list(event = event), info)))
  counted <- 0
  fitted <- quick(y = y, validation = 0.25, callbacks = list(
    list(on_epoch_begin = note("begin"), on_batch_end = note("batch"), on_epoch_end = note("end")),
    list(on_batch_end = function(info) counted <<- counted + 1)
  ))
  events <- vapply(told, function(info) info$event, "")
  expect_identical(events, rep(c("begin", "batch", "batch", "batch", "end"), 2))
  expect_identical(counted, 6)
  expect_identical(vapply(told, function(info) info$step, 0L), c(0:3, 3L, 3:6, 6L))
  expect_identical(vapply(told, function(info) info$batch, 0L), rep(c(0:3, 3L), 2))
  expect_null(told[[1]]$loss)
  expect_identical(told[[10]]$val_loss, fitted$history$val_loss[2])
  expect_identical(get_weights(fitted), get_weights(quick(y = y, validation = 0.25)))
})

test_that("a callback ends the training with FALSE, and with nothing else", {
  stops <- function(info) if (info$step == 4) FALSE else NULL
  stopped <- quick(y = y, epochs = 5, callbacks = list(on_batch_end = stops))
  expect_identical(stopped$history$stopped, c("", "callback"))
  expect_output(print(stopped$history), "stopped by a callback", fixed = TRUE)
  goes_on <- list(on_epoch_begin = function(info) data.frame(a = 1), on_epoch_end = function(info) 0)
  expect_identical(nrow(quick(y = y, callbacks = goes_on)$history), 2L)
  file <- tempfile(fileext = ".gequi")
  on.exit(unlink(file))
  quick(y = y, epochs = 3, checkpoint = file, callbacks = list(on_epoch_end = function(info) FALSE))
  expect_identical(
    get_weights(quick(y = y, epochs = 3, checkpoint = file)), get_weights(quick(y = y, epochs = 3))
  )
  expect_error(quick(y = y, callbacks = list(on_epoch_end = function(info) stop("of mine"))), "of mine")
  expect_refused(quick(y = y, callbacks = list(on_epoch = identity)), "unknown event `on_epoch`", "input")
  expect_refused(quick(y = y, callbacks = list(on_epoch_end = 3)), "`on_epoch_end` must be a function", "input")
  expect_refused(quick(y = y, callbacks = function(info) TRUE), "`callbacks` must have at least one of", "input")
  expect_refused(
    quick(y = y, devices = 2, callbacks = list(on_epoch_end = identity)),
    "`callbacks` cannot be used where several processes train", "input"
  )
})

test_that("an interrupt ends the training after the batch and gives the network as it stands", {
  fitted <- fit(small(), x, y, epochs = 100000, seed = 1, progress = function(now) {
    if (now$epoch > 3) tools::pskill(Sys.getpid(), tools::SIGINT)
  })
  expect_lt(nrow(fitted$history), 100000)
  expect_identical(dim(predict(fitted, x, type = "prob")), c(12L, 2L))
})

test_that("the progress bar tells loss, metric and time left", {
  told <- list(epoch = 2, epochs = 3, loss = 0.12345, accuracy = 0.5, step = 5, steps = 9, seconds_left = 100)
  expect_identical(progress_text(told), "loss 0.123  accuracy 0.5  2 min left")
  expect_identical(format_seconds(7200), "2 h")
  expect_identical(format_seconds(3.2), "3 s")
  utils::capture.output(fitted <- fit(small(), x, y, epochs = 2, seed = 1, progress = TRUE), type = "message")
  expect_identical(nrow(fitted$history), 2L)
})

test_that("a training that was stopped goes on from its checkpoint", {
  file <- tempfile(fileext = ".gequi")
  on.exit(unlink(file))
  whole <- quick(y = y, schedule = "cosine", epochs = 3)
  fit(small(), x, y, schedule = "cosine", epochs = 3, batch_size = 4, seed = 1, checkpoint = file,
      progress = function(now) now$epoch < 2)
  resumed <- quick(y = y, schedule = "cosine", epochs = 3, checkpoint = file)
  expect_identical(get_weights(resumed), get_weights(whole))
})

test_that("a network measured on factors knows their order", {
  fitted <- quick(y = y, epochs = 5)
  measured <- evaluate(fitted, x, factor(y, c("odd", "even")))
  expect_identical(measured, evaluate(fitted, x, y))
  expect_equal(measured$accuracy, mean(predict(fitted, x) == y))
})

test_that("weights of classes may be named", {
  named <- quick(y = y, class_weights = c(odd = 3, even = 1))
  expect_identical(get_weights(named), get_weights(quick(y = y, class_weights = c(1, 3))))
})

test_that("modules are trained too, again and again, and kept by saveRDS()", {
  needs_python()
  module <- image_classifier_mlp(c(1, 7, 7), hidden = 4, classes = 2, seed = 1)
  before <- get_weights(module)
  fitted <- quick(module, y)
  expect_identical(get_weights(module), before)
  expect_s3_class(predict(fitted, x), "factor")
  expect_identical(predict(saved_and_read(fitted), x, type = "prob"), predict(fitted, x, type = "prob"))
  again <- quick(fitted, y)
  expect_identical(class(again), class(fitted))
  expect_lt(evaluate(again, x, y)$loss, evaluate(module, x, y)$loss)
})

test_that("a network that was fitted goes on from its weights", {
  once <- quick(y = y)
  again <- quick(once, y)
  expect_identical(class(again), class(once))
  expect_false(identical(get_weights(again), get_weights(once)))
})

test_that("the options of fit() are named once: they are those that the core knows", {
  needs_python()
  expect_identical(fit_options(), names(formals(fit.gequi_network))[5:22])
  expect_refused(
    prepare_job(tempfile(), small(), x, y, epoch = 3), "unknown option `epoch`; the options are", "input"
  )
})

test_that("the progress bar can be drawn", {
  rlang::local_options(cli.progress_show_after = 0, cli.dynamic = FALSE)
  bar <- progress_reporter(TRUE)
  told <- list(epoch = 1, epochs = 2, loss = 0.5, step = 2, steps = 4, seconds_left = 3)
  expect_message(bar$report(told), "epoch 1/2")
  bar$close()
})

test_that("after a training, Ctrl-C still reaches R", {
  skip_on_os("windows") # which has no signal to send
  quick(y = y)
  target <- image_value(matrix(c(3, 1, 4, 2) / 4, 2))
  expect_message(
    found <- invert_input("image_value", target, matrix(1:4 / 4, 2), steps = 1e6, progress = function(info) {
      if (info$step == 20) tools::pskill(Sys.getpid(), tools::SIGINT)
      if (info$step > 2000) stop("the interrupt was lost")
    }),
    "Interrupted: the best of"
  )
  expect_equal(found$stopped, "interrupted")
})
