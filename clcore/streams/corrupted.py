"""Streams of noisy images, from clean ones to noise alone."""

import math
from collections.abc import Sequence

from clcore.errors import InputError
from clcore.streams.datasets import Dataset
from clcore.streams.split import split
from clcore.streams.stream import Stream


def corrupted(
    dataset: Dataset,
    tasks: int,
    noise: Sequence[float],
    *,
    seed: int,
    holdout: float = 0.0,
    scenario: str = "task",
) -> Stream:
    """Return a split stream in which the images of each task have noise of their own strength.

    The images of task k have Gaussian noise of standard deviation `noise[k]`. Between tasks of
    equal noise there is no shift but that of the classes, as in a split stream; the more the noise
    of two tasks differs, the less their images have in common, until those of one are noise
    alone. Little and much noise by turns make a mixed stream, of related and unrelated images. It
    follows Corrupted Split of the paper, whose kinds of corruption are not known here; the five
    severities of noise in ImageNet-C (Hendrycks and Dietterich, 2019) are about 20, 31, 46, 66
    and 97 grey levels.

    Parameters
    ----------
    dataset : Dataset
        Its classes are dealt to the tasks in random order, as `split` does.
    tasks : int
        ≥ 1, a divisor of the number of classes.
    noise : sequence of float
        ≥ 0, in grey levels (an image has 0 … 255), one for each task.
    seed : int
        Draws the order of the classes.
    holdout : float
        See `judged_rows`.
    scenario : {"task", "domain", "class"}
        See `split`.

    Raises
    ------
    InputError
        If there is not one noise a task, a noise is out of range, the classes cannot be dealt
        out evenly, or there is no such scenario.
    """
    if len(noise) != tasks:
        raise InputError(f"noise of {len(noise)} tasks for {tasks} tasks: give one number a task")
    for level in noise:
        if not 0 <= level < math.inf:
            raise InputError(f"noise {level}: give a standard deviation from 0, in grey levels")
    clean = split(dataset, tasks, seed=seed, holdout=holdout, scenario=scenario)
    noisy = tuple(t._replace(noise=float(n)) for t, n in zip(clean.tasks, noise, strict=True))
    return clean._replace(name="corrupted", tasks=noisy)
