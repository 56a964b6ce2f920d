# Loading starts no Python. What must be said before a Python is chosen is said here.
.onLoad <- function(libname, pkgname) {
  set_unless_set <- function(variable, value) {
    if (!nzchar(Sys.getenv(variable))) do.call(Sys.setenv, stats::setNames(list(value), variable))
  }
  set_unless_set("GEQUI_CACHE", tools::R_user_dir("gequiR", "cache"))
  set_unless_set("UV_OVERRIDE", system.file("python", "overrides.txt", package = pkgname, lib.loc = libname))
  if (nzchar(Sys.getenv("GEQUI_PYTHON"))) Sys.setenv(RETICULATE_PYTHON = Sys.getenv("GEQUI_PYTHON"))
  # reticulate takes most of a second to load: it waits until it is used, by this package or another.
  if (isNamespaceLoaded("reticulate")) {
    declare_requirements()
  } else {
    setHook(packageEvent("reticulate", "onLoad"), function(...) declare_requirements())
  }
}

# Tells reticulate what the Python must have, and of the environment of install_gequi(), where there is one.
declare_requirements <- function() {
  if (reticulate::py_available()) return(invisible())
  reticulate::py_require(requirements, python_version = ">=3.11")
  if (dir.exists(file.path(reticulate::virtualenv_root(), environment_name))) {
    reticulate::use_virtualenv(environment_name, required = FALSE)
  }
}
