"""Whether the reference strategies reach the numbers that their papers publish.

    python benchmarks/published.py DATA [--seeds 5] [--only TEXT ...] [--refresh] [--out FILE]

**The published numbers below are quoted from memory; check them against the papers before citing
them.** The papers' tables could not be read when this was written. The protocols and settings were
compared with stored copies of the authors' code: github.com/GMvandeVen/continual-learning and
github.com/aimagelab/mammoth, whose versions need not be those of the papers.

Every row is one strategy at the paper's settings, nothing tuned. All seeds of a row train at once.
FILE is written after each row; a row that is there is not run again, unless `--refresh` is given
and other code gave it, and more seeds are added to those it has. A row has the difference of the
means, ours − published, with Welch's 95 % interval: runs are not paired, and the two deviations may
differ. A paper that gives standard errors (SEM) over n runs has the deviation SEM √n.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from scipy.stats import t as student
from throughput import processor

from clcore.measures import Interval, average_accuracy, mean_interval
from clcore.networks import MLP, Parameters
from clcore.results import code_version
from clcore.seeds import generator
from clcore.strategies import AGEM, EWC, DarkReplay, Initialized, LwF, Replay, Strategy
from clcore.streams import Dataset, Stream, load, permuted, rotated, split
from clcore.training import Budget, train
from clcore.training.descent import adam

QUOTED = "published numbers quoted from memory; check against the paper before citing"
VEN = "van de Ven, Tuytelaars, Tolias (2022), Three types of incremental learning, Table 2"
BUZZEGA = "Buzzega et al. (2020), Dark Experience for General Continual Learning, Table 2"

OF_VEN = [
    "Adam begins anew with each task; theirs keeps its state",
    "21 epochs a task: 1,848 to 2,142 steps by its classes, with a smaller last batch an epoch; "
    "theirs: 2,000 steps, last batches dropped",
]
OF_EWC = [
    "Fisher information of 2,048 images, their labels weighed at once with random signs; theirs: "
    "every training image, label by label",
]
OF_LWF = ["T² scales the distillation here and not there: strength 0.25 with T = 2 is their loss"]
OF_REPLAY = [
    "loss ½ batch + ½ memory; theirs 1/t batch + (1 − 1/t) memory at task t",
    "memory of 1,000, a reservoir of all that was seen, the present task's too: as large as theirs "
    "when the stream ends, and larger before; theirs: 100 a class, drawn after each task",
]
OF_AGEM = [
    "200 samples a task by reservoir, equally many of each task a step; theirs: 100 a class, "
    "128 of all earlier ones together",
]
RESERVOIR = "remembered samples are drawn with replacement; theirs without"
OF_BUFFER = [
    "M / 20 = 10 samples of each task, as the paper says; the authors' code offers the 128 samples "
    "of one batch of each task to a reservoir of M, which holds more of each while few were seen",
]


class XavierMLP(MLP):
    """The network of Buzzega et al.: weights by Glorot and Bengio (2010), biases 0."""

    def initialize(self, seeds: Sequence[int], device: torch.device) -> Parameters:
        """Draw weights uniformly within ±√(6 / (inputs + outputs of the layer))."""
        draws = [generator(seed, "initialization") for seed in seeds]
        parameters = {}
        for block, rows, columns in zip(self.blocks, self.sizes, self.sizes[1:], strict=False):
            bound = (6 / (rows + columns)) ** 0.5
            values = torch.stack([torch.rand((rows, columns), generator=g) for g in draws])
            parameters[f"{block}.weight"] = values.mul_(2 * bound).sub_(bound).to(device)
            parameters[f"{block}.bias"] = torch.zeros(len(seeds), 1, columns, device=device)
        return parameters


class Row(NamedTuple):
    """One number of a paper, and how to reach it.

    Attributes
    ----------
    name : str
        Protocol and strategy.
    stream : callable
        (data set, seed) → stream.
    network : callable
        (outputs) → network.
    strategy : callable
        () → a new strategy.
    budget : Budget
        Of a task.
    paper : str
        Where the number is.
    published : tuple of float
        Mean and spread in percent.
    spread : {"SEM", "std"}
        What the spread is.
    runs : int
        How many runs the paper has.
    differences : list of str
        Of the protocol, ours against theirs.
    keeps : bool
        Whether Adam goes on with each task where it stood, as theirs does and ours does not.
    """

    name: str
    stream: Callable[[Dataset, int], Stream]
    network: Callable[[int], MLP]
    strategy: Callable[[], Strategy]
    budget: Budget
    paper: str
    published: tuple[float, float]
    spread: str
    runs: int
    differences: list[str]
    keeps: bool = False


def of_split(
    scenario: str,
    kind: str,
    make: Callable[[], Strategy],
    published: tuple[float, float],
    differences: Sequence[str] = (),
    *,
    keeps: bool = False,
) -> Row:
    """Return a row of Split MNIST."""
    return Row(
        f"Split MNIST, {scenario}-incremental, {kind}",
        lambda dataset, seed: split(dataset, 5, seed=seed, scenario=scenario),
        lambda outputs: MLP(784, [400, 400], outputs),
        make,
        Budget(21, 128, 1e-3, optimizer="adam"),
        VEN,
        published,
        "SEM",
        20,
        [*(OF_VEN[1:] if keeps else OF_VEN), *differences],
        keeps,
    )


def of_twenty(
    protocol: str,
    kind: str,
    make: Callable[[], Strategy],
    rate: float,
    published: tuple[float, float],
    differences: Sequence[str] = (),
) -> Row:
    """Return a row of twenty tasks of Permuted or Rotated MNIST."""
    streams: dict[str, Callable[[Dataset, int], Stream]] = {
        "Permuted": lambda dataset, seed: permuted(dataset, [1.0] * 19, seed=seed),
        "Rotated": lambda dataset, seed: rotated(dataset, [0.0] * 20, seed=seed, spread=180.0),
    }
    return Row(
        f"{protocol} MNIST, {kind}",
        streams[protocol],
        lambda outputs: XavierMLP(784, [100, 100], outputs),
        make,
        Budget(1, 128, rate),
        BUZZEGA,
        published,
        "std",
        10,
        list(differences),
    )


ROWS = [
    of_split("task", "EWC", lambda: EWC(1e5), (99.06, 0.15), OF_EWC),
    of_split("task", "LwF", lambda: LwF(2.0, 0.25), (99.60, 0.03), OF_LWF),
    of_split("task", "ER", lambda: Replay(1000), (98.98, 0.05), OF_REPLAY),
    of_split("task", "none", Initialized, (84.32, 0.99)),
    of_split("task", "none, Adam's state kept", Initialized, (84.32, 0.99), keeps=True),
    of_twenty("Permuted", "DER++, 200", lambda: DarkReplay(200, 1.0, 1.0), 0.1, (83.58, 0.59),
              [RESERVOIR]),
    of_twenty("Permuted", "ER, 200", lambda: Replay(200), 0.2, (72.37, 0.87), [RESERVOIR]),
    of_twenty("Permuted", "SGD", Initialized, 0.2, (40.70, 2.33)),
    of_twenty("Permuted", "A-GEM, 200", lambda: AGEM(10), 0.1, (66.42, 4.00), OF_BUFFER),
    of_split("class", "ER", lambda: Replay(1000), (88.79, 0.20), OF_REPLAY),
    of_split("class", "EWC", lambda: EWC(1e9), (20.64, 0.52), OF_EWC),
    of_split("class", "LwF", lambda: LwF(2.0, 0.25), (21.89, 0.32),
             [*OF_LWF, "their distillation gives the new classes the probability 0, ours leaves "
              "them out"]),
    of_split("class", "A-GEM", lambda: AGEM(200), (65.10, 3.64), OF_AGEM),
    of_split("class", "none", Initialized, (19.89, 0.02)),
    of_twenty("Rotated", "DER++, 200", lambda: DarkReplay(200, 1.0, 0.5), 0.1, (90.43, 1.87),
              [RESERVOIR]),
    of_twenty("Rotated", "ER, 200", lambda: Replay(200), 0.2, (85.01, 1.90), [RESERVOIR]),
    of_twenty("Rotated", "SGD", Initialized, 0.2, (67.66, 8.53)),
    of_twenty("Rotated", "A-GEM, 200", lambda: AGEM(10), 0.1, (81.91, 0.76), OF_BUFFER),
    of_twenty("Permuted", "DER++, 500", lambda: DarkReplay(500, 1.0, 0.5), 0.2, (88.21, 0.39),
              [RESERVOIR]),
    of_twenty("Rotated", "DER++, 500", lambda: DarkReplay(500, 0.5, 1.0), 0.2, (92.77, 1.05),
              [RESERVOIR]),
    of_split("domain", "EWC", lambda: EWC(1e10), (63.03, 1.58), OF_EWC),
    of_split("domain", "LwF", lambda: LwF(2.0, 0.25), (71.02, 1.26), OF_LWF),
    of_split("domain", "ER", lambda: Replay(1000), (93.75, 0.24), OF_REPLAY),
    of_split("domain", "none", Initialized, (60.13, 1.66)),
]  # fmt: skip


def run(row: Row, dataset: Dataset, seeds: Sequence[int]) -> tuple[dict[str, float], float]:
    """Train one replica a seed; return the percentage that each reached, and the seconds."""
    began = time.perf_counter()
    streams = [row.stream(dataset, seed) for seed in seeds]
    # One run has one tensor of rates, so the same moments serve all of its tasks.
    once = patch.object(sys.modules[train.__module__], "adam", cache(adam))
    with once if row.keeps else nullcontext():
        outcome = train(
            streams, row.network(streams[0].outputs), row.strategy(), list(seeds), row.budget
        )
    scores = 100 * average_accuracy(outcome.accuracy)
    found = {str(seed): round(float(s), 3) for seed, s in zip(seeds, scores, strict=True)}
    return found, time.perf_counter() - began


def welch(ours: Interval, mean: float, deviation: float, runs: int) -> tuple[float, float]:
    """Return the ends of the 95 % interval of our mean less a published one (Welch 1947)."""
    parts = ours.deviation**2 / ours.seeds, deviation**2 / runs
    error = sum(parts) ** 0.5
    freedom = error**4 / (parts[0] ** 2 / (ours.seeds - 1) + parts[1] ** 2 / (runs - 1))
    half = float(student.ppf(0.975, freedom)) * error
    return ours.mean - mean - half, ours.mean - mean + half


def judged(row: Row, accuracies: dict[str, float], seconds: float, code: str) -> dict[str, Any]:
    """Return what is kept of a row."""
    mean, spread = row.published
    deviation = spread * row.runs**0.5 if row.spread == "SEM" else spread
    kept: dict[str, Any] = {
        "paper": row.paper,
        "published": {
            "mean": mean,
            row.spread: spread,
            "runs": row.runs,
            "std": round(deviation, 2),
            "quoted": QUOTED,
        },
    }
    values = np.array(list(accuracies.values()))
    if np.isfinite(values).all():
        ours = mean_interval(values)
        kept["ours"] = {
            "mean": round(ours.mean, 2),
            "std": round(ours.deviation, 2),
            "SEM": round(ours.deviation / ours.seeds**0.5, 2),
            "low": round(ours.low, 2),
            "high": round(ours.high, 2),
            "seeds": ours.seeds,
        }
        low, high = welch(ours, mean, deviation, row.runs)
        kept["difference"] = {
            "mean": round(ours.mean - mean, 2),
            "low": round(low, 2),
            "high": round(high, 2),
        }
    else:
        accuracies = {s: a if np.isfinite(a) else None for s, a in accuracies.items()}  # type: ignore[misc]
        kept["diverged"] = [seed for seed, a in accuracies.items() if a is None]
    return kept | {
        "accuracies": accuracies,
        "differences_of_protocol": row.differences,
        "seconds": round(seconds),
        "machine": f"{processor()}, {torch.get_num_threads()} thread, torch {torch.__version__}",
        "code": code,
    }


def report(name: str, kept: dict[str, Any]) -> None:
    """Print a row."""
    published = kept["published"]
    spread = "SEM" if "SEM" in published else "std"
    theirs = f"published {published['mean']:5.2f} ± {published[spread]:.2f}"
    if "ours" not in kept:
        print(f"{name:46s} diverged: seeds {kept['diverged']}; {theirs}", flush=True)
        return
    ours, gap = kept["ours"], kept["difference"]
    print(
        f"{name:46s} {ours['mean']:5.2f} ± {ours[spread]:.2f} ({spread}, {ours['seeds']} seeds, "
        f"95 % {ours['low']:.2f} to {ours['high']:.2f})  {theirs}  "
        f"difference {gap['mean']:+.2f} ({gap['low']:+.2f} to {gap['high']:+.2f})",
        flush=True,
    )


def main() -> None:
    """Run what is missing, print the comparison, keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[""], help="rows whose names contain a text")
    parser.add_argument("--refresh", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds {options.seeds}: an interval needs 2 or more")
    code = code_version()
    torch.set_num_threads(1)
    dataset = load("mnist", options.data)
    # In [0, 1], as both papers take them.
    dataset = dataset._replace(mean=torch.zeros(1), deviation=torch.full((1,), 255.0))
    for row in ROWS:
        if not any(text in row.name for text in options.only):
            continue
        result: dict[str, Any] = {"quoted": QUOTED, "rows": {}}
        if options.out and options.out.exists():
            result = json.loads(options.out.read_text(encoding="utf-8"))
        kept = result["rows"].get(row.name, {"accuracies": {}, "seconds": 0, "code": code})
        if kept["code"] != code and options.refresh:
            kept = {"accuracies": {}, "seconds": 0, "code": code}
        known = kept["accuracies"]
        missing = [seed for seed in range(options.seeds) if str(seed) not in known]
        if missing and kept["code"] == code:
            found, seconds = run(row, dataset, missing)
            kept = judged(row, known | found, kept["seconds"] + seconds, code)
            result["rows"][row.name] = kept
            if options.out:
                beside = options.out.with_suffix(".part")
                text = json.dumps(result, indent=2, ensure_ascii=False)
                beside.write_text(text + "\n", encoding="utf-8")
                beside.replace(options.out)
        report(row.name, kept)


if __name__ == "__main__":
    main()
