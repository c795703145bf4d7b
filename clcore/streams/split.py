"""Streams whose tasks have classes of their own, or share some of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clcore.errors import InputError, known
from clcore.seeds import generator
from clcore.streams.datasets import Dataset
from clcore.streams.stream import SCENARIOS, Stream, Task, judged_rows


def split(
    dataset: Dataset, tasks: int, *, seed: int, holdout: float = 0.0, scenario: str = "task"
) -> Stream:
    """Return a stream in which each task has its own classes.

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
    scenario : {"task", "domain", "class"}
        Task-incremental: each task has output units of its own. Domain-incremental: all tasks
        share as many units as one has classes, in their order. Class-incremental: each class has
        one unit, in the order of arrival. See `Stream` for which of them compete.

    Raises
    ------
    InputError
        If the classes cannot be dealt out evenly, or there is no such scenario.
    """
    if tasks < 1 or dataset.classes % tasks:
        raise InputError(
            f"{dataset.classes} classes of {dataset.name} do not split evenly into {tasks} tasks: "
            "choose a divisor"
        )
    order = torch.randperm(dataset.classes, generator=generator(seed, "stream", 1))
    return _of_classes("split", dataset, order.view(tasks, -1), seed, holdout, scenario)


def correlated(
    dataset: Dataset,
    classes: int,
    shared: Sequence[float],
    *,
    seed: int,
    holdout: float = 0.0,
    scenario: str = "task",
) -> Stream:
    """Return a stream in which each task shares some classes with the one before.

    Task k + 1 keeps a random part of the classes of task k, `shared[k]`, in their places. In the
    other places it has the classes that have been in no task for longest, first those that never
    were. 1 repeats the task; 0 gives an unrelated one, as in a split stream; large and small
    parts by turns make a mixed stream, of related and unrelated tasks. It follows Correlated
    Split CIFAR-100 of the paper, whose way of sharing is not known here.

    Parameters
    ----------
    dataset : Dataset
        Where the classes come from.
    classes : int
        Classes of each task, ≥ 1 and at most half of the data set's.
    shared : sequence of float
        In [0, 1], one for each task after the first.
    seed : int
        Draws the classes.
    holdout : float
        See `judged_rows`.
    scenario : {"task", "domain", "class"}
        See `split`.

    Raises
    ------
    InputError
        If a fraction or the number of classes is out of range, or there is no such scenario.
    """
    for fraction in shared:
        if not 0 <= fraction <= 1:
            raise InputError(f"fraction {fraction} of shared classes is not in [0, 1]")
    if not 1 <= classes <= dataset.classes // 2:
        raise InputError(
            f"{classes} classes a task of {dataset.name}, which has {dataset.classes}: choose 1 to "
            f"{dataset.classes // 2}, so that a task can have none of the one before"
        )
    order = torch.randperm(dataset.classes, generator=generator(seed, "stream", 1)).tolist()
    group, waiting = order[:classes], order[classes:]  # who waits longest stands first
    groups = [list(group)]
    for k, fraction in enumerate(shared, start=1):
        draws = torch.randperm(classes, generator=generator(seed, "stream", 2, k)).tolist()
        for place in sorted(draws[round(classes * fraction) :]):
            waiting.append(group[place])
            group[place] = waiting.pop(0)
        groups.append(list(group))
    return _of_classes("correlated", dataset, torch.tensor(groups), seed, holdout, scenario)


def _of_classes(
    name: str, dataset: Dataset, groups: Tensor, seed: int, holdout: float, scenario: str
) -> Stream:
    """Return the stream whose tasks have the classes `groups`, int64 (tasks, classes of a task)."""
    known("scenario", scenario, SCENARIOS)
    train, test = judged_rows(dataset, seed, holdout)
    train_labels = dataset.train_labels.cpu()[train]
    test_labels = (dataset.train_labels if holdout else dataset.test_labels).cpu()[test]
    units = _units(groups, scenario)
    tasks = []
    for classes, own in zip(groups, units, strict=True):
        outputs = torch.full((dataset.classes,), -1)
        outputs[classes] = own
        tasks.append(
            Task(train[outputs[train_labels] >= 0], test[outputs[test_labels] >= 0], outputs)
        )
    return Stream(name, dataset, tuple(tasks), scenario, int(units.max()) + 1, holdout > 0)


def _units(classes: Tensor, scenario: str) -> Tensor:
    """Return the output unit of each class of each task, int64 and shaped like `classes`."""
    tasks, size = classes.shape
    if scenario == "task":
        return torch.arange(tasks * size).view(tasks, size)
    if scenario == "domain":
        return torch.arange(size).expand(tasks, size)
    unit_of = {c: unit for unit, c in enumerate(dict.fromkeys(classes.flatten().tolist()))}
    return classes.clone().apply_(unit_of.__getitem__)
