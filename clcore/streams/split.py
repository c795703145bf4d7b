"""Streams that split the classes of a data set over the tasks."""

import torch

from clcore.errors import InputError
from clcore.seeds import generator
from clcore.streams.datasets import Dataset
from clcore.streams.stream import Stream, Task, judged_rows


def split(dataset: Dataset, tasks: int, *, seed: int, holdout: float = 0.0) -> Stream:
    """Return a task-incremental stream: each task has its own classes and its own head.

    Parameters
    ----------
    dataset : Dataset
        Its classes are dealt to the tasks in random order.
    tasks : int
        ≥ 1, a divisor of the number of classes.
    seed : int
        Draws the order of the classes.
    holdout : float
        See `judged_rows`.

    Raises
    ------
    InputError
        If the classes cannot be dealt out evenly.
    """
    if tasks < 1 or dataset.classes % tasks:
        raise InputError(
            f"{dataset.classes} classes of {dataset.name} do not split evenly into {tasks} tasks: "
            "choose a divisor"
        )
    train, test = judged_rows(dataset, seed, holdout)
    train_labels = dataset.train_labels.cpu()[train]
    test_labels = (dataset.train_labels if holdout else dataset.test_labels).cpu()[test]
    size = dataset.classes // tasks
    order = torch.randperm(dataset.classes, generator=generator(seed, "stream", 1))
    parts = []
    for classes in order.view(tasks, size):
        outputs = torch.full((dataset.classes,), -1)
        outputs[classes] = torch.arange(size)
        parts.append(
            Task(train[outputs[train_labels] >= 0], test[outputs[test_labels] >= 0], outputs)
        )
    return Stream("split", dataset, tuple(parts), tasks, size, holdout > 0)
