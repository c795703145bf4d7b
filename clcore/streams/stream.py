"""A stream: the tasks that one replica meets, one after the other."""

from typing import NamedTuple

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.seeds import generator
from clcore.streams.datasets import Dataset

SCENARIOS = ("task", "domain", "class")


class Task(NamedTuple):
    """What one task takes from its data set; images are never copied.

    Attributes
    ----------
    train, test : Tensor
        int64, rows of the data set's training images, and of the images it is judged on.
    outputs : Tensor
        int64, (classes,): the output unit of each class, −1 for a class not in the task.
    pixels : Tensor or None
        int64, (channels · height · width,): the order in which the task shows the pixels; −1 for
        black.
    noise : float
        Standard deviation of the Gaussian noise on the task's images, in grey levels: each image
        always has the same noise.
    """

    train: Tensor
    test: Tensor
    outputs: Tensor
    pixels: Tensor | None = None
    noise: float = 0.0


class Stream(NamedTuple):
    """The tasks of one replica.

    Attributes
    ----------
    name : str
        Which stream, for reports.
    dataset : Dataset
        Where its images come from.
    tasks : tuple of Task
        In the order of their arrival.
    scenario : {"task", "domain", "class"}
        Which outputs compete for an answer: those of the image's own task (task-incremental: it
        is known which task that is), all, since the tasks share them (domain-incremental), or
        those of every task seen so far (class-incremental). After van de Ven et al. (2022).
    outputs : int
        Output units of the network.
    held_out : bool
        Whether the tasks are judged on held-out training images (to choose hyperparameters)
        instead of the test images (to report).
    """

    name: str
    dataset: Dataset
    tasks: tuple[Task, ...]
    scenario: str
    outputs: int
    held_out: bool


def competing(stream: Stream, seen: int) -> Tensor:
    """Return which outputs compete for the images of each task, bool (tasks, outputs).

    Parameters
    ----------
    seen : int
        Number of tasks that have arrived: counts in the class-incremental scenario alone.
    """
    own = torch.zeros((len(stream.tasks), stream.outputs), dtype=torch.bool)
    for k, task in enumerate(stream.tasks):
        own[k, task.outputs[task.outputs >= 0]] = True
    if stream.scenario == "task":
        return own
    if stream.scenario == "class":
        return own[:seen].any(0).expand_as(own)
    return torch.ones_like(own)


def judged_rows(dataset: Dataset, seed: int, holdout: float) -> tuple[Tensor, Tensor]:
    """Return the rows to train on, and the rows to judge on.

    Parameters
    ----------
    holdout : float
        0: judge on the test set. Else, in (0, 1): the fraction of the training set to judge on
        instead; the test set stays unseen.

    Raises
    ------
    InputError
        If `holdout` is outside [0, 1), or leaves nothing to judge on or nothing to train on.
    """
    if not 0 <= holdout < 1:
        raise InputError(f"holdout {holdout} is not in [0, 1): pass the fraction to hold out")
    rows = len(dataset.train_labels)
    if holdout == 0:
        return torch.arange(rows), torch.arange(len(dataset.test_labels))
    order = torch.randperm(rows, generator=generator(seed, "stream", 0))
    cut = round(rows * holdout)
    if not 0 < cut < rows:
        raise InputError(
            f"holdout {holdout} of {rows} training images takes {cut}: choose a fraction that "
            "leaves some to judge on and some to train on"
        )
    return order[cut:], order[:cut]


def judged_on(stream: Stream) -> tuple[Tensor, Tensor]:
    """Return the images and labels that `Task.test` indexes."""
    data = stream.dataset
    if stream.held_out:
        return data.train_images, data.train_labels
    return data.test_images, data.test_labels
