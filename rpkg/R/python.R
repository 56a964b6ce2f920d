# The Python side: its dependencies, the location of the core, and its start.

# State of the session: `door`, the function of the core for all calls; `process`, the id of the process in which it was
# loaded; `torch_came_first`, whether torch was imported before the core; `callback_error`, see to_python().
the <- new.env(parent = emptyenv())

# The dependencies in pyproject.toml; a test compares them.
requirements <- c(
  "numpy>=1.26", "scipy>=1.11", "torch>=2.6", "escnn==1.0.11", "einops>=0.8", "joblib>=1.3", "platformdirs>=4",
  "safetensors>=0.4"
)

# Dependencies of escnn, without the two packages in overrides.txt.
requirements_of_escnn <- c("autograd", "pymanopt")

# Additional dependencies of training: the extra "train" of pyproject.toml.
requirements_of_training <- c("lightning>=2.5", "torchmetrics>=1.6")

# Additional dependencies of export_model() for ONNX: the extra "export" of pyproject.toml.
requirements_of_export <- c("onnx>=1.16", "onnxscript>=0.1")

# Additional dependencies of predict_folder() for picture files: the extra "images" of pyproject.toml.
requirements_of_images <- c("pillow>=10", "tifffile>=2023.2.2")

# Packages that install_gequi() installs besides the dependencies.
requirements_besides <- c(
  requirements_of_escnn, requirements_of_training, requirements_of_export, requirements_of_images
)

environment_name <- "r-gequi"

# The function call() of inst/python/gequi/_r_interface.py. The first use starts Python and imports the core. If no
# Python has the required packages, an interactive session is asked whether to install them.
core <- function(call, ask = rlang::is_interactive()) {
  if (is.null(the$door)) {
    found <- ready_python(ask, call)
    say_that_python_starts()
    the$door <- tryCatch(
      without_download(import_core(call), unless = found$managed),
      error = function(error) abort_setup(error, call)
    )
    the$process <- Sys.getpid()
    if (the$torch_came_first) warn_of_slow_products(call)
  }
  if (Sys.getpid() != the$process) abort_fork(call)
  the$door
}

# The threads of torch do not exist in a forked process, so a computation that waits for them would never end.
abort_fork <- function(call) {
  abort_gequi("ForkError", c(
    "gequiR does not compute in a forked process, such as those of parallel::mclapply() or future::multicore.",
    i = "Start processes anew: parallel::makePSOCKcluster() with parallel::parLapply(), or future::multisession.",
    i = "Training and prediction share their work among processes themselves: `devices` of fit() and predict_folder()."
  ), call = call)
}

# Written to stderr and not as a message, which knitr would include in a document.
say_that_python_starts <- function() {
  if (reticulate::py_available() || isTRUE(getOption("gequiR.quiet"))) return(invisible())
  cat("gequiR: starting Python with torch and escnn, once in a session (a few seconds).\n", file = stderr())
}

# The core that is already loaded (if Python runs R), else the core in this package, else an installed one. Its version
# must be the version of this package.
import_core <- function(call) {
  prepare_torch() # where no hook has: see declare_to_reticulate()
  the$torch_came_first <- is_imported("torch")
  if (!is_imported("gequi") && file.exists(file.path(carried_modules(), "gequi", "__init__.py"))) {
    import_carried("gequi")
  }
  found <- reticulate::py_to_r(reticulate::import("gequi", convert = FALSE)$`__version__`)
  wanted <- as.character(utils::packageVersion("gequiR"))
  if (!identical(found, wanted)) {
    abort_gequi("SetupError", paste0(
      "This Python has loaded gequi ", found, ", and gequiR ", wanted, " needs the same version: restart R, or ",
      "install both in one version."
    ), call = call)
  }
  reticulate::import("gequi._r_interface", convert = FALSE)$call
}

is_imported <- function(module) {
  reticulate::py_to_r(reticulate::import("sys", convert = FALSE)$modules$`__contains__`(module))
}

carried_modules <- function() system.file("python", package = "gequiR")

