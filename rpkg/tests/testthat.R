# Two processes test (Config/testthat/parallel), each on one thread.
Sys.setenv(OMP_NUM_THREADS = "1")
library(testthat)
library(gequiR)

test_check("gequiR")
