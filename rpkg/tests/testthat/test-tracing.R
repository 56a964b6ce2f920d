test_that("a trace is a data frame of modules and shapes", {
  needs_python()
  trace <- trace_shapes(image_classifier_mlp(seed = 1), c(1, 1, 28, 28))
  expect_s3_class(trace, c("gequi_trace", "data.frame"), exact = TRUE)
  expect_identical(trace$output, c("1 10", "1 784", "1 512", "1 512", "1 512", "1 512", "1 10", "1 10"))
  expect_identical(trace$parameters[trace$kind == "Linear"], c(401920L, 262656L, 5130L))
  expect_output(print(trace), "    linear_1  Linear      1 784      1 512      401,920", fixed = TRUE)
  expect_output(print(trace["kind"]), "Sequential")
})

test_that("networks, modules of two inputs and Python's own modules are traced", {
  needs_python()
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 3), 3)
  expect_identical(trace_shapes(network, c(2, 1, 32, 32))$output[2], "2 12 30 30")
  two <- trace_shapes(multi_head_attention(8, 2, seed = 1), list(c(1, 5, 8), c(1, 7, 8)))
  expect_identical(two$sources, c("input 1, input 2", "(model)"))
  torch <- reticulate::import("torch")
  expect_identical(trace_shapes(torch$nn$Linear(3L, 2L), c(5, 3))$output[1], "5 2")
})

test_that("a trace is drawn, with skip connections, and written as DOT", {
  needs_python()
  trace <- trace_shapes(unet(levels = 2, width = 4, seed = 1), c(1, 1, 16, 16))
  for (depth in list(NULL, 1, 2)) {
    picture <- plot(trace, depth = depth)
    expect_s3_class(picture, "ggplot")
    file <- tempfile(fileext = ".png")
    ggplot2::ggsave(file, picture, width = 8, height = 3, dpi = 50)
    expect_gt(file.size(file), 1000)
  }
  expect_match(as_dot(trace), "\"down.1.3\" -> \"concat\" [label=\"channel 8, row 8, column 8\"]", fixed = TRUE)
  small <- plot(trace_shapes(multi_head_attention(8, 2, seed = 1), list(c(1, 5, 8), c(1, 7, 8))))
  expect_s3_class(ggplot2::ggplot_build(small)$plot, "ggplot")
})

test_that("errors name the argument", {
  needs_python()
  tiny <- unet(levels = 1, width = 1, seed = 1)
  expect_refused(trace_shapes(tiny, c(1, 1, 3, 4)), "is not accepted by the model: ShapeError", "input")
  expect_refused(trace_shapes(1, c(1, 2)), "`model` must be a network", "input")
  expect_refused(as_dot(1), "`trace` must be a table, as trace_shapes() makes it", "input")
  expect_refused(as_dot(trace_shapes(tiny, c(1, 1, 4, 4)), "up"), "`direction` must be one of", "input")
})