# A Python module in this package. No compiled files are written to the R library.
import_carried <- function(module) {
  sys <- reticulate::import("sys", convert = FALSE)
  before <- sys$dont_write_bytecode
  sys$dont_write_bytecode <- TRUE
  on.exit(sys$dont_write_bytecode <- before)
  reticulate::import_from_path(module, carried_modules(), convert = FALSE)
}

# Makes torch use its own BLAS instead of R's; see gequi_deepbind.py. It has an effect only before torch is imported.
prepare_torch <- function() {
  if (!is_imported("gequi_deepbind")) import_carried("gequi_deepbind")
}

# Warns if the matrix products of torch are slow, because torch was imported before prepare_torch() was called.
warn_of_slow_products <- function(call) {
  products <- call_core("measure_products", .call = call)
  if (products$slow) rlang::warn(about_slow_products(products), class = "gequi_warning", call = call)
}

about_slow_products <- function(products) {
  c(
    paste0(
      "torch multiplies matrices at ", format(products$gigaflops, digits = 2), " GFLOP/s, several times slower than ",
      "it could: it was imported before gequiR was loaded, and uses R's BLAS instead of its own."
    ),
    i = "Restart R, and call library(gequiR) before torch is imported in Python; or give R an optimized BLAS."
  )
}

# Whether the Python object does not exist or is invalid: read from a file by R, or created in another process.
is_dead <- function(python) is.null(python) || reticulate::py_is_null_xptr(python)

# Tells reticulate the requirements of Python, and the environment of install_gequi() if it is complete.
declare_requirements <- function() {
  reticulate::py_require(c(requirements, requirements_besides), python_version = ">=3.11")
  if (is_whole(environment_folder())) reticulate::use_virtualenv(environment_name, required = FALSE)
}

# Settings that reticulate needs before it starts Python, and steps that must precede the import of torch.
declare_to_reticulate <- function() {
  prepare <- function(...) try(prepare_torch(), silent = TRUE) # which must not keep Python from starting
  if (reticulate::py_available()) return(prepare())
  declare_requirements()
  setHook("reticulate.onPyInit", prepare)
}

abort_setup <- function(error, call) {
  if (inherits(error, "gequi_error")) rlang::cnd_signal(error)
  found <- describe_python()
  chosen <- if (!is.null(found$chosen)) paste0(" (chosen by ", found$chosen, ")")
  reason <- sub("\nRun `reticulate::py_last_error\\(\\)`.*", "", conditionMessage(error))
  abort_gequi("SetupError", c(
    paste0("gequiR could not start its Python side: ", reason),
    i = if (is.null(found$python)) {
      "No Python has been started."
    } else {
      paste0("The Python in use is ", found$python, chosen, ".")
    },
    i = how_to_get_python,
    i = "gequi_sitrep() shows what there is."
  ), call = call, traceback = conditionMessage(error))
}

how_to_get_python <- paste(
  "Run install_gequi() and restart R; or name a Python that has torch and escnn in the environment variable",
  "GEQUI_PYTHON before R starts."
)

# The running Python and how it was selected. Does not start Python.
describe_python <- function() {
  if (!reticulate::py_available()) return(list())
  config <- reticulate::py_config()
  list(python = config$python, version = as.character(config$version), chosen = config$forced)
}

#' Check whether the Python installation works
#'
#' Starts Python, if it is not running, and loads the Python package. Nothing is downloaded. Examples and tests use this
#' function to decide whether they can run.
#'
#' @return `TRUE` or `FALSE`. During `R CMD check`, the result is `FALSE` unless `RETICULATE_PYTHON` is set, because a
#'   check must not install Python.
#' @section Errors: This function never fails.
#' @seealso [gequi_sitrep()], which says what is missing.
#' @export
#' @examples
#' gequi_available()
gequi_available <- function() {
  checking <- nzchar(Sys.getenv("_R_CHECK_PACKAGE_NAME_"))
  if (checking && !reticulate::py_available() && !nzchar(Sys.getenv("RETICULATE_PYTHON"))) return(FALSE)
  tryCatch(!is.null(core(NULL, ask = FALSE)), error = function(error) FALSE)
}
