"""Choice of learning rates and options on held-out data."""

from pathlib import Path

import numpy as np

from clcore.errors import InputError
from clcore.measures import average_accuracy
from clcore.results.record import Record, read, record_path
from clcore.results.spec import Grid, Spec


def chosen(grid: Grid, folder: str | Path | None = None) -> list[Spec]:
    """Return one run for each setting of a grid: that with the best held-out Avg.Acc.

    Every setting has the same rates to choose from, and a strategy with options to search more
    than that. A choice at which a replica diverged is not taken.

    Raises
    ------
    InputError
        If a searched run has no record yet, or a setting diverged at every choice.
    """
    if not grid.searched:
        return [spec for setting in grid.reported for spec in setting]
    picked = []
    for reported, searched in zip(grid.reported, grid.searched, strict=True):
        scores = [float(average_accuracy(_record(s, folder).accuracy).mean()) for s in searched]
        if np.isnan(scores).all():
            raise InputError(
                f"{searched[0].identity()} and its other choices all diverged: add lower rates"
            )
        picked.append(reported[int(np.nanargmax(scores))])
    return picked


def records(grid: Grid, folder: str | Path | None = None) -> list[Record]:
    """Return the record of each setting of a grid, at the choice that was made for it.

    Raises
    ------
    InputError
        If a record is missing.
    """
    return [_record(spec, folder) for spec in chosen(grid, folder)]


def _record(spec: Spec, folder: str | Path | None) -> Record:
    path = record_path(spec, folder)
    if not path.exists():
        raise InputError(f"no record {str(path)!r}: run its grid with `clcore run`")
    return read(path)
