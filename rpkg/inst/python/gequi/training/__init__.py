"""Training of models: on one CPU device in a loop, elsewhere with lightning.

`fit()` trains a model in place and returns a history. `evaluate()` computes metrics. The same seed gives identical
weights on the same machine with the same number of threads, from R and from Python. A training that is stopped and
resumed ends with the weights of an uninterrupted one. `prepare_job()` and `collect_job()` train on several machines.
"""

from ._prepare import examine_targets
from .canonicalizing import fit_canonicalizer
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
    "fit_canonicalizer",
    "job_metadata",
    "predict_classes",
    "prepare_job",
]
