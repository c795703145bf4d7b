"""Our summaries of accuracy matrices against Avalanche's, on the same matrices.

    python benchmarks/metrics_agree.py AVALANCHE_PYTHON [--matrices 200]

AVALANCHE_PYTHON is the interpreter of a virtual environment with `avalanche-lib==0.6.0`. The
matrices: random ones of 2 to 8 tasks, and those of a network trained here on permuted digits,
judged on all tasks, also those to come. Prints the largest difference of each measure and exits
with 1 if one exceeds rounding.

Where definitions differ: Avalanche's forgetting is, like the paper's, that against the accuracy
just after training, not against the best ever reached (Chaudhry et al., 2018). Its stream
accuracy pools images, so it is Avg.Acc where tasks have equally many; it has no Task.Acc.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clcore import measures, streams
from clcore.networks import MLP
from clcore.strategies import Initialized
from clcore.training import Budget, ForwardAccuracy, Moment, Observer, train
from clcore.training.observers import Values

PEER = Path(__file__).parent / "contenders" / "avalanche_metrics.py"
ROUNDING = 1e-12

Case = tuple[NDArray[np.float64], NDArray[np.float64]]  # (M, M) with all tasks judged, and (M,)


class AllTasks(Observer):
    """Judges every task after each, also those to come, and at the initialization."""

    def after_task(self, moment: Moment) -> Values:
        """Judge where the replicas stood before the task, and where they stand."""
        both = [
            torch.stack([moment.accuracy(state, i) for i in range(moment.tasks)], 1)
            for state in (moment.before, moment.parameters)
        ]
        return {"before": both[0], "after": both[1]}


def drawn(count: int) -> list[Case]:
    """Return random matrices, in thousandths: Avalanche is shown whole images."""
    draws = np.random.default_rng(0)
    sizes = draws.integers(2, 9, count)
    return [
        (draws.integers(0, 1001, (m, m)) / 1000, draws.integers(0, 1001, m) / 1000) for m in sizes
    ]


def trained() -> tuple[list[Case], float]:
    """Return matrices of trained replicas, and how far `ForwardAccuracy` is from them."""
    digits = streams.load("digits")
    # With 250 images every accuracy is a whole number of thousandths.
    seeds = range(10)
    made = [streams.permuted(digits, [0.2] * 4, seed=s) for s in seeds]
    made = [s._replace(tasks=tuple(t._replace(test=t.test[:250]) for t in s.tasks)) for s in made]
    outcome = train(
        made,
        MLP(64, [64], 10),
        Initialized(),
        list(seeds),
        Budget(2, 32, 0.1),
        observers=[AllTasks(), ForwardAccuracy()],
    )
    seen = outcome.observed
    before, after = seen["before"], seen["after"]
    initial = before[:, 0]
    arrival = np.concatenate([initial[:, :1], np.diagonal(after, 1, 1, 2)], 1)
    gap = np.abs(arrival - seen["arrival_accuracy"]).max()
    gap = max(gap, np.abs(initial - seen["initial_accuracy"]).max())
    return list(zip(after, initial, strict=True)), float(gap)


def ours(case: Case) -> dict[str, float]:
    """Return our measures of one matrix."""
    matrix, initial = case
    arrival = np.concatenate([initial[:1], np.diagonal(matrix, 1)])
    return {
        "forgetting": float(measures.forgetting(matrix)),
        "backward transfer": float(measures.backward_transfer(matrix)),
        "forward transfer": float(measures.forward_transfer(arrival, initial)),
    }


def main() -> int:
    """Compare, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("avalanche", metavar="AVALANCHE_PYTHON")
    parser.add_argument("--matrices", type=int, default=200, help="random ones")
    options = parser.parse_args()
    network, gap = trained()
    cases = drawn(options.matrices) + network
    content = json.dumps([{"accuracy": m.tolist(), "initial": b.tolist()} for m, b in cases])
    done = subprocess.run(
        [options.avalanche, str(PEER)], input=content, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"Avalanche did not answer:\n{done.stderr}", file=sys.stderr)
        return 2
    theirs = json.loads(done.stdout.splitlines()[-1])
    found = [ours(case) for case in cases]
    worst = {
        name: max(abs(a[name] - b[name]) for a, b in zip(found, theirs, strict=True))
        for name in found[0]
    }
    print(f"matrices           {len(cases)} ({len(network)} of trained networks)")
    for name, difference in worst.items():
        print(f"{name:18s} largest difference {difference:.1e}")
    print(f"{'ForwardAccuracy':18s} against the whole matrix {gap:.1e}")
    return int(max(*worst.values(), gap) > ROUNDING)


if __name__ == "__main__":
    sys.exit(main())
