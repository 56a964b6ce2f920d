"""Training: a model learns from arrays, over lightning's engine.

`fit()` trains in place and returns a history; `evaluate()` measures. The same seed gives the same weights to the bit
on the same machine with the same number of threads, from R and from Python; a run that is stopped and resumed ends with
the weights of an unbroken one. `prepare_job()` and `collect_job()` take a run to several machines.
"""

from ._prepare import examine_targets
from .cluster import collect_job, job_metadata, prepare_job
from .evaluation import classes_of, evaluate, predict_classes
from .fitting import fit
from .options import FitOptions

__all__ = [
    "FitOptions",
    "classes_of",
    "collect_job",
    "evaluate",
    "examine_targets",
    "fit",
    "job_metadata",
    "predict_classes",
    "prepare_job",
]
