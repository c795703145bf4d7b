"""Runs described by specs, and their records."""

from clcore.results.choose import Setting, chosen, records, settings
from clcore.results.claims import UNCOUNTED, VERDICTS, Effect, Verdict, holm, verdicts
from clcore.results.extend import recorded, run_and_record
from clcore.results.ledger import Claim, Ledger, read_ledger
from clcore.results.pages import folded_table, page_grid
from clcore.results.paper import BESIDE, MEASURES, Benchmark, Published, beside, read_paper
from clcore.results.record import (
    Record,
    as_text,
    check_writable,
    code_version,
    outdated,
    read,
    read_of,
    record_path,
    results_folder,
    write,
)
from clcore.results.recording import check_begin, data_version, run
from clcore.results.spec import NETWORKS, STREAMS, Grid, Spec, parse_grid, read_grid
from clcore.results.workers import WorkersLostError, default_workers

__all__ = [
    "BESIDE",
    "MEASURES",
    "NETWORKS",
    "STREAMS",
    "UNCOUNTED",
    "VERDICTS",
    "Benchmark",
    "Claim",
    "Effect",
    "Grid",
    "Ledger",
    "Published",
    "Record",
    "Setting",
    "Spec",
    "Verdict",
    "WorkersLostError",
    "as_text",
    "beside",
    "check_begin",
    "check_writable",
    "chosen",
    "code_version",
    "data_version",
    "default_workers",
    "folded_table",
    "holm",
    "outdated",
    "page_grid",
    "parse_grid",
    "read",
    "read_grid",
    "read_ledger",
    "read_of",
    "read_paper",
    "record_path",
    "recorded",
    "records",
    "results_folder",
    "run",
    "run_and_record",
    "settings",
    "verdicts",
    "write",
]
