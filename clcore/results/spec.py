"""What a run is: a small description that is checked before anything trains."""

import hashlib
import inspect
import itertools
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, NamedTuple

from clcore.errors import InputError
from clcore.networks import MLP, Network, ResNet18
from clcore.results.checks import check_keys, check_name, check_options
from clcore.strategies import STRATEGIES, Strategy
from clcore.streams import READERS, Dataset, Stream, correlated, corrupted, permuted, rotated, split
from clcore.training import Budget
from clcore.training.train import check_budget

Table = dict[str, Any]

STREAMS: dict[str, Callable[..., Stream]] = {
    "permuted": permuted,
    "rotated": rotated,
    "split": split,
    "correlated": correlated,
    "corrupted": corrupted,
}


def _mlp(
    dataset: Dataset, stream: Stream, hidden: list[int], dropout: float = 0.0, bf16: bool = False
) -> Network:
    pixels = dataset.train_images[0].numel()
    return MLP(pixels, hidden, stream.outputs, dropout=dropout, bf16=bf16)


def _resnet18(dataset: Dataset, stream: Stream, width: int = 64, bf16: bool = False) -> Network:
    return ResNet18(dataset.shape[0], stream.outputs, width, bf16=bf16)


NETWORKS: dict[str, Callable[..., Network]] = {"mlp": _mlp, "resnet18": _resnet18}


