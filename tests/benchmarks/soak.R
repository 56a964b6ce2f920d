# Soak: many calls from R, of twenty kinds in turn; memory and Python's objects must not grow.
#
#     Rscript tests/benchmarks/soak.R [CALLS]
#
# 10,000 calls by default. The first fifth warms up. Then a line is printed for each tenth: calls done, memory of the
# process in MiB, Python's objects. It ends with status 1 where memory grew by more than 20 MiB, or the objects by more
# than one in a hundred calls.
#
# Memory is read after malloc has returned what it holds free. R lets go of Python's objects at a full collection only;
# what they fill until then stays with malloc: 50 MiB, once, and none where gc(full = TRUE) is called every 20 calls.
library(gequiR)
options(gequiR.quiet = TRUE)

count <- as.integer(c(commandArgs(trailingOnly = TRUE), "10000")[1])
space <- gspace("rot2dOnR2", N = 4)
x <- matrix(sin(seq_len(81)), 9)
network <- equivariant_network(space, "trivial", seed = 1) |>
  layer_conv(c(regular = 1), 3) |>
  layer_relu() |>
  layer_global_avg_pool() |>
  layer_group_pool() |>
  layer_dense(2)
weights <- get_weights(network)
folder <- tempfile("soak")
dir.create(folder)
file <- file.path(folder, "net.gequi")
picture <- file.path(folder, "a.png")

calls <- list(
  predict = function() predict(network, x),
  softmax = function() softmax(x),
  attention = function() scaled_dot_product_attention(x, x, x),
  gspace = function() gspace("flipRot2dOnR2", N = 4),
  field_type = function() field_type(space, c(regular = 2)),
  group_elements = function() group_elements(space),
  network = function() equivariant_network(space, "trivial", seed = 1) |> layer_conv(c(regular = 1), 3),
  get_weights = function() get_weights(network),
  set_weights = function() set_weights(network, weights),
  save_model = function() save_model(network, file),
  load_model = function() load_model(save_model(network, file)),
  saveRDS = function() predict(unserialize(serialize(network, NULL)), x),
  write_image = function() write_image((x + 1) / 2, picture, limits = c(0, 1)),
  warp_image = function() warp_image(x, identity_map(c(9, 9))),
  is_equivariant = function() is_equivariant(identity, x, space = space, input = "trivial", output = "trivial"),
  equivariance_error = function() equivariance_error(network, x),
  callback_fails = function() try(is_equivariant(function(x) stop("no"), x, space, "trivial", "trivial"), silent = TRUE),
  refusal = function() try(gspace("rot2dOnR2", N = 0), silent = TRUE),
  shape_error = function() try(predict(network, matrix(1, 2, 2)), silent = TRUE),
  normalize = function() normalize_columns(abs(x))
)

collector <- reticulate::import("gc", convert = FALSE)
allocator <- reticulate::import("ctypes", convert = FALSE)$CDLL(NULL)
state <- function() {
  for (time in 1:2) {
    gc() # R lets go of Python's objects,
    collector$collect() # and Python of R's
  }
  allocator$malloc_trim(0L)
  lines <- readLines("/proc/self/status")
  kilobytes <- as.numeric(gsub("[^0-9]", "", grep("^VmRSS", lines, value = TRUE)))
  c(memory = kilobytes / 1024, objects = as.numeric(reticulate::py_len(collector$get_objects())))
}
run <- function(times) for (number in seq_len(times)) calls[[(number - 1) %% length(calls) + 1]]()

run(count %/% 5)
before <- state()
cat(sprintf("%6d calls of %d kinds, warm: %.1f MiB, %.0f objects\n", count %/% 5, length(calls), before[1], before[2]))
for (part in 1:8) {
  run(count %/% 10)
  now <- state()
  cat(sprintf("%6d calls: %+.1f MiB, %+.0f objects\n", count %/% 5 + part * (count %/% 10), now[1] - before[1],
              now[2] - before[2]))
}
if (abs(now[1] - before[1]) > 20 || now[2] - before[2] > max(20, count / 100)) quit(status = 1)
