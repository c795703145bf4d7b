"""What a strategy may look at, and what it decides."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from clcore.networks import Network, Parameters
from clcore.streams.batches import Batch


class Learner(Protocol):
    """What a strategy sees of a task: the replicas, and the task's training data.

    Attributes
    ----------
    network : Network
        The network that the replicas share.
    parameters : Parameters
        Where the replicas stand, stacked: (R, …).
    before : Parameters
        θ̂_{k−1}: where they stood when the task arrived.
    initial : Parameters
        Where they were initialized.
    replicas : int
        R.
    task : int
        The task, from 0.
    rates : Tensor
        float32, (R,): each replica's learning rate.
    competing : Tensor or None
        bool, (R, tasks, outputs): which outputs compete for the images of each task; None: all.
    draws : list of torch.Generator
        One a replica, new with each task, for what a strategy draws.
    notes : dict of str to Tensor
        What the strategy wants recorded: name → (R,) values for this task.
    """

    network: Network
    parameters: Parameters
    before: Parameters
    initial: Parameters
    replicas: int
    task: int
    rates: Tensor
    competing: Tensor | None
    draws: list[torch.Generator]
    notes: dict[str, Tensor]

    def gradient(self, batch: Batch | None = None) -> Parameters:
        """Return the gradient of the loss of a batch, by default of the task's probe.

        The probe is the same for a task whenever it is asked: 2,048 of its training samples, all if
        it has fewer.
        """
        ...

    def loss(self, parameters: Parameters) -> Tensor:
        """Return the loss of the task's probe at some parameters, float64 (R,), in nats.

        Batches are normalized by their own statistics, as in `gradient`.
        """
        ...

    def fisher(self) -> Parameters:
        """Return the diagonal of the Fisher information of the task's probe."""
        ...

    def logits(self, parameters: Parameters, batch: Batch) -> Tensor:
        """Return the logits, (R, B, outputs), of a batch at some parameters."""
        ...

    def recall(self, rows: Tensor, labels: Tensor, tasks: Tensor, weights: Tensor) -> Batch:
        """Return earlier training samples, each (R, B), as a batch."""
        ...


class Strategy:
    """How much may move when a task arrives: as it stands, everything, by descent on its loss.

    A strategy overrides what it does otherwise. It keeps what it learned of the tasks so far, so
    each run takes a new one.

    Attributes
    ----------
    optimizers : tuple of str
        Those of `Budget` that it makes sense with.
    """

    optimizers: ClassVar[tuple[str, ...]] = ("sgd", "adam")

    def begin(self, learner: Learner) -> Tensor:
        """Return which blocks train on the task that has arrived.

        Returns
        -------
        Tensor
            bool, (R, blocks).
        """
        return last_modules(learner, len(learner.network.blocks))

    def tasks(self, learner: Learner) -> Sequence[int]:
        """Return the tasks whose samples are trained on."""
        return (learner.task,)

    def mix(self, learner: Learner, batch: Batch) -> Batch:
        """Return what to train on in place of a batch of the task."""
        return batch

    def slope(self, learner: Learner, batch: Batch, logits: Tensor, slope: Tensor) -> None:
        """Add to the derivative of the loss by the logits, (R, B, outputs), in place."""

    def gradient(self, learner: Learner, gradient: Parameters) -> None:
        """Change the gradient of a step, in place."""

    def after_step(self, learner: Learner) -> None:
        """Change the parameters after a step, in place."""

    def finish(self, learner: Learner) -> None:
        """Look at the replicas after the task is trained, while its data are at hand."""


def last_modules(learner: Learner, modules: Tensor | int) -> Tensor:
    """Return which blocks train when only the last `modules` do; the head is the last.

    Parameters
    ----------
    learner : Learner
        Whose blocks.
    modules : int or Tensor
        One number for all replicas, or int64 (R,).
    """
    blocks = len(learner.network.blocks)
    counts = torch.as_tensor(modules).expand(learner.replicas)
    return torch.arange(blocks) >= blocks - counts[:, None]
