library(testthat)
library(gequiR)

test_check("gequiR")
