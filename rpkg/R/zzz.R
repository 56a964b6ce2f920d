# Loading the package does not start Python. Settings that must precede the choice of a Python are made here.
.onLoad <- function(libname, pkgname) {
  check_reticulate()
  set_unless_set <- function(variable, value) {
    if (!nzchar(Sys.getenv(variable))) do.call(Sys.setenv, stats::setNames(list(value), variable))
  }
  set_unless_set("GEQUI_CACHE", tools::R_user_dir("gequiR", "cache"))
  set_unless_set("UV_OVERRIDE", system.file("python", "overrides.txt", package = pkgname, lib.loc = libname))
  if (nzchar(Sys.getenv("GEQUI_PYTHON"))) Sys.setenv(RETICULATE_PYTHON = Sys.getenv("GEQUI_PYTHON"))
  # The generic of ggplot2, which is loaded when the generic is first used.
  delayedAssign("autoplot", ggplot2::autoplot, assign.env = parent.env(environment()))
  # Loading reticulate takes most of a second, so it is deferred until this or another package uses it.
  if (isNamespaceLoaded("reticulate")) {
    declare_to_reticulate()
  } else {
    setHook(packageEvent("reticulate", "onLoad"), function(...) declare_to_reticulate())
  }
  if (isNamespaceLoaded("parsnip")) {
    register_parsnip_engine()
  } else {
    setHook(packageEvent("parsnip", "onLoad"), function(...) register_parsnip_engine())
  }
}

# R itself checks the version of a package when it is loaded. reticulate is loaded later, so it is checked here.
check_reticulate <- function(found = utils::packageVersion("reticulate"), needed = "1.41") {
  if (found >= needed) return(invisible())
  message <- paste0(
    "gequiR needs reticulate ", needed, " or newer, but version ", found, " is installed. Run ",
    "install.packages(\"reticulate\") and restart R."
  )
  stop(message, call. = FALSE)
}
