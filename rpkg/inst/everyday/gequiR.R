# Forty everyday tasks. Each begins with its title, "#' ..."; stopifnot() checks what came out and is not counted.
# What all of them use:
folder <- file.path(tempdir(), "everyday")
dir.create(folder, showWarnings = FALSE)
cat <- sample_image("cat")[51:130, 151:230]
turned <- t(cat)[80:1, ]
wave <- function(n) array(sin(seq_len(n * 64) * 1.7), c(n, 1, 8, 8))
x <- wave(24)
y <- factor(rep(c("dark", "bright"), 12))
x <- x + ifelse(y == "bright", 1, -1)
grey <- c(trivial = 1)
landmarks <- data.frame(row = c(20, 40), column = c(30, 50))
on_turned <- data.frame(row = 81 - c(30, 50), column = c(20, 40))
# Images of many sizes, a folder for each class:
for (class in levels(y)) dir.create(file.path(folder, "train", class), recursive = TRUE, showWarnings = FALSE)
for (i in 1:4) write_image(matrix(i / 10, 8, 8 + i), file.path(folder, "train", "dark", paste0(i, ".png")))
for (i in 5:8) write_image(matrix(i / 10, i, 9), file.path(folder, "train", "bright", paste0(i, ".png")))

#' Write an image to a PNG file
write_image(cat, file.path(folder, "cat.png"))
stopifnot(file.exists(file.path(folder, "cat.png")))

#' Read an image
picture <- to_grayscale(file.path(folder, "cat.png"))
stopifnot(max(abs(picture - cat)) < 1 / 255)

#' Write 16 bits, between the smallest and the largest value
write_image(volcano, file.path(folder, "volcano.tif"), limits = NULL, bits = 16)
stopifnot(abs(max(to_grayscale(file.path(folder, "volcano.tif"))) - 1) < 1e-6)

#' Show an image
plot_image(cat)
stopifnot(inherits(plot_image(cat), "ggplot"))

#' Show the pictures of a folder
plot_image(folder)
stopifnot(nlevels(plot_image(folder)$data$image) == 2)

#' Turn a colour picture to grey
grey_picture <- to_grayscale(array(c(cat, cat, cat), c(80, 80, 3)))
stopifnot(max(abs(grey_picture - cat)) < 1e-12)

#' Make a batch of several images
batch <- as_image_batch(list(cat, turned))
stopifnot(identical(dim(batch), c(2L, 1L, 80L, 80L)))

#' Make a network that does not care about quarter turns
network <- equivariant_network(gspace("rot2dOnR2", N = 4), grey, seed = 1) |>
  layer_conv(c(regular = 2), kernel_size = 3) |>
  layer_relu() |>
  layer_global_avg_pool() |>
  layer_group_pool() |>
  layer_dense(2)
stopifnot(max(abs(predict(network, cat) - predict(network, turned))) < 1e-4)

#' See its layers and sizes
summary(network, input_shape = c(1, 1, 8, 8))
stopifnot(nrow(tidy(network)) == 6)

#' Draw it
plot(network)
stopifnot(inherits(plot(network), "ggplot"))

#' Count its parameters
parameters <- glance(network)
stopifnot(parameters$parameters == sum(tidy(network)$parameters), parameters$parameters > 0)

#' Measure how equivariant it is
error <- equivariance_error(network, x)
stopifnot(max(error$error) < 1e-4)

#' Train it
fitted <- fit(network, x, y, epochs = 30, learning_rate = 0.05, seed = 1)
stopifnot(tail(fitted$history$loss, 1) < fitted$history$loss[1])

#' Predict classes
classes <- predict(fitted, x)
stopifnot(identical(levels(classes), levels(y)), mean(classes == y) == 1)

#' Predict probabilities
probabilities <- predict(fitted, x, type = "prob")
stopifnot(identical(colnames(probabilities), levels(y)), max(abs(rowSums(probabilities) - 1)) < 1e-6)

#' Predict a tibble with the truth beside
table <- augment(fitted, x, truth = y)
stopifnot(identical(names(table), c(".truth", ".pred_class", ".pred_bright", ".pred_dark")))

#' Measure accuracy
measured <- evaluate(fitted, x, y)
stopifnot(measured$accuracy == 1)

