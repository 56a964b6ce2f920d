# The 3 x 3 case of the poster's notebook.
small <- rbind(c(0.749673, 0.286601, 0.689869), c(0.378105, 0.743137, 0.302288), c(0.515142, 0.466993, 0.72146))
other <- small
other[, 2] <- c(0.743137, 0.466993, 0)
target <- function() image_value(other)

test_that("the notebook's descent is met", {
  needs_python()
  found <- invert_input("image_value", target(), small, steps = 628)
  expect_equal(found$loss$loss[1:2], c(1.10585, 1.09012), tolerance = 1e-5)
  expect_lte(found$best_loss, 0.00101)
  expect_equal(found$best_step, 628)
  expect_equal(found$loss$step, 0:628)
  early <- invert_input("image_value", target(), small, steps = 156)
  printed <- rbind(c(0.602404, 0.223887, 0.608441), c(0.516231, 0.832933, 0.381413), c(0.398615, 0.326251, 0.642348))
  expect_lt(max(abs(early$solution - printed)), 1e-4)
})

test_that("a function of R is inverted as the operation that it is", {
  needs_python()
  value <- function(a) gram_image(normalize_columns(a, function(y) y + 1))
  own <- invert_input(value, target(), small, steps = 30, dtype = "float64")
  named <- invert_input("image_value", target(), small, steps = 30, dtype = "float64")
  expect_equal(own$solution, named$solution, tolerance = 1e-8)
})

test_that("permuted rows and rotated photographs are exact solutions", {
  needs_python()
  found <- invert_input("image_value", target(), other[c(3, 1, 2), ], steps = 0, dtype = "float64")
  expect_lte(found$best_loss, 1e-12)
  space <- gspace("rot2dOnR2", N = 4)
  network <- equivariant_network(space, c(trivial = 1), seed = 1, dtype = "float64") |>
    layer_conv(c(regular = 2), kernel_size = 3) |>
    layer_relu() |>
    layer_global_avg_pool() |>
    layer_group_pool()
  photograph <- sample_image("camera")[seq(1, 512, 20), seq(1, 512, 20)]
  turned <- transform_field(photograph, field_type(space, c(trivial = 1)), 2)
  expect_lte(invert_input(network, predict(network, photograph), turned, steps = 0)$best_loss, 1e-12)
})

test_that("features of a network are inverted back to pixels", {
  needs_python()
  network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), kernel_size = 3)
  photograph <- sample_image("camera")[seq(1, 512, 20), seq(1, 512, 20)]
  found <- invert_input(network, predict(network, photograph), photograph * 0 + 0.5, steps = 200, learning_rate = 0.02)
  expect_equal(dim(found$solution), dim(photograph))
  expect_gt(cor(c(found$solution), c(photograph)), 0.99)
})

test_that("progress sees every step and stops the descent by FALSE", {
  needs_python()
  seen <- data.frame(step = integer(), loss = numeric())
  found <- invert_input("image_value", target(), small, steps = 50, progress = function(info) {
    seen[nrow(seen) + 1, ] <<- list(info$step, info$loss)
    info$step < 5
  })
  expect_equal(found$stopped, "progress")
  expect_equal(seen, found$loss, ignore_attr = TRUE)
  expect_equal(seen$step, 0:5)
})

test_that("an interrupt keeps the best so far", {
  needs_python()
  skip_on_os("windows") # which has no signal to send
  expect_message(
    found <- invert_input("image_value", target(), small, steps = 1e6, progress = function(info) {
      if (info$step == 20) tools::pskill(Sys.getpid(), tools::SIGINT)
      if (info$step > 2000) stop("the interrupt was lost")
    }),
    "Interrupted: the best of"
  )
  expect_equal(found$stopped, "interrupted")
  expect_gte(nrow(found$loss), 21)
  expect_lt(found$best_loss, found$loss$loss[1])
})

test_that("an error of progress is the user's own", {
  needs_python()
  expect_error(
    invert_input("image_value", target(), small, progress = function(info) rlang::abort("mine", class = "mine")),
    class = "mine"
  )
})

test_that("a progress bar can be shown", {
  needs_python()
  expect_message(invert_input("image_value", target(), small, steps = 3, progress = TRUE), NA)
})

test_that("a step out of the domain is a warning, and the best before it is returned", {
  needs_python()
  start <- rbind(c(-0.99, 0.5), c(0.5, 0.2))
  wanted <- normalize_columns(rbind(c(-1, 0.5), c(0.5, 0.2)), "plus_one")
  expect_warning(
    found <- invert_input(function(a) normalize_columns(a, "plus_one"), wanted, start, learning_rate = 0.05),
    "left the domain of `f`", class = "gequi_warning"
  )
  expect_equal(found$stopped, "outside")
  expect_equal(found$best_loss, min(found$loss$loss))
})

test_that("what cannot be is refused by name", {
  needs_python()
  refused <- function(...) {
    arguments <- modifyList(list(f = "image_value", target = target(), start = small), list(...))
    tryCatch(do.call(invert_input, arguments), gequi_error = function(error) error$argument)
  }
  expect_equal(refused(f = "image_valu"), "f")
  expect_equal(refused(target = target()[1:2, ]), "target")
  expect_equal(refused(start = small * NaN), "start")
  expect_equal(refused(steps = 4.7), "steps")
  expect_equal(refused(steps = "4", progress = TRUE), "steps")
  expect_equal(refused(optimizer = "adamw"), "optimizer")
  expect_equal(refused(loss = "l2"), "loss")
  expect_equal(refused(dtype = "float16"), "dtype")
  expect_equal(refused(progress = "yes"), "progress")
})

test_that("what is solved from the start, or has no rows and columns, is drawn as well", {
  needs_python()
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  solved <- invert_input("signed_image", signed_image(small), small, dtype = "float64")
  expect_equal(solved$stopped, "exact")
  expect_output(print(solved), "(a loss of 0)", fixed = TRUE)
  expect_silent(print(plot(solved)))
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_global_avg_pool() |>
    layer_dense(4)
  expect_silent(print(plot(invert_input(network, array(1:4, c(1, 4)), small, steps = 2))))
})

test_that("an inversion prints, tabulates and draws itself", {
  needs_python()
  found <- invert_input("image_value", target(), small, steps = 5)
  expect_output(print(found), "<inverted input> loss 1.106 -> 1.029 at step 5 of 5 (all steps taken)", fixed = TRUE)
  expect_output(print(found), "input 3 x 3, output 3 x 3")
  expect_identical(as.data.frame(found), found$loss)
  file <- tempfile(fileext = ".png")
  on.exit(unlink(file))
  grDevices::png(file, 800, 300)
  panels <- print(plot(found))
  grDevices::dev.off()
  expect_length(panels, 4)
  expect_equal(vapply(panels, function(panel) panel$labels$title, ""), c("start", "solution, step 5", "target", "loss"))
  expect_gt(file.size(file), 5000)
})
