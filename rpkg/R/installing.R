#' Install the Python packages that gequiR requires
#'
#' Creates a virtual environment with torch, escnn and their dependencies. gequiR finds the environment by name in the
#' next session. Nothing is installed unless this function is called or the question at the first call of a session is
#' answered with yes.
#'
#' @details
#' The packages need about 280 MB of download and 1.2 GB on disk for the CPU build of torch, and 3.1 GB and 5.8 GB for
#' the CUDA build (measured on Linux). Calling the function again resumes an interrupted installation. gequiR does not
#' use an incomplete environment.
#'
#' Two requirements of escnn are not installed because gequi does not use them: lie_learn, which has wheels for two
#' Python versions only, and py3nj, which needs a Fortran compiler.
#' @param envname Character, the name or path of the virtual environment.
#' @param python Character, the path of the Python (3.11 or newer) for the environment. `NULL` uses version 3.12, 3.11
#'   or 3.13, for which wheels of all packages exist, otherwise the newest version that reticulate finds.
#' @param device Character, `"cpu"`, or `"cuda"` for an NVIDIA GPU. It selects the build of torch on Linux; other
#'   systems have one build.
#' @param pip_options Character vector, additional options of `pip install`: `"--index-url=..."` for a mirror, or
#'   `c("--no-index", "--find-links=FOLDER")` for a folder of wheels. torch is also installed from there.
#' @param ask Logical, whether to ask before the environment is created.
#' @return The path of the Python executable of the environment, invisibly. `NULL` if the question was answered with no.
#' @section Errors: `gequi_input_error` if `python` does not exist or is older than 3.11; `gequi_setup_error` if no
#'   Python is found, or if pip fails (the message contains the reason).
#' @concept GPU
#' @concept Python
#' @family setup
#' @export
#' @examples
#' \dontrun{
#' install_gequi()
#' install_gequi(device = "cuda")
#' }
install_gequi <- function(envname = "r-gequi", python = NULL, device = c("cpu", "cuda"), pip_options = character(),
                          ask = rlang::is_interactive()) {
  here <- rlang::current_env()
  device <- check_choice(device, c("cpu", "cuda"), "device", here)
  python <- starting_python(python, here)
  if (ask) {
    question <- paste0("Make the virtual environment '", envname, "' from ", python, "? ", download_size(device))
    if (!isTRUE(utils::askYesNo(paste(question, "(y/n)"), prompts = "y/n/"))) return(invisible(NULL))
  } else {
    cli::cli_inform(download_size(device))
  }
  folder <- environment_folder(envname)
  made <- python_in(folder)
  unlink(stamp_of(folder)) # from here until the end it is not whole
  if (!file.exists(made) || length(missing_in(made, "pip"))) { # where none was made, or one without pip
    cli::cli_inform("Making the virtual environment {.file {folder}} from {.file {python}}.")
    run_python(python, c("-m", "venv", shQuote(folder)), "make the virtual environment", here)
  }
  steps <- installation_steps(device, pip_options)
  for (i in seq_along(steps)) {
    cli::cli_inform("Step {i} of {length(steps)}: pip install {steps[[i]]$packages}")
    arguments <- c("-m", "pip", "install", steps[[i]]$options, shQuote(steps[[i]]$packages))
    run_python(made, arguments, "install packages", here)
  }
  writeLines(as.character(utils::packageVersion("gequiR")), stamp_of(folder))
  if (identical(envname, environment_name)) {
    cli::cli_inform("Done. gequiR finds {.val {envname}} by its name; where Python runs already, restart R.")
  } else {
    cli::cli_inform("Done. Put GEQUI_PYTHON={made} into your .Renviron and restart R.")
  }
  invisible(made)
}

# The sum of the wheels that pip takes and the size of the environment, measured on Linux: torch 2.13 for CPUs with
# Python 3.11, and torch 2.14 for CUDA with Python 3.12.
download_size <- function(device) {
  sizes <- if (device == "cpu") c("280 MB", "1.2 GB") else c("3.1 GB", "5.8 GB")
  paste0("This downloads about ", sizes[1], " and takes ", sizes[2], " on disk.")
}

