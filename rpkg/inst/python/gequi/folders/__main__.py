"""A worker: `python -m gequi.folders FOLDER`, as torchrun or srun starts it, predicts its part of a job."""

import sys
from pathlib import Path

from .prediction import work

if __name__ == "__main__":
    work(Path(sys.argv[1]))
