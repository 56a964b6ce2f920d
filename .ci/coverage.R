# The share of the lines of an R package that its tests run, by file. Arguments: the package, and the least share in %.
given <- commandArgs(TRUE)
# Runs after the tests. A process that a test ends may have written a part of its counts only, which covr cannot read.
drop_broken_files <- '
  for (file in list.files(dirname(find.package("gequiR")), "^covr_trace_", full.names = TRUE)) {
    tryCatch(invisible(readRDS(file)), error = function(condition) unlink(file))
  }
'
measured <- covr::package_coverage(given[1], type = "tests", quiet = FALSE, code = drop_broken_files)
by_file <- covr::coverage_to_list(measured)
files <- sort(by_file$filecoverage)
cat(sprintf("%-40s %6.1f %%\n", names(files), files), sep = "")
cat(sprintf("%-40s %6.1f %%\n", "all", by_file$totalcoverage))
quit(status = as.integer(by_file$totalcoverage < as.numeric(given[2])))
