"""Data sets, tasks, and the streams in which the tasks arrive."""

from clcore.streams.datasets import READERS, Dataset, available, data_root, from_arrays, load
from clcore.streams.permuted import permuted
from clcore.streams.split import split
from clcore.streams.stream import Stream, Task, judged_on, judged_rows

__all__ = [
    "READERS",
    "Dataset",
    "Stream",
    "Task",
    "available",
    "data_root",
    "from_arrays",
    "judged_on",
    "judged_rows",
    "load",
    "permuted",
    "split",
]
