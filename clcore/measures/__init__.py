"""What is measured: accuracy matrices and their summaries, drift, gradient directions."""

from clcore.measures.accuracy import (
    average_accuracy,
    backward_transfer,
    forgetting,
    task_accuracy,
)
from clcore.measures.drift import drift
from clcore.measures.gradients import cosine, inner
from clcore.measures.intervals import Interval, mean_interval, paired_difference

__all__ = [
    "Interval",
    "average_accuracy",
    "backward_transfer",
    "cosine",
    "drift",
    "forgetting",
    "inner",
    "mean_interval",
    "paired_difference",
    "task_accuracy",
]
