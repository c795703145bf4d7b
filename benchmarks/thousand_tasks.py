"""Seconds for the expected risks of a thousand tasks in ten blocks.

    python benchmarks/thousand_tasks.py [--tasks 1000] [--blocks 10] [--repeats 5] [--out FILE]

The tasks share a center; each trains all blocks. Timed, the fastest of the repeats:

- `problem`: reducing ground truths to checked squared distances,
- `whole`: the expected risks of given updates, (K+1, B, K) numbers,
- `law`: the updates of the gradient-direction law.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from throughput import processor

from clcore.results import code_version
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    expected_risks,
    generalization_error,
    law_plan,
)

PARAMETERS, SAMPLES = 20, 150  # in each block, of each task


def fastest(job: Callable[[], object], repeats: int) -> float:
    """Return the least of some times, in seconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        job()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure, print, keep as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    blocks, rng = range(options.blocks), np.random.default_rng(0)
    size = PARAMETERS * options.blocks
    truths = rng.normal(size=size) + 0.5 * rng.normal(size=(options.tasks, size))
    tasks = LinearTasks([PARAMETERS] * options.blocks, truths, SAMPLES, 0.5)
    problem = Problem.from_tasks(tasks)
    whole, sets = [Update(blocks)] * options.tasks, [blocks] * options.tasks
    law = law_plan(problem, sets)
    seconds = {
        "problem": fastest(lambda: Problem.from_tasks(tasks), options.repeats),
        "whole": fastest(lambda: expected_risks(problem, whole), options.repeats),
        "law": fastest(lambda: law_plan(problem, sets), options.repeats),
    }
    for name, spent in seconds.items():
        print(f"{name:8s} {spent:7.3f} s")
    for name, plan in (("whole", whole), ("law", law)):
        error = generalization_error(expected_risks(problem, plan))
        print(f"generalization error, {name}: {error:.3f}")
    if options.out:
        result = {
            "tasks": options.tasks,
            "blocks": options.blocks,
            "repeats": options.repeats,
            "processor": processor(),
            "numpy": np.__version__,
            "code": code_version(),
            "seconds": {name: round(spent, 4) for name, spent in seconds.items()},
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
