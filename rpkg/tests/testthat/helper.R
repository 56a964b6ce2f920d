# A condition of more than one value is an error since R 4.3; an older R is told to see it in the same way.
Sys.setenv(`_R_CHECK_LENGTH_1_CONDITION_` = "true", `_R_CHECK_LENGTH_1_LOGIC2_` = "true")

# Where Python must be there (in CI), its absence is a failure, not a skip.
needs_python <- function() {
  if (gequi_available()) return(invisible())
  if (identical(Sys.getenv("GEQUI_REQUIRE_PYTHON"), "true")) {
    stop("These tests need a Python with torch and escnn: gequi_sitrep() says what is missing.")
  }
  testthat::skip("there is no Python with torch and escnn")
}

# What an expression prints where the locale has all letters: in the locale C a degree sign is <U+00B0>.
printed_in_utf8 <- function(code) {
  before <- Sys.getlocale("LC_CTYPE")
  on.exit(Sys.setlocale("LC_CTYPE", before))
  if (!l10n_info()$`UTF-8`) Sys.setlocale("LC_CTYPE", "C.UTF-8")
  utils::capture.output(code)
}

c4 <- function() gspace("rot2dOnR2", N = 4)

# A feature with reproducible values: (batch, channel, row, column) and the like.
feature <- function(...) {
  size <- c(...)
  array(sin(seq_len(prod(size)) * 1.7), size)
}

# The value of an expression in an R of its own, in which nothing of this one is loaded.
in_a_new_r <- function(code, variables = character()) {
  withheld <- c(R_LIBS = paste(.libPaths(), collapse = .Platform$path.sep), variables)
  script <- tempfile(fileext = ".R")
  on.exit(unlink(script))
  writeLines(c("options(gequiR.quiet = TRUE)", code), script)
  system2(
    file.path(R.home("bin"), "Rscript"), c("--vanilla", script),
    stdout = TRUE, stderr = TRUE, env = paste0(names(withheld), "=", shQuote(withheld))
  )
}

# What saveRDS() and readRDS() leave of an object.
saved_and_read <- function(x) {
  file <- tempfile(fileext = ".rds")
  on.exit(unlink(file))
  saveRDS(x, file)
  readRDS(file)
}

# The file that a list of objects is kept in.
saved_list <- function(x) {
  file <- tempfile(fileext = ".rds")
  saveRDS(x, file)
  file
}

# The names of the network's layers, from its recipe.
kinds_of <- function(network) vapply(network$layers, function(layer) layer$layer, "")

# That code is refused with an error of the class gequi_<kind>_error whose sentence contains these words.
expect_refused <- function(code, words, kind) {
  testthat::expect_error(code, words, fixed = TRUE, class = paste0("gequi_", kind, "_error"))
}

# The value of code while an internal function of the package is another one.
with_internal <- function(name, value, code) {
  namespace <- asNamespace("gequiR")
  before <- get(name, namespace)
  put <- function(what) {
    unlockBinding(name, namespace)
    assign(name, what, namespace)
    lockBinding(name, namespace)
  }
  on.exit(put(before))
  put(value)
  force(code)
}

# A function that computes its value when it is first called, and gives that value again later: for objects that
# several tests read and none changes.
once <- function(compute) {
  value <- NULL
  function() {
    if (is.null(value)) value <<- compute()
    value
  }
}
