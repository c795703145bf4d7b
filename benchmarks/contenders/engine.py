"""Our own engine: `engine.py DATA BATCH REPLICAS PROCESSES BF16`.

With several processes the replicas are dealt out to them, one thread each: as `clcore run` works.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import torch
from job import HIDDEN, RATE, TASKS, arguments, report, root

from clcore.measures import average_accuracy
from clcore.networks import MLP
from clcore.strategies import Initialized
from clcore.streams import Dataset, load, permuted
from clcore.training import Budget, train

batch, replicas, processes, bf16 = arguments()
dataset: Dataset | None = None
training_seconds: list[float] = []


def ready() -> None:
    """Load the data: no part of the job, for any contender."""
    global dataset
    dataset = load("mnist", root())
    if processes > 1:
        torch.set_num_threads(1)


def part(seeds: list[int]) -> tuple[int, list[float], float]:
    assert dataset is not None
    outcome = train(
        [permuted(dataset, [1.0] * (TASKS - 1), seed=seed) for seed in seeds],
        MLP(784, [HIDDEN, HIDDEN], 10, bf16=bool(bf16)),
        Initialized(),
        seeds,
        Budget(1, batch, RATE),
    )
    scores = average_accuracy(outcome.accuracy).tolist()
    return outcome.images, scores, outcome.training_seconds


def job() -> tuple[int, float]:
    shares = [list(range(replicas))[p::processes] for p in range(processes)]
    done = [part(shares[0])] if processes == 1 else list(pool.map(part, shares))
    training_seconds.append(max(seconds for _, _, seconds in done))
    scores = [score for _, found, _ in done for score in found]
    return sum(images for images, _, _ in done), sum(scores) / len(scores)


if __name__ == "__main__":
    if processes == 1:
        ready()
        report(job, lambda: training_seconds[-1])
    else:
        os.environ["OMP_NUM_THREADS"] = "1"
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn, initializer=ready) as pool:
            list(pool.map(abs, range(processes * 4)))
            report(job, lambda: training_seconds[-1])
