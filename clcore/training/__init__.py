"""Training of many replicas at once, over a stream."""

from clcore.training.batches import Batch, Samples, View, samples, training_batches
from clcore.training.loss import cross_entropy
from clcore.training.observers import (
    FunctionDrift,
    GradientCosines,
    MagnitudeCurve,
    Moment,
    Observer,
    Trajectory,
)
from clcore.training.run import Run
from clcore.training.train import Budget, Divergence, Outcome, train

__all__ = [
    "Batch",
    "Budget",
    "Divergence",
    "FunctionDrift",
    "GradientCosines",
    "MagnitudeCurve",
    "Moment",
    "Observer",
    "Outcome",
    "Run",
    "Samples",
    "Trajectory",
    "View",
    "cross_entropy",
    "samples",
    "train",
    "training_batches",
]
