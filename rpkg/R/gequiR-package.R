#' gequiR: equivariant neural networks and image registration
#'
#' Equivariant neural networks, attention and image registration on plain R arrays. Each operator declares the group
#' that acts on its input and output, and [equivariance_error()] measures how exactly the operator commutes with that
#' group.
#'
#' Start with [gspace()], which creates a space and its symmetry group, [equivariant_network()], which builds networks
#' from equivariant layers, and [register_images()], which aligns images and volumes. The computations are those of the
#' Python package `gequi`, which is included in this package. [install_gequi()] installs the Python packages that it
#' requires, and [gequi_sitrep()] reports on the installation. Python starts when a function first needs it.
#'
#' # Conventions
#' * Arrays have the axes (batch, channel, row, column), in three dimensions (batch, channel, depth, row, column), and
#'   without a base space (batch, channel). Row 1 is at the top. [as_image_batch()] converts images to this form.
#' * Indexes start at 1. Group elements are numbered as in escnn: see [group_elements()].
#' * Integer arguments accept `4` and `4L`. Fractional values such as `4.7` are an error.
#' * Functions do not modify their arguments.
#' * Errors have the class `gequi_error` and a subclass: `gequi_input_error` (with `gequi_shape_error` and
#'   `gequi_field_error`), `gequi_model_file_error`, `gequi_transform_file_error`, `gequi_setup_error`,
#'   `gequi_fork_error` (in a process of `parallel::mclapply()`, in which torch cannot use threads) and
#'   `gequi_python_error`. The element `argument` names the invalid argument, and `traceback` contains the Python
#'   traceback, if any. Warnings have the class `gequi_warning`; the warning for a layer that is not exactly equivariant
#'   also has the class `gequi_exactness_warning`.
#'
#' # Limits
#' Integer arguments have upper limits: 128 rotations in [gspace()], a `kernel_size` of 63 in convolutions, 16384 fields
#' of a representation, 8192 channels of `width`, 1024 `devices` and 1e7 `epochs`. Errors state the limit. Computations
#' that need more memory than is available are refused before they start; the error states both amounts. The same limits
#' apply to model files.
#'
#' # Speed
#' On Linux, torch uses the BLAS of R instead of its own if torch is imported before gequiR is loaded. With the default
#' BLAS of R, matrix products are then several times slower. Call `library(gequiR)` before importing torch in Python.
#' [gequi_sitrep()] reports the speed, and a warning is given if it is low.
#'
#' # Environment variables
#' * `GEQUI_PYTHON`: the Python executable to use. It is read when the package is loaded and takes precedence over
#'   `RETICULATE_PYTHON`.
#' * `GEQUI_CACHE`: the folder in which escnn caches results. The default is `tools::R_user_dir("gequiR", "cache")`.
#' * `UV_OVERRIDE`: if it is not set, gequiR sets it to a file that omits two requirements of escnn that gequi does not
#'   use. No compiler is then needed when reticulate creates an environment.
#'
#' @keywords internal
"_PACKAGE"

# The pronoun of ggplot2. rlang is loaded when one of its functions is first used.
utils::globalVariables(".data")
