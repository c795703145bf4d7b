"""Where a learner that always trains in the same way ends up after many tasks."""

from typing import NamedTuple

import numpy as np

from clcore.errors import InputError
from clcore.theory.update import moments


class LongRun(NamedTuple):
    """The stationary state of a learner that trains everything with one gain, task after task.

    Attributes
    ----------
    risk : float
        Expected excess risk on a task not yet learned, to which the generalization error tends.
    forgetting : float
        What is forgotten of a task in the end, to which average forgetting tends.
    memory : float
        Number of tasks after which the advantage of a learned task has fallen to 1/e; 0 if
        it is gone after one.
    approach : float
        Factor by which the distance to the stationary risk shrinks with every task.
    """

    risk: float
    forgetting: float
    memory: float
    approach: float


def long_run(
    trainable: int, samples: int, distance: float, noise: float, gain: float = 1.0
) -> LongRun:
    """Return the stationary state for equidistant tasks.

    All parameters train on every task with the same gain. Source: the companion's theorem on the
    stationary state (*A thousand tasks*).

    Parameters
    ----------
    trainable : int
        m = P, the number of parameters.
    samples : int
        n, the samples of every task.
    distance : float
        Squared distance of any two tasks, at least 0.
    noise : float
        Variance of the label noise, at least 0.
    gain : float
        In (0, 1].

    Raises
    ------
    InputError
        If a value is out of range, or |m - n| ≤ 1.
    """
    for name, value in (("distance", distance), ("noise", noise)):
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"{name} = {value}, but a finite square, at least 0, is expected")
    if trainable < 1:
        raise InputError(f"trainable = {trainable}, but at least 1 is expected")
    if not 0 < gain <= 1:
        raise InputError(f"gain = {gain}, but a gain in (0, 1] is expected")
    pull, amplification, *_ = moments(trainable, samples)
    kept = 1 - gain * pull
    return LongRun(
        risk=(distance + gain * amplification * noise / pull) / (2 - gain),
        forgetting=gain * pull * distance,
        memory=-1 / np.log(kept) if kept > 0 else 0.0,
        approach=1 - gain * (2 - gain) * pull,
    )
