"""Data sets, tasks, and the streams in which the tasks arrive."""

from clcore.streams.corrupted import corrupted
from clcore.streams.datasets import READERS, Dataset, available, data_root, from_arrays, load
from clcore.streams.permuted import permuted
from clcore.streams.rotated import rotated
from clcore.streams.split import correlated, split
from clcore.streams.stream import SCENARIOS, Stream, Task, competing, judged_on, judged_rows

__all__ = [
    "READERS",
    "SCENARIOS",
    "Dataset",
    "Stream",
    "Task",
    "available",
    "competing",
    "correlated",
    "corrupted",
    "data_root",
    "from_arrays",
    "judged_on",
    "judged_rows",
    "load",
    "permuted",
    "rotated",
    "split",
]
