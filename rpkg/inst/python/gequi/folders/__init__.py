"""Images in files: predictions for more than fit in memory, in one process, in several, or on several machines; writing.

Each process predicts for a part of the files and writes the result. Processes do not wait for each other, and a part
that exists is not computed again. A job folder holds `job.json`, `model.gequi` and, when it is done, one
`part-1-of-2.npy` for each process.
"""

from ._examples import describe_image_files, image_files
from ._writing import write_image
from .prediction import collect_prediction, predict_folder, prediction_job, prepare_prediction

__all__ = [
    "collect_prediction",
    "describe_image_files",
    "image_files",
    "predict_folder",
    "prediction_job",
    "prepare_prediction",
    "write_image",
]
