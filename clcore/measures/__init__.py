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
from clcore.measures.comparison import Comparison, compare
from clcore.measures.drift import drift, relative_drift
from clcore.measures.gradients import cosine, inner, of_blocks, sign_agreement
from clcore.measures.intervals import Interval, mean_interval, paired_difference

__all__ = [
    "Comparison",
    "Interval",
    "average_accuracy",
    "backward_transfer",
    "compare",
    "cosine",
    "drift",
    "forgetting",
    "forward_transfer",
    "inner",
    "mean_interval",
    "minimum_accuracy",
    "of_blocks",
    "paired_difference",
    "relative_drift",
    "sign_agreement",
    "stability_gap",
    "task_accuracy",
    "worst_case_accuracy",
]
