"""Runs described by specs, and their records."""

from clcore.results.choose import chosen, records
from clcore.results.record import Record, code_version, read, record_path, results_folder, write
from clcore.results.recording import recorded, run
from clcore.results.spec import NETWORKS, STREAMS, Grid, Spec, parse_grid, read_grid

__all__ = [
    "NETWORKS",
    "STREAMS",
    "Grid",
    "Record",
    "Spec",
    "chosen",
    "code_version",
    "parse_grid",
    "read",
    "read_grid",
    "record_path",
    "recorded",
    "records",
    "results_folder",
    "run",
    "write",
]
