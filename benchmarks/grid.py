"""A grid of 120 runs, a busy neighbour, and memory.

    python benchmarks/grid.py DATA [--rounds 2] [--out FILE]

The job is that of `contenders/job.py`: Permuted MNIST, 5 tasks, an MLP 784-256-256-10, batch 128.

- `grid_seconds`: wall time of `clcore run` for 120 replicas of it, 15 learning rates × 8 seeds, one
  process of one thread for each core, reading the data and writing the records included; in
  float32, and in bfloat16.
- `neighbour`: speed of 8 replicas in one process a core while another process spins on one core,
  over that when alone: 1 / cores of it is lost with the core if it is shared fairly.
- `memory`: peak resident set of 1, 8 and 32 replicas in one process, in megabytes, beside what must
  be there: the libraries (a process that has imported them), the data (images, labels, and each
  replica's order of them), parameters (now, before the task, and initial) and the activations of
  a batch that is judged.

Needs a machine that does nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from throughput import HERE, measure, processor

REPLICAS = (1, 8, 32)
RATES = [round(0.01 * 1.3**i, 4) for i in range(15)]
SIZES = (784, 256, 256, 10)
IMAGES, JUDGED = 60_000, 10_000

GRID = """
dataset = "mnist"
seeds = [0, 1, 2, 3, 4, 5, 6, 7]
strategy = {name = "initialized"}
stream = {name = "permuted", fractions = [1.0, 1.0, 1.0, 1.0]}
"""

IMPORTED = """
import resource
from clcore import measures, networks, strategies, streams, training
from clcore.streams.torchvision_import import torchvision_datasets
torchvision_datasets()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def grid_seconds(data: Path, bf16: bool) -> float:
    """Return the seconds that the command takes for 120 runs."""
    network = f'{{name = "mlp", hidden = [256, 256], bf16 = {str(bf16).lower()}}}'
    with tempfile.TemporaryDirectory() as folder:
        budgets = (f"{{epochs = 1, batch = 128, learning_rate = {rate}}}" for rate in RATES)
        file = Path(folder) / "grid.toml"
        lines = f"{GRID}network = {network}\nbudget = [{', '.join(budgets)}]\n"
        file.write_text(lines, encoding="utf-8")
        command = [sys.executable, "-m", "clcore", "run", str(file), "--data", str(data.resolve())]
        began = time.perf_counter()
        done = subprocess.run([*command, "--results", folder], stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        written = len(list(Path(folder).glob("*.json")))
        if done.returncode not in (0, 1) or written != len(RATES):  # 1: a rate diverged
            sys.exit(f"the grid ended with {done.returncode} and {written} records")
    return seconds


def speed(data: Path) -> float:
    """Return images per second of 8 replicas in one process a core."""
    found = measure([sys.executable, "engine.py", "128", "8", str(os.cpu_count()), "0"], data)
    return found["images"] / found["seconds"]


def beside_neighbour(data: Path) -> float:
    """Return the same beside a process that spins."""
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        return speed(data)
    finally:
        spinning.kill()
        spinning.wait()


def memory(data: Path) -> dict[str, dict[str, float]]:
    """Return the peak of the resident set and its parts, in megabytes."""
    imported = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True, cwd=HERE
    )
    libraries = float(imported.stdout)
    rows = {}
    for replicas in REPLICAS:
        found = measure([sys.executable, "engine.py", "128", str(replicas), "1", "0"], data)
        weights = sum(a * b + b for a, b in pairwise(SIZES))
        shown = 512 * 16 // max(replicas, 16)
        parts = {
            "libraries": libraries,
            "data": ((IMAGES + JUDGED) * (784 + 8) + replicas * IMAGES * 8) / 2**20,
            "parameters": 3 * 4 * replicas * weights / 2**20,
            "activations": replicas * shown * (784 + 4 * sum(SIZES)) / 2**20,
        }
        rows[str(replicas)] = {
            "peak": round(found["megabytes"]),
            **{name: round(value) for name, value in parts.items()},
            "ratio": round(found["megabytes"] / sum(parts.values()), 2),
        }
    return rows


def main() -> None:
    """Measure, print, keep as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "cpus": os.cpu_count(),
        "processor": processor(),
        "runs": 8 * len(RATES),
        "memory": memory(options.data),
    }
    print(json.dumps(result["memory"], indent=2), flush=True)
    pairs = [(speed(options.data), beside_neighbour(options.data)) for _ in range(options.rounds)]
    result["neighbour"] = round(statistics.median(busy / quiet for quiet, busy in pairs), 2)
    print(f"beside a neighbour: {result['neighbour']} of the speed", flush=True)
    result["grid_seconds"] = {}
    for name, bf16 in (("float32", False), ("bfloat16", True)):
        seconds = [grid_seconds(options.data, bf16) for _ in range(options.rounds)]
        result["grid_seconds"][name] = round(statistics.median(seconds))
        print(f"120 runs in {name}: {result['grid_seconds'][name]} s", flush=True)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
