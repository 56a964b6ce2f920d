"""The worker `python -m gequi.folders FOLDER`, started by torchrun or srun, which does its part of a job."""

import sys
from pathlib import Path

from ..jobs import read_job
from . import prediction, registration

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (registration if "pairs" in (read_job(folder) or {}) else prediction).work(folder)
