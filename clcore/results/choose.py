"""Choice of learning rates and options on held-out data."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clcore.measures import average_accuracy
from clcore.results.record import Record, read_of, record_path
from clcore.results.spec import Grid, Spec


class Setting(NamedTuple):
    """A setting of a grid, and what is known of it.

    Attributes
    ----------
    spec : Spec
        Its run at the choice that was made for it; at its first choice while none can be made.
    record : Record or None
        The run's record; None while there is none.
    tuned : bool
        Whether options of the strategy were searched, besides the learning rate.
    """

    spec: Spec
    record: Record | None
    tuned: bool

    @property
    def missing(self) -> str:
        """Why there is nothing to report of it; empty if there is."""
        if self.record is None:
            return "no record yet"
        diverged = len({d.replica for d in self.record.divergences})
        return f"{diverged} of {len(self.record.accuracy)} seeds diverged" if diverged else ""


def chosen(grid: Grid, folder: str | Path | None = None) -> list[Spec]:
    """Return one run for each setting of a grid: that with the best held-out Avg.Acc.

    A choice at which a replica diverged is not taken; if one did at every choice, that
    with the lowest rate is, and its own run says what becomes of it.

    Raises
    ------
    InputError
        If a searched run has no record yet.
    """
    return [_best(reported, searched, folder) for reported, searched in _choices(grid)]


def records(grid: Grid, folder: str | Path | None = None) -> list[Record]:
    """Return the record of each setting of a grid, at the choice that was made for it.

    Raises
    ------
    InputError
        If a record is missing.
    """
    return [read_of(spec, folder) for spec in chosen(grid, folder)]


def settings(grid: Grid, folder: str | Path | None = None) -> list[Setting]:
    """Return each setting of a grid, recorded or not: for a report while runs are going on.

    Raises
    ------
    InputError
        If a record cannot be read.
    """
    found = []
    for reported, searched in _choices(grid):
        known = all(record_path(spec, folder).exists() for spec in searched)
        spec = _best(reported, searched, folder) if known else reported[0]
        here = known and record_path(spec, folder).exists()
        tuned = any(s.strategy != spec.strategy for s in reported)
        found.append(Setting(spec, read_of(spec, folder) if here else None, tuned))
    return found


def _choices(grid: Grid) -> Iterator[tuple[Sequence[Spec], Sequence[Spec]]]:
    """Yield what may be reported of each setting, and its searched runs: none without a search."""
    return zip(grid.reported, grid.searched or [()] * len(grid.reported), strict=True)


def _best(reported: Sequence[Spec], searched: Sequence[Spec], folder: str | Path | None) -> Spec:
    if not searched:
        return reported[0]  # the only one
    scores = [float(average_accuracy(read_of(s, folder).accuracy).mean()) for s in searched]
    if np.isnan(scores).all():
        return min(reported, key=lambda spec: float(np.min(spec.budget.learning_rate)))
    return reported[int(np.nanargmax(scores))]
