# Every exported function x every bad value. `guard_rows` holds a valid call of each export, with its arguments by name;
# one argument at a time is replaced by each of `bad_values`. What may come of it is a result, or an error of a class
# gequi_error that names an argument. The file fails where an export has no row.
#
# `guards_table()` is the table of all calls, and the second test prints its counts.
bad_values <- list(
  `NULL` = NULL, `NA` = NA, `NA text` = NA_character_, logical = TRUE, negative = -1, fraction = 0.5, large = 1e30,
  infinite = Inf, `not a number` = NaN, text = "banana", `empty text` = "", texts = c("a", "b"),
  `no values` = numeric(0),
  factor = factor(c("a", "b")), Date = as.Date("2020-01-01"), time = as.POSIXct("2020-01-01", tz = "UTC"),
  `data frame` = iris[1:3, ],
  list = list(1, "a"), `named list` = list(a = 1), `empty list` = list(), `function` = function(x) stats::runif(1),
  environment = new.env(), raw = as.raw(1:3), complex = 1 + 2i, formula = y ~ x, symbol = quote(a), call = quote(a + b),
  expression = expression(a), matrix = matrix(c(1, NA, 3, 4), 2), `nine axes` = array(1, rep(1, 9)), primitive = sum
)

# Made once, in an environment that the calls see.
guard_fixtures <- function() {
  folder <- tempfile("guards-")
  dir.create(folder)
  space <- c4()
  start <- equivariant_network(space, c(trivial = 1), seed = 1)
  network <- start |> layer_conv(c(regular = 1), 3) |> layer_global_avg_pool() |> layer_group_pool() |> layer_dense(2)
  numbers <- feature(5, 5) + 2
  image <- volcano[1:32, 1:32]
  pictures <- file.path(folder, "pictures")
  dir.create(pictures)
  write_image(numbers / 4, file.path(pictures, "1.png"))
  model_file <- file.path(folder, "model.gequi")
  save_model(network, model_file)
  found <- register_images(image, image, transform = "translation")
  transform_file <- file.path(folder, "a.nii.gz")
  write_transform(found, transform_file)
  slide <- file.path(folder, "slide.tif")
  write_image(image / 255, slide)
  x <- feature(2, 1, 5, 5)
  job <- file.path(folder, "job")
  prepare_job(job, network, x, c(0, 1), epochs = 1, seed = 1)
  list2env(list(
    space = space, start = start, network = network, dead = saved_and_read(network), numbers = numbers, image = image,
    pose = start |> layer_conv(c(regular = 1), 3) |> layer_global_avg_pool(),
    x = x, found = found, map = identity_map(c(5, 5)) + 0.25, pictures = pictures, model_file = model_file,
    transform_file = transform_file, slide = slide, job = job, new = function(ending) tempfile(fileext = ending),
    regular = equivariant_network(space, c(regular = 1), seed = 1), trace = trace_shapes(network, c(1, 1, 5, 5)),
    turning = equivariant_network(gspace("rot2dOnR2"), c(`fourier(2)` = 1), seed = 1),
    gated = equivariant_network(space, c(trivial = 2, irrep_1 = 2), seed = 1), edges = layer_oriented_gradients(start),
    vectors = equivariant_network(gspace("no_base_space", group = "cyclic_group", N = 4), c(regular = 1), seed = 1),
    volume = equivariant_network(gspace("rot3dOnR3"), c(trivial = 1), seed = 1) |> layer_local_normalization(),
    regular_maps = layer_conv(start, c(regular = 1), 3, padding = 1), of_points = array(1:10 / 10, c(2, 1, 5)),
    flat = start |> layer_global_avg_pool() |> layer_flatten(),
    tokens = start |> layer_lifting_attention(c(regular = 2))
  ), envir = new.env(parent = environment(guard_fixtures)))
}

