"""A worker: `python -m gequi.training FOLDER`, as torchrun or srun starts it, trains its part of a job."""

import sys
from pathlib import Path

from .cluster import work

if __name__ == "__main__":
    work(Path(sys.argv[1]))
