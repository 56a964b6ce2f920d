# The border as R sees it: rows of the table of benchmarks (table.py). Run: Rscript --vanilla tests/benchmarks/border.R
#
# CPU times in one process, on one thread, medians of runs in turn. What R hands over is checked for missing values, and by
# the core for finite ones; both are part of the times.

library(gequiR)
options(gequiR.quiet = TRUE)
own <- asNamespace("gequiR")

seconds <- function(work) {
  before <- proc.time()
  work()
  sum((proc.time() - before)[1:2])
}

in_turn <- function(works, turns) {
  for (work in works) work()
  timed <- replicate(turns, {
    gc(FALSE)
    vapply(works, seconds, 0)
  })
  timed
}

row <- function(name, peer, value, target = NULL, unit = "x", milliseconds = NULL) {
  number <- function(x) if (is.null(x)) "null" else format(x, digits = 8, scientific = FALSE)
  cat(sprintf(
    'row: {"name": "%s", "peer": "%s", "value": %s, "target": %s, "unit": "%s", "milliseconds": %s}\n',
    name, peer, number(value), number(target), unit, number(milliseconds)
  ))
}

ratio <- function(timed, ours, other) stats::median(timed[ours, ] / timed[other, ])

network <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
  layer_conv(c(regular = 4), 3, padding = 1) |>
  layer_batch_norm() |>
  layer_relu() |>
  layer_conv(c(regular = 1), 3, padding = 1)
small <- array(0, c(1, 1, 3, 3))
invisible(predict(network, small)) # Python starts

numpy <- reticulate::import("numpy", convert = FALSE)
arrays <- reticulate::import("gequi.arrays", convert = FALSE)
torch <- reticulate::import("torch", convert = FALSE)
torch$set_num_threads(1L)
size <- c(64, 3, 224, 224)
x <- array(stats::rnorm(prod(size)), size)
tensor <- numpy$ascontiguousarray(reticulate::r_to_py(x), dtype = "float32")
timed <- in_turn(list(
  tensor = function() tensor$copy(),
  array = function() x + 0, # R's own copy
  there = function() arrays$as_tensor(own$to_python(x, "x", NULL), "x", dtype = torch$float32),
  back = function() own$array_from_python(tensor, size),
  reticulate = function() reticulate::py_to_r(tensor)
), 9)
row("from R to a tensor, checked", "memcpy", ratio(timed, "there", "tensor"), 2.5)
row("from a tensor to R", "x + 0 of R", ratio(timed, "back", "array"), 2.5)
row("from a tensor to R", "reticulate", ratio(timed, "back", "reticulate"), 1)

times <- 200
call <- stats::median(replicate(7, seconds(function() for (i in seq_len(times)) softmax(c(1, 2))))) / times
row("a small call from R: softmax()", "none", 1000 * call, 0.3, "ms")

# 1,000 images from R, and the same from Python in the same process.
images <- array(stats::rnorm(1000 * 64^2), c(1000, 1, 64, 64))
reticulate::py_run_string("
import gequi, numpy
def predicted(network, images):
    gequi.predict(network, images)
")
main <- reticulate::import_main(convert = FALSE)
inner <- numpy$ascontiguousarray(reticulate::r_to_py(images))
classes <- equivariant_network(gspace("rot2dOnR2", N = 4), c(trivial = 1), seed = 1) |>
  layer_conv(c(regular = 4), 3, padding = 1) |>
  layer_batch_norm() |>
  layer_relu() |>
  layer_conv(c(regular = 4), 3, padding = 1) |>
  layer_relu() |>
  layer_group_pool() |>
  layer_global_avg_pool() |>
  layer_dense(2)
models <- list("2 classes" = classes, "4 channels" = network)
for (name in names(models)) {
  model <- models[[name]]
  handle <- own$to_python(model, "network", NULL)
  timed <- in_turn(list(r = function() predict(model, images), python = function() main$predicted(handle, inner)), 7)
  row(paste0("1,000 images of 64 x 64 to ", name, ", from R"), "from Python", ratio(timed, "r", "python"),
    if (name == "2 classes") 1.05, milliseconds = 1000 * stats::median(timed["r", ])
  )
}
