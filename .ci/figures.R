# The picture of the README: Rscript .ci/figures.R
library(gequiR)

space <- gspace("rot2dOnR2", N = 8)
network <- equivariant_network(space, input = c(trivial = 1), seed = 1) |>
  layer_conv(c(regular = 4), kernel_size = 5) |>
  layer_relu() |>
  layer_conv(c(regular = 4), kernel_size = 5)
retina <- sample_image("retina")

grDevices::pdf(NULL) # plot() draws as well; here only what it returns is wanted
orbit <- plot(space, image = retina)
errors <- plot(equivariance_error(network, retina))
invisible(grDevices::dev.off())

grDevices::png("rpkg/man/figures/first.png", 1400, 1150, res = 170)
grid::grid.newpage()
grid::pushViewport(grid::viewport(layout = grid::grid.layout(2, 1, heights = c(1.25, 1))))
print(orbit, vp = grid::viewport(layout.pos.row = 1))
print(errors, vp = grid::viewport(layout.pos.row = 2))
invisible(grDevices::dev.off())
