"""The paper's figures, and records laid beside them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from clcore.errors import InputError
from clcore.measures import (
    Interval,
    average_accuracy,
    forgetting,
    mean_interval,
    task_accuracy,
)
from clcore.results.choose import Setting

MEASURES = {
    "average_accuracy": average_accuracy,
    "task_accuracy": task_accuracy,
    "forgetting": forgetting,
}
# What reading a file raises that is no such file.
_UNREADABLE = (
    *(OSError, UnicodeDecodeError, yaml.YAMLError),
    *(AttributeError, KeyError, RecursionError, TypeError),
)
# What the paper calls a strategy of this package.
PAPER_NAMES = {"initialized": "initialized", "frozen": "frozen", "hybrid": "adaptive"}


class Published(NamedTuple):
    """One of the paper's figures.

    Attributes
    ----------
    mean : float
        In percent, over three seeds.
    deviation : float or None
        Standard deviation over the seeds; None where none is known.
    """

    mean: float
    deviation: float | None


class Benchmark(NamedTuple):
    """What the paper reports of one stream.

    Attributes
    ----------
    title : str
        What the paper calls it.
    table : str
        The numbers of the tables that it stands in.
    note : str
        What has to be known of its figures; may be empty.
    missing : str
        What to say where there is no record.
    figures : mapping of (str, str) to Published
        (the paper's name of a strategy, measure) → figure.
    """

    title: str
    table: str
    note: str
    missing: str
    figures: dict[tuple[str, str], Published]


class Beside(NamedTuple):
    """A strategy's outcome beside the paper's.

    Attributes
    ----------
    strategy : str
        What it is called here.
    measure : str
        A key of `MEASURES`.
    ours : Interval or None
        In percent; None where there is nothing to report, which `missing` explains.
    paper : Published or None
        None where the paper reports no such strategy or measure.
    missing : str
        Why `ours` is None; else empty.
    """

    strategy: str
    measure: str
    ours: Interval | None
    paper: Published | None
    missing: str

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in points; None where either is missing."""
        if self.ours is None or self.paper is None:
            return None
        return self.ours.mean - self.paper.mean


def read_paper(path: str | Path | None = None) -> dict[str, Benchmark]:
    """Read the paper's figures.

    Parameters
    ----------
    path : path, optional
        YAML file; by default `book/paper.yml`, here or in the nearest folder above.

    Raises
    ------
    InputError
        If the file cannot be read, or a figure in it is none.
    """
    if path is None:
        here, name = Path.cwd(), Path("book", "paper.yml")
        path = next((p / name for p in (here, *here.parents) if (p / name).exists()), here / name)
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return {name: _benchmark(name, table) for name, table in content.items()}
    except _UNREADABLE as error:
        raise InputError(
            f"figures of the paper {str(path)!r} cannot be read ({type(error).__name__}: {error}): "
            "give benchmarks with title, table and rows"
        ) from error


def _benchmark(name: str, table: Mapping[str, Any]) -> Benchmark:
    figures = {
        (strategy, measure): _figure(f"{name}, {strategy}", measure, value)
        for strategy, row in table["rows"].items()
        for measure, value in row.items()
    }
    return Benchmark(
        table["title"],
        table["table"],
        table.get("note", ""),
        table.get("missing", "no record yet"),
        figures,
    )


def _figure(where: str, measure: str, value: object) -> Published:
    match value:
        case [int() | float() as mean, int() | float() | None as deviation] if measure in MEASURES:
            return Published(float(mean), None if deviation is None else float(deviation))
    raise InputError(
        f"{where}: {measure} = {value!r}: give [mean, standard deviation or null] of one of "
        f"{', '.join(MEASURES)}"
    )


def beside(
    benchmark: Benchmark,
    settings: Sequence[Setting],
    name: Callable[[Mapping[str, Any]], str] = lambda strategy: str(strategy["name"]),
) -> list[Beside]:
    """Lay records beside the paper's figures, strategy by strategy, measure by measure.

    Several settings may stand for one strategy of the paper, such as frozen training with one
    module and with two. What the paper reports and no setting tries has a row too.

    Parameters
    ----------
    settings : sequence of Setting
        Those of the benchmark's stream: see `clcore.results.settings`.
    name : callable
        Gives the strategy's table the name that its rows bear.
    """
    tried = [PAPER_NAMES.get(s.spec.strategy["name"]) for s in settings]
    rows = []
    for setting, theirs in zip(settings, tried, strict=True):
        for measure in MEASURES:
            ours, missing = _ours(setting, measure, benchmark.missing)
            figure = benchmark.figures.get((str(theirs), measure))
            rows.append(Beside(name(setting.spec.strategy), measure, ours, figure, missing))
    rows += [
        Beside(theirs, measure, None, figure, benchmark.missing)
        for (theirs, measure), figure in benchmark.figures.items()
        if theirs not in tried
    ]
    return rows


def _ours(setting: Setting, measure: str, missing: str) -> tuple[Interval | None, str]:
    if setting.record is None or setting.missing:
        return None, setting.missing if setting.record else missing
    return mean_interval(100 * MEASURES[measure](setting.record.accuracy)), ""
