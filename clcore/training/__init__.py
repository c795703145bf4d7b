"""Training of many replicas at once, over a stream."""

from clcore.networks.loss import cross_entropy
from clcore.streams.batches import Batch
from clcore.training.observers import (
    ForwardAccuracy,
    FunctionDrift,
    GradientCosines,
    MagnitudeCurve,
    Moment,
    Observer,
    RelativeDrift,
    Trajectory,
)
from clcore.training.run import Run
from clcore.training.train import Budget, Divergence, Outcome, train

__all__ = [
    "Batch",
    "Budget",
    "Divergence",
    "ForwardAccuracy",
    "FunctionDrift",
    "GradientCosines",
    "MagnitudeCurve",
    "Moment",
    "Observer",
    "Outcome",
    "RelativeDrift",
    "Run",
    "Trajectory",
    "cross_entropy",
    "train",
]
