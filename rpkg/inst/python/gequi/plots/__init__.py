"""Plots with matplotlib: figures that do not depend on a window or on global state.

Each function returns a `matplotlib.figure.Figure`, which pyplot does not know. `figure.savefig(path)` writes it to a
file. A notebook displays it after `%matplotlib inline`. R draws the same figures with ggplot2.
"""

from .equivariance import plot_equivariance, plot_equivariance_error
from .groups import plot_gspace
from .history import plot_history
from .images import plot_image
from .inverses import plot_inverse_function, plot_inverted_input
from .local_equivariance import plot_local_equivariance_error
from .networks import plot_network, plot_trace
from .registrations import TYPES, Aligned, laid_over, plot_registration, plot_registrations, stretched
from .stacks import STACK_TYPES, plot_stack, stretched_sections
from .templates import TEMPLATE_TYPES, plot_group_mean, shown_group_mean

__all__ = [
    "STACK_TYPES",
    "TEMPLATE_TYPES",
    "TYPES",
    "Aligned",
    "laid_over",
    "plot_equivariance",
    "plot_equivariance_error",
    "plot_group_mean",
    "plot_gspace",
    "plot_history",
    "plot_image",
    "plot_inverse_function",
    "plot_inverted_input",
    "plot_local_equivariance_error",
    "plot_network",
    "plot_registration",
    "plot_registrations",
    "plot_stack",
    "plot_trace",
    "shown_group_mean",
    "stretched",
    "stretched_sections",
]
