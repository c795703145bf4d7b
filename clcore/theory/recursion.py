"""Expected risks of one update and of any sequence of updates, exactly."""

from collections.abc import Sequence

import numpy as np

from clcore.errors import InputError
from clcore.theory.problem import Problem
from clcore.theory.update import Update, check_plan, moments
from clcore.theory.validation import FloatArray


def one_step_risk(
    trainable: int, samples: int, error: float, distance: float, noise: float
) -> float:
    """Return the expected risk on task i, in the trainable part, after one whole update.

    Source: the companion's one-step identity (*One update, exactly*), gain 1.

    Parameters
    ----------
    trainable : int
        m, the number of trainable parameters.
    samples : int
        n, the number of samples of the new task.
    error : float
        Squared error on task i before the update, over the trainable parameters; at least 0.
    distance : float
        Squared distance of the new task to task i, over the trainable parameters; at least 0.
    noise : float
        Effective noise s² of the new task: label noise variance plus the squared error on the
        new task in the frozen part; at least 0.

    Raises
    ------
    InputError
        If a value is negative or the expectation is infinite (|m - n| ≤ 1).
    """
    for name, value in (("error", error), ("distance", distance), ("noise", noise)):
        if not (np.isfinite(value) and value >= 0):
            raise InputError(f"{name} = {value}, but a finite square, at least 0, is expected")
    update = moments(trainable, samples)
    return (1 - update.pull) * error + update.pull * distance + update.noise * noise


def one_step_forgetting(
    trainable: int, samples: int, error: float, distance: float, noise: float
) -> float:
    """Return the expected forgetting of task i by one whole update; negative if i improves.

    It is `one_step_risk` less `error`; see there for parameters, source and errors raised.
    """
    return one_step_risk(trainable, samples, error, distance, noise) - error


def expected_risks(problem: Problem, updates: Sequence[Update]) -> FloatArray:
    """Return the expected excess risk on every task after every update, block by block.

    Exact for finite samples; it costs O(B K) per update and involves no simulation.
    Source: the companion's risk recursion (*One update, exactly*).

    Parameters
    ----------
    problem : Problem
        Block sizes, squared distances, samples and noise of K tasks in B blocks.
    updates : sequence of Update, length K
        One update for each task, in order.

    Returns
    -------
    (K+1, B, K) array
        ``risks[t, b, i]`` is block b's part of the excess risk on task i after t updates;
        ``risks.sum(axis=1)`` is the excess risk itself.

    Raises
    ------
    InputError
        If there is not one update a task, an update names an unknown block, or
        |m - n| ≤ 1 for one of them.
    """
    check_plan(updates, problem.sizes, problem.samples)
    tasks = len(problem.samples)
    risks = np.empty((tasks + 1, len(problem.sizes), tasks))
    risks[0] = problem.initial
    for k, update in enumerate(updates):
        risks[k + 1] = risks[k]
        blocks, gains = list(update.trainable), np.array(update.gains)
        slope, energy = parabolas(problem, risks[k], k, blocks)
        risks[k + 1, blocks] += gains[:, None] * slope + (gains**2 * energy)[:, None]
    return risks


def parabolas(
    problem: Problem, before: FloatArray, task: int, trainable: Sequence[int]
) -> tuple[FloatArray, FloatArray]:
    """Return how the risks of the trainable blocks change with their gains.

    With gain γ in block ``trainable[j]`` its risk on task i changes by
    γ ``slope[j, i]`` + γ² ``energy[j]``. Source: the companion's risk recursion.

    Parameters
    ----------
    problem : Problem
        Block sizes, squared distances, samples and noise.
    before : (B, K) array
        Risks before the update.
    task : int
        Which task is learned.
    trainable : sequence of int, length T
        The trainable blocks, at least one.

    Returns
    -------
    slope : (T, K) array
    energy : (T,) array

    Raises
    ------
    InputError
        If |m - n| ≤ 1.
    """
    blocks = np.asarray(trainable, dtype=np.int64)
    m = int(problem.sizes[blocks].sum())
    pull, amplification, own, spread = moments(m, int(problem.samples[task]))
    to_learn = before[blocks, task]
    frozen = before[:, task].sum() - to_learn.sum()
    # A difference of sums may fall below zero by a rounding error.
    noise = problem.noise[task] ** 2 + max(frozen, 0.0)
    energy = own * to_learn + problem.sizes[blocks] * (
        spread * to_learn.sum() + amplification * noise / max(m, 1)
    )
    slope = pull * (problem.distances[blocks, task] - to_learn[:, None] - before[blocks])
    return slope, energy
