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
  save_model(model, file, metadata = list(author = "me"))
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

test_that("modules of every factory come back, trained or not", {
  needs_python()
  made <- list(
    unet(levels = 1, width = 2), image_classifier_mlp(c(1, 7, 7), hidden = c(4, 3), classes = 2),
    identity_resnet(1, 2, 1, widths = c(4, 8)), unet(levels = 1, width = 4, space = c4())
  )
  for (module in made) {
    weights <- get_weights(module)
    module <- set_weights(module, lapply(weights, function(weight) weight / 2))
    save_model(module, file)
    again <- load_model(file)
    image <- feature(2, 1, 7 + inherits(module, "gequi_network"), 7 + inherits(module, "gequi_network"))
    if (grepl("unet", format(module))) image <- feature(2, 1, 8, 8)
    expect_identical(predict(again, image), predict(module, image))
    expect_identical(class(again), class(module))
    expect_identical(format(again), format(module))
  }
  module <- fit(made[[2]], x, y, epochs = 2, seed = 1, progress = FALSE)
  save_model(module, file)
  expect_identical(predict(load_model(file), x, type = "prob"), predict(module, x, type = "prob"))
  attention <- visual_attention(2, heads = 2, kernel_size = 3, seed = 1)
  save_model(attention, file)
  image <- feature(1, 2, 5, 6)
  expect_identical(predict(load_model(file), image, image), predict(attention, image, image))
})

test_that("save.image() and load() keep models, in another session", {
  needs_python()
  models <- list(
    net = set_weights(small(), list(layers.0.weights = sin(seq_along(get_weights(small())$layers.0.weights)))),
    fitted = fitted(), module = unet(levels = 1, width = 2, seed = 3), x = x, space = c4(),
    type = field_type(c4(), c(regular = 1))
  )
  image <- tempfile(fileext = ".RData")
  seen <- in_a_new_r(c(
    "library(gequiR)",
    sprintf('list2env(readRDS("%s"), globalenv())', saved_list(models)),
    "before <- predict(module, x[, , 1:6, 1:6, drop = FALSE])",
    sprintf('save.image("%s")', image)
  ))
  expect_true(file.exists(image), info = paste(seen, collapse = "\n"))
  seen <- in_a_new_r(c(
    "library(gequiR)", sprintf('load("%s")', image),
    "cat(identical(predict(module, x[, , 1:6, 1:6, drop = FALSE]), before), '\n')",
    "cat(sum(predict(net, x)), sum(predict(fitted, x, type = 'prob')[, 'odd']), '\n')",
    "cat(dim(transform_field(array(1, c(1, 4, 3, 3)), type, 2)), nrow(group_elements(space)), '\n')"
  ))
  expect_identical(trimws(tail(seen, 3))[c(1, 3)], c("TRUE", "1 4 3 3 4"))
  expected <- c(sum(predict(models$net, x)), sum(predict(models$fitted, x, type = "prob")[, "odd"]))
  expect_equal(as.numeric(strsplit(tail(seen, 2)[1], " ")[[1]]), expected, tolerance = 1e-5)
})

test_that("marshal() keeps a model as bytes, with weights that were changed in Python too", {
  needs_python()
  model <- fitted()
  data <- marshal(model)
  expect_type(data, "raw")
  again <- unmarshal(unserialize(serialize(data, NULL)))
  expect_identical(predict(again, x), predict(model, x))
  expect_identical(again$history, model$history)
  module <- multi_head_attention(4, seed = 1)
  query <- feature(1, 3, 4)
  reticulate::import("torch")$nn$init$zeros_(reticulate::r_to_py(module)$output)
  expect_identical(max(abs(predict(unmarshal(marshal(module)), query, query))), 0)
})

test_that("a handle that is dead is recognised wherever it is used, with what to do", {
  needs_python()
  changed <- function(model) {
    reticulate::r_to_py(model)
    saved_and_read(model)
  }
  module <- changed(image_classifier_mlp(c(1, 7, 7), hidden = 4, classes = 2, seed = 1))
  network <- changed(small())
  trained <- changed(fitted())
  for (call in expression(
    predict(module, x), get_weights(module), set_weights(module, list()), save_model(module, file), marshal(module),
    export_model(module, file, c(1, 1, 7, 7)), evaluate(module, x, y), trace_shapes(module, c(1, 1, 7, 7)),
    fit(module, x, y, progress = FALSE), reticulate::r_to_py(module)
  )) {
    error <- expect_error(eval(call), "The weights of this module are lost", class = "gequi_setup_error")
    expect_match(conditionMessage(error), "Make the module anew, or keep")
  }
  for (call in expression(
    predict(network, x), get_weights(network), set_weights(network, list()), save_model(network, file),
    marshal(network), export_model(network, file, c(1, 1, 7, 7)), evaluate(network, x, y), summary(network),
    trace_shapes(network, c(1, 1, 7, 7)), fit(network, x, y, progress = FALSE), network |> layer_dense(2),
    equivariance_error(network, x), is_equivariant(network, x), plot_equivariance(network, x),
    invert_input(network, c(1, 0), x[1, , , , drop = FALSE], steps = 1), as.data.frame(network),
    prepare_job(tempfile(), network, x, y), collect_job(tempfile(), network), output_shape(network, c(1, 1, 7, 7)),
    predict(trained, x), predict(trained, x, type = "prob"), save_model(trained, file), fit(trained, x, y)
  )) {
    error <- expect_error(eval(call), "The weights of this network are lost", class = "gequi_setup_error")
    expect_match(conditionMessage(error), "set_weights()", fixed = TRUE)
  }
  for (each in list(module, network, trained)) expect_output(print(each)) # what they were is known
})

test_that("what is no model file is refused", {
  needs_python()
  saveRDS(1:3, file)
  expect_refused(load_model(file), "is a compressed file: in R, readRDS() may read it", "model_file")
  expect_refused(load_model(tempfile()), "there is no file", "model_file")
  expect_refused(save_model(small(), file.path(tempdir(), "no", "folder")), "cannot be written", "input")
  expect_refused(save_model("net", file), "`model` must be a network", "input")
  expect_refused(marshal(3), "`model` must be a network, as equivariant_network() makes it, or a module; got", "input")
  expect_refused(unmarshal("net"), "`data` must be a raw vector, as marshal() makes it; got text", "input")
  expect_refused(unmarshal(as.raw(1:30)), "`data` is no gequi model file", "model_file")
  expect_refused(load_model(3), "`path` must be the path of a file", "input")
})