@dataclass(frozen=True)
class Spec:
    """One run: a strategy over a stream, for some seeds.

    Attributes
    ----------
    dataset : str
        A name that `streams.load` knows.
    stream, network, strategy : dict
        `name` and the options of that stream, network or strategy.
    budget : Budget
        What each task gets.
    seeds : tuple of int
        One replica each; a seed draws stream, initialization and order.
    holdout : float
        Fraction of the training set to judge on instead of the test set, to choose
        hyperparameters; 0 to report.
    tasks : int
        How many of the stream's tasks are trained, from the first on; 0: all.

    Raises
    ------
    InputError
        If a name or an option is unknown, or a value cannot be used.
    """

    dataset: str
    stream: Table
    network: Table
    strategy: Table
    budget: Budget
    seeds: tuple[int, ...]
    holdout: float = 0.0
    tasks: int = 0

    def __post_init__(self) -> None:
        check_name("dataset", self.dataset, READERS)
        plain = {
            "stream": _options("stream", self.stream, STREAMS, ("dataset", "seed", "holdout")),
            "network": _options("network", self.network, NETWORKS, ("dataset", "stream")),
            "strategy": _options("strategy", self.strategy, STRATEGIES, ()),
            "budget": _budget(self.budget._asdict()),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        check_budget(self.budget, len(self.seeds))
        whole = all(type(seed) is int and seed >= 0 for seed in self.seeds)
        if not whole or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds {list(self.seeds)}: give different whole numbers from 0 on")
        if type(self.holdout) not in (int, float) or not 0 <= self.holdout < 1:
            raise InputError(f"holdout {self.holdout!r}: give a fraction from 0 to below 1")
        object.__setattr__(self, "holdout", float(self.holdout))  # 0 and 0.0 have one name
        if type(self.tasks) is not int or self.tasks < 0:
            raise InputError(f"tasks {self.tasks!r}: give how many to train, or 0 for all")

    def identity(self) -> str:
        """Return what the run is called: its parts, and a hash of the whole description.

        A part of the budget at its default is left out, so that a new one changes no name; so
        are `tasks` if all are trained.
        """
        defaults = Budget._field_defaults
        budget = {k: v for k, v in self.budget._asdict().items() if v != defaults.get(k)}
        parts = asdict(self) | {"budget": budget}
        if not self.tasks:
            del parts["tasks"]
        whole = json.dumps(parts, sort_keys=True)
        digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
        names = (self.stream["name"], self.dataset, self.network["name"], self.strategy["name"])
        return "-".join((*names, digest))

    def streams(self, dataset: Dataset) -> list[Stream]:
        """Return the stream of each seed.

        Raises
        ------
        InputError
            If it has fewer tasks than are to be trained, or its options do not fit the data set.
        """
        make, options = STREAMS[self.stream["name"]], _rest(self.stream)
        found = [make(dataset, seed=seed, holdout=self.holdout, **options) for seed in self.seeds]
        whole = len(found[0].tasks)
        if self.tasks > whole:
            raise InputError(f"tasks {self.tasks} of a stream of {whole}: give at most as many")
        return [s._replace(tasks=s.tasks[: self.tasks or whole]) for s in found]

    def build_network(self, dataset: Dataset, stream: Stream) -> Network:
        """Return the network, with the inputs and outputs that the stream needs."""
        return NETWORKS[self.network["name"]](dataset, stream, **_rest(self.network))

    def build_strategy(self) -> Strategy:
        """Return a new strategy."""
        return STRATEGIES[self.strategy["name"]](**_rest(self.strategy))


class Grid(NamedTuple):
    """Runs to compare.

    Attributes
    ----------
    reported : tuple of tuple of Spec
        Each setting (data set, stream, network, strategy, budget) with the learning rates and
        options that it may have: judged on test images.
    searched : tuple of tuple of Spec
        The same judged on held-out training images, to choose one of each setting; empty where
        there is nothing to choose.
    """

    reported: tuple[tuple[Spec, ...], ...]
    searched: tuple[tuple[Spec, ...], ...]


def read_grid(path: str | Path) -> Grid:
    """Read the runs that a TOML file describes.

    The keys are those of `Spec`. Where a table stands as a list of tables (``[[strategy]]``),
    its entries are alternatives; the grid is the product of all alternatives. A table
    ``[search]`` with ``learning_rate`` (a list), ``seeds`` and ``holdout`` has the rate of
    each setting chosen on held-out training images, after ``tasks`` of the stream's tasks, all if
    not given; a table ``[search.NAME]`` in it lists values for options of the strategy of that
    name, where it leaves them open, and may list learning rates of its own: a strategy that
    searches two options at half the rates has as many tries as the others.

    Raises
    ------
    InputError
        If the file cannot be read, a key is missing or unknown, or a value cannot be used.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"grid {str(path)!r} cannot be read: {error}; give a TOML file such as those in results"
        ) from error
    return parse_grid(content)


def parse_grid(content: Table) -> Grid:
    """Return the runs that the content of a grid file describes; see `read_grid`."""
    fields = {f.name: f.default is MISSING for f in dataclass_fields(Spec)} | {"search": False}
    check_keys("grid", content, fields)
    search = content.get("search")
    options: Table = {}
    if search is not None:
        _check_table("search", search)
        options = {name: value for name, value in search.items() if name in STRATEGIES}
        needed = dict.fromkeys(("learning_rate", "seeds", "holdout"), True)
        optional = dict.fromkeys(("tasks", *STRATEGIES), False)
        check_keys("search", search, needed | optional)
        if not search["holdout"]:
            raise InputError(
                "search with holdout 0: give a holdout above 0, since hyperparameters are chosen "
                "on held-out training images"
            )
        _check_lists("search", {"learning_rate": search["learning_rate"]})
        for name, table in options.items():
            _check_table(f"search.{name}", table)
            known_options = ("learning_rate", *inspect.signature(STRATEGIES[name]).parameters)
            check_keys(f"search.{name}", table, dict.fromkeys(known_options, False))
            _check_lists(f"search.{name}", table)
    tables = ("stream", "network", "strategy", "budget")
    axes = [content[t] if isinstance(content[t], list) else [content[t]] for t in tables]
    strategies = {str(t.get("name")) for t in axes[2] if isinstance(t, dict)}
    for name in sorted(options.keys() - strategies):
        raise InputError(
            f"search.{name} in a grid of {', '.join(sorted(strategies))}: add a strategy of that "
            "name, or take the table out"
        )
    reported, searched = [], []
    for tables_of_setting in itertools.product(*axes):
        for name, table in zip(tables, tables_of_setting, strict=True):
            _check_table(name, table)
        stream, network, strategy, budget = tables_of_setting
        if search and "learning_rate" in budget:
            raise InputError(
                f"learning_rate = {budget['learning_rate']} in [budget], and others in [search]: "
                "give it in one of them"
            )
        own = options.get(str(strategy.get("name")), {})
        open_options = {k: v for k, v in own.items() if k not in strategy and k != "learning_rate"}
        rates = (search | own)["learning_rate"] if search else []
        choices = [
            (strategy | dict(zip(open_options, values, strict=True)), _budget(budget | rate))
            for values in itertools.product(*open_options.values())
            for rate in ([{"learning_rate": rate} for rate in rates] or [{}])
        ]
        dataset = content["dataset"]
        reported.append(
            tuple(_spec(dataset, stream, network, chosen, b, content) for chosen, b in choices)
        )
        if search:
            searched.append(
                tuple(_spec(dataset, stream, network, chosen, b, search) for chosen, b in choices)
            )
    names = Counter(spec.identity() for setting in reported + searched for spec in setting)
    if not names or max(names.values()) > 1:
        twice = [name for name, count in names.items() if count > 1]
        what = f"{twice[0]} twice" if twice else "no run"
        raise InputError(
            f"grid that describes {what}: give each table one alternative or more, each once"
        )
    return Grid(tuple(reported), tuple(searched))


def _spec(
    dataset: str, stream: Table, network: Table, strategy: Table, budget: Budget, judged: Table
) -> Spec:
    seeds = judged["seeds"]
    if not isinstance(seeds, list):
        raise InputError(f"seeds {seeds!r}: give a list of different whole numbers from 0 on")
    holdout, tasks = judged.get("holdout", 0.0), judged.get("tasks", 0)
    return Spec(dataset, stream, network, strategy, budget, tuple(seeds), holdout, tasks)


def _budget(table: Table) -> Budget:
    return Budget(**check_options("budget", table, Budget))


def _check_table(name: str, value: object) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{name} {value!r}: expected a table, such as [{name}]")


def _check_lists(name: str, table: Table) -> None:
    for key, values in table.items():
        if not isinstance(values, list) or not values:
            raise InputError(
                f"{name} with {key} = {values!r}: give a list of values to choose from"
            )


def _rest(table: Table) -> Table:
    return {k: v for k, v in table.items() if k != "name"}


def _options(kind: str, table: Table, makers: Mapping[str, Any], given: tuple[str, ...]) -> Table:
    """Return a table whose name and options are checked against what it describes."""
    if "name" not in table:
        raise InputError(f"{kind} {table}: add its name, one of {', '.join(sorted(makers))}")
    name = check_name(kind, table["name"], makers)
    return {"name": name} | check_options(f"{kind} {name!r}", _rest(table), makers[name], given)
