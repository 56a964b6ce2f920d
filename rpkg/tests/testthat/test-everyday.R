# Forty everyday tasks, each checked by value. The vignette "everyday" shows them and counts their lines.
script <- readLines(system.file("everyday", "gequiR.R", package = "gequiR"))
titles <- grep("^#' ", script)

test_that("forty everyday tasks are a few lines each and give what they say", {
  needs_python()
  expect_length(titles, 40)
  env <- new.env(parent = asNamespace("gequiR"))
  eval(parse(text = script[seq_len(titles[1] - 1)]), env)
  ends <- c(titles[-1] - 1, length(script))
  for (i in seq_along(titles)) {
    lines <- script[titles[i]:ends[i]]
    expect_true(any(grepl("^stopifnot\\(", lines)), label = paste(script[titles[i]], "is checked"))
    expect_error(suppressMessages(utils::capture.output(eval(parse(text = lines), env))), NA, label = script[titles[i]])
  }
})

test_that("no task needs an integer suffix, a part of an object or juggled axes", {
  code <- grep("^(#|stopifnot)", script[titles[1]:length(script)], value = TRUE, invert = TRUE)
  parsed <- utils::getParseData(parse(text = code, keep.source = TRUE))
  expect_false(any(grepl("^[0-9]+L$", parsed$text[parsed$token == "NUM_CONST"])))
  expect_false(any(c("aperm", "drop", "dim", "$", "[[", "@") %in% parsed$text))
})

test_that("the code of other packages has tasks of the same titles", {
  for (name in c("escnn", "keras3", "ANTsR")) {
    file <- system.file("everyday", paste0(name, ".R"), package = "gequiR")
    expect_silent(parse(file))
    expect_length(setdiff(grep("^#' ", readLines(file), value = TRUE), script[titles]), 0)
  }
})
