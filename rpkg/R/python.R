# The Python side: what it needs, where the core comes from, when it starts.

# What lives as long as the session: `door`, the core's function for all calls; `torch_came_first`, whether torch was
# imported before the core; `callback_error`, see to_python().
the <- new.env(parent = emptyenv())

# The dependencies in pyproject.toml; a test compares them.
requirements <- c(
  "numpy>=1.26", "scipy>=1.11", "torch>=2.6", "escnn==1.0.11", "einops>=0.8", "joblib>=1.3", "platformdirs>=4",
  "safetensors>=0.4"
)

# What escnn needs besides: all that it asks for but the two packages in overrides.txt.
requirements_of_escnn <- c("autograd", "pymanopt")

# What training needs besides: pyproject's extra "train".
requirements_of_training <- c("lightning>=2.5", "torchmetrics>=1.6")

# What export_model() needs besides for ONNX: pyproject's extra "export".
requirements_of_export <- c("onnx>=1.16", "onnxscript>=0.1")

# What predict_folder() needs besides for pictures: pyproject's extra "images".
requirements_of_images <- "pillow>=10"

# What install_gequi() installs besides the dependencies.
requirements_besides <- c(
  requirements_of_escnn, requirements_of_training, requirements_of_export, requirements_of_images
)

environment_name <- "r-gequi"

# The core's door: call() of inst/python/gequi/_r_interface.py. Starts Python and imports the core at its first use.
core <- function(call) {
  if (is.null(the$door)) {
    if (rlang::is_interactive() && !reticulate::py_available()) cli::cli_inform("Starting Python (torch, escnn) ...")
    the$door <- tryCatch(import_core(call), error = function(error) abort_setup(error, call))
    if (the$torch_came_first) warn_of_slow_products(call)
  }
  the$door
}

# The core that is loaded already (as where Python runs R); else the one this package carries; else an installed one.
# All must be of this package's version.
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

# A Python module that this package carries. No compiled files are left in R's library, which is not ours to write to.
import_carried <- function(module) {
  sys <- reticulate::import("sys", convert = FALSE)
  before <- sys$dont_write_bytecode
  sys$dont_write_bytecode <- TRUE
  on.exit(sys$dont_write_bytecode <- before)
  reticulate::import_from_path(module, carried_modules(), convert = FALSE)
}

# Has torch use its own BLAS and not R's: see gequi_deepbind.py. It helps only before torch is imported.
prepare_torch <- function() {
  if (!is_imported("gequi_deepbind")) import_carried("gequi_deepbind")
}

# Warns where torch's matrix products are slow: torch was imported before prepare_torch() was called.
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

# Whether there is no Python object, or one that has died: R has read it from a file, or its process is another one.
is_dead <- function(python) is.null(python) || reticulate::py_is_null_xptr(python)

# Tells reticulate what the Python must have, and of the environment of install_gequi(), where there is one.
declare_requirements <- function() {
  reticulate::py_require(requirements, python_version = ">=3.11")
  if (dir.exists(file.path(reticulate::virtualenv_root(), environment_name))) {
    reticulate::use_virtualenv(environment_name, required = FALSE)
  }
}

# What reticulate must know before it starts Python, and what must be done before anyone imports torch.
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
    i = paste(
      "Run install_gequi() and restart R; or name a Python that has torch and escnn in the environment variable",
      "GEQUI_PYTHON before R starts."
    ),
    i = "gequi_sitrep() shows what there is."
  ), call = call, traceback = conditionMessage(error))
}

# The Python that runs, and how it was chosen. Starts none.
describe_python <- function() {
  if (!reticulate::py_available()) return(list())
  config <- reticulate::py_config()
  list(python = config$python, version = as.character(config$version), chosen = config$forced)
}

#' Check whether the Python installation works
#'
#' Starts Python, if it is not running, and loads the core. Examples and tests ask this first.
#'
#' @return `TRUE` or `FALSE`, never an error. While `R CMD check` runs, `FALSE` unless `RETICULATE_PYTHON` names a
#'   Python: a check must not install one.
#' @seealso [gequi_sitrep()], which says what is missing.
#' @export
#' @examples
#' gequi_available()
gequi_available <- function() {
  checking <- nzchar(Sys.getenv("_R_CHECK_PACKAGE_NAME_"))
  if (checking && !reticulate::py_available() && !nzchar(Sys.getenv("RETICULATE_PYTHON"))) return(FALSE)
  tryCatch(!is.null(core(NULL)), error = function(error) FALSE)
}

