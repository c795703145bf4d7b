"""A stream: the tasks that one replica meets, one after the other."""

from typing import NamedTuple

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.seeds import generator
from clcore.streams.datasets import Dataset


class Task(NamedTuple):
    """What one task takes from its data set; images are never copied.

    Attributes
    ----------
    train, test : Tensor
        int64, rows of the data set's training images, and of the images it is judged on.
    outputs : Tensor
        int64, (classes,): the output unit of each class, −1 for a class not in the task.
    pixels : Tensor or None
        int64, (channels · height · width,): the order in which the task shows the pixels.
    """

    train: Tensor
    test: Tensor
    outputs: Tensor
    pixels: Tensor | None = None


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
    heads : int
        1 if all tasks share their outputs (domain-incremental), else one head a task
        (task-incremental: the task is known when it is judged).
    outputs : int
        Output units of a head.
    held_out : bool
        Whether the tasks are judged on held-out training images (to choose hyperparameters)
        instead of the test images (to report).
    """

    name: str
    dataset: Dataset
    tasks: tuple[Task, ...]
    heads: int
    outputs: int
    held_out: bool


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
