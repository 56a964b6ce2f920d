#' Evaluate a registration with landmarks and labels
#'
#' Computes standard registration metrics: the target registration error (TRE) of landmarks, the overlap and the surface
#' distance of labels, and the regularity of the map.
#'
#' The value "before" compares the two images without registration, with their first pixels aligned. If the map contains
#' a reflection, J is used with the opposite sign.
#'
#' @section Metrics of landmarks:
#' * `TRE_median`, `TRE_max`: the target registration error, the distance |T(p_i) - q_i| between the mapped moving
#'   landmark p_i and the fixed landmark q_i, in units of the spacing of the fixed image.
#' * `rTRE_median`, `rTRE_max`: TRE divided by the diagonal of the fixed image, (sum over the axes of (size *
#'   spacing)^2)^(1/2).
#' * `robustness`: the fraction of landmarks whose TRE is smaller after registration than before.
#' * `AUC_3`, `AUC_5`, `AUC_10` (images only): the area under the cumulative error curve from 0 to the threshold,
#'   divided by the threshold. Errors are in pixels of the fixed image. The curve connects (0, 0) and the points (i-th
#'   smallest error, i / number of errors) linearly. For one registration, the errors are those of its landmarks. For
#'   several pairs, the error of a pair is the mean over its landmarks. Matching benchmarks use the mean error of the
#'   four image corners under the true map; landmarks at the four corners give the same value.
#' @section Metrics of labels:
#' These are computed for each label on the pixels of the fixed image. The moving labels are resampled with
#' nearest-neighbor interpolation, and pixels outside the moving image are background.
#' * `Dice`: 2 |A and B| / (|A| + |B|).
#' * `HD95`: the larger of the two 95 % quantiles (linear interpolation) of the distances from each boundary pixel of A
#'   to the nearest boundary pixel of B and from B to A, in units of the spacing. A boundary pixel has a face neighbor
#'   outside the label or lies at the border of the image. `NaN` if a label is mapped outside the image.
#' @section Metrics of the map:
#' * `SDlogJ`: the standard deviation of ln J over the pixels of the fixed image, where J is the determinant of the
#'   Jacobian of the map, clipped to at least 1e-9.
#' * `NDV` (`NDA` for images): the non-diffeomorphic volume (area) in % of the number of pixels. Each cell of 2^n
#'   neighboring pixels is divided into simplices in two ways (2 triangles in images, 5 tetrahedra in volumes). The
#'   volumes of the inverted simplices are summed and divided by 2. The value is 0 if and only if the map is digitally
#'   diffeomorphic. Unlike in the program of the authors, the image is not extended beyond its border, because a rotated
#'   map would fold there.
#' @param found The result of [register_images()], for one pair or several pairs.
#' @param landmarks List of the moving and the fixed points, in this order or named `moving` and `fixed`. Each is a
#'   numeric matrix (point, axis) in pixels from 1, or a data frame with the columns (`depth`,) `row` and `column`.
#'   Point i of both sets is the same anatomical point. `NULL` omits these metrics. For several pairs, a list of such
#'   lists.
#' @param labels List of the moving and the fixed label image, with the sizes of the two images. Each is an array of
#'   integers (0 is the background) or logical values, or a factor with `dim()` (`NA` is the background). `NULL` omits
#'   these metrics. For several pairs, a list of such lists.
#' @param x The result of `evaluate_registration()`.
#' @param n Integer, the maximum number of rows to print.
#' @param ... Not used.
#' @return A data frame of class `gequi_evaluation` with one row per metric: `metric`; `label`, or `NA`; `before`, the
#'   value before registration, or `NA` if it is not defined; `after`; and `unit`: `"pixel"` (`"voxel"`), `"length"` if
#'   the spacing is not 1, `"share"` (0 to 1), `"%"` or `NA`. For several pairs, the first column is `pair` (number or
#'   name), and the last rows, with `pair` `NA`, are the AUC over all pairs. A failed pair has no rows; its error after
#'   registration counts as infinite.
#' @section Errors: `gequi_shape_error` if the landmark sets differ in size or lack a coordinate per axis, if a label
#'   image does not have the size of its image, or if lists differ in length; `gequi_input_error` for values that are
#'   not finite, labels that are not integers, images without labels, a label that only one image contains, or a `found`
#'   that is not a registration.
#' @references TRE, rTRE and robustness: Borovec et al. (2020), ANHIR, IEEE TMI 39, and its program BIRL. Dice, HD95 and
#'   SDlogJ: Hering et al. (2023), Learn2Reg, IEEE TMI 42. NDV: Liu et al. (2024), On Finite Difference Jacobian
#'   Computation in Deformable Image Registration, IJCV 132. AUC: Sarlin et al. (2020), SuperGlue; Sun et al. (2021),
#'   LoFTR.
#' @concept landmark
#' @concept segmentation
#' @concept target registration error
#' @concept Dice coefficient
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

# An argument for one registration, or a list for several, as the core takes it. The core refuses a wrong length.
for_each_pair <- function(found, several, given, read) {
  if (!several) return(read(given, found))
  if (!is.list(given) || length(given) != length(found)) return(given)
  unname(Map(read, unname(given), unname(unclass(found))))
}

# A pair in the order of the core: moving image, fixed image.
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

# Converts factors to the numbers of their levels; `levels` contains the names.
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
