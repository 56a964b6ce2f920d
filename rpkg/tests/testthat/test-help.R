# The manual: which words find a page, and what each page says.
pages <- function() {
  tools::Rd_db("gequiR", lib.loc = dirname(system.file(package = "gequiR")))
}
tags_of <- function(page) vapply(page, \(part) sub("^\\\\", "", attr(part, "Rd_tag")), "")
text_of <- function(page, tag) vapply(page[tags_of(page) == tag], \(part) paste(unlist(part), collapse = ""), "")

test_that("help.search() finds the words of the field", {
  manual <- pages()
  words <- c(
    "rotation", "deformable", "segmentation", "classification", "landmark", "metadata", "grayscale", "GPU", "overlay",
    "stack"
  )
  # What help.search() looks at: aliases, titles, concepts and keywords.
  tags <- c("alias", "title", "concept", "keyword")
  said <- unlist(lapply(manual, \(page) unlist(lapply(tags, text_of, page = page))))
  for (word in words) expect_true(any(grepl(word, said, ignore.case = TRUE)), label = word)
})

test_that("every page of functions says what they return, and how they fail", {
  manual <- pages()
  manual <- manual[!names(manual) %in% c("gequiR-package.Rd", "reexports.Rd")]
  for (name in names(manual)) {
    page <- manual[[name]]
    sections <- vapply(page[tags_of(page) == "section"], \(part) paste(unlist(part[[1]]), collapse = ""), "")
    expect_true("value" %in% tags_of(page), label = paste(name, "has a value"))
    expect_true("Errors" %in% trimws(sections), label = paste(name, "has errors"))
    expect_true("examples" %in% tags_of(page), label = paste(name, "has examples"))
  }
})

test_that("every argument begins with a capital letter, or with the function that it belongs to", {
  for (page in pages()) {
    items <- unlist(lapply(page[tags_of(page) == "arguments"], \(part) {
      items <- Filter(\(each) identical(attr(each, "Rd_tag"), "\\item"), part)
      lapply(items, \(each) paste(unlist(each[[2]]), collapse = ""))
    }))
    for (item in items) expect_match(trimws(item), "^([A-Z]|[a-z_]+\\(\\): )", label = item)
  }
})
