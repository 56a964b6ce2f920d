test_that("there is one function for each kind of layer, with its options in their order and with their defaults", {
  needs_python()
  table <- layer_kinds()
  functions <- grep("^layer_(?!kinds$)", getNamespaceExports("gequiR"), value = TRUE, perl = TRUE)
  expect_setequal(functions, paste0("layer_", unique(table$kind)))
  for (kind in unique(table$kind)) {
    rows <- table[table$kind == kind & !is.na(table$option), ]
    arguments <- as.list(formals(paste0("layer_", kind)))
    expect_identical(names(arguments), c("network", rows$option), info = kind)
    required <- vapply(arguments[-1], function(default) identical(default, rlang::missing_arg()), NA)
    expect_identical(unname(required), rows$required, info = kind)
    for (row in which(!rows$required)) {
      default <- eval(arguments[[rows$option[row]]])
      expect_identical(default, eval(parse(text = rows$default[row])), info = paste(kind, rows$option[row]))
    }
  }
})

test_that("layers are piped into a recipe that holds what was given and no more", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 4), kernel_size = 3, bias = FALSE) |>
    layer_relu()
  expect_identical(network$layers, list(
    list(layer = "conv", fields = list(list("regular", 4)), kernel_size = 3, bias = FALSE), list(layer = "relu")
  ))
})

test_that("each layer is checked when it is added, by the core, and named", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1)
  error <- expect_refused(layer_conv(network, c(irrep_1 = 1), 4), "layer 1 (conv): `kernel_size` must be odd", "input")
  expect_identical(as.character(error$call[[1]]), "layer_conv")
  expect_refused(network |> layer_conv(c(irrep_1 = 1), 3) |> layer_relu(), "layer 2 (relu)", "field")
  expect_refused(layer_dense(network, 2.5), "`units` must be a whole number; got 2.5", "input")
  expect_refused(layer_conv(network), "`fields` is missing", "input")
  expect_refused(layer_relu(3), "as equivariant_network() makes it; got numbers", "input")
  expect_refused(layer_conv(c(regular = 4), 3), "`network` must be a network", "input")
})

test_that("a residual layer takes its layers as a function or as a list", {
  needs_python()
  network <- equivariant_network(c4(), c(regular = 2), seed = 1)
  piped <- network |>
    layer_residual(
      \(x) x |> layer_conv(c(regular = 3), 3, padding = 1) |> layer_relu(),
      shortcut = \(x) layer_conv(x, c(regular = 3), 1)
    )
  listed <- network |>
    layer_residual(
      list(list(layer = "conv", fields = c(regular = 3), kernel_size = 3, padding = 1), list(layer = "relu")),
      shortcut = list(list(layer = "conv", fields = c(regular = 3), kernel_size = 1))
    )
  expect_identical(piped$layers, listed$layers)
  x <- feature(1, 8, 5, 5)
  expect_identical(predict(piped, x), predict(listed, x))
  expect_refused(layer_residual(network, \(x) x |> layer_conv(c(regular = 3), 4)), "layer 1.1 (conv)", "input")
  expect_refused(layer_residual(network, \(x) 3), "must return the network it is given", "input")
  expect_refused(layer_residual(network, \(x) layer_relu(x), \(x) 3), "`shortcut` must return", "input")
})

test_that("a subgroup of several parts is a list or a vector", {
  needs_python()
  network <- equivariant_network(gspace("flipRot2dOnR2", N = 4), c(trivial = 1), seed = 1)
  expect_identical(layer_restrict(network, list(NULL, 4))$table$fields[2], "1 trivial")
  expect_refused(layer_restrict(network, "a"), "must be an id of a subgroup", "field")
})

test_that("options may be computed, and passed on from another function", {
  needs_python()
  block <- function(network, size, ...) layer_conv(network, c(regular = size), kernel_size = 2 * size - 1, ...)
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> block(2, padding = 1)
  fields <- list(list("regular", 2))
  expect_identical(network$layers[[1]], list(layer = "conv", fields = fields, kernel_size = 3, padding = 1))
})
