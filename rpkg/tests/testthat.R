# Two processes test (Config/testthat/parallel), each on one thread.
Sys.setenv(OMP_NUM_THREADS = "1")
library(testthat)
library(gequiR)

# A copy of the tests in the random order of a seed: of the files, and of the tests of each file.
shuffled_tests <- function(seed) {
  set.seed(seed)
  shuffled <- function(x) x[sample.int(length(x))]
  folder <- file.path(tempfile("tests"), "testthat")
  dir.create(folder, recursive = TRUE)
  file.copy("testthat/helper.R", folder)
  files <- shuffled(list.files("testthat", pattern = "^test-.*[.]R$"))
  for (number in seq_along(files)) {
    code <- parse(file.path("testthat", files[[number]]), keep.source = TRUE, encoding = "UTF-8")
    text <- vapply(attr(code, "srcref"), function(lines) paste(as.character(lines), collapse = "\n"), "")
    tests <- vapply(code, function(each) is.call(each) && identical(each[[1]], quote(test_that)), NA)
    name <- sub("test-", sprintf("test-%02d-", number), files[[number]])
    writeLines(c(text[!tests], shuffled(text[tests])), file.path(folder, name), useBytes = TRUE)
  }
  folder
}

seed <- Sys.getenv("GEQUI_ORDER_SEED")
if (nzchar(seed)) {
  cat("The order of the tests: GEQUI_ORDER_SEED =", seed, "\n")
  test_dir(
    shuffled_tests(as.integer(seed)), package = "gequiR", reporter = check_reporter(), load_package = "installed"
  )
} else {
  test_check("gequiR")
}
