# Finds the Python that would be started, and checks its packages. Nothing is downloaded here.

# Returns the Python to start as a list: `managed` is TRUE if the user wants an environment that reticulate creates with
# uv. If no Python has all required packages, the user is asked or told what to do.
ready_python <- function(ask, call) {
  managed <- is_managed()
  if (managed || reticulate::py_available()) return(list(managed = managed))
  found <- tryCatch(find_python(), error = identity)
  # reticulate repeats its message about a named Python that does not exist when it starts.
  problem <- if (!inherits(found, "error")) problem_with(found)
  if (!is.null(problem)) {
    if (!ask || !is.null(found$forced) || !wants_environment(problem)) {
      abort_gequi("SetupError", c(problem, i = advice_for(found)), call = call)
    }
    install_gequi(ask = FALSE)
    reticulate::use_virtualenv(environment_name, required = TRUE)
  }
  list(managed = FALSE)
}

# Whether the user wants reticulate to create an environment with uv, which downloads missing packages.
is_managed <- function() {
  identical(Sys.getenv("RETICULATE_PYTHON"), "managed") ||
    tolower(Sys.getenv("RETICULATE_USE_MANAGED_VENV")) %in% c("true", "1", "yes")
}

# Evaluates code while reticulate may not create an environment with uv, as it does if no Python is named.
without_download <- function(code, unless = FALSE) {
  if (!unless) {
    variable <- "RETICULATE_USE_MANAGED_VENV"
    before <- Sys.getenv(variable, NA)
    on.exit(if (is.na(before)) Sys.unsetenv(variable) else do.call(Sys.setenv, stats::setNames(list(before), variable)))
    Sys.setenv(RETICULATE_USE_MANAGED_VENV = "no")
  }
  code
}

# The Python that reticulate would start: `python`, `version`, `forced` (the setting that selects it, or NULL) and
# `missing`, the missing modules; NULL if there is no Python.
find_python <- function() {
  found <- without_download(reticulate::py_discover_config())
  if (is.null(found)) return(NULL)
  forced <- if (length(found$forced) && !identical(found$forced, "PATH")) found$forced
  list(
    python = found$python, version = as.character(found$version), forced = forced, missing = missing_in(found$python)
  )
}

# The modules of `needed` that a Python lacks, found without importing them.
missing_in <- function(python, needed = c("torch", "escnn", "numpy", "scipy", "einops", "safetensors")) {
  code <- paste0(
    "import importlib.util as u; print(*[m for m in '", paste(needed, collapse = " "),
    "'.split() if not u.find_spec(m)])"
  )
  told <- suppressWarnings(system2(python, c("-c", shQuote(code)), stdout = TRUE, stderr = FALSE))
  if (length(attr(told, "status"))) needed else strsplit(paste(told, collapse = " "), " +")[[1]]
}

# Describes the problem of a Python in one sentence; NULL if there is none.
problem_with <- function(found) {
  if (is.null(found)) return("gequiR needs Python with torch and escnn, and no Python was found.")
  chosen <- paste0(found$python, if (!is.null(found$forced)) paste0(" (chosen by ", found$forced, ")"))
  if (numeric_version(found$version) < "3.11") {
    paste0("gequiR needs Python 3.11 or newer; ", chosen, " is Python ", found$version, ".")
  } else if (length(found$missing)) {
    paste0("gequiR needs Python with ", enumerate(found$missing), ", which ", chosen, " does not have.")
  }
}

advice_for <- function(found) {
  forced <- if (is.null(found$forced)) "" else found$forced
  named <- regmatches(forced, regexpr("RETICULATE_PYTHON[A-Z_]*|use_python", forced))
  if (!length(named)) return(how_to_get_python)
  unset <- if (named == "use_python") "Leave out use_python() or use_virtualenv()" else paste("Unset", named)
  paste0(unset, ", run install_gequi() and restart R; or install the packages into that Python.")
}

wants_environment <- function(problem) {
  question <- paste0(
    problem, "\nMake the virtual environment '", environment_name, "' for it now? ", download_size("cpu"), " (y/n)"
  )
  isTRUE(utils::askYesNo(question, prompts = "y/n/"))
}

enumerate <- function(words) {
  if (length(words) < 2) return(words)
  paste(paste(words[-length(words)], collapse = ", "), "and", words[length(words)])
}
