"""What each strategy costs beyond plain training: time, and memory.

    python benchmarks/overhead.py DATA [--rounds 3] [--images 60000] [--out FILE]

The job is three tasks of Permuted MNIST, one epoch each in batches of 128, MLP 784-256-256-10, one
replica and eight, one thread.

- `time`: training time over that of initialized training, what a strategy does when tasks begin
  and end included. The two take turns in one process; the median over rounds.
- `peak_megabytes`: peak resident set after the data were loaded, in a process of its own, less that
  of initialized training; the median over rounds.
- `kept_per_parameter_byte`: bytes of the tensors that the strategy holds when the last task is
  done, over the bytes of the parameters. Remembered images are held as rows of the data set; a
  copy of them would take 784 bytes a sample more, see `samples`. The parameters before the task,
  which LwF needs, the engine keeps for every strategy: they do not count.

Needs a machine that does nothing else.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from throughput import processor
from torch import Tensor

from clcore.networks import MLP
from clcore.results import code_version
from clcore.strategies import STRATEGIES, Strategy, strategy
from clcore.streams import Dataset, from_arrays, load, permuted
from clcore.training import Budget, Outcome, train

TASKS, BATCH, RATE, REPLICAS = 3, 128, 0.1, (1, 8)
PLAIN = "initialized"
# Of those that must be given.
OPTIONS: dict[str, dict[str, Any]] = {
    "partial": {"modules": 2},
    "ewc": {"strength": 10.0},
    "replay": {"size": 1000},
    "agem": {"per_task": 500},
    "der++": {"size": 1000},
}
# Name, and what makes the strategy of that name.
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    name: (name, OPTIONS.get(name, {})) for name in STRATEGIES
} | {
    "proximal, directed": ("proximal", {"directed": True}),
    "proximal, strength": ("proximal", {"strength": 100.0}),  # online EWC
}


def build(name: str) -> Strategy:
    """Return a new strategy of a contender."""
    kind, options = CONTENDERS[name]
    return strategy(kind, **options)


def job(dataset: Dataset, replicas: int, made: Strategy) -> Outcome:
    """Train some replicas with a strategy."""
    seeds = list(range(replicas))
    streams = [permuted(dataset, [1.0] * (TASKS - 1), seed=seed) for seed in seeds]
    outcome = train(streams, MLP(784, [256, 256], 10), made, seeds, Budget(1, BATCH, RATE))
    if outcome.divergences:
        sys.exit(f"{type(made).__name__} diverged, so that it trained less: choose other options")
    return outcome


def first(dataset: Dataset, images: int) -> Dataset:
    """Return the data set with its first training images alone."""
    if images >= len(dataset.train_labels):
        return dataset
    parts = (dataset.train_images[:images], dataset.train_labels[:images])
    rest = (dataset.test_images, dataset.test_labels)
    return from_arrays("mnist, part", *(part.numpy() for part in (*parts, *rest)))


def kept_bytes(thing: object, seen: set[int]) -> int:
    """Return the bytes of the tensors that a thing holds, each storage once."""
    if isinstance(thing, Tensor):
        storage = thing.untyped_storage()
        new = storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        return storage.nbytes() if new else 0
    if isinstance(thing, dict):
        return sum(kept_bytes(value, seen) for value in thing.values())
    if isinstance(thing, list | tuple):
        return sum(kept_bytes(value, seen) for value in thing)
    return kept_bytes(vars(thing), seen) if hasattr(thing, "__dict__") else 0


def samples(made: Strategy) -> int:
    """Return how many samples of each replica a strategy remembers."""
    memories = getattr(made, "memories", [getattr(made, "memory", None)])
    return sum(min(int(m.shown[0]), m.size) for m in memories if m is not None)


def forget_peak() -> Callable[[], float]:
    """Begin to measure the peak of the resident set anew; return what reads it, in megabytes.

    Where the system cannot begin anew, the peak is that since the start of the process.
    """
    own = Path("/proc/self")
    try:
        (own / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

    def read() -> float:
        lines = (own / "status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6

    return read


def alone(dataset: Dataset, name: str, replicas: int) -> dict[str, float]:
    """Return what a strategy holds and its peak, in this process, which has run nothing else."""
    made = build(name)
    peak = forget_peak()
    job(dataset, replicas, made)
    sizes = (784, 256, 256, 10)
    parameters = sum((a + 1) * b for a, b in pairwise(sizes))
    return {
        "peak": peak(),
        "kept": kept_bytes(made, set()) / (4 * parameters * replicas),
        "samples": samples(made),
    }


def memory(options: argparse.Namespace, name: str, replicas: int) -> dict[str, float]:
    """Run `alone` in a fresh process."""
    line = [sys.executable, __file__, str(options.data), "--images", str(options.images)]
    line += ["--alone", name, str(replicas)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print the table, keep it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = first(load("mnist", options.data), options.images)
    if options.alone:
        name, replicas = options.alone
        print(json.dumps(alone(dataset, name, int(replicas))))
        return
    code = code_version()
    job(first(dataset, 2000), 1, strategy(PLAIN))  # what is slow the first time
    rows: dict[str, dict[str, Any]] = {name: {} for name in CONTENDERS}
    for replicas in REPLICAS:
        ratios: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        plain: list[float] = []
        held: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        for _ in range(options.rounds):
            for name in CONTENDERS:
                plain.append(job(dataset, replicas, strategy(PLAIN)).training_seconds)
                made = build(name)
                ratios[name].append(job(dataset, replicas, made).training_seconds / plain[-1])
                held[name].append(memory(options, name, replicas))
                print(f"  {name}, {replicas}: {ratios[name][-1]:.2f} x the time", flush=True)
        usual = statistics.median(found["peak"] for found in held[PLAIN])
        for name in CONTENDERS:
            rows[name][f"replicas_{replicas}"] = {
                "time": round(statistics.median(ratios[name]), 2),
                "times": [round(ratio, 2) for ratio in ratios[name]],
                "peak_megabytes": round(
                    statistics.median(found["peak"] for found in held[name]) - usual, 1
                ),
                "kept_per_parameter_byte": round(held[name][-1]["kept"], 3),
                "samples": held[name][-1]["samples"],
            }
        rows[PLAIN][f"replicas_{replicas}"] |= {
            "seconds": round(statistics.median(plain), 2),
            "peak_itself_megabytes": round(usual, 1),
        }
    for name, row in rows.items():
        print(f"{name:18s}", end="")
        for replicas in REPLICAS:
            found = row[f"replicas_{replicas}"]
            print(
                f"  {replicas} replicas: {found['time']:5.2f} x the time, "
                f"{found['peak_megabytes']:+7.1f} MB at the peak, "
                f"{found['kept_per_parameter_byte']:6.3f} kept",
                end="",
            )
        print()
    if options.out:
        result = {
            "rounds": options.rounds,
            "images": options.images,
            "contenders": CONTENDERS,
            "processor": processor(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "code": code,
            "strategies": rows,
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
