test_that("library() starts no Python", {
  seen <- in_a_new_r(c(
    "suppressPackageStartupMessages(library(gequiR))",
    'cat(reticulate::py_available(), "\n")'
  ))
  expect_identical(strsplit(tail(seen, 1), " ")[[1]][1], "FALSE")
})

test_that("loading gequiR loads neither ggplot2 nor reticulate, and autoplot() is that of ggplot2", {
  loaded <- "cat(intersect(c('ggplot2', 'reticulate', 'rlang'), loadedNamespaces()), '.', sep = '')"
  seen <- in_a_new_r(c("library(gequiR)", loaded, "cat('\\n', identical(autoplot, ggplot2::autoplot), sep = '')"))
  expect_identical(seen, c(".", "TRUE"))
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

test_that("a line says that Python starts, on stderr, unless an option says no", {
  needs_python()
  code <- c("library(gequiR)", "invisible(gequi_available())", "invisible(gequi_available())")
  told <- in_a_new_r(c("options(gequiR.quiet = NULL)", code))
  expect_length(grep("starting Python with torch and escnn", told), 1)
  expect_length(grep("starting Python", in_a_new_r(code)), 0)
})

# A program that answers as a Python of a version; as one that lacks modules, where `missing` names them.
fake_python <- function(version = "3.9.1", missing = "torch escnn") {
  file <- tempfile("python")
  writeLines(c("#!/bin/sh", sprintf(
    'if [ "$1" = --version ]; then echo "Python %s"; else echo "%s"; fi', version, missing)), file)
  Sys.chmod(file, "755")
  file
}

test_that("where no Python has what is needed, nothing is downloaded and one command is named", {
  skip_on_os("windows")
  folder <- tempfile("home")
  dir.create(folder)
  seen <- in_a_new_r(c(
    "Sys.unsetenv(c('RETICULATE_PYTHON', 'GEQUI_PYTHON', 'VIRTUAL_ENV'))",
    sprintf("setwd('%s')", folder), # without a .venv
    "library(gequiR)",
    "downloaded <- FALSE",
    "inside <- asNamespace('reticulate')",
    "invisible(trace('uv_get_or_create_env', quote(downloaded <<- TRUE), where = inside, print = FALSE))",
    "cat(gequi_available(), '\n')",
    "error <- tryCatch(gspace('rot2dOnR2', N = 4), error = identity)",
    "cat(class(error)[1], rlang::cnd_message(error), downloaded, reticulate::py_available(), sep = '\n')"
  ), c(WORKON_HOME = folder, HOME = folder, GEQUI_CACHE = folder, PATH = "/usr/bin:/bin"))
  seen <- grep("Tracing|namespace:reticulate", seen, value = TRUE, invert = TRUE)
  expect_identical(trimws(seen[1:2]), c("FALSE", "gequi_setup_error"))
  expect_match(seen[3], "gequiR needs Python")
  expect_match(seen, "Run install_gequi() and restart R", fixed = TRUE, all = FALSE)
  expect_identical(utils::tail(seen, 2), c("FALSE", "FALSE"))
})

test_that("what is wrong with a Python is said by its cause", {
  expect_match(problem_with(NULL), "no Python was found")
  found <- list(python = "/a/python", version = "3.9", forced = "RETICULATE_PYTHON", missing = character())
  expect_match(problem_with(found), "/a/python (chosen by RETICULATE_PYTHON) is Python 3.9.", fixed = TRUE)
  expect_match(advice_for(found), "Unset RETICULATE_PYTHON, run install_gequi()", fixed = TRUE)
  found <- list(python = "/a/python", version = "3.12", forced = "use_python() function", missing = c("torch", "escnn"))
  expect_match(problem_with(found), "Python with torch and escnn, which /a/python .* does not have")
  expect_match(advice_for(found), "Leave out use_python()", fixed = TRUE)
  found$missing <- character()
  expect_null(problem_with(found))
  needs_python()
  expect_identical(missing_in(reticulate::py_exe(), c("torch", "no_such_module")), "no_such_module")
  expect_identical(missing_in(reticulate::py_exe()), character())
})

test_that("what is missing for a part of the package is named, with its functions", {
  versions <- c(numpy = "2", lightning = NA, torchmetrics = NA)
  lines <- missing_lines(versions, list(slow = FALSE))
  expect_match(lines[1], "fit() and evaluate(): not without lightning and torchmetrics.", fixed = TRUE)
  expect_match(lines[2], 'py_install(c("lightning", "torchmetrics"))', fixed = TRUE)
  expect_identical(missing_lines(c(numpy = "2"), list(slow = FALSE)), "Everything is in place.")
})

test_that("install_gequi() refuses a Python that is too old or none before it makes anything", {
  skip_on_os("windows")
  folder <- tempfile("environment")
  expect_refused(install_gequi(folder, fake_python("3.9.1"), ask = FALSE), "is 3.9.1.", "input")
  expect_refused(install_gequi(folder, "/no/python", ask = FALSE), "'/no/python' is no program.", "input")
  expect_refused(install_gequi(folder, 3, ask = FALSE), "`python` must be the path of a Python", "input")
  expect_false(dir.exists(folder))
})

# What `python -m venv` leaves; without pip, where ensurepip is missing.
fake_environment <- function(folder, missing = "") {
  made <- python_in(folder)
  dir.create(dirname(made), recursive = TRUE, showWarnings = FALSE)
  file.copy(fake_python("3.12.1", missing), made, overwrite = TRUE)
}

test_that("an environment without pip is made again, with the reason why there was none", {
  skip_on_os("windows")
  folder <- tempfile("environment")
  fake_environment(folder, missing = "pip")
  writeLines("0", stamp_of(folder))
  python <- fake_python("3.12.1")
  cat("echo 'ensurepip is not\navailable: apt install python3-venv'; exit 1\n", file = python, append = TRUE)
  error <- rlang::catch_cnd(suppressMessages(install_gequi(folder, python, ask = FALSE)), "gequi_setup_error")
  expect_match(rlang::cnd_message(error), "make the virtual environment: .*ensurepip is not available: apt install")
  expect_false(is_whole(folder))
})

test_that("the folder of the environment means the same to R and to the programs that are run", {
  before <- Sys.getenv("WORKON_HOME", NA)
  Sys.unsetenv("WORKON_HOME")
  on.exit(if (!is.na(before)) Sys.setenv(WORKON_HOME = before))
  folder <- gequiR:::environment_folder()
  expect_identical(folder, path.expand("~/.virtualenvs/r-gequi"))
  expect_identical(system2("echo", shQuote(folder), stdout = TRUE), folder)
  expect_identical(gequiR:::environment_folder("~/here"), path.expand("~/here"))
})

test_that("install_gequi() installs torch first and escnn last, and marks what is complete", {
  calls <- list()
  record <- function(python, arguments, purpose, call) {
    calls <<- c(calls, list(arguments))
    if (arguments[2] == "venv") fake_environment(gsub("'", "", arguments[3]))
    if (stop_at == length(calls)) abort_gequi("SetupError", "no network")
  }
  folder <- tempfile("environment")
  stop_at <- 3
  install <- function() suppressMessages(install_gequi(folder, fake_python("3.12.1"), ask = FALSE))
  with_internal("run_python", record, {
    expect_refused(install(), "no network", "setup")
    expect_false(is_whole(folder)) # and so it is not chosen
    calls <- list()
    stop_at <- 0
    install()
  })
  expect_true(is_whole(folder))
  expect_length(calls, 3) # the environment itself was there
  installed <- gsub("'", "", unlist(lapply(calls, function(arguments) grep("^'", arguments, value = TRUE))))
  expect_setequal(installed, c(requirements, requirements_besides))
  expect_identical(installed[c(1, length(installed))], c("torch>=2.6", "escnn==1.0.11"))
  expect_true("--no-deps" %in% calls[[3]])
})

test_that("torch for CPUs is the default on Linux, unless a mirror or a folder is given", {
  expect_match(torch_options("cpu", character(), "Linux"), "/whl/cpu$")
  expect_null(torch_options("cuda", character(), "Linux"))
  expect_null(torch_options("cpu", character(), "Darwin"))
  expect_null(torch_options("cpu", c("--no-index", "--find-links=wheels"), "Linux"))
})

test_that("an error of pip has its reason and the next step", {
  skip_on_os("windows")
  file <- tempfile("pip")
  writeLines(c(
    "#!/bin/sh", "echo 'WARNING: retrying, Connection refused' >&2",
    "echo 'ERROR: No matching distribution found for torch' >&2", "exit 1"
  ), file)
  Sys.chmod(file, "755")
  error <- rlang::catch_cnd(run_python(file, "-m", "install packages", NULL), "gequi_setup_error")
  message <- rlang::cnd_message(error)
  expect_match(message, "Python could not install packages: No matching distribution found for torch", fixed = TRUE)
  expect_match(message, "Is the machine online?", fixed = TRUE)
  expect_match(message, "The same call of install_gequi() goes on", fixed = TRUE)
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

test_that("calls leave no Python object behind, functions of R and errors included", {
  needs_python()
  collector <- reticulate::import("gc", convert = FALSE)
  objects <- function() {
    for (time in 1:2) {
      gc() # R lets go of Python's objects,
      collector$collect() # and Python of R's
    }
    as.numeric(reticulate::py_len(collector$get_objects()))
  }
  space <- c4()
  x <- feature(5, 5)
  error_of <- function(f) equivariance_error(f, x, space = space, input = "trivial", output = "trivial")
  calls <- list(
    a_value = function() softmax(x),
    a_handle = function() field_type(space, c(regular = 2)),
    a_function = function() is_equivariant(identity, x, space = space, input = "trivial", output = "trivial"),
    a_function_that_fails = function() try(error_of(function(x) stop("no")), silent = TRUE),
    a_function_of_text = function() try(error_of(function(x) "text"), silent = TRUE),
    a_function_not_called = function() try(softmax(identity), silent = TRUE),
    a_refusal = function() try(gspace("rot2dOnR2", N = 0), silent = TRUE),
    several_functions = function() permutation_error(colMeans, x, input = 1, seed = 1)
  )
  for (name in names(calls)) {
    for (time in 1:3) calls[[name]]()
    before <- objects()
    for (time in 1:40) calls[[name]]()
    expect_lt(objects() - before, 20, label = paste("objects left by 40 calls:", name))
  }
})

test_that("a forked process is refused at once, also where torch has threads", {
  needs_python()
  testthat::skip_on_os("windows") # where R forks nothing
  seen <- in_a_new_r(c(
    "library(gequiR)",
    "x <- array(1, c(8, 1, 60, 60))",
    "network <- equivariant_network(gspace('rot2dOnR2', N = 4), 'trivial', seed = 1) |> layer_conv('regular', 5)",
    "compute <- function() class(tryCatch(predict(network, x), error = identity))[1]",
    "cat(compute(), '\\n')",
    "job <- parallel::mcparallel(compute())",
    "cat(unlist(parallel::mccollect(job, wait = FALSE, timeout = 20)), '\\n')",
    "tools::pskill(job$pid, tools::SIGKILL)",
    "cat(compute())"
  ), c(OMP_NUM_THREADS = "2"))
  expect_identical(trimws(seen), c("array", "gequi_fork_error", "array"))
})

test_that("a reticulate that is too old is refused when the package is loaded", {
  stated <- utils::packageDescription("gequiR")$Imports
  needed <- formals(gequiR:::check_reticulate)$needed
  expect_match(stated, paste0("reticulate (>= ", needed, ")"), fixed = TRUE)
  expect_error(
    gequiR:::check_reticulate(package_version("1.28")),
    "needs reticulate 1.41 or newer, but version 1.28 is installed. Run install.packages", fixed = TRUE
  )
  expect_silent(gequiR:::check_reticulate(package_version("1.41.0.1")))
})
