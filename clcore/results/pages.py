"""What the book's pages need of records: grids by their name, and tables to fold away."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from clcore.errors import InputError
from clcore.results.choose import chosen
from clcore.results.extend import run_and_record
from clcore.results.paper import Cell
from clcore.results.record import outdated, read_of, record_path, results_folder
from clcore.results.recording import data_version
from clcore.results.spec import Grid, Spec, read_grid
from clcore.results.workers import default_workers


def page_grid(name: str, profile: str = "quick", device: str = "cpu") -> tuple[Grid, Path]:
    """Return the grid `results/<name>.toml` and the folder of its records.

    With the full profile the grid is trained first, into `_build/records`, if its data set is here,
    on a CPU in a process for each core; what is there already of this code and these data is kept,
    so that a run that was stopped goes on.

    Parameters
    ----------
    name : str
        The grid's file, without its ending.
    profile, device : str
        The page's parameters.

    Raises
    ------
    InputError
        If there is no such grid.
    """
    store = results_folder()
    grid = read_grid(store / f"{name}.toml")
    dataset = grid.reported[0][0].dataset
    if profile != "full" or data_version(dataset) is None:
        return grid, store / "digits" if dataset == "digits" else store
    folder = store.parent / "_build" / "records"
    _train([spec for setting in grid.searched for spec in setting], folder, device)
    _train(chosen(grid, folder), folder, device)
    return grid, folder


def _train(specs: Sequence[Spec], folder: Path, device: str) -> None:
    missing = [spec for spec in specs if not record_path(spec, folder).exists()]
    old = [
        spec
        for spec in specs
        if spec not in missing and outdated(read_of(spec, folder), data_version(spec.dataset))
    ]
    for wanted, again in ((missing, False), (old, True)):
        workers = default_workers(device, len(wanted))
        run_and_record(
            wanted, folder, again=again, device=device, workers=workers, tick=lambda done: None
        )


def folded_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], file: str
) -> str:
    """Return MyST text: a table, folded, with a link that downloads it as CSV.

    The link holds the table itself, so that no server is asked.

    Parameters
    ----------
    title : str
        What stands on the fold.
    rows : sequence of sequence
        One cell a column: text, a number (shown with two decimals), or None for an empty one.
    file : str
        Name under which the table is saved.

    Raises
    ------
    InputError
        If a row has not one cell a column.
    """
    for row in rows:
        if len(row) != len(columns):
            raise InputError(
                f"row {list(row)} of {len(row)} cells: give one for each of {len(columns)} columns"
            )
    shown = [[_shown(cell) for cell in row] for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *shown])
    link = f'<a download="{file}" href="data:text/csv;charset=utf-8,{quote(text.getvalue())}">'
    lines = [list(columns), ["---"] * len(columns), *shown]
    table = "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in r) + " |" for r in lines
    )
    return f"::::{{dropdown}} {title}\n{table}\n\n{link}Download as CSV</a>\n::::"


def _shown(cell: Cell) -> str:
    return "" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell)