guard_rows <- list(
  as_dot = alist(trace = trace, direction = "TB"),
  as_image_batch = alist(x = image),
  broadcast_over = alist(f = function(a) a, axis = "c", spec = "a c -> a c"),
  canonicalize = alist(model = function(x) x^2, canonicalizer = pose, output = c(trivial = 1)),
  cayley_table = alist(space = space),
  collect_job = alist(folder = job, model = network),
  collect_prediction = alist(folder = job),
  collect_registration = alist(folder = job),
  compose_maps = alist(outer = map, inner = map),
  conformal_sets = alist(model = network, x = x, y = c(1, 2), space = space, level = 0.5, seed = 1),
  einsum = alist(spec = "i j -> j", numbers, dtype = "float64"),
  equivariance_error = alist(f = network, x = x, elements = 2),
  equivariant_network = alist(space = space, input = c(trivial = 1), layers = list(), seed = 1, dtype = "float32"),
  equivariant_resnet = alist(space = space, channels = 1, classes = 2, widths = c(4, 8), blocks = 1, kernel_size = 3,
                             enlarge = FALSE, antialiased = FALSE, margin = 1, seed = 1),
  equivariant_vit = alist(space = space, size = 6, output = c(trivial = 2), patch_size = 3, width = 8, blocks = 1,
                          heads = 1, key_dim = 2, window = 3, seed = 1),
  evaluate = alist(model = network, x = x, y = c(0, 1), loss = "cross_entropy", batch_size = 2),
  evaluate_registration = alist(found = found, landmarks = NULL, labels = NULL),
  export_model = alist(model = network, path = new(".pt"), input_shape = c(1, 1, 5, 5), format = "torchscript",
                       dtype = "float32"),
  field_type = alist(space = space, fields = c(regular = 1)),
  fit = alist(object = network, x = x, y = c(0, 1), epochs = 1, batch_size = 2, learning_rate = 0.001, seed = 1,
              validation = NULL, optimizer = "adam", device = "cpu"),
  fit_parsnip = alist(x = matrix(1:50 / 50, 2), y = factor(c("a", "b")), network = network, shape = c(1, 5, 5),
  epochs = 1),
  fit_canonicalizer = alist(x = x, network = pose, epochs = 1, batch_size = 2, seed = 1, device = "cpu"),
  fourier_features = alist(x = numbers, features = 3, bandwidth = 0.1, phase = "uniform", seed = 1, dtype = "float64"),
  get_weights = alist(model = network),
  gram_image = alist(a = numbers),
  group_elements = alist(space = space),
  gsa_network = alist(space = space, units = 2, fields = 1, blocks = 1, heads = 1, key_dim = 4, window = 3, seed = 1),
  gspace = alist(name = "rot2dOnR2", N = 4),
  identity_map = alist(shape = c(3, 4), dtype = "float64"),
  identity_resnet = alist(channels = 1, classes = 2, components = 1, widths = c(4, 4, 4, 4), seed = 1),
  image_classifier_mlp = alist(input_shape = c(1, 5, 5), hidden = c(4, 4), classes = 2, seed = 1),
  image_files = alist(x = pictures, labels = NULL, size = NULL, resize = "stretch", channels = NULL),
  image_product = alist(a = numbers, b = numbers, rows = "exp", columns = "exp", normalize = TRUE),
  image_value = alist(a = numbers, f = "plus_one"),
  invert_function = alist(x = numbers[1, ], y = numbers[2, ], query = numbers[3, ], bandwidth = 0.1, seed = 1),
  invert_input = alist(f = "gram_image", target = numbers, start = numbers, steps = 1),
  invert_map = alist(map = map, shape = NULL, steps = 3),
  is_equivariant = alist(f = network, x = x, elements = 2, tolerance = 0.001),
  layer_kinds = alist(),
  local_equivariance_error = alist(model = function(x) x^2, x = x, motions = "x", dtype = "float64"),
  load_model = alist(path = model_file),
  map_jacobian = alist(map = map, spacing = NULL, matrix = FALSE),
  marshal = alist(model = network),
  multi_head_attention = alist(dim = 4, heads = 2, key_dim = NULL, bias = FALSE, seed = 1),
  normalize_columns = alist(x = numbers, f = "exp"),
  normalize_image = alist(x = numbers),
  normalize_rows = alist(x = numbers, f = "exp"),
  oscillatory_warp = alist(a = numbers, amplitude = -1, period = 3),
  output_shape = alist(network = network, input_shape = c(1, 1, 5, 5)),
  permutation_error = alist(f = function(a) a, x = numbers, input = 1, output = 1, permutations = 2, seed = 1),
  plot_image = alist(x = image),
  plot_equivariance = alist(network = regular_maps, x = x, element = 2),
  predict_folder = alist(model = network, images = pictures, type = "raw", batch_size = 2, device = "cpu", devices = 1),
  predict_points = alist(network = tokens, x = of_points, points = numbers[, 1:2], mask = NULL, dtype = "float32"),
  prepare_job = alist(folder = new(""), model = network, x = x, y = c(0, 1), metadata = NULL, epochs = 1, seed = 1),
  prepare_registration = alist(folder = new(""), images = data.frame(moving = "a.png", fixed = "b.png"), devices = 1),
  register_folder = alist(images = data.frame(moving = "a.png", fixed = "b.png"), folder = new(""), dimension = 2,
                          transform = "rigid", warped = TRUE),
  prepare_prediction = alist(folder = new(""), model = network, images = pictures, type = "raw", nodes = 1),
  read_transform = alist(path = transform_file, spacing = NULL, origin = NULL, cosines = NULL),
  read_slide = alist(path = slide, size = 16, step = NULL),
  rearrange = alist(x = numbers, spec = "a b -> b a"),
  register_curves = alist(a = numbers[1, ], b = numbers[2, ], x = numbers[3, ], bandwidth = 0.1, seed = 1),
  register_images = alist(moving = image, fixed = image, spacing = 1, moving_mask = NULL, transform = "translation",
                          contrast = "same", mirror = FALSE, initial = diag(1, 2, 3), min_probability = 0.5, fill = 0),
  registration_encoder = alist(images = NULL, contrast = "same", dimension = 2, steps = 1, minutes = 0.001, seed = 1),
  group_mean = alist(images = list(image, image), transform = "translation", start = 1, rounds = 1),
  register_stack = alist(images = list(image, image), transform = "rigid", mirror = FALSE, reach = 1),
  registration_steps = alist(moving = image, fixed = image, token = NULL, transform = "translation"),
  representation_matrix = alist(space = space, representation = "regular", element = 1),
  representations = alist(space = space),
  sample_image = alist(name = "volcano"),
  save_model = alist(model = network, path = new(".gequi"), metadata = NULL),
  scaled_dot_product_attention = alist(query = numbers, key = numbers, value = numbers, scale = NULL, mask = NULL,
                                       weights = FALSE, dtype = "float64"),
  set_weights = alist(model = network, weights = get_weights(network)),
  signed_image = alist(x = numbers),
  softmax = alist(x = numbers, axis = 1, dtype = "float64"),
  symmetrize = alist(model = function(x) x^2, space = space, input = c(trivial = 1), output = c(trivial = 1)),
  symmetry_report = alist(model = network, x = x, spaces = list(space), dtype = "float32"),
  to_grayscale = alist(x = numbers),
  trace_shapes = alist(model = network, input_shape = c(1, 1, 5, 5)),
  transform_field = alist(x = x, type = field_type(space, c(trivial = 1)), element = 2),
  transform_slide_points = alist(found = found, points = numbers[, 1:2], moving = slide, fixed = slide,
                                 direction = "moving_to_fixed", return_std = FALSE),
  unet = alist(channels = 1, classes = 2, levels = 1, width = 2, seed = 1),
  unmarshal = alist(data = marshal(network)),
  visual_attention = alist(channels = 2, key_dim = 2, heads = 1, kernel_size = 1, stride = 1, bias = FALSE, seed = 1),
  warp_image = alist(image = numbers, map = map, interpolation = "linear", fill = NULL),
  warp_points = alist(points = numbers[, 1:2], map = map),
  warp_slide = alist(found = found, moving = slide, fixed = slide, path = new(".tif"), interpolation = "linear",
                     fill = 0),
  write_image = alist(x = numbers / 4, path = new(".png"), limits = c(0, 1), bits = 8, quality = 90),
  write_transform = alist(found = found, path = new(".nii.gz"), direction = "moving_to_fixed", linear = FALSE),
  layer_avg_pool = alist(network = start, kernel_size = 3),
  layer_batch_norm = alist(network = start),
  layer_conv = alist(network = start, fields = c(regular = 1), kernel_size = 3, stride = 1, padding = 0),
  layer_conv_transposed = alist(network = start, fields = c(regular = 1), kernel_size = 3),
  layer_dense = alist(network = flat, units = 2),
  layer_dropout = alist(network = start, p = 0.5),
  layer_elu = alist(network = regular),
  layer_enlarge = alist(network = start),
  layer_field_dropout = alist(network = start, p = 0.5),
  layer_flatten = alist(network = start |> layer_global_avg_pool()),
  layer_fourier_elu = alist(network = turning),
  layer_gated_nonlinearity = alist(network = gated),
  layer_global_avg_pool = alist(network = start),
  layer_group_attention = alist(network = regular, fields = c(regular = 2), heads = 1, key_dim = 4),
  layer_group_attention_block = alist(network = regular, heads = 1, key_dim = 4),
  layer_group_pool = alist(network = regular),
  layer_leaky_relu = alist(network = regular, negative_slope = 0.1),
  layer_lifting_attention = alist(network = start, fields = c(regular = 2)),
  layer_linear = alist(network = vectors, fields = c(regular = 1)),
  layer_local_normalization = alist(network = start),
  layer_mask = alist(network = start, margin = 0, sigma = 2),
  layer_max_pool = alist(network = start, kernel_size = 3),
  layer_norm_nonlinearity = alist(network = regular),
  layer_norm_pool = alist(network = regular),
  layer_oriented_gradients = alist(network = start),
  layer_patch_embedding = alist(network = start, fields = c(regular = 1), patch_size = 3),
  layer_patch_merging = alist(network = regular),
  layer_patch_expansion = alist(network = regular, fields = c(trivial = 1), patch_size = 2),
  layer_posewise_attention = alist(network = regular, fields = c(regular = 2), heads = 1, key_dim = 4),
  layer_posewise_attention_block = alist(network = regular, heads = 1, key_dim = 4),
  layer_relu = alist(network = regular),
  layer_residual = alist(network = start, layers = function(n) layer_relu(n)),
  layer_restrict = alist(network = start, subgroup = 2),
  layer_ring_descriptor = alist(network = edges),
  layer_skip = alist(network = start, layers = function(n) layer_relu(n)),
  layer_softmax = alist(network = flat),
  layer_sphere_descriptor = alist(network = volume),
  layer_token_norm = alist(network = regular, eps = 1e-05),
  layer_token_pool = alist(network = start, token = 4),
  layer_upsample = alist(network = start, scale_factor = 2)
)

