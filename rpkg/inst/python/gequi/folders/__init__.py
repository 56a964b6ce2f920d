"""Prediction and registration of images in files that do not fit in memory, in one or several processes or on several
machines; writing.

Each process handles a part of the files and writes its results, independently of the others. Parts that exist are not
computed again. A job folder contains `job.json`, `model.gequi` and, when the job is done, one file such as
`part-1-of-2.npy` per process. `_registering.py` describes the folder of registrations.
"""

from ._examples import describe_image_files, image_files
from ._writing import write_image
from .prediction import collect_prediction, predict_folder, prediction_job, prepare_prediction
from .registration import collect_registration, prepare_registration, register_folder, registration_job

__all__ = [
    "collect_prediction",
    "collect_registration",
    "describe_image_files",
    "image_files",
    "predict_folder",
    "prediction_job",
    "prepare_prediction",
    "prepare_registration",
    "register_folder",
    "registration_job",
    "write_image",
]
