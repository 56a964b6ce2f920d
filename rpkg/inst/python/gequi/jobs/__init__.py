"""Jobs: work that several processes do together, defined by the files of a folder.

A job folder contains `job.json` and other files that the work needs. Workers are started as torchrun starts them, each
with the folder as its argument. They can write `progress.json` while they work. A file `stop` asks them to end. The
work is defined by the subjects that use this module, training and folders.
"""

from ._content import file_checksum, identity, read_job, read_job_of, read_plain, write_job, write_plain
from ._folder import MARKER, empty_folder, temporary_folder, written_to, written_whole
from ._running import command_lines, environment_of_workers, run_workers, says_stop
from ._worker import DEVICES, Part, leave_group, place_in_group, report_to

__all__ = [
    "DEVICES",
    "MARKER",
    "Part",
    "command_lines",
    "empty_folder",
    "environment_of_workers",
    "file_checksum",
    "identity",
    "leave_group",
    "place_in_group",
    "read_job",
    "read_job_of",
    "read_plain",
    "report_to",
    "run_workers",
    "says_stop",
    "temporary_folder",
    "write_job",
    "write_plain",
    "written_to",
    "written_whole",
]
