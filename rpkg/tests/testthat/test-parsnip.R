# parsnip is not installed where these tests must run: its part is played by the functions through which an engine is
# registered, as its documentation gives them, and by the calls that it makes then.
x <- feature(12, 1, 5, 5)
y <- factor(rep(c("even", "odd"), 6))
pixels <- as.data.frame(matrix(x, 12))
network <- function() {
  needs_python()
  equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), 3) |>
    layer_global_avg_pool() |>
    layer_group_pool() |>
    layer_dense(2)
}

# What the engine tells parsnip: a list of calls.
registered <- function(known = "nnet") {
  told <- list()
  parsnip <- function(package, name) {
    expect_identical(package, "parsnip")
    if (name == "get_from_env") return(function(model) data.frame(engine = known))
    function(...) told <<- c(told, list(list(name = name, arguments = list(...))))
  }
  with_internal("exported", parsnip, register_parsnip_engine())
  told
}

of <- function(told, name) lapply(Filter(function(each) each$name == name, told), `[[`, "arguments")

test_that("the engine is registered once, for both modes", {
  told <- registered()
  expect_identical(lapply(of(told, "set_model_engine"), unlist), list(
    c("mlp", "classification", "gequi"), c("mlp", "regression", "gequi")
  ))
  expect_identical(vapply(of(told, "set_model_arg"), `[[`, "", 4), c("epochs", "learning_rate", "penalty"))
  types <- vapply(of(told, "set_pred"), `[[`, "", 4)
  expect_identical(types, c("class", "prob", "raw", "numeric", "raw"))
  expect_length(registered("gequi"), 0)
})

test_that("what parsnip then calls fits and predicts", {
  told <- registered()
  call <- of(told, "set_fit")[[1]][[4]]
  expect_identical(call$protect, c("x", "y"))
  fit_it <- getExportedValue(call$func[["pkg"]], call$func[["fun"]])
  net <- network()
  fitted <- fit_it(
    x = pixels, y = y, network = net, shape = c(1, 5, 5), epochs = 2, learning_rate = 0.01, penalty = 1e-4, seed = 1
  )
  direct <- fit(
    net, x, y, epochs = 2, learning_rate = 0.01, optimizer = list(optimizer = "adamw", weight_decay = 1e-4), seed = 1,
    progress = FALSE
  )
  predictions <- lapply(of(told, "set_pred")[1:3], function(each) {
    value <- each[[5]]
    arguments <- lapply(value$args, eval, list(object = list(fit = fitted), new_data = cbind(other = "a", pixels)))
    found <- do.call(value$func[["fun"]], arguments)
    if (is.null(value$post)) found else value$post(found, NULL)
  })
  expect_identical(predictions[[1]], predict(direct, x))
  expect_identical(predictions[[2]], as.data.frame(predict(direct, x, type = "prob")))
  expect_identical(predictions[[3]], predict(direct, x, type = "raw"))
  expect_output(print(fitted), "trained for 2 epochs")
})

test_that("outcomes may be numbers, and predictors a list of images", {
  net <- network()
  outcomes <- data.frame(a = sin(1:12), b = cos(1:12))
  fitted <- fit_parsnip(pixels, outcomes, network = net, shape = c(1, 5, 5), epochs = 1, seed = 1)
  expect_identical(colnames(predict(fitted, pixels, type = "raw")), c("a", "b"))
  images <- data.frame(image = I(lapply(1:12, function(i) x[i, 1, , ])))
  as_list <- fit_parsnip(images, outcomes, network = net, epochs = 1, seed = 1)
  expect_identical(predict(as_list, images, type = "raw"), predict(fitted, pixels, type = "raw"))
})

test_that("what is no table of images is refused", {
  expect_refused(fit_parsnip(pixels, y), "`network` is missing: set_engine(", "input")
  net <- network()
  expect_refused(fit_parsnip(pixels, y, net, shape = c(1, 5, 6)), "is of 30 pixels; there are 25 columns", "shape")
  expect_refused(fit_parsnip(cbind(pixels, y = y), y, net), "`y` is neither", "input")
  fitted <- fit_parsnip(pixels, y, net, shape = c(1, 5, 5), epochs = 1, seed = 1)
  expect_refused(predict(fitted, pixels[-1]), "`newdata` has no column `V1`", "input")
})
