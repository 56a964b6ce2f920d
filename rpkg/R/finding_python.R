# Which Python would be started, and whether it has what gequiR needs. Nothing here downloads anything.

# The Python that is to be started, a list: `managed`, whether reticulate is to make an environment by uv, which the
# user has asked for. Where there is none with all that is needed, the user is asked or told what to do.
ready_python <- function(ask, call) {
  managed <- is_managed()
  if (managed || reticulate::py_available()) return(list(managed = managed))
  found <- tryCatch(find_python(), error = identity)
  # What reticulate says of a Python that is named and is not there, it says again when it starts.
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

# Whether the user has told reticulate to make an environment of its own by uv, which downloads what it lacks.
is_managed <- function() {
  identical(Sys.getenv("RETICULATE_PYTHON"), "managed") ||
    tolower(Sys.getenv("RETICULATE_USE_MANAGED_VENV")) %in% c("true", "1", "yes")
}

# The value of code while reticulate may make no environment by uv, which is what it does where no Python is named.
without_download <- function(code, unless = FALSE) {
  if (!unless) {
    variable <- "RETICULATE_USE_MANAGED_VENV"
    before <- Sys.getenv(variable, NA)
    on.exit(if (is.na(before)) Sys.unsetenv(variable) else do.call(Sys.setenv, stats::setNames(list(before), variable)))
    Sys.setenv(RETICULATE_USE_MANAGED_VENV = "no")
  }
  code
}

# The Python that reticulate would start, a list: `python`, `version`, `forced` (what has chosen it, or NULL) and
# `missing`, the modules it lacks; NULL where there is no Python.
find_python <- function() {
  found <- without_download(reticulate::py_discover_config())
  if (is.null(found)) return(NULL)
  forced <- if (length(found$forced) && !identical(found$forced, "PATH")) found$forced
  list(
    python = found$python, version = as.character(found$version), forced = forced, missing = missing_in(found$python)
  )
}

# The modules of `needed` that a Python lacks, without importing them.
missing_in <- function(python, needed = c("torch", "escnn", "numpy", "scipy", "einops", "safetensors")) {
  code <- paste0(
    "import importlib.util as u; print(*[m for m in '", paste(needed, collapse = " "),
    "'.split() if not u.find_spec(m)])"
  )
  told <- suppressWarnings(system2(python, c("-c", shQuote(code)), stdout = TRUE, stderr = FALSE))
  if (length(attr(told, "status"))) needed else strsplit(paste(told, collapse = " "), " +")[[1]]
}

# What is wrong with a Python, one sentence; NULL where nothing is.
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
