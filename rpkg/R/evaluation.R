#' Evaluate a registration by landmarks and labels
#'
#' The metrics that the field reports: the target registration error of landmarks, the overlap and the surface distance
#' of labels, and the regularity of the map.
#'
#' "Before" takes the pixels of the two images as they lie: the first pixel of one on the first pixel of the other.
#'
#' @section Metrics of landmarks:
#' * `TRE_median`, `TRE_max`: the target registration error, the distance |T(p_i) - q_i| of the moving landmark p_i,
#'   carried to the fixed image, from the fixed landmark q_i, in units of the spacing of the fixed image.
#' * `rTRE_median`, `rTRE_max`: TRE over the diagonal of the fixed image, (sum over the axes of
#'   (size * spacing)^2)^(1/2).
#' * `robustness`: the share of the landmarks with a TRE below that before the registration.
#' * `AUC_3`, `AUC_5`, `AUC_10` (images only): the area under the cumulative curve of the errors in pixels of the
#'   fixed image, from 0 to the threshold, over the threshold; the curve goes straight from (0, 0) through the points
#'   (i-th smallest error, i / number of errors). Of one registration, the errors are those of its landmarks. Of many
#'   pairs, each has one error, the mean of its landmarks. Benchmarks of matching take the mean error of the four
#'   corners under the true map; that map is not known here, so landmarks take the place of the corners. Landmarks at
#'   the four corners give the same number.
#' @section Metrics of labels:
#' For each label, on the pixels of the fixed image. The moving labels are carried by the nearest pixel; outside the
#' moving image is background.
#' * `Dice`: 2 |A and B| / (|A| + |B|).
#' * `HD95`: the larger of the two 95 % quantiles (interpolated linearly) of the distances from each boundary pixel of A
#'   to the nearest one of B, and from B to A, in units of the spacing. A boundary pixel has a face neighbour outside
#'   the label, or lies at the border of the image. `NaN` where a label is carried out of the image.
#' @section Metrics of the map:
#' * `SDlogJ`: the standard deviation, over the pixels of the fixed image, of ln J, J being the determinant of the map's
#'   derivative, clipped to 1e-9 from below.
#' * `NDV` (of images: `NDA`): the non-diffeomorphic volume (area) in % of the number of pixels. Each cell of 2^n
#'   neighbouring pixels is split into simplices in both ways (images: 2 triangles twice; volumes: 5 tetrahedra twice);
#'   the volumes of those that the map turns inside out are summed and halved. It is 0 if and only if the map is
#'   digitally diffeomorphic. Other than in the authors' program the image is not continued beyond its border, where a
#'   turned map would fold.
#'
#' Of a map that mirrors, J is taken with the opposite sign.
#'
#' @param found what [register_images()] returned, for one pair or for many.
#' @param landmarks a list of two, the moving and the fixed points, in this order or under these names: matrices (point,
#'   axis), in pixels from 1, or data frames with the columns (`depth`,) `row` and `column`. Point i of the one is where
#'   point i of the other is. `NULL` leaves these metrics out. For many pairs, a list of such lists.
#' @param labels a list of two label images, the moving and the fixed one, of the sizes of the two images: whole
#'   numbers, where 0 is the background; or logicals; or factors with `dim()`, where `NA` is the background. For many
#'   pairs, a list of such lists.
#' @param x what `evaluate_registration()` returned.
#' @param n the most rows to print.
#' @param ... not used.
#' @return a data frame of class `gequi_evaluation` with a row for each metric: `metric`; `label`, the label that it is
#'   of, or `NA`; `before`, its value before the registration, or `NA` where it has none; `after`; `unit`, `"pixel"`
#'   (`"voxel"`) or, where the spacing is not 1, `"length"`, in which `spacing` is measured; `"share"` (0 to 1), `"%"`,
#'   or `NA`. For many pairs it begins with `pair`, their number or name, and its last rows, of `pair` `NA`, are the AUC
#'   over the pairs. A pair that failed has no rows of its own; its error there is infinite after the registration.
#' @section Errors: `gequi_shape_error` for landmarks that are no pair of as many points each, with a coordinate for
#'   each axis, for labels of other sizes than the images, and for lists of other lengths; `gequi_input_error` for
#'   values that are not finite, labels that are not whole numbers, no label at all, a label that only one of the two
#'   has, and what is no registration.
#' @references TRE, rTRE and robustness: Borovec et al. (2020), ANHIR, IEEE TMI 39, and its program BIRL. Dice, HD95 and
#'   SDlogJ: Hering et al. (2023), Learn2Reg, IEEE TMI 42. NDV: Liu et al. (2024), On Finite Difference Jacobian
#'   Computation in Deformable Image Registration, IJCV 132. AUC: Sarlin et al. (2020), SuperGlue; Sun et al. (2021),
#'   LoFTR.
#' @family registration
#' @export
#' @examplesIf gequi_available()
#' image <- sample_image("cat")[51:130, 151:230]
#' turned <- t(image)[ncol(image):1, ]
#' found <- register_images(moving = turned, fixed = image)
#' fixed <- data.frame(row = c(10, 40, 70), column = c(20, 40, 30))
#' moving <- data.frame(row = 81 - fixed$column, column = fixed$row)
#' evaluate_registration(
#'   found,
#'   landmarks = list(moving, fixed),
#'   labels = list(turned > 0.5, image > 0.5)
#' )
evaluate_registration <- function(found, landmarks = NULL, labels = NULL) {
  need_arguments()
  here <- rlang::current_env()
  several <- is.list(found) && !inherits(found, "gequi_registration")
  levels <- new.env(parent = emptyenv())
  rows <- call_core(
    "evaluate_registration",
    found = if (several) lapply(unname(unclass(found)), function(each) if (!inherits(each, "error")) each) else found,
    landmarks = for_each_pair(found, several, landmarks, function(pair, one) landmark_pair(pair, one, here)),
    labels = for_each_pair(found, several, labels, function(pair, one) label_pair(pair, levels))
  )
  table <- as_table(rows, indexes = if (several) "pair" else character())
  if (!is.null(levels$names)) table$label <- levels$names[table$label]
  if (several && !is.null(names(found))) table$pair <- names(found)[table$pair]
  class(table) <- c("gequi_evaluation", class(table))
  table
}

