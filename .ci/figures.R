# The pictures of the README, and the numbers that it says of them: Rscript .ci/figures.R
library(gequiR)
library(ggplot2)
folder <- "rpkg/man/figures"

# ---- section.jpg ----------------------------------------------------------------------------------------
# A stained section with known truth: the fixed image is the moving one, turned by 137 degrees, bent by up to 12 pixels
# and shown in the colors of other stains. scikit-image's picture, which its authors put in the public domain.
section_pair <- function(n = 320, degrees = 137, bend = 12) {
  stained <- reticulate::import("skimage.data")$immunohistochemistry() / 255
  color <- reticulate::import("skimage.color")
  other <- color$hed2rgb(color$rgb2hed(stained)[, , c(1, 3, 2)])
  place <- identity_map(c(n, n)) - (n + 1) / 2
  row <- place[1, , ] + bend * sin(place[2, , ] / 50 + 1)
  column <- place[2, , ] + bend * sin(place[1, , ] / 45)
  angle <- degrees * pi / 180
  map <- identity_map(c(n, n))
  map[1, , ] <- cos(angle) * row - sin(angle) * column + (n + 1) / 2
  map[2, , ] <- sin(angle) * row + cos(angle) * column + (n + 1) / 2
  margin <- (512 - n) %/% 2
  inside <- margin + seq_len(n)
  fixed <- vapply(1:3, \(channel) warp_image(other[, , channel], map + margin, "cubic"), matrix(0, n, n))
  list(moving = stained[inside, inside, ], fixed = pmin(pmax(fixed, 0), 1), map = map)
}
pair <- section_pair()
n <- nrow(pair$map[1, , ])
found <- register_images(pair$moving, pair$fixed)
landmarks <- data.frame(row = c(58, 95, 157, 205, 243), column = c(182, 282, 105, 178, 183))
carried <- predict(found, landmarks, se.fit = TRUE)
back <- warp_points(as.matrix(carried$fit[c("row", "column")]), pair$map) # by the true map
errors <- sqrt(rowSums((back - as.matrix(landmarks))^2))
shared <- apply(pair$map >= 1 & pair$map <= n, c(2, 3), all)
cat(sprintf(
  "section: rotation %.1f degrees, probability %.2f, error %.2f pixels (median), landmarks %.2f (largest)\n",
  found$decomposition$rotation, found$probability, median(sqrt(colSums((found$map - pair$map)^2))[shared]), max(errors)
))

warped <- vapply(1:3, \(channel) predict(found, pair$moving[, , channel]), matrix(0, n, n)) # NA outside
squares <- ((row(shared) - 1) %/% 40 + (col(shared) - 1) %/% 40) %% 2 == 0
mixed <- ifelse(rep(squares, 3) & !is.na(warped), warped, pair$fixed)
panels <- c("moving, with 5 landmarks", "fixed, with the landmarks carried over", "both after registration")
marks <- rbind(cbind(landmarks, image = panels[1]), cbind(carried$fit[c("row", "column")], image = panels[2]))
marks$number <- rep(seq_len(nrow(landmarks)), 2)
marks$image <- factor(marks$image, panels)
picture <- plot_image(list(pair$moving, pair$fixed, array(mixed, dim(warped))), titles = panels) +
  geom_point(
    aes(column - (n + 1) / 2, (n + 1) / 2 - row), marks, inherit.aes = FALSE,
    shape = 21, size = 5, fill = "#ffe14d", colour = "black", stroke = 0.6
  ) +
  geom_text(
    aes(column - (n + 1) / 2, (n + 1) / 2 - row, label = number), marks, inherit.aes = FALSE, size = 3, fontface = "bold"
  )
ggsave(file.path(folder, "section.jpg"), picture, width = 9.6, height = 3.5, dpi = 130, bg = "white", quality = 85)

# ---- angles.png -----------------------------------------------------------------------------------------
# The picture of the vignette "Train once, rotate freely".
code <- tempfile(fileext = ".R")
knitr::purl("rpkg/vignettes/train-once-rotate-freely.Rmd", code, quiet = TRUE, documentation = 0)
vignette <- new.env()
grDevices::pdf(NULL)
made <- lapply(parse(code), eval, vignette)
invisible(grDevices::dev.off())
picture <- Find(\(each) is.ggplot(each) && identical(each$data, vignette$curves), made)
ggsave(file.path(folder, "angles.png"), picture, width = 9.6, height = 3.4, dpi = 130, bg = "white")
cat("angles, % read correctly over all angles:\n")
print(round(100 * tapply(vignette$curves$right, vignette$curves$network, mean)))
