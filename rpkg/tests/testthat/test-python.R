test_that("library() starts no Python and takes less than a second", {
  seen <- in_a_new_r(c(
    'seconds <- system.time(suppressPackageStartupMessages(library(gequiR)))[["elapsed"]]',
    'cat(seconds, reticulate::py_available(), "\n")'
  ))
  seen <- strsplit(tail(seen, 1), " ")[[1]]
  expect_lt(as.numeric(seen[1]), 1)
  expect_identical(seen[2], "FALSE")
})

test_that("loading declares what Python needs before one is chosen, whoever loads reticulate first", {
  for (code in list("library(gequiR)", c("loadNamespace('reticulate')", "library(gequiR)"))) {
    seen <- in_a_new_r(c(code, "cat(reticulate::py_require()$packages, sep = '\n')"))
    expect_true(all(requirements %in% seen))
  }
})

test_that("loading sets the cache and the overrides, unless they are set", {
  show <- c("library(gequiR)", "cat(Sys.getenv(c('GEQUI_CACHE', 'UV_OVERRIDE')), sep = '\n')")
  seen <- in_a_new_r(show, c(GEQUI_CACHE = "", UV_OVERRIDE = ""))
  expect_match(seen[1], "R.*gequiR")
  expect_true(file.exists(seen[2]))
  expect_match(readLines(seen[2]), "^lie-learn ; sys_platform == 'never'$", all = FALSE)
  expect_identical(in_a_new_r(show, c(GEQUI_CACHE = "a", UV_OVERRIDE = "b")), c("a", "b"))
})

test_that("GEQUI_PYTHON names the Python and comes before RETICULATE_PYTHON", {
  code <- c("library(gequiR)", "cat(Sys.getenv('RETICULATE_PYTHON'))")
  expect_identical(in_a_new_r(code, c(GEQUI_PYTHON = "/a/python", RETICULATE_PYTHON = "/b/python")), "/a/python")
})

test_that("the package carries a core of its own version", {
  version <- readLines(system.file("python", "gequi", "_version.py", package = "gequiR"))
  expect_identical(version, sprintf('__version__ = "%s"', packageVersion("gequiR")))
})

test_that("the carried core is the one that is used", {
  needs_python()
  used <- dirname(reticulate::import("gequi")$`__file__`)
  expect_identical(normalizePath(used), normalizePath(system.file("python", "gequi", package = "gequiR")))
})

test_that("a Python that is not there gives a setup error that says what to do", {
  seen <- in_a_new_r(c(
    "library(gequiR)",
    "error <- tryCatch(gspace('rot2dOnR2', N = 4), error = identity)",
    "cat(class(error)[1:2], rlang::cnd_message(error), sep = '\n')"
  ), c(RETICULATE_PYTHON = "/nonexistent/python", GEQUI_PYTHON = ""))
  expect_identical(seen[1:2], c("gequi_setup_error", "gequi_error"))
  expect_match(seen[3], "could not start its Python side: .*/nonexistent/python.* does not exist")
  expect_match(seen, "Run install_gequi\\(\\) and restart R", all = FALSE)
})

test_that("gequi_available() and gequi_sitrep() report a missing Python and do not fail", {
  seen <- in_a_new_r(c(
    "library(gequiR)", "cat(gequi_available(), '\n')", "cat(gequi_sitrep()$works, '\n')"
  ), c(RETICULATE_PYTHON = "/nonexistent/python", GEQUI_PYTHON = ""))
  expect_identical(trimws(seen[c(1, length(seen))]), c("FALSE", "FALSE"))
  expect_match(seen, "No Python has been started", all = FALSE)
})

test_that("while R CMD check runs, no Python is looked for where none is named", {
  seen <- in_a_new_r(c(
    "Sys.unsetenv('RETICULATE_PYTHON')", "library(gequiR)", "cat(gequi_available(), reticulate::py_available())"
  ), c("_R_CHECK_PACKAGE_NAME_" = "gequiR", GEQUI_PYTHON = ""))
  expect_identical(tail(seen, 1), "FALSE FALSE")
})

test_that("gequi_sitrep() tells the Python, how it was chosen, and all versions", {
  needs_python()
  lines <- capture.output(report <- gequi_sitrep())
  expect_true(report$works)
  expect_false(anyNA(report$versions))
  expect_named(report$versions[1:2], c("gequi", "numpy"))
  expect_match(lines, report$python, fixed = TRUE, all = FALSE)
  expect_match(lines, "Everything is in place.", fixed = TRUE, all = FALSE)
})

test_that("install_gequi() installs torch first and escnn last, without what it asks for", {
  steps <- installation_steps()
  expect_identical(steps[[1]]$packages, "torch>=2.6")
  expect_identical(steps[[3]], list(packages = "escnn==1.0.11", options = "--no-deps"))
  expect_setequal(
    unlist(lapply(steps, `[[`, "packages")), c(requirements, requirements_besides)
  )
})

# What a new R says of torch's matrix products after this code.
products_after <- function(code) {
  seen <- in_a_new_r(c(
    code, "library(gequiR)",
    "warned <- FALSE",
    "withCallingHandlers(softmax(1:3), gequi_warning = function(w) {",
    "  warned <<- grepl('imported before gequiR was loaded', conditionMessage(w))",
    "  tryInvokeRestart('muffleWarning')",
    "})",
    "softmax(1:3)", # which says nothing more
    "lines <- capture.output(report <- gequi_sitrep())",
    "cat(report$products$slow, warned, any(grepl('imported before gequiR was loaded', lines)))"
  ))
  as.logical(strsplit(utils::tail(seen, 1), " ")[[1]])
}

test_that("torch has its own BLAS, if gequiR is loaded before it", {
  needs_python()
  expect_identical(products_after(character()), c(FALSE, FALSE, FALSE))
  # as where Python runs already, and where the user imports torch
  expect_identical(products_after("invisible(reticulate::import('sys'))"), c(FALSE, FALSE, FALSE))
  expect_identical(
    products_after(c("library(gequiR)", "invisible(reticulate::import('torch'))")), c(FALSE, FALSE, FALSE)
  )
})

test_that("torch that was imported before gequiR was loaded, and has become slow, is reported once", {
  needs_python()
  seen <- products_after("invisible(reticulate::import('torch'))")
  expect_identical(seen, rep(seen[1], 3))
  # R's BLAS replaces torch's own; where that is the reference BLAS, it is slow.
  reference <- grepl("/blas/libblas|libRblas", extSoftVersion()[["BLAS"]]) && Sys.info()[["sysname"]] == "Linux"
  if (reference) expect_true(seen[1])
})