# The folder of an environment. reticulate returns a path with ~, which other programs do not expand.
environment_folder <- function(envname = environment_name) {
  path.expand(if (grepl("[/\\\\]", envname)) envname else file.path(reticulate::virtualenv_root(), envname))
}

python_in <- function(folder) {
  if (.Platform$OS.type == "windows") file.path(folder, "Scripts", "python.exe") else file.path(folder, "bin", "python")
}

# This file is written when all packages are installed. If it does not exist, the installation was interrupted.
stamp_of <- function(folder) file.path(folder, "gequi-installed")

is_whole <- function(folder) file.exists(stamp_of(folder))

# The Python from which to create an environment, checked before anything is created.
starting_python <- function(python, call) {
  if (is.null(python)) {
    for (version in c("3.12", "3.11", "3.13", ">=3.11")) {
      python <- reticulate::virtualenv_starter(version)
      if (!is.null(python)) return(python)
    }
    abort_gequi("SetupError", c(
      "No Python of version 3.11 or newer was found.",
      i = "reticulate::install_python(\"3.12\") gets one; or name one in `python`."
    ), "python", call)
  }
  refuse <- function(...) abort_gequi("InputError", paste0("`python` ", ...), "python", call)
  if (!rlang::is_string(python)) refuse("must be the path of a Python; got ", described(python), ".")
  found <- Sys.which(path.expand(python))
  if (!nzchar(found)) refuse("must be the path of a Python; '", python, "' is no program.")
  told <- suppressWarnings(system2(found, "--version", stdout = TRUE, stderr = TRUE))
  version <- sub("^Python ([0-9.]+).*", "\\1", told[1])
  if (!grepl("^[0-9]+[.][0-9]+", version)) refuse("must be the path of a Python; '", python, "' says no version.")
  if (numeric_version(version) < "3.11") refuse("must be Python 3.11 or newer; '", python, "' is ", version, ".")
  unname(found)
}

# Runs Python and shows its output. An error contains the last reason.
run_python <- function(python, arguments, purpose, call) {
  log <- tempfile()
  on.exit(unlink(log))
  venv <- identical(arguments[2], "venv") # which says on stdout, in several lines, why it fails
  status <- system2(python, arguments, stdout = if (venv) log else "", stderr = log)
  if (status == 0) return(invisible())
  said <- grep("^ *$", readLines(log, warn = FALSE), value = TRUE, invert = TRUE)
  reasons <- grep("^ERROR|[Ee]rror:", said, value = TRUE)
  reason <- utils::tail(c("it gave no reason", if (venv) paste(trimws(said), collapse = " ") else said), 1)
  if (length(reasons)) reason <- reasons[1]
  offline <- any(grepl("Connection|resolve|Network|timed out", said))
  abort_gequi("SetupError", c(
    paste0("Python could not ", purpose, ": ", sub("^ERROR: *", "", reason)),
    i = if (offline) {
      "Is the machine online? A mirror or a folder of wheels can be given in `pip_options`."
    },
    i = "The same call of install_gequi() goes on where it stopped."
  ), call = call)
}

# torch is installed first, because its build determines its dependencies; escnn last, without some of its dependencies.
installation_steps <- function(device = "cpu", pip_options = character()) {
  of <- function(pattern) grep(pattern, requirements, value = TRUE)
  list(
    list(packages = of("^torch"), options = c(torch_options(device, pip_options), pip_options)),
    list(packages = c(setdiff(requirements, of("^(torch|escnn)")), requirements_besides), options = pip_options),
    list(packages = of("^escnn"), options = c("--no-deps", pip_options))
  )
}

# Linux, where torch has separate builds for CPUs, which pip does not select by default.
torch_options <- function(device, pip_options, system = Sys.info()[["sysname"]]) {
  chosen <- any(grepl("^(--index-url|-i|--no-index|--find-links|-f)", pip_options))
  if (device == "cpu" && system == "Linux" && !chosen) "--index-url=https://download.pytorch.org/whl/cpu"
}
