# What holds for every class: what `$` completes to, and what print(), plot() and summary() refuse.

# An object of each class that a user may hold, made once.
objects <- local({
  made <- NULL
  function() {
    needs_python()
    if (is.null(made)) made <<- make_objects()
    made
  }
})

make_objects <- function() {
  network <- equivariant_network(c4(), c(trivial = 1), seed = 1) |>
    layer_conv(c(regular = 2), kernel_size = 3) |>
    layer_global_avg_pool() |>
    layer_group_pool() |>
    layer_dense(2)
  x <- feature(4, 1, 7, 7)
  fitted <- fit(network, x, factor(c("a", "b", "a", "b")), epochs = 1, seed = 1, progress = FALSE)
  image <- sample_image("cat")[101:132, 201:232]
  registration <- register_images(image, image, transform = "rigid")
  several <- register_images(list(image), list(a = image), transform = "rigid")
  picture <- write_image(image, tempfile(fileext = ".png"))
  file <- write_transform(registration, tempfile(fileext = ".tfm"))
  module <- unet(levels = 2, width = 4, seed = 1)
  type <- field_type(c4(), c(regular = 1))
  inverted <- invert_input("image_value", diag(3), diag(3) / 2, steps = 2)
  corners <- matrix(c(5, 5, 25, 5, 5, 25), 3)
  list(
    gequi_gspace = c4(), gequi_field_type = type, gequi_network = network, gequi_fit = fitted,
    gequi_history = fitted$history, gequi_module = module, gequi_attention = multi_head_attention(dim = 4, seed = 1),
    gequi_registration = registration, gequi_registrations = several, gequi_transform = read_transform(file),
    gequi_evaluation = evaluate_registration(registration, list(moving = corners, fixed = corners)),
    gequi_image_files = image_files(picture), gequi_equivariance = equivariance_error(network, x),
    gequi_trace = trace_shapes(network, c(1, 1, 7, 7)), gequi_table = gspaces(),
    gequi_inverted_input = inverted,
    gequi_inverse_function = invert_function(1:5, (1:5)^2, 3, weights = TRUE),
    gequi_plots = plot(inverted), gequi_stack = register_stack(list(image, image), "rigid", mirror = FALSE),
    gequi_group_mean = group_mean(list(image, image), "translation", rounds = 1),
    gequi_symmetrized = symmetrize(network, c4()),
    gequi_canonicalized = canonicalize(
      network, equivariant_network(c4(), c(trivial = 1), seed = 1) |> layer_conv(c(regular = 1), 3) |>
        layer_global_avg_pool()
    ),
    gequi_local_equivariance = local_equivariance_error(network, x),
    gequi_conformal = conformal_sets(network, x, c(1, 2, 1, 2), level = 0.5, seed = 1),
    summary.gequi_gspace = summary(c4()), summary.gequi_field_type = summary(type),
    summary.gequi_network = summary(network), summary.gequi_module = summary(module),
    summary.gequi_registration = summary(registration)
  )
}

# Classes that no user holds: a trace of a function, text of a diagram, what parsnip wraps.
inner <- c("gequi_traced_image", "gequi_diagram_text", "gequi_handle", "gequi_parsnip")

test_that("the table of objects has every class that has methods", {
  methods <- getNamespaceInfo("gequiR", "S3methods")
  classes <- unique(sub(".*?[.]((summary[.])?gequi_)", "\\1", grep("gequi_", methods[, 3], value = TRUE), perl = TRUE))
  expect_setequal(c(names(objects()), inner), classes)
  for (name in names(objects())) expect_s3_class(objects()[[name]], name)
})

test_that("`$` completes to the parts of an object, each of which is there, and not to its handle", {
  for (name in names(objects())) {
    object <- objects()[[name]]
    completed <- utils::.DollarNames(object, "")
    parts <- setdiff(names(unclass(object)), "handle")
    expect_identical(sort(completed), sort(as.character(parts)), info = name)
    for (part in parts) expect_identical(utils::.DollarNames(object, paste0("^", part, "$")), part, info = name)
  }
  expect_identical(utils::.DollarNames(objects()$gequi_registration, "^prob"), "probability")
})

test_that("an argument that a method does not have is an error that names it and those of the method", {
  for (name in names(objects())) {
    for (generic in c("print", "plot", "summary", "as.data.frame")) {
      method <- utils::getS3method(generic, name, optional = TRUE)
      if (is.null(method)) next
      words <- paste0("`banana` is no argument here; these are: ", names(formals(method))[1])
      needed <- if (name == "gequi_module" && generic == "plot") list(input_shape = c(1, 1, 16, 16))
      if (length(needed)) words <- "`banana` is no argument here; these are: "
      expect_refused(do.call(generic, c(list(objects()[[name]], banana = 1), needed)), words, "input")
    }
  }
  expect_refused(plot(objects()$gequi_fit, metric = "banana"), "`metric` is no argument here", "input")
  expect_refused(print(objects()$gequi_gspace, 3), "`...` must be empty", "input")
  expect_s3_class(data.frame(type = objects()$gequi_field_type), "data.frame") # which gives arguments of its own
  expect_output(print(objects()$gequi_gspace, digits = 3), "rot2dOnR2")
  expect_output(print(list(objects()$gequi_gspace), digits = 3), "rot2dOnR2")
})

test_that("every public function says which argument is missing", {
  needs_python()
  ours <- function(name) identical(environment(getExportedValue("gequiR", name)), asNamespace("gequiR"))
  generics <- c("augment", "autoplot", "fit", "fortify", "glance", "tidy") # of other packages
  for (name in setdiff(Filter(ours, getNamespaceExports("gequiR")), c(generics, "fit_parsnip"))) {
    called <- getExportedValue("gequiR", name)
    wanted <- Filter(rlang::is_missing, as.list(formals(called)))
    wanted <- setdiff(names(wanted), "...")
    if (!length(wanted)) next
    expect_refused(called(), paste0("`", wanted[1], "` is missing."), "input")
  }
  expect_refused(register_images(volcano), "`fixed` is missing.", "input")
  expect_refused(fit(objects()$gequi_network), "`x` is missing.", "input")
  error <- rlang::catch_cnd(warp_image(volcano), "gequi_input_error")
  expect_identical(error$argument, "map")
  expect_match(deparse(error$call)[1], "^warp_image")
})
