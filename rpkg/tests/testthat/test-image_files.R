# A folder for each of two classes, and the images in it, in the order of their names.
x <- array(round((feature(6, 1, 7, 7) + 1) / 2 * 255) / 255, c(6, 1, 7, 7))
y <- factor(rep(c("cat", "dog"), c(4, 2)))
labelled <- function() {
  folder <- tempfile()
  for (i in 1:6) {
    dir.create(file.path(folder, y[i]), recursive = TRUE, showWarnings = FALSE)
    png::writePNG(x[i, 1, , ], file.path(folder, y[i], paste0(i, ".png")))
  }
  folder
}
small <- function() {
  needs_python()
  equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), kernel_size = 3) |>
    layer_global_avg_pool() |>
    layer_group_pool() |>
    layer_dense(2)
}
quick <- function(...) fit(small(), ..., epochs = 2, seed = 1, batch_size = 4, progress = FALSE)

test_that("a labelled folder, a data frame and image_files() train as their arrays do", {
  needs_python()
  folder <- labelled()
  images <- image_files(folder)
  expect_identical(images$labels, y)
  expect_identical(images$shape, dim(x))
  expected <- quick(x, y)
  weights <- get_weights(expected)
  table <- as.data.frame(images)
  for (each in list(folder, images, table, stats::setNames(table, c("file", "class")))) {
    fitted <- quick(each)
    expect_equal(get_weights(fitted), weights, tolerance = 1e-5)
    expect_identical(predict(fitted, each), predict(fitted, x))
  }
  expect_equal(evaluate(expected, folder), evaluate(expected, x, y), tolerance = 1e-5)
  predicted <- augment(expected, table)
  expect_named(predicted, c("path", "label", ".pred_class", ".pred_cat", ".pred_dog"))
  expect_equal(quick(x, y, validation = list(x = folder, y = NULL))$history$val_loss,
               quick(x, y, validation = list(x, y))$history$val_loss, tolerance = 1e-5)
  expect_equal(predict(small(), file.path(folder, "cat", "2.png")), predict(small(), x[2, , , , drop = FALSE]),
               tolerance = 1e-5)
})

test_that("the levels of labels are kept, and images are chosen as from a vector", {
  needs_python()
  folder <- labelled()
  table <- as.data.frame(image_files(folder))
  table$label <- factor(table$label, c("dog", "cat"))
  images <- image_files(table, size = 5)
  expect_identical(levels(images$labels), c("dog", "cat"))
  fitted <- quick(images)
  expect_identical(fitted$levels, c("dog", "cat"))
  expect_identical(as.data.frame(images[5:6])$path, table$path[5:6])
  expect_length(images[table$label == "dog"], 2)
  expect_identical(predict(fitted, saved_and_read(images)), predict(fitted, images))
  expect_output(print(images), "6 images of 5 x 5 pixels, 1 channel", fixed = TRUE)
  expect_output(print(images), "classes: dog (2), cat (4)", fixed = TRUE)
})

test_that("images of many sizes are brought to one", {
  folder <- labelled()
  png::writePNG(matrix(1, 4, 9), file.path(folder, "cat", "9.png"))
  expect_refused(quick(folder), "`size` brings images to one size", "shape")
  for (resize in c("stretch", "crop", "pad")) {
    expect_identical(predict(small(), image_files(folder, size = c(6, 8), resize = resize)) |> dim(), c(7L, 2L))
  }
})

test_that("the confusion matrix is a table, and each class has its measures", {
  fitted <- quick(x, y)
  confusion <- evaluate(fitted, x, y, by = "confusion")
  expect_s3_class(confusion, "table")
  expect_equal(confusion, table(truth = y, prediction = predict(fitted, x)))
  rows <- evaluate(fitted, x, y, by = "class")
  expect_identical(rows$class, c("cat", "dog"))
  expect_identical(rows$count, c(4L, 2L))
  expect_equal(rows$recall, unname(diag(confusion) / rowSums(confusion)))
  told <- c()
  evaluate(fitted, x, y, batch_size = nrow(x) - 1, progress = function(info) told <<- c(told, info$done))
  expect_identical(told, c(nrow(x) - 1L, nrow(x)))
  expect_refused(evaluate(fitted, x, y, progress = 3), "`progress` must be TRUE, FALSE or a function", "input")
  expect_refused(evaluate(fitted, x, y, by = "classes"), "`by` must be one of 'all', 'class', 'confusion'", "input")
})

test_that("scripts show a line for each epoch where they are asked to, or after two seconds", {
  expect_message(
    expect_message(fit(small(), x, y, epochs = 2, seed = 1, progress = "epochs"), "epoch 1/2  loss"), "epoch 2/2  loss"
  )
  expect_silent(fit(small(), x, y, epochs = 2, seed = 1))
  with_internal("seconds_of_silence", -1, {
    expect_message(expect_message(fit(small(), x, y, epochs = 2, seed = 1), "epoch 1/2"), "epoch 2/2")
    before <- options(knitr.in.progress = TRUE)
    on.exit(options(before))
    expect_silent(fit(small(), x, y, epochs = 2, seed = 1))
  })
})

test_that("what holds no images is refused", {
  needs_python()
  expect_refused(image_files(data.frame(a = 1)), "must have a column `path`, `file` or `image`", "input")
  expect_refused(image_files(tempdir(check = TRUE), size = c(1, 2, 3)), "`", "input")
  expect_refused(image_files("nowhere.png"), "there is no file", "input")
  expect_refused(image_files(labelled(), labels = "a"), "as many as there are files, 6; got 1", "shape")
  expect_refused(image_files(labelled(), labels = c(NA, 1:5)), "`labels` must not be NA", "input")
})