# Exports that take nothing, or are generics of other packages whose methods take a class of ours only.
guards_elsewhere <- c(
  "augment", "autoplot", "glance", "gequi_available", "gequi_sitrep", "gspaces", "install_gequi", "tidy"
)

# The arguments of an export whose values are replaced: those of its row, by their places, then the others, by their
# names. A generic finds its method by `object`.
guard_arguments <- function(name) {
  row <- guard_rows[[name]]
  code <- if (name == "fit") getS3method("fit", "gequi_network") else match.fun(name)
  others <- setdiff(names(formals(code)), c("...", names(row)))
  places <- c(as.list(seq_along(row)), as.list(others))
  names(places) <- c(if (is.null(names(row))) rep("", length(row)) else names(row), others)
  places[!names(places) %in% "object"]
}

# What comes of a call in which this argument, a place or a name, is `value`: "refused", "worked", or what must not be.
guard_outcome <- function(name, argument, value, here) {
  arguments <- guard_rows[[name]]
  given <- new.env(parent = here)
  given$bad <- value
  arguments[[argument]] <- quote(bad)
  code <- as.call(c(as.name(name), arguments))
  known <- c(names(formals(name)), names(arguments), "operand 1")
  # Functions that are called: an error within one that was given is the caller's own.
  changed <- if (is.character(argument)) argument else names(arguments)[argument]
  called <- changed %in% c("f", "layers", "loss", "model", "progress", "rows", "columns", "shortcut")
  own <- called && (is.function(value) || inherits(value, "gequi_handle"))
  tryCatch(
    {
      utils::capture.output(suppressMessages(suppressWarnings(eval(code, given))))
      "worked"
    },
    gequi_python_error = function(error) {
      if (own) "worked" else paste("foreign:", substr(conditionMessage(error), 1, 150))
    },
    gequi_error = function(error) {
      root <- sub("[$\\[].*", "", rlang::`%||%`(error$argument, ""))
      named <- vapply(known, function(each) grepl(paste0("`", each), conditionMessage(error), fixed = TRUE), NA)
      of_layer <- grepl("^layer [0-9]+ [(]", conditionMessage(error)) # what a layer does not accept names the layer
      if (root %in% known || any(named) || of_layer) "refused" else paste("unnamed:", conditionMessage(error))
    },
    error = function(error) {
      if (own) "worked" else paste("foreign:", class(error)[1], substr(conditionMessage(error), 1, 150))
    }
  )
}

