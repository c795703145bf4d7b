"""What is measured: accuracy matrices and their summaries, drift, gradient directions."""

from clcore.measures.accuracy import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    minimum_accuracy,
    stability_gap,
    task_accuracy,
    worst_case_accuracy,
)
from clcore.measures.drift import drift, relative_drift
from clcore.measures.gradients import cosine, inner
from clcore.measures.intervals import Interval, mean_interval, paired_difference

__all__ = [
    "Interval",
    "average_accuracy",
    "backward_transfer",
    "cosine",
    "drift",
    "forgetting",
    "forward_transfer",
    "inner",
    "mean_interval",
    "minimum_accuracy",
    "paired_difference",
    "relative_drift",
    "stability_gap",
    "task_accuracy",
    "worst_case_accuracy",
]
