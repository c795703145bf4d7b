"""Our own engine: `engine.py DATA BATCH REPLICAS`."""

from job import HIDDEN, RATE, TASKS, arguments, report, root

from clcore.measures import average_accuracy
from clcore.networks import MLP
from clcore.strategies import Initialized
from clcore.streams import load, permuted
from clcore.training import Budget, train

batch, replicas = arguments()
dataset = load("mnist", root())
seeds = list(range(replicas))


def job() -> tuple[int, float]:
    outcome = train(
        [permuted(dataset, [1.0] * (TASKS - 1), seed=seed) for seed in seeds],
        MLP(784, [HIDDEN, HIDDEN], 10),
        Initialized(),
        seeds,
        Budget(1, batch, RATE),
    )
    return outcome.images, float(average_accuracy(outcome.accuracy).mean())


report(job)
