"""What a strategy may look at, and what it decides."""

from typing import Protocol

import torch
from torch import Tensor

from clcore.networks import Network, Parameters, path


class Learner(Protocol):
    """What a strategy sees of a task: the replicas, and the task's training data.

    Attributes
    ----------
    network : Network
        The network that the replicas share.
    parameters : Parameters
        Where the replicas stand, stacked: (R, …).
    replicas : int
        R.
    task : int
        The task, from 0.
    notes : dict of str to Tensor
        What the strategy wants recorded: name → (R,) values for this task.
    """

    network: Network
    parameters: Parameters
    replicas: int
    task: int
    notes: dict[str, Tensor]

    @property
    def head(self) -> int:
        """The head that answers for the task."""
        ...

    def gradient(self) -> Parameters:
        """Return the gradient of the task's training loss at `parameters`."""
        ...


class Strategy:
    """How much may move when a task arrives: as it stands, everything.

    A strategy keeps what it learned of the tasks so far, so each run takes a new one.
    """

    def begin(self, learner: Learner) -> Tensor:
        """Return which blocks train on the task that has arrived.

        Returns
        -------
        Tensor
            bool, (R, blocks) in the order of `networks.path`.
        """
        return last_modules(learner, len(learner.network.body) + 1)

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
    blocks = len(path(learner.network, learner.head))
    counts = torch.as_tensor(modules).expand(learner.replicas)
    return torch.arange(blocks) >= blocks - counts[:, None]
