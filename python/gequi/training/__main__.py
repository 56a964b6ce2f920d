"""A worker: `python -m gequi.training FOLDER`, as torchrun or srun starts it, trains its part of a job."""

import sys
from pathlib import Path

from . import _fit
from ._jobs import work

if __name__ == "__main__":
    work(Path(sys.argv[1]), _fit)
