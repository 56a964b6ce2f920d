# The R sources: their style, that no name is taken twice, and that the manual pages are those of the comments.
lints <- lintr::lint_package("rpkg")
if (length(lints)) {
  print(lints)
  quit(status = 1)
}
# Of two functions of one name, in two files, the later one wins in silence.
defined <- unlist(lapply(list.files("rpkg/R", pattern = "[.]R$", full.names = TRUE), function(file) {
  unlist(lapply(parse(file), function(each) {
    if (is.call(each) && identical(each[[1]], quote(`<-`)) && is.name(each[[2]])) as.character(each[[2]])
  }))
}))
if (anyDuplicated(defined)) {
  cat("Defined twice in rpkg/R:", unique(defined[duplicated(defined)]), sep = "\n  ")
  quit(status = 1)
}
folder <- file.path(tempdir(), "rpkg")
dir.create(folder)
for (part in c("DESCRIPTION", "NAMESPACE", "R", "man", "inst", "LICENSE")) {
  file.copy(file.path("rpkg", part), folder, recursive = TRUE)
}
pages <- function(where) {
  files <- c("NAMESPACE", file.path("man", list.files(file.path(where, "man"), pattern = "[.]Rd$")))
  stats::setNames(lapply(file.path(where, files), readLines), files)
}
invisible(utils::capture.output(suppressMessages(roxygen2::roxygenise(folder))))
stale <- setdiff(union(names(pages("rpkg")), names(pages(folder))), names(which(mapply(
  identical, pages("rpkg")[names(pages(folder))], pages(folder)
))))
if (length(stale)) {
  cat("These do not follow from the comments in rpkg/R (run `make docs`):", stale, sep = "\n  ")
  quit(status = 1)
}
# R CMD check says this as well, after all its tests.
wide <- tools:::.check_Rd_line_widths("rpkg")
if (length(wide)) {
  print(wide)
  quit(status = 1)
}
# Spelling, as in the United States. New names and terms go to rpkg/inst/WORDLIST.
misspelled <- spelling::spell_check_package("rpkg")
if (nrow(misspelled)) {
  print(misspelled)
  quit(status = 1)
}
