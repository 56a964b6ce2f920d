#' Report on the Python installation
#'
#' Prints which Python is used and why, the versions of the Python packages, the speed of matrix products in torch, and
#' what to do if something is missing. It does not install anything.
#'
#' @return Invisibly, a list of `python` (path, or `NULL`), `chosen` (how Python was found), `versions` (named character
#'   vector, `NA` for missing packages), `cache` (path of the cache folder), `works` (logical) and `products`, a list of
#'   `gigaflops` (speed of matrix products on one thread) and `slow` (whether torch apparently uses the BLAS of R).
#' @section Errors: This function never fails.
#' @concept GPU
#' @concept Python
#' @family setup
#' @export
#' @examplesIf gequi_available()
#' gequi_sitrep()
gequi_sitrep <- function() {
  problem <- tryCatch(is.null(core(NULL, ask = FALSE)), error = rlang::cnd_message)
  works <- isFALSE(problem)
  found <- describe_python()
  versions <- if (!is.null(found$python)) package_versions()
  products <- if (works) call_core("measure_products")
  cat(
    setup_lines(found, versions),
    if (works) c(product_lines(products), missing_lines(versions, products)) else problem_lines(problem),
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
    if (products$slow) about_slow_products(products)
  )
}

# The features that do not work because a package is missing, and how to install it.
missing_lines <- function(versions, products) {
  purposes <- list(
    "fit() and evaluate()" = requirements_of_training, "export_model() to ONNX" = requirements_of_export,
    "predict_folder() of pictures" = requirements_of_images, "Irreducible representations" = requirements_of_escnn
  )
  absent <- names(versions)[is.na(versions)]
  lines <- unlist(lapply(names(purposes), function(purpose) {
    missing <- intersect(package_names(purposes[[purpose]]), absent)
    if (length(missing)) paste0(purpose, ": not without ", enumerate(missing), ".")
  }))
  others <- setdiff(absent, package_names(requirements_besides))
  if (length(others)) lines <- c(lines, paste0("Missing: ", enumerate(others), "."))
  if (length(lines)) {
    c(lines, paste0("To install: reticulate::py_install(c(", paste0("\"", absent, "\"", collapse = ", "), "))"))
  } else if (!products$slow) {
    "Everything is in place."
  }
}

problem_lines <- function(problem) c(sub("\n.*", "", problem), how_to_get_python)

package_names <- function(requirements) sub("[=<>].*", "", requirements)

# The installed versions, without importing the packages; for the core, the loaded version.
package_versions <- function() {
  metadata <- reticulate::import("importlib.metadata", convert = TRUE)
  packages <- package_names(c(requirements, requirements_besides))
  versions <- vapply(packages, function(package) {
    tryCatch(metadata$version(package), error = function(error) NA_character_)
  }, "")
  loaded <- if (is.null(the$door)) NA_character_ else reticulate::import("gequi")$`__version__`
  c(gequi = loaded, versions)
}
