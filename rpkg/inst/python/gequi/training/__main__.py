"""A worker. `python -m gequi.training FOLDER`, started by torchrun or srun, trains its part of a job."""

import sys
from pathlib import Path

from .cluster import work

if __name__ == "__main__":
    work(Path(sys.argv[1]))
