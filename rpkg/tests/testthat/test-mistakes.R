# Mistakes that are easily made, over the whole of what the package exports. Each row has what is done, the argument
# that the error names, what the message says that came, and what it says to do.
#
# What is done is code of R; `network`, `fitted`, `space` and the like are made below, once.
mistakes <- list(
  # groups and fields
  list(quote(gspace("c4")), "name", "got \"c4\"", "must be one of \"conicalOnR3\""),
  list(quote(gspace("rot2donR2", N = 4)), "name", "got \"rot2donR2\"", "Did you mean 'rot2dOnR2'?"),
  list(quote(gspace("rot2dOnR2", 4)), "...", "got 4 without a name", "must be named, such as N = 4"),
  list(quote(gspace("rot2dOnR2", N = "4")), "N", "got \"4\"", "must be a whole number"),
  list(quote(gspace("rot2dOnR2", N = 0)), "N", "got 0", "must be at least 1, or -1 for the continuous group"),
  list(quote(field_type(space, c(regularr = 2))), "fields", "got \"regularr\"", "Did you mean 'regular'?"),
  list(quote(field_type("c4", c(trivial = 1))), "space", "got \"c4\"", "must be a gspace, as gspace() makes it"),
  list(quote(field_type(space, c(regular = 1.5))), "fields$regular", "got 1.5", "must be a whole number"),
  list(quote(transform_field(x, grey, 5)), "element", "got 5", "must be from 1 to 4"),
  list(quote(representation_matrix(space, "reg", 1)), "representation", "got \"reg\"", "Did you mean 'regular'?"),
  list(quote(cayley_table(continuous)), "space", "SO(2) is continuous", "must have a finite group"),
  # networks and layers
  list(quote(equivariant_network(c(trivial = 1), space)), "input", "got a gspace", "which comes first"),
  list(quote(equivariant_network(space, 16)), "input", "got 16", "such as c(regular = 4)"),
  list(quote(equivariant_network(space, c(trivial = 1), dtype = "double")), "dtype", "got \"double\"", "\"float64\""),
  list(quote(equivariant_network(space, c(trivial = 1), list("conv"))), "layers", "got \"conv\"", "list(layer = "),
  list(quote(layer_conv(start, 16, 3)), "fields", "got 16", "such as c(regular = 4)"),
  list(quote(layer_conv(start, c(regular = 2), 4)), "kernel_size", "got 4", "must be odd"),
  list(quote(layer_conv(start, c(regular = 2), 3, padding = "same")), "padding", "got \"same\"", "a whole number"),
  list(quote(layer_conv(start, c(regular = 2))), "kernel_size", "is missing", "`kernel_size`"),
  list(quote(layer_conv(network, c(regular = 1), 3)), NULL, "the features before it are vectors", "works on images"),
  list(quote(layer_dense(10)), "network", "got numbers", "as equivariant_network() makes it"),
  list(quote(layer_dropout(network, 50)), "p", "got 50", "must be from 0 to 1"),
  list(quote(set_weights(network, list(a = 1))), "weights", "an unknown weight, \"a\"", "the network's are"),
  list(quote(trace_shapes(network, volcano)), "input_shape", "got 5307 numbers", "Of an array, give its shape"),
  # predictions
  list(quote(predict(network, x[1, 1, 1, ])), "x", "got shape (7), number of axes: 1", "(batch, channel, row, column)"),
  list(quote(predict(network, aperm(x, c(1, 3, 4, 2)))), "x", "got 7, shape (6, 7, 7, 1)", "1 on its axis 'channel'"),
  list(quote(predict(network, iris)), "x", "it has the columns Sepal.Length, Sepal.Width", "a column `path`"),
  list(quote(predict(network, x * NA)), "x", "294 of its 294 values are NA", "must have no missing values"),
  list(quote(predict(network, x, type = "class")), "type", "got \"class\"", "a network that fit() has trained"),
  list(quote(predict(network, x, batchsize = 3)), "batchsize", "is no argument here", "Did you mean `batch_size`?"),
  list(quote(predict(fitted, x, type = "classes")), "type", "got \"classes\"", "must be one of 'raw', 'class'"),
  list(quote(predict(fitted, x, newdata = x)), "newdata", "Give `x` or `newdata`", "not both"),
  # images
  list(quote(as_image_batch("cat.png")), "x", "'cat.png'", "is no file"),
  list(quote(as_image_batch(array(0, c(50, 28, 28)))), "x", "(50, 28, 28)", "\"columns\" for 50 images"),
  list(quote(as_image_batch(array(0, c(50, 28, 28, 1)))), "x", "(50, 28, 28, 1)", "aperm(x, c(1, 4, 2, 3))"),
  list(quote(as_image_batch(list(volcano, t(volcano)))), "x", "image 2 (1, 61, 87)", "images of one size"),
  list(quote(as_image_batch(iris)), "x", "a data frame with no column of images", "give the images"),
  list(quote(sample_image("dog")), "name", "got \"dog\"", "must be one of \"volcano\""),
  list(quote(image_product(volcano, volcano)), "b", "got 87", "as many rows as `a` has columns, 61"),
  list(quote(normalize_rows(volcano, "softmax")), "f", "got \"softmax\"", "must be one of \"exp\""),
  # training
  list(quote(fit(network, x, y[1:5])), "y", "got shape (5)", "must have 6 targets, one per example"),
  list(quote(fit(network, x, three)), "y", "3 levels, \"a\", \"b\", \"c\"", "one output for each level"),
  list(quote(fit(network, x, data.frame(label = y))), "y", "got a data frame", "`y[[\"label\"]]`"),
  list(quote(fit(network, x, replace(y, 6, NA))), "y", "image 6, it is NA", "leave that image out"),
  list(quote(fit(network, x, y, loss = "mse")), "loss", "got \"mse\"", "must be \"cross_entropy\""),
  list(quote(fit(network, x, y, loss = "crossentropy")), "loss", "got \"crossentropy\"", "you mean 'cross_entropy'?"),
  list(quote(fit(network, x, y, optimizer = "Adam")), "optimizer", "got \"Adam\"", "Did you mean 'adam'?"),
  list(quote(fit(network, x, y, validation_split = 0.2)), "validation_split", "`validation_split` is", "`validation`"),
  list(quote(fit(network, x, y, lr = 0.1)), "lr", "`lr`", "is called `learning_rate` here"),
  list(quote(fit(network, x, y, epochs = "ten")), "epochs", "got \"ten\"", "must be a whole number"),
  list(quote(fit(network, x, y, epoch = 3)), "epoch", "`epoch` is no argument here", "Did you mean `epochs`?"),
  list(quote(fit(network, x, y, metrics = "loss")), "metrics", "`metrics` is no argument here", "these are: object, x"),
  list(quote(fit(network, x, y, device = "gpu")), "device", "got \"gpu\"", "Did you mean 'cuda'?"),
  list(quote(fit(network, x, y, class_weights = c(a = 1, c = 2))), "class_weights", "got \"a\", \"c\"", "\"a\", \"b\""),
  list(quote(fit(network, x, y, ignore = "c")), "ignore", "got \"c\"", "one of the classes of `y`, \"a\", \"b\""),
  list(quote(fit(network, "x.npy", y)), "x", "'x.npy'", "the path of a .npy file"),
  list(quote(evaluate(fitted, x, rep(c("a", "z"), 3))), "y", "got \"z\"", "must hold the classes \"a\", \"b\""),
  list(quote(load_model("no.gequi")), "path", "\"no.gequi\"", "there is no file"),
  list(quote(save_model(x, "a.gequi")), "model", "got numbers", "as equivariant_network() makes it"),
  list(quote(predict_folder(network, "no")), "images", "'no'", "must be a folder, or a list of files"),
  # registration
  list(quote(register_images(image, image, contrast = "mi")), "contrast", "got \"mi\"", "must be one of \"same\""),
  list(quote(register_images(image, image * NA)), "fixed", "1024 of its 1024 values are NA", "no missing values"),
  list(quote(register_images(image, image * 0)), "fixed", "0.0 everywhere", "constant"),
  list(quote(register_images(image, image[1:4, 1:4])), "fixed", "c(4, 4)", "at least 16 pixels along each side"),
  list(quote(register_images(list(image, image), image)), "fixed", "`moving` and `fixed`", "two lists of as many"),
  list(quote(register_images(image, image, spacing = 1:3)), "spacing", "got 3", "one number or 2, one for each axis"),
  list(quote(predict(found, image[1:3, 1:3])), "newdata", "got 3 x 3", "the size of the moving image, 32 x 32"),
  list(quote(predict(found, data.frame(x = 1, y = 2))), "newdata", "row, column is missing", "the columns row, column"),
  list(quote(plot(found, "quiver")), "type", "got \"quiver\"", "must be one of 'overlay'"),
  list(quote(evaluate_registration(image)), "found", "got an array of shape (32, 32)", "as register_images()"),
  list(quote(evaluate_registration(found, points)), "landmarks", "4 in the fixed one", "as many points in both images"),
  list(quote(evaluate_registration(found, matrix(1, 3, 2))), "landmarks", "`landmarks`", "must be a pair"),
  list(quote(write_transform(found, "a.doc")), "path", "got \"a.doc\"", "must end in one of \".tfm\""),
  list(quote(read_transform("no.tfm")), "path", "\"no.tfm\"", "there is no file"),
  list(quote(warp_image(image, 5)), "map", "number of axes: 0", "(axis, row, column)"),
  # attention, inversion, symmetry
  list(quote(multi_head_attention(10, heads = 3)), "heads", "got 3 heads for 10", "must divide `dim`"),
  list(quote(scaled_dot_product_attention(matrix(1, 2, 3), matrix(1, 2, 4), matrix(1, 2, 3))), "key", "got 4",
       "must have the features of `query`, 3"),
  list(quote(einsum("a b, b c", volcano, volcano)), "spec", "got \"a b, b c\"", "must read as \"i j, j k -> i k\""),
  list(quote(invert_input(function(z) z[1, ], image, image)), "f", "uses `[` on an image", "use image operations"),
  list(quote(equivariance_error(5, x, space, c(trivial = 1), c(trivial = 1))), "f", "got 5", "a network or a function"),
  list(quote(permutation_error(image_value, image, 3)), "input", "got 3", "must be from 1 to 2")
)

