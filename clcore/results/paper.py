"""The paper's figures, and records laid beside them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from clcore.errors import InputError
from clcore.measures import average_accuracy, forgetting, mean_interval, task_accuracy
from clcore.results.choose import Setting
from clcore.results.record import nearest

Cell = str | float | None
Table = dict[str, Any]

MEASURES = {f.__name__: f for f in (average_accuracy, task_accuracy, forgetting)}
BESIDE = (
    *("strategy", "measure", "here", "95 % low", "95 % high", "std", "seeds"),
    *("paper", "paper's std", "difference"),
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


def read_paper() -> dict[str, Benchmark]:
    """Read the paper's figures from `book/paper.yml`, here or in the nearest folder above.

    Raises
    ------
    InputError
        If there is no such file.
    """
    path = nearest("book/paper.yml")
    if not path.exists():
        raise InputError(f"no file {str(path)!r}: run in the repository")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: _benchmark(**table) for name, table in content.items()}


def _benchmark(
    title: str, table: str, rows: Table, note: str = "", missing: str = "no record yet"
) -> Benchmark:
    figures = {(s, m): Published(*figure) for s, row in rows.items() for m, figure in row.items()}
    return Benchmark(title, table, note, missing, figures)


def beside(
    benchmark: Benchmark,
    settings: Sequence[Setting],
    name: Callable[[Mapping[str, Any]], str] = lambda strategy: str(strategy["name"]),
) -> list[list[Cell]]:
    """Lay records beside the paper's figures, strategy by strategy, measure by measure.

    Several settings may stand for one strategy of the paper, such as frozen training with one
    module and with two. What the paper reports and no setting tries has a row too.

    Parameters
    ----------
    settings : sequence of Setting
        Those of the benchmark's stream: see `clcore.results.settings`.
    name : callable
        Gives the strategy's table the name that its rows bear.

    Returns
    -------
    list of list
        Rows of `folded_table`, with columns `BESIDE`; in percent, and the difference, ours less
        the paper's, in points. Where there is nothing to report, the first number's cell says why.
    """
    tried = [PAPER_NAMES.get(s.spec.strategy["name"], "") for s in settings]
    rows = [
        _row(name(setting.spec.strategy), measure, benchmark, theirs, setting)
        for setting, theirs in zip(settings, tried, strict=True)
        for measure in MEASURES
    ]
    return rows + [
        _row(theirs, measure, benchmark, theirs)
        for theirs, measure in benchmark.figures
        if theirs not in tried
    ]


def _row(
    name: str, measure: str, benchmark: Benchmark, theirs: str, setting: Setting | None = None
) -> list[Cell]:
    paper = benchmark.figures.get((theirs, measure))
    published = list(paper or (None, None))
    called = [name, measure.replace("_", " ")]
    record = setting.record if setting else None
    missing = setting.missing if setting and record else benchmark.missing
    if record is None or missing:
        return [*called, missing, *[None] * 4, *published, None]
    ours = mean_interval(100 * MEASURES[measure](record.accuracy))
    difference = ours.mean - paper.mean if paper else None
    return [*called, *ours[:4], str(ours.seeds), *published, difference]
