# The same tasks with keras3, whose layers are not equivariant. What all of them use:
library(keras3)

#' Read an image
picture <- image_to_array(image_load(file.path(folder, "cat.png"), color_mode = "grayscale"))[, , 1] / 255

#' Write an image to a PNG file
image_array_save(array(cat, c(80, 80, 1)), file.path(folder, "cat.png"))

#' Make a batch of several images
batch <- aperm(array(c(cat, turned), c(80, 80, 1, 2)), c(4, 1, 2, 3))

#' Make a network that does not care about quarter turns
network <- keras_model_sequential(input_shape = c(8, 8, 1)) |>
  layer_random_rotation(1) |> # by example only: no layer guarantees it
  layer_conv_2d(8, kernel_size = 3, activation = "relu") |>
  layer_global_average_pooling_2d() |>
  layer_dense(2)

#' See its layers and sizes
summary(network)

#' Draw it
plot(network, show_shapes = TRUE)

#' Count its parameters
parameters <- count_params(network)

#' Train it
images <- aperm(x, c(1, 3, 4, 2))
labels <- as.integer(y) - 1L
network |> compile(
  loss = loss_sparse_categorical_crossentropy(from_logits = TRUE),
  optimizer = optimizer_adam(0.05), metrics = "accuracy"
)
history <- network |> fit(images, labels, epochs = 30)

#' Predict classes
logits <- predict(network, images)
classes <- factor(levels(y)[max.col(logits)], levels(y))

#' Predict probabilities
probabilities <- as.array(op_softmax(logits))
colnames(probabilities) <- levels(y)

#' Measure accuracy
measured <- evaluate(network, images, labels)

#' See the confusion matrix
confusion <- table(truth = y, prediction = classes)

#' Draw the history
plot(history)

#' Hold out a part to validate with
shuffled <- sample(24)
history <- network |> fit(images[shuffled, , , , drop = FALSE], labels[shuffled], epochs = 2, validation_split = 0.25)

#' Stop early and keep the best weights
history <- network |> fit(
  images, labels, epochs = 50,
  callbacks = callback_early_stopping(monitor = "loss", patience = 1, restore_best_weights = TRUE)
)

#' Save a model and load it again
save_model(network, file.path(folder, "model.keras"))
loaded <- load_model(file.path(folder, "model.keras"))

#' Train on images of many sizes in a folder for each class
data <- image_dataset_from_directory(file.path(folder, "train"), color_mode = "grayscale", image_size = c(8, 8))
data <- data$map(function(x, y) list(x / 255, y))
history <- network |> fit(data, epochs = 2)

#' Segment pixels by a mask
segmenter <- keras_model_sequential(input_shape = c(8, 8, 1)) |> layer_conv_2d(2, kernel_size = 1)
segmenter |> compile(loss = loss_sparse_categorical_crossentropy(from_logits = TRUE), optimizer = optimizer_adam(0.1))
segmenter |> fit(images, array(as.integer(x[, 1, , ] > 0), c(24, 8, 8, 1)), epochs = 200)
segmented <- apply(predict(segmenter, images), 1:3, which.max) == 2
