#' gequiR: operators with a declared symmetry, checked
#'
#' Every operator here is a map with a group acting on its input and on its output. The package states that law and
#' measures it: [equivariance_error()] is the one check that every operator passes.
#'
#' Start with [gspace()] (which group acts on what), [equivariant_network()] (layers that commute with it) and
#' [equivariance_error()] (whether they do). The computations are those of the Python package `gequi`, which comes
#' with this package; [install_gequi()] sets up the Python packages that it stands on, and [gequi_sitrep()] says what
#' there is. Python starts at the first call that needs it.
#'
#' # Conventions
#' * Arrays have the axes (batch, channel, row, column), in space (batch, channel, depth, row, column), without a base
#'   space (batch, channel). Row 1 is the top. [as_image_batch()] brings images into this form.
#' * Indexes count from 1. Group elements are numbered in escnn's order: see [group_elements()].
#' * `4` is as good as `4L`; `4.7` is refused where a whole number is meant.
#' * An R variable is never changed by what Python makes of it.
#' * Errors have the class `gequi_error` and below it `gequi_input_error` (with `gequi_shape_error` and
#'   `gequi_field_error`), `gequi_model_file_error`, `gequi_transform_file_error`, `gequi_setup_error`,
#'   `gequi_fork_error` (in a process of `parallel::mclapply()`, where torch's threads are missing) and
#'   `gequi_python_error`; `argument` names the argument at fault and `traceback` holds Python's traceback, where there
#'   is one. Warnings have the class `gequi_warning`, those of a layer that breaks exact equivariance also
#'   `gequi_exactness_warning`.
#'
#' # Limits
#' Each count has a largest value, far above what is of use: 128 rotations in [gspace()], a `kernel_size` of 63 in
#' convolutions, 16384 fields of a representation, 8192 channels of `width`, 1024 `devices`, 1e7 `epochs`. An error says
#' what it is. What needs more memory than the machine has is refused before the work, with both numbers. Model files
#' have the same limits.
#'
#' # Speed
#' On Linux, torch uses R's BLAS instead of its own where it is imported before gequiR is loaded; with the BLAS that R
#' has by default, matrix products are then several times slower. Call `library(gequiR)` before torch is imported in
#' Python. [gequi_sitrep()] reports the speed, and a warning is given where it is low.
#'
#' # Environment variables
#' * `GEQUI_PYTHON`: the Python to use. It is read when the package is loaded and comes before `RETICULATE_PYTHON`.
#' * `GEQUI_CACHE`: the folder in which escnn keeps what is slow to compute; by default that of
#'   `tools::R_user_dir("gequiR", "cache")`.
#' * `UV_OVERRIDE`: set, unless it is set already, to a file that leaves out two requirements of escnn that gequi does
#'   without, so that no compiler is needed where reticulate makes an environment of its own.
#'
#' @importFrom rlang .data
#' @keywords internal
"_PACKAGE"
