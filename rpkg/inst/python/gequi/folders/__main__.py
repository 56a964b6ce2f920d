"""The worker `python -m gequi.folders FOLDER`, started by torchrun or srun, which predicts its part of a job."""

import sys
from pathlib import Path

from .prediction import work

if __name__ == "__main__":
    work(Path(sys.argv[1]))