#' See the confusion matrix
confusion <- evaluate(fitted, x, y, by = "confusion")
stopifnot(sum(diag(confusion)) == 24)

#' See precision and recall of each class
by_class <- evaluate(fitted, x, y, by = "class")
stopifnot(by_class$recall == 1)

#' Draw the history
plot(fitted)
stopifnot(inherits(plot(fitted), "ggplot"))

#' Hold out a part to validate with
validated <- fit(network, x, y, epochs = 2, validation = 0.25, seed = 1)
stopifnot(is.finite(validated$history$val_loss))

#' Stop early and keep the best weights
stopped <- fit(network, x, y, epochs = 50, learning_rate = 1, patience = 1, seed = 1)
stopifnot(nrow(stopped$history) < 50)

#' Save a model and load it again
save_model(fitted, file.path(folder, "model.gequi"))
loaded <- load_model(file.path(folder, "model.gequi"))
stopifnot(identical(predict(loaded, x, type = "prob"), probabilities))

#' Train on images of many sizes in a folder for each class
images <- image_files(file.path(folder, "train"), size = 8)
from_folder <- fit(network, images, epochs = 2, seed = 1)
stopifnot(identical(from_folder$levels, c("bright", "dark")))

#' Predict for a table of files
files <- as.data.frame(images)
predicted <- augment(from_folder, images)
stopifnot(nrow(predicted) == nrow(files))

#' Segment pixels by a mask
mask <- x[, 1, , ] > 0
segmenter <- equivariant_network(gspace("rot2dOnR2", N = 4), grey, seed = 1) |> layer_conv(c(trivial = 2), 1)
segmented <- predict(fit(segmenter, x, mask, epochs = 200, learning_rate = 0.1, seed = 1), x)
stopifnot(mean(segmented == mask) > 0.98)

#' Learn numbers
number <- equivariant_network(gspace("rot2dOnR2", N = 4), grey, seed = 1) |> layer_global_avg_pool() |> layer_dense(1)
learned <- fit(number, x, 2 * as.numeric(y == "bright") + 0.5, epochs = 100, learning_rate = 0.1, seed = 1)
stopifnot(evaluate(learned, x, 2 * as.numeric(y == "bright") + 0.5)$r_squared > 0.9)

#' Register one image to another
found <- register_images(moving = turned, fixed = cat)
stopifnot(cor(c(found$warped), c(cat), use = "complete.obs") > 0.99)

#' By which angle it is turned
angle <- tidy(found)
stopifnot(abs(angle$rotation - 90) < 1)

#' See both images on each other
plot(found)
stopifnot(inherits(plot(found), "ggplot"))

#' Write the overlay to a file
write_image(as.raster(found), file.path(folder, "overlay.png"))
stopifnot(file.exists(file.path(folder, "overlay.png")))

#' Write the registered image
suppressWarnings(write_image(found, file.path(folder, "registered.png"))) # pixels outside are missing
stopifnot(cor(c(to_grayscale(file.path(folder, "registered.png"))), c(cat)) > 0.9)

#' Carry another image along
carried <- predict(found, turned^2)
stopifnot(cor(c(carried), c(cat^2), use = "complete.obs") > 0.98)

#' Carry landmarks along
moved <- predict(found, on_turned)
stopifnot(max(abs(as.matrix(moved) - as.matrix(landmarks))) < 1)

#' Measure the error of landmarks
error <- evaluate_registration(found, list(on_turned, landmarks))
stopifnot(error$after[error$metric == "TRE_median"] < 1)

#' Register rigidly, without deformation
rigid <- update(found, transform = "rigid")
stopifnot(abs(tidy(rigid)$scale - 1) < 1e-6)

#' See how sure the map is
sure <- glance(found)
stopifnot(sure$probability > 0.9, sure$folds == 0)

#' Register many pairs and see them in one table
pairs <- register_images(list(a = turned, b = cat), list(a = cat, b = cat))
stopifnot(nrow(glance(pairs)) == 2)

#' The map as a data frame
map <- as.data.frame(found)
stopifnot(nrow(map) == length(cat))

#' Turn an image by a group element
quarter <- transform_field(cat, field_type(gspace("rot2dOnR2", N = 4), grey), 2)
stopifnot(max(abs(quarter - turned)) < 1e-6)