# A table: the export, the argument, the value and the outcome of each call; of `every` so many calls, the first.
guards_table <- function(exports = names(guard_rows), every = 1) {
  here <- guard_fixtures()
  values <- c(bad_values, list(`dead handle` = here$dead))
  do.call(rbind, lapply(exports, function(name) {
    places <- guard_arguments(name)
    if (!length(places)) return(NULL)
    calls <- expand.grid(value = names(values), at = seq_along(places), stringsAsFactors = FALSE)
    calls <- calls[seq(1, by = every, length.out = ceiling(nrow(calls) / every)), ]
    calls$outcome <- mapply(
      function(value, at) guard_outcome(name, places[[at]], values[[value]], here), calls$value, calls$at
    )
    data.frame(export = name, argument = names(places)[calls$at], calls[c("value", "outcome")])
  }))
}

test_that("every export has a row, of arguments that it has", {
  exports <- getNamespaceExports("gequiR")
  exports <- exports[!startsWith(exports, ".__")]
  expect_setequal(c(names(guard_rows), guards_elsewhere), exports)
})

test_that("no bad value leads to anything but a result or a refusal that names an argument", {
  needs_python()
  before <- setwd(tempdir()) # paths are among the values
  on.exit(setwd(before))
  found <- guards_table(names(guard_rows), every = 12)
  bad <- found[!found$outcome %in% c("refused", "worked"), ]
  cat(sprintf(
    "\nThe guards of R: %d calls of %d exports: refused %d, worked %d, other %d\n", nrow(found),
    length(unique(found$export)), sum(found$outcome == "refused"), sum(found$outcome == "worked"), nrow(bad)
  ))
  expect_identical(sprintf("%s(%s = %s): %s", bad$export, bad$argument, bad$value, bad$outcome), character())
})

