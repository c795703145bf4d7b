"""Runs described by specs, and their records."""

from clcore.results.choose import chosen, records
from clcore.results.record import (
    Record,
    as_text,
    code_version,
    outdated,
    read,
    record_path,
    results_folder,
    write,
)
from clcore.results.recording import check_begin, data_version, recorded, run
from clcore.results.spec import NETWORKS, STREAMS, Grid, Spec, parse_grid, read_grid
from clcore.results.workers import WorkersLostError, texts

__all__ = [
    "NETWORKS",
    "STREAMS",
    "Grid",
    "Record",
    "Spec",
    "WorkersLostError",
    "as_text",
    "check_begin",
    "chosen",
    "code_version",
    "data_version",
    "outdated",
    "parse_grid",
    "read",
    "read_grid",
    "record_path",
    "recorded",
    "records",
    "results_folder",
    "run",
    "texts",
    "write",
]