#' Install the Python packages that gequiR needs
#'
#' Makes a virtual environment with torch, escnn and what they need. gequiR finds it by its name in the next session.
#' Nothing is installed unless this function is called.
#'
#' @details
#' Two requirements of escnn are left out on purpose, as gequi does without them: lie_learn, which has wheels for two
#' versions of Python only, and py3nj, which needs a Fortran compiler.
#'
#' On Linux, the torch that pip takes by default brings several gigabytes of CUDA libraries. For a machine without a
#' graphics processor, torch's own site says which `--index-url` has the smaller build; give it in `pip_options`.
#'
#' @param envname name or path of the virtual environment. Where it is left to its default, an interactive session
#'   asks before it starts.
#' @param python the Python (3.11 or newer) from which to make the environment; `NULL` takes the newest that
#'   reticulate finds.
#' @param pip_options further options for `pip install`, such as `"--index-url=..."`.
#' @return the path of the environment's Python, invisibly; `NULL` where the question was answered with no.
#' @export
#' @examples
#' \dontrun{
#' install_gequi()
#' }
install_gequi <- function(envname = "r-gequi", python = NULL, pip_options = character()) {
  if (missing(envname) && rlang::is_interactive()) {
    question <- paste0("Make the virtual environment '", envname, "' and install torch and escnn into it?")
    if (!isTRUE(utils::askYesNo(question))) return(invisible(NULL))
  }
  if (is.null(python)) python <- reticulate::virtualenv_starter(">=3.11")
  if (is.null(python)) {
    abort_gequi("SetupError", "No Python of version 3.11 or newer was found; name one in `python`.", "python",
                call = rlang::current_env())
  }
  cli::cli_inform("Making the virtual environment {.val {envname}} from {.file {python}}.")
  reticulate::virtualenv_create(envname, python = python, packages = NULL)
  for (step in installation_steps()) {
    cli::cli_inform("pip install {step$options} {step$packages}")
    reticulate::virtualenv_install(envname, step$packages, pip_options = c(step$options, pip_options))
  }
  made <- reticulate::virtualenv_python(envname)
  if (identical(envname, environment_name)) {
    cli::cli_inform("Done. Restart R: gequiR finds {.val {envname}} by its name.")
  } else {
    cli::cli_inform("Done. Put GEQUI_PYTHON={made} into your .Renviron and restart R.")
  }
  invisible(made)
}

# torch first: what pip takes for it decides what it needs itself. escnn last, without what it asks for.
installation_steps <- function() {
  of <- function(pattern) grep(pattern, requirements, value = TRUE)
  list(
    list(packages = of("^torch")),
    list(packages = c(setdiff(requirements, of("^(torch|escnn)")), requirements_besides)),
    list(packages = of("^escnn"), options = "--no-deps")
  )
}

#' Report on the Python installation
#'
#' Says which Python is used and how it was chosen, which versions of the packages it has, how fast torch multiplies
#' matrices, and what to do where something is missing. It installs nothing.
#'
#' @return invisibly, a list: `python` (path, or `NULL`), `chosen` (how), `versions` (a named vector, `NA` for what is
#'   missing), `cache` (a folder), `works`, and `products`, a list: `gigaflops` (how fast torch multiplies matrices on
#'   one thread) and `slow` (whether that is so slow that R's BLAS must have replaced torch's own).
#' @export
#' @examplesIf gequi_available()
#' gequi_sitrep()
gequi_sitrep <- function() {
  # Where nothing names a Python, starting one would have reticulate download one: a report must not.
  named <- nzchar(Sys.getenv("RETICULATE_PYTHON")) ||
    dir.exists(file.path(reticulate::virtualenv_root(), environment_name))
  problem <- if (named || reticulate::py_available()) tryCatch(is.null(core(NULL)), error = conditionMessage)
  works <- isFALSE(problem)
  found <- describe_python()
  versions <- if (!is.null(found$python)) package_versions()
  products <- if (works) call_core("measure_products")
  cat(
    setup_lines(found, versions),
    if (works) product_lines(products) else problem_lines(problem),
    sep = "\n"
  )
  invisible(list(
    python = found$python, chosen = found$chosen, versions = versions, cache = Sys.getenv("GEQUI_CACHE"), works = works,
    products = products
  ))
}

setup_lines <- function(found, versions) {
  c(
    paste0("gequiR ", utils::packageVersion("gequiR"), ", reticulate ", utils::packageVersion("reticulate")),
    if (is.null(found$python)) "No Python has been started." else paste0("Python ", found$version, ": ", found$python),
    if (!is.null(found$chosen)) paste0("  chosen by ", found$chosen),
    if (length(versions)) paste0("  ", names(versions), " ", ifelse(is.na(versions), "is missing", versions)),
    paste0("Cache: ", file.path(Sys.getenv("GEQUI_CACHE"), "escnn"))
  )
}

product_lines <- function(products) {
  c(
    paste0("Matrix products: ", format(products$gigaflops, digits = 2), " GFLOP/s on one thread"),
    if (products$slow) about_slow_products(products) else "Everything is in place."
  )
}

problem_lines <- function(problem) {
  c(
    if (is.null(problem)) {
      "The first call will make an environment by uv, if reticulate can; that is a large download."
    } else {
      sub("\n.*", "", problem)
    },
    paste(
      "Run install_gequi() and restart R, or name a Python that has torch and escnn in the environment variable",
      "GEQUI_PYTHON before R starts."
    )
  )
}

# The installed versions, without importing anything; of the core, that which is loaded.
package_versions <- function() {
  metadata <- reticulate::import("importlib.metadata", convert = TRUE)
  packages <- sub("[=<>].*", "", c(requirements, requirements_besides))
  versions <- vapply(packages, function(package) {
    tryCatch(metadata$version(package), error = function(error) NA_character_)
  }, "")
  loaded <- if (is.null(the$door)) NA_character_ else reticulate::import("gequi")$`__version__`
  c(gequi = loaded, versions)
}