# Calls that once worked, or failed in words of their own: the code, and what the error says of the argument.
single_inputs <- list(
  list(
    quote(fit(network, x, c(0, 1), epochs = 1, validation = 0)),
    "`validation` must be a fraction greater than 0, or NULL"
  ),
  list(
    quote(warp_image(numbers > 2, map + 9, "nearest", 0.5)), "`fill` must be a value of the type of the result, bool"
  ),
  list(quote(softmax(numbers, dtype = 0)), "`dtype` must be one of \"float32\", \"float64\"; got 0"),
  list(quote(equivariant_network(space, c(trivial = 1), dtype = 0)), "`dtype` must be one of"),
  list(quote(fit(network, x, c(0, 1), epochs = 1, learning_rate = day)), "`learning_rate` must not be a date or time"),
  list(quote(field_type(space, c(regular = day))), "`fields$regular` must not be a date or time"),
  list(quote(field_type(space, list(trivial = 1, regular = NA))), "`fields$regular` must not be NA"),
  list(quote(softmax(numbers, axis = day)), "`axis` must not be a date or time"),
  list(quote(gspace("rot2dOnR2", N = day)), "`N` must not be a date or time"),
  list(quote(fit(network, x, c(0, 1), ignore = sum)), "`ignore` must be NULL or a value of `y`; got a function"),
  list(quote(evaluate(network, x, c(0, 1), ignore = y ~ x)), "`ignore` must be NULL or a value of `y`; got an object"),
  list(quote(evaluate(network, x, c(0, 1), ignore = c(0, 1))), "`ignore` must be NULL or a value of `y`; got a vector"),
  list(
    quote(fit_parsnip(diag(2), c(0, 1), network = network, penalty = -1)),
    "`penalty` must be a number of at least 0; got -1"
  ),
  list(
    quote(fit_parsnip(diag(2), c(0, 1), network = network, penalty = day)),
    "`penalty` must be a number of at least 0; got an object of class Date"
  ),
  list(quote(as_image_batch(image, third = TRUE)), "`third` must be one of 'channels', 'images'"),
  list(quote(einsum(NA, numbers)), "`spec` must not be NA"),
  list(quote(einsum(NA_character_, numbers)), "`spec` must not be NA"),
  list(quote(einsum(NULL, numbers)), "`spec` must read as"),
  list(quote(einsum()), "`spec` is missing"),
  list(
    quote(equivariant_network(
      space, c(trivial = 1), list(list(layer = "relu"), list(layer = "conv", kernel_size = NA))
    )),
    "layer 2 (conv) of `layers`: `kernel_size` must not be NA"
  ),
  list(
    quote(layer_residual(start, function(n) n |> layer_relu() |> layer_conv(c(regular = 1), day))),
    "layer 2 (conv) of `layers`: `kernel_size` must not be a date or time"
  ),
  list(
    quote(layer_residual(start, function(n) n, shortcut = function(n) layer_conv(n, c(regular = 1), NA))),
    "layer 1 (conv) of `shortcut`: `kernel_size` must not be NA"
  ),
  list(
    quote(layer_skip(start, function(n) layer_skip(n, function(n) layer_conv(n, c(regular = 1), c(3, NA))))),
    "layer 1 (skip) of `layers`: layer 1 (conv) of `layers`: `kernel_size` must have no missing values"
  ),
  list(quote(layer_conv(start, c(regular = 1), NA)), "`kernel_size` must not be NA"),
  list(
    quote(scaled_dot_product_attention(numbers, numbers, numbers, mask = c(TRUE, FALSE))),
    "`mask` must have the shape (..., query, key) = (5, 5); got (2)"
  ),
  list(
    quote(scaled_dot_product_attention(numbers, numbers, numbers, mask = logical(5))),
    "`mask` masks every key of a query"
  ),
  list(quote(image_value(numbers, network)), "`f` must be a function of arrays; got a network"),
  list(quote(normalize_rows(numbers, network)), "`f` must be a function of arrays; got a network"),
  list(quote(image_product(numbers, numbers, rows = network)), "`rows` must be a function of arrays; got a network"),
  list(quote(broadcast_over(network, "c", "a c -> a c")), "`f` must be a function of arrays; got a network"),
  list(quote(permutation_error(network, numbers, 1, 1)), "`f` must be a function of arrays; got a network")
)

test_that("single inputs that once slipped through are refused by name", {
  needs_python()
  here <- guard_fixtures()
  here$day <- as.Date("2020-01-01")
  for (each in single_inputs) expect_refused(eval(each[[1]], here), each[[2]], "input")
})

test_that("an argument that there is not is refused by name", {
  needs_python()
  here <- guard_fixtures()
  for (name in names(guard_rows)) {
    code <- as.call(c(as.name(name), guard_rows[[name]], list(about = 1)))
    expect_error(eval(code, here), "about", info = name)
  }
})

test_that("a mask of one axis is that of the keys", {
  needs_python()
  x <- feature(5, 4)
  keys <- c(TRUE, TRUE, FALSE, TRUE, FALSE)
  full <- matrix(keys, 5, 5, byrow = TRUE)
  expect_equal(scaled_dot_product_attention(x, x, x, mask = keys), scaled_dot_product_attention(x, x, x, mask = full))
})
