test_that("a gspace prints in three lines, without anything of Python", {
  needs_python()
  expect_identical(capture.output(print(c4())), c(
    "<gspace> rot2dOnR2(N = 4)", "rotations of the plane", "group C4 with 4 elements"
  ))
  expect_identical(format(gspace("trivialOnR2")), "trivialOnR2")
  expect_output(print(gspace("rot2dOnR2")), "group SO(2), continuous; 52 elements stand for it", fixed = TRUE)
  expect_output(str(c4()), "<gequi_gspace> rot2dOnR2(N = 4)", fixed = TRUE)
})

test_that("a summary lists elements and representations", {
  needs_python()
  lines <- printed_in_utf8(print(summary(c4())))
  expect_identical(lines[c(5, 7)], c(
    "  element  name  angle   reflection  exact", "        2  90\u00b0   1.5708  no          yes"
  ))
  expect_identical(tail(lines, 1), "  regular     4  no           yes")
  expect_output(print(summary(gspace("octaOnR3")), n = 3), "... and 21 more", fixed = TRUE)
})

test_that("a gspace survives saveRDS() and readRDS()", {
  needs_python()
  space <- saved_and_read(c4())
  expect_identical(cayley_table(space), cayley_table(c4()))
  group <- gspace("no_base_space", group = "dihedral_group", N = 3)
  expect_identical(group_elements(saved_and_read(group)), group_elements(group))
})

test_that("elements are numbered from 1", {
  needs_python()
  elements <- group_elements(c4())
  expect_identical(elements$element, 1:4)
  expect_identical(elements$name, c("0\u00b0", "90\u00b0", "180\u00b0", "270\u00b0"))
  expect_identical(as.data.frame(c4()), elements)
  expect_identical(range(cayley_table(c4())), c(1L, 4L))
  expect_equal(representation_matrix(c4(), "irrep_1", 2), matrix(c(0, 1, -1, 0), 2))
})

test_that("the matrices multiply as the Cayley table says", {
  needs_python()
  space <- gspace("flipRot2dOnR2", N = 4)
  table <- cayley_table(space)
  rho <- lapply(1:8, function(g) representation_matrix(space, "irrep_1,1", g))
  for (g in 1:8) for (h in 1:8) expect_equal(rho[[g]] %*% rho[[h]], rho[[table[g, h]]], tolerance = 1e-12)
})

test_that("what is no gspace, option, representation or element is refused", {
  needs_python()
  expect_refused(gspace("rot2dOnR"), "Did you mean 'rot2dOnR3'?", "input")
  expect_refused(gspace("rot2dOnR2", 4), "must be named, such as N = 4", "input")
  expect_refused(gspace("rot2dOnR2", M = 4), 'unknown option `M`; the options of rot2dOnR2 are "N"', "input")
  expect_refused(group_elements("C4"), "`space` must be a gspace", "input")
  expect_refused(representation_matrix(c4(), "irrep_9", 1), 'must be one of "trivial"', "field")
  expect_refused(cayley_table(gspace("rot2dOnR2")), "finite group", "input")
})

test_that("a plot shows a matrix for each representation and element, row 1 on top", {
  needs_python()
  cells <- plot(c4(), "irrep_1")$data
  quarter <- cells[cells$element == "90\u00b0", ]
  expect_identical(nrow(cells), 4L * 4L)
  expect_identical(quarter$value[quarter$x < 0.5 & quarter$y < 0.5], 1) # row 2, column 1
  expect_identical(quarter$value[quarter$x > 0.5 & quarter$y > 0.5], -1) # row 1, column 2
  shown <- plot(c4())$data
  expect_identical(levels(shown$representation), c("irrep_0", "irrep_1", "irrep_2", "regular"))
  octahedral <- plot(gspace("octaOnR3"), "irrep_1", elements = c(4, 5))
  expect_identical(levels(octahedral$data$element), c("0\u00b0", "120\u00b0 about (1,-1,-1)"))
  expect_silent(ggplot2::ggplotGrob(plot(c4())))
})

test_that("a plot of an image shows its orbit", {
  needs_python()
  cells <- plot(c4(), image = matrix(1:6, 2))$data
  quarter <- cells[cells$image == "90\u00b0", ]
  expect_identical(quarter$value[quarter$y == 1], c(5, 6)) # the last column is on top
  expect_silent(ggplot2::ggplotGrob(plot(c4(), image = matrix(1:6, 2))))
})

test_that("counts without end are refused at once", {
  needs_python()
  expect_refused(gspace("rot2dOnR2", N = 1e9), "`N` must be at most 128; got 1000000000", "input")
  expect_refused(identity_map(c(1e6, 1e6)), "`shape` is too large: it needs 16 TB of memory; this machine has", "input")
  expect_refused(unet(width = 1e12, seed = 1), "`width` must be at most 8192", "input")
  expect_refused(field_type(c4(), c(regular = 1e12)), "must be at most 16384", "input")
})
