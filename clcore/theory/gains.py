"""The gradient-direction law: how far each block should move."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clcore.errors import InputError
from clcore.theory.problem import Problem
from clcore.theory.recursion import parabolas
from clcore.theory.update import Update, check_plan
from clcore.theory.validation import FloatArray, finite, nonnegative, shaped

_ROUNDING = 1e-9  # measured cosines of parallel gradients may exceed 1 by rounding


def optimal_gains(
    problem: Problem,
    risks: npt.ArrayLike,
    task: int,
    trainable: Sequence[int],
    weights: npt.ArrayLike,
) -> FloatArray:
    """Return the gain of each trainable block that minimizes the weighted risk after an update.

    The risk Σ_i w_i M'[b, i] is a parabola in the gain of block b, whatever the gains of the
    other blocks; its vertex

        γ_b = c Σ_i w_i (M[b, k] + M[b, i] - D[b, k, i]) / (2 e_b Σ_i w_i),

    clipped to [0, 1], is exact. In terms of gradients of the risks before the update,
    M[b, k] + M[b, i] - D[b, k, i] = E⟨g_i, g_k⟩_b / 2.
    Source: the companion's gradient-direction law (*How far to move*).

    Parameters
    ----------
    problem : Problem
        Block sizes, squared distances, samples and noise of K tasks in B blocks.
    risks : (B, K) array_like
        Blockwise risks before the update: ``expected_risks(...)[k]``.
    task : int
        k, the task that is learned, 0 to K-1.
    trainable : sequence of int, length T
        The trainable blocks, each once.
    weights : (K,) array_like
        Weight of each task's risk, at least 0. Ones up to and with `task` minimize the mean
        over the tasks seen, ones before it forgetting alone. If all are zero, nothing
        is at stake and the gains are 1.

    Returns
    -------
    (T,) array
        Gains in [0, 1]; 0 for a block that the update does not move at all.

    Raises
    ------
    InputError
        If a shape or a value is not as described, or |m - n| ≤ 1.
    """
    blocks, tasks = problem.initial.shape
    if not 0 <= task < tasks:
        raise InputError(f"task = {task}, but the tasks are 0 to {tasks - 1}")
    before = shaped("risks", risks, blocks, tasks)
    shares = nonnegative("weights", weights, tasks)
    update = Update(trainable)
    check_plan([update], problem.sizes, problem.samples[task : task + 1])
    return _law(*parabolas(problem, before, task, update.trainable), shares)


def law_plan(
    problem: Problem,
    trainable: Sequence[Sequence[int]],
    weights: npt.ArrayLike | None = None,
) -> tuple[Update, ...]:
    """Return the updates of a sequence whose gains follow the gradient-direction law.

    Each update has the gains of `optimal_gains` at the expected risks that the updates before
    it lead to. Every update is the best for its own objective; the sequence need not be the best
    for the last one (see `best_plan`).

    Parameters
    ----------
    problem : Problem
        Block sizes, squared distances, samples and noise of K tasks in B blocks.
    trainable : sequence of sequences of int, length K
        The trainable blocks of each update.
    weights : (K, K) array_like, optional
        ``weights[k, i]`` is the weight of task i's risk when task k is learned, at least 0.
        ``np.tri(K)``, the mean over the tasks seen, unless given; ``np.tri(K, k=-1)`` is
        forgetting alone, where the first update has gains of 1.

    Raises
    ------
    InputError
        If a shape or a value is not as described, or |m - n| ≤ 1 for an update.
    """
    tasks = len(problem.samples)
    chosen = np.tri(tasks) if weights is None else weights
    shares = nonnegative("weights", chosen, tasks, tasks)
    whole = [Update(blocks) for blocks in trainable]
    check_plan(whole, problem.sizes, problem.samples)
    risks = problem.initial.copy()
    plan = []
    for k, update in enumerate(whole):
        slope, energy = parabolas(problem, risks, k, update.trainable)
        gains = _law(slope, energy, shares[k])
        risks[list(update.trainable)] += gains[:, None] * slope + (gains**2 * energy)[:, None]
        plan.append(Update(update.trainable, gains.tolist()))
    return tuple(plan)


def direction_gain(old_lengths: npt.ArrayLike, new_length: float, cosines: npt.ArrayLike) -> float:
    """Return the gain that the gradients' lengths and directions alone call for.

    γ = (1 + Σ_i |g_i| / |g_k| cos(g_i, g_k)) / K, clipped to [0, 1], for the mean risk over
    the K - 1 tasks learned and the new one: whole for aligned gradients of equal length,
    1/K for orthogonal ones (the running average of the tasks), 0 for two opposed ones. It
    equals `optimal_gains` if there is no noise, nothing is frozen that the task needs, and the
    block is the only trainable one or n > m + 1; otherwise it is an approximation, since it
    leaves out what noise, leakage and the spread between blocks add to the energy of the update.
    Source: the companion's reading of its gradient-direction law (*How far to move*).

    Parameters
    ----------
    old_lengths : (K-1,) array_like
        Lengths of the gradients of the tasks learned, root mean square, at least 0.
    new_length : float
        Length of the new task's gradient, above 0.
    cosines : (K-1,) array_like
        Cosine of each of them with the new task's, in [-1, 1]: E⟨g_i, g_k⟩ over the product of
        the lengths.

    Raises
    ------
    InputError
        If a shape or a value is not as described.
    """
    cosine = finite("cosines", cosines)
    if cosine.ndim != 1 or (np.abs(cosine) > 1 + _ROUNDING).any():
        raise InputError(
            f"cosines = {cosine.tolist()}, but a list of values in [-1, 1] is expected"
        )
    old = nonnegative("old_lengths", old_lengths, len(cosine))
    if not (np.isfinite(new_length) and new_length > 0):
        raise InputError(f"new_length = {new_length}, but a finite length above 0 is expected")
    return float(np.clip((1 + (old * cosine).sum() / new_length) / (1 + len(old)), 0, 1))


def least(linear: FloatArray, quadratic: FloatArray) -> FloatArray:
    """Return where γ linear + γ² quadratic is least over [0, 1]; 0 where it is constant."""
    bowl = quadratic > 0
    vertex = np.divide(-linear, 2 * quadratic, out=np.zeros_like(linear), where=bowl)
    return np.where(bowl, vertex.clip(0, 1), linear + quadratic < 0)


def _law(slope: FloatArray, energy: FloatArray, weights: FloatArray) -> FloatArray:
    total = weights.sum()
    return np.ones(len(energy)) if total == 0 else least(slope @ weights, energy * total)