# What is given for one registration, or for each of several, as the core takes it. A list of another length is for the
# core to refuse.
for_each_pair <- function(found, several, given, read) {
  if (!several) return(read(given, found))
  if (!is.list(given) || length(given) != length(found)) return(given)
  unname(Map(read, unname(given), unname(unclass(found))))
}

# A pair in the order of the core: the moving one, the fixed one.
as_moving_fixed <- function(pair) {
  if (setequal(names(pair), c("moving", "fixed"))) pair[c("moving", "fixed")] else unname(pair)
}

landmark_pair <- function(pair, found, call) {
  if (!is.list(pair) || is.data.frame(pair)) return(pair)
  known <- inherits(found, "gequi_registration") # of a pair that failed, the columns say how many axes there are
  columns <- if (known) axis_names(axes_of(found)) else intersect(axis_names(3), names(pair[[1]]))
  lapply(as_moving_fixed(pair), function(points) {
    as_index(if (is.data.frame(points)) coordinates(points, columns, "landmarks", call) else points)
  })
}

# Factors become the numbers of their levels, whose names `levels` keeps.
label_pair <- function(pair, levels) {
  if (!is.list(pair) || is.data.frame(pair)) return(pair)
  levels$names <- unique(c(levels$names, unlist(lapply(pair, base::levels))))
  lapply(as_moving_fixed(pair), function(labels) {
    if (!is.factor(labels)) return(labels)
    array(match(labels, levels$names, nomatch = 0), if (is.null(dim(labels))) length(labels) else dim(labels))
  })
}

#' @rdname evaluate_registration
#' @export
print.gequi_evaluation <- function(x, ..., n = Inf) {
  refuse_dots(..., .also = of_print)
  table <- as.data.frame(x)
  shown <- c("before", "after")
  if (!all(c("metric", shown) %in% names(table))) return(NextMethod())
  cat(title_line("evaluation", paste(nrow(table), if (nrow(table) == 1) "metric" else "metrics")), "\n", sep = "")
  table[shown] <- lapply(table[shown], function(value) {
    ifelse(is.na(value) & !is.nan(value), NA, formatC(value, digits = 3, format = "g", flag = "#"))
  })
  unused <- vapply(table, function(column) all(is.na(column)), NA)
  print_table(table[!unused], n = n, right = shown)
  invisible(x)
}
