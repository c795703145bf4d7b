"""What a run is: a small description that is checked before anything trains."""

import hashlib
import inspect
import itertools
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any, NamedTuple

from clcore.errors import InputError, known
from clcore.networks import MLP, Network, ResNet18
from clcore.strategies import STRATEGIES, Strategy
from clcore.streams import READERS, Dataset, Stream, permuted, split
from clcore.training import Budget

Table = dict[str, Any]

STREAMS: dict[str, Callable[..., Stream]] = {"permuted": permuted, "split": split}


def _mlp(dataset: Dataset, stream: Stream, hidden: list[int]) -> Network:
    pixels = dataset.train_images[0].numel()
    return MLP(pixels, hidden, stream.outputs, stream.heads)


def _resnet18(dataset: Dataset, stream: Stream, width: int = 64) -> Network:
    return ResNet18(dataset.shape[0], stream.outputs, stream.heads, width)


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

    def __post_init__(self) -> None:
        known("dataset", self.dataset, READERS)
        _options("stream", self.stream, STREAMS, ("dataset", "seed", "holdout"))
        _options("network", self.network, NETWORKS, ("dataset", "stream"))
        _options("strategy", self.strategy, STRATEGIES, ())
        whole = all(isinstance(seed, int) and seed >= 0 for seed in self.seeds)
        if not whole or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds {list(self.seeds)}: give different whole numbers from 0 on")

    def identity(self) -> str:
        """Return what the run is called: its parts, and a hash of the whole description."""
        whole = json.dumps(asdict(self) | {"budget": self.budget._asdict()}, sort_keys=True)
        digest = hashlib.sha256(whole.encode()).hexdigest()[:10]
        parts = (self.stream["name"], self.dataset, self.network["name"], self.strategy["name"])
        return "-".join((*parts, digest))

    def streams(self, dataset: Dataset) -> list[Stream]:
        """Return the stream of each seed."""
        make, options = STREAMS[self.stream["name"]], _rest(self.stream)
        return [make(dataset, seed=seed, holdout=self.holdout, **options) for seed in self.seeds]

    def build_network(self, dataset: Dataset, stream: Stream) -> Network:
        """Return the network, with the heads and outputs that the stream needs."""
        return NETWORKS[self.network["name"]](dataset, stream, **_rest(self.network))

    def build_strategy(self) -> Strategy:
        """Return a new strategy."""
        return STRATEGIES[self.strategy["name"]](**_rest(self.strategy))


class Grid(NamedTuple):
    """Runs to compare.

    Attributes
    ----------
    reported : tuple of tuple of Spec
        Each setting (data set, stream, network, strategy, budget) with the learning rates it
        may have: judged on test images.
    searched : tuple of tuple of Spec
        The same settings and rates judged on held-out training images, to choose the rate;
        empty where each setting has one rate.
    """

    reported: tuple[tuple[Spec, ...], ...]
    searched: tuple[tuple[Spec, ...], ...]


def read_grid(path: str | Path) -> Grid:
    """Read the runs that a TOML file describes.

    The keys are those of `Spec`. Where a table stands as a list of tables (``[[strategy]]``),
    its entries are alternatives; the grid is the product of all alternatives. A table
    ``[search]`` with ``learning_rate`` (a list), ``seeds`` and ``holdout`` has the rate of
    each setting chosen on held-out training images.

    Raises
    ------
    InputError
        If the file cannot be read, a key is missing or unknown, or a value cannot be used.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"grid {str(path)!r} cannot be read: {error}") from error
    return parse_grid(content)


def parse_grid(content: Table) -> Grid:
    """Return the runs that the content of a grid file describes; see `read_grid`."""
    fields = {f.name: f.default is MISSING for f in dataclass_fields(Spec)} | {"search": False}
    _check_keys("grid", content, fields)
    search = content.get("search")
    if search is not None:
        _check_keys("search", search, dict.fromkeys(("learning_rate", "seeds", "holdout"), True))
        if not isinstance(search["learning_rate"], list) or not search["holdout"]:
            raise InputError(
                "search needs a list of learning_rate to choose from, and a holdout above 0: "
                "hyperparameters are chosen on held-out training images"
            )
    tables = ("stream", "network", "strategy", "budget")
    axes = [content[t] if isinstance(content[t], list) else [content[t]] for t in tables]
    reported, searched = [], []
    for tables_of_setting in itertools.product(*axes):
        for name, table in zip(tables, tables_of_setting, strict=True):
            if not isinstance(table, dict):
                raise InputError(f"{name} {table!r}: expected a table, such as [{name}]")
        stream, network, strategy, budget = tables_of_setting
        rates = [{"learning_rate": rate} for rate in search["learning_rate"]] if search else [{}]
        budgets = [_budget(budget | rate) for rate in rates]
        setting = (content["dataset"], stream, network, strategy)
        reported.append(tuple(_spec(*setting, b, content) for b in budgets))
        if search:
            searched.append(tuple(_spec(*setting, b, search) for b in budgets))
    return Grid(tuple(reported), tuple(searched))


def _spec(
    dataset: str, stream: Table, network: Table, strategy: Table, budget: Budget, judged: Table
) -> Spec:
    seeds = judged["seeds"] if isinstance(judged["seeds"], list) else []
    holdout = judged.get("holdout", 0.0)
    return Spec(dataset, stream, network, strategy, budget, tuple(seeds), holdout)


def _budget(table: Table) -> Budget:
    _check_keys("budget", table, _required(Budget))
    return Budget(**table)


def _rest(table: Table) -> Table:
    return {k: v for k, v in table.items() if k != "name"}


def _options(kind: str, table: Table, makers: Mapping[str, Any], given: tuple[str, ...]) -> None:
    """Check a table's name and the keys of its options against what it describes."""
    if "name" not in table:
        raise InputError(f"{kind} {table}: add its name, one of {', '.join(sorted(makers))}")
    required = _required(makers[known(kind, table["name"], makers)])
    options = {key: needed for key, needed in required.items() if key not in given}
    _check_keys(f"{kind} {table['name']!r}", _rest(table), options)


def _required(maker: Callable[..., Any]) -> dict[str, bool]:
    """Return the options of a function or class, and whether each must be given."""
    parameters = inspect.signature(maker).parameters
    return {name: p.default is p.empty for name, p in parameters.items()}


def _check_keys(what: str, table: Mapping[str, Any], options: Mapping[str, bool]) -> None:
    """Check that a table has the keys that are needed (True in `options`), and no unknown one."""
    for key in table:
        known(f"option of {what}", key, options)
    missing = [name for name, needed in options.items() if needed and name not in table]
    if missing:
        raise InputError(f"{what} without {', '.join(missing)}: add what is missing")
