"""Training of many replicas at once, over a stream."""

from clcore.training.batches import Batch, Samples, View, samples, training_batches
from clcore.training.loss import cross_entropy
from clcore.training.train import Budget, Divergence, Outcome, evaluate, train

__all__ = [
    "Batch",
    "Budget",
    "Divergence",
    "Outcome",
    "Samples",
    "View",
    "cross_entropy",
    "evaluate",
    "samples",
    "train",
    "training_batches",
]
