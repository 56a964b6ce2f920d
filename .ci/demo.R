# Renders a vignette to HTML and says where it is: Rscript .ci/demo.R VIGNETTE OUTPUT
arguments <- commandArgs(trailingOnly = TRUE)
stopifnot(gequiR::gequi_available()) # or the vignette shows code only
output <- rmarkdown::render(
  arguments[1], output_file = basename(arguments[2]), output_dir = dirname(arguments[2]),
  intermediates_dir = tempdir(), quiet = TRUE, envir = shown <- new.env()
)
cat("\nEquivariance errors of the network in the vignette (relative to the scale of its output):\n\n")
print(shown$errors)
cat("\nThe vignette with its figures: ", output, "\n", sep = "")
