# The same tasks with ANTsR. What all of them use:
library(ANTsR)
fixed <- as.antsImage(cat)
moving <- as.antsImage(turned)

#' Read an image
picture <- as.array(antsImageRead(file.path(folder, "cat.png")))

#' Write an image to a PNG file
antsImageWrite(antsImageClone(fixed * 255, "unsigned char"), file.path(folder, "cat.png"))

#' Show an image
plot(fixed)

#' Register one image to another
start <- affineInitializer(fixed, moving, searchFactor = 15, radianFraction = 1)
found <- antsRegistration(fixed, moving, typeofTransform = "SyN", initialTransform = start)

#' By which angle it is turned
affine <- readAntsrTransform(found$fwdtransforms[2], dimension = 2)
linear <- matrix(getAntsrTransformParameters(affine)[1:4], 2, byrow = TRUE)
decomposed <- svd(linear)
rotation <- decomposed$u %*% t(decomposed$v)
angle <- atan2(rotation[2, 1], rotation[1, 1]) * 180 / pi

#' See both images on each other
plot(fixed, found$warpedmovout)

#' Write the registered image
antsImageWrite(antsImageClone(found$warpedmovout * 255, "unsigned char"), file.path(folder, "registered.png"))

#' Carry another image along
carried <- antsApplyTransforms(fixed, as.antsImage(turned^2), found$fwdtransforms)

#' Carry landmarks along
points <- data.frame(x = on_turned$row - 1, y = on_turned$column - 1) # physical points, from 0
moved <- antsApplyTransformsToPoints(2, points, found$fwdtransforms)

#' Register rigidly, without deformation
rigid <- antsRegistration(fixed, moving, typeofTransform = "Rigid", initialTransform = start)

#' Register many pairs and see them in one table
pairs <- Map(function(m, f) antsRegistration(f, m, "SyN"), list(a = moving, b = fixed), list(a = fixed, b = fixed))
table <- do.call(rbind, lapply(pairs, function(p) {
  data.frame(mutual_information = antsImageMutualInformation(fixed, p$warpedmovout))
}))

#' The map as a data frame
field <- as.array(antsImageRead(found$fwdtransforms[1])) # the deformation, without the linear part
map <- data.frame(row = c(row(cat)), column = c(col(cat)), matrix(field, ncol = 2))