test_that("each of many plausible mistakes is refused by its argument, what came and what to do", {
  needs_python()
  here <- environment()
  space <- c4()
  continuous <- gspace("rot2dOnR2", N = -1)
  grey <- field_type(space, c(trivial = 1))
  start <- equivariant_network(space, c(trivial = 1), seed = 1)
  network <- start |> layer_conv(c(regular = 1), 3) |> layer_global_avg_pool() |> layer_group_pool() |> layer_dense(2)
  x <- feature(6, 1, 7, 7)
  y <- factor(rep(c("a", "b"), 3))
  three <- factor(rep(c("a", "b", "c"), 2))
  fitted <- fit(network, x, y, epochs = 1, seed = 1)
  image <- volcano[1:32, 1:32]
  found <- register_images(image, image[32:1, 32:1])
  points <- list(matrix(1, 3, 2), matrix(1, 4, 2))
  expect_gte(length(mistakes), 60)
  for (each in mistakes) {
    code <- paste(deparse(each[[1]]), collapse = " ")
    error <- tryCatch(eval(each[[1]], here), error = identity)
    expect_s3_class(error, "gequi_error")
    if (!inherits(error, "gequi_error")) fail(paste("not refused:", code))
    message <- if (inherits(error, "error")) conditionMessage(error) else ""
    if (!is.null(each[[2]])) expect_identical(error$argument, each[[2]], info = code)
    for (words in each[3:4]) expect_match(message, words, fixed = TRUE, info = code)
    expect_lt(nchar(message), 600)
  }
})
