"""The best plan for a whole sequence, as the oracle that strategies are measured against."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from clcore.errors import InputError
from clcore.theory.gains import law_plan, least
from clcore.theory.problem import Problem
from clcore.theory.recursion import expected_risks
from clcore.theory.update import Update, moments
from clcore.theory.validation import FloatArray, shaped

_MOST_BLOCKS = 12  # all subsets of more would be too many
_SWEEPS = 500
_ENOUGH = 1e-10  # relative decrease of a sweep that ends the search


class BestPlan(NamedTuple):
    """The best plan that was found.

    Attributes
    ----------
    updates : tuple of Update
        One for each task.
    value : float
        The objective that it reaches.
    """

    updates: tuple[Update, ...]
    value: float


def history_weights(tasks: int, generalization: float = 1.0, forgetting: float = 0.0) -> FloatArray:
    """Return weights (K+1, K) whose sum with the risks mixes two objectives.

    ``(weights * risks.sum(axis=1)).sum()`` is `generalization` times `generalization_error`
    plus `forgetting` times `average_forgetting`.

    Raises
    ------
    InputError
        If `tasks` is below 1, or below 2 with weight on forgetting.
    """
    if tasks < (2 if forgetting else 1):
        raise InputError(f"tasks = {tasks}: at least 1 is expected, and 2 to weigh forgetting")
    weights = np.zeros((tasks + 1, tasks))
    weights[-1] = generalization / tasks
    if forgetting:
        earlier = np.arange(tasks - 1)
        weights[-1, earlier] += forgetting / (tasks - 1)
        weights[earlier + 1, earlier] -= forgetting / (tasks - 1)
    return weights


def best_plan(
    problem: Problem,
    weights: npt.ArrayLike | None = None,
    restarts: int = 16,
    seed: int = 0,
) -> BestPlan:
    """Search for the trainable blocks and gains of every update that minimize an objective.

    With all other updates fixed, the objective is affine in the risks after an update, and these
    are parabolas in its gains. So the best update is known exactly: the vertex for each
    candidate set, and the candidate with the least value. Updates are replaced so, from the last
    to the first, until a sweep lowers the objective by less than 1e-10 of it (or 500 sweeps were
    made). The objective never rises, and at the end no change of a *single* update can lower it
    by more. **That is a local search**: changes of several updates at once might. It starts from
    staying, from training as much as possible, whole and by the gradient-direction law, and
    from random plans; the best end counts. All starts mostly end alike for the generalization
    error, far less often for forgetting, which needs the random ones.
    Source: the companion's dynamic search (*A thousand tasks*).

    Parameters
    ----------
    problem : Problem
        Block sizes, squared distances, samples and noise of K tasks in B blocks.
    weights : (K+1, K) array_like, optional
        The objective: the sum of ``weights[t, i]`` times task i's risk after t updates. Of any
        sign; see `history_weights`, whose default, the generalization error, it is.
    restarts : int
        Number of random starts, at least 0.
    seed : int
        Seed of these.

    Raises
    ------
    InputError
        If a shape or a value is not as described, or there are more than 12 blocks.
    """
    blocks, tasks = problem.initial.shape
    if weights is None:
        weights = history_weights(tasks)
    objective = shaped("weights", weights, tasks + 1, tasks)
    if restarts < 0:
        raise InputError(f"restarts = {restarts}, but at least 0 is expected")
    if blocks > _MOST_BLOCKS:
        raise InputError(f"{blocks} blocks have {2**blocks} subsets: join blocks until 12 are left")
    sets = [Update(c) for size in range(blocks + 1) for c in combinations(range(blocks), size)]
    by_samples = {n: _choices(sets, problem, n) for n in set(problem.samples.tolist())}
    choices = [by_samples[n] for n in problem.samples.tolist()]
    found = [
        _descend(problem, objective, choices, start)
        for start in _starts(problem, choices, restarts, np.random.default_rng(seed))
    ]
    return min(found, key=lambda plan: plan.value)


class _Choices(NamedTuple):
    """The sets that may train on n samples, and the moments of their updates, (C,) each."""

    inside: FloatArray  # (C, B), 1 for trainable blocks
    pull: FloatArray
    amplification: FloatArray  # of noise, in each parameter
    own: FloatArray
    spread: FloatArray


def _choices(sets: Sequence[Update], problem: Problem, n: int) -> _Choices:
    rows, numbers = [], []
    for update in sets:
        inside = np.zeros(len(problem.sizes))
        inside[list(update.trainable)] = 1
        m = int(problem.sizes[list(update.trainable)].sum())
        if update.trainable and abs(m - n) <= 1:
            continue
        pull, amplification, own, spread = moments(m, n)
        rows.append(inside)
        numbers.append((pull, amplification / max(m, 1), own, spread))
    return _Choices(np.array(rows), *np.array(numbers).T)


def _starts(
    problem: Problem, choices: Sequence[_Choices], restarts: int, rng: np.random.Generator
) -> Iterator[tuple[Update, ...]]:
    yield (Update(()),) * len(choices)
    most = [np.flatnonzero(c.inside[(c.inside @ problem.sizes).argmax()]) for c in choices]
    yield tuple(Update(blocks.tolist()) for blocks in most)
    yield law_plan(problem, [blocks.tolist() for blocks in most])
    for _ in range(restarts):
        drawn = [np.flatnonzero(rng.choice(c.inside)).tolist() for c in choices]
        # Half of the gains are 1: where a risk counts negatively, the best gains are at the ends.
        yield tuple(
            Update(b, [1.0 if rng.random() < 0.5 else rng.random() for _ in b]) for b in drawn
        )


def _descend(
    problem: Problem,
    objective: FloatArray,
    choices: Sequence[_Choices],
    plan: tuple[Update, ...],
) -> BestPlan:
    best, value = plan, np.inf
    for _ in range(_SWEEPS):
        risks = expected_risks(problem, plan)
        reached = float((objective * risks.sum(axis=1)).sum())
        if value - reached <= _ENOUGH * abs(reached):
            break
        value, best = reached, plan
        plan = _sweep(problem, objective, choices, risks)
    return BestPlan(best, value)


def _sweep(
    problem: Problem, objective: FloatArray, choices: Sequence[_Choices], risks: FloatArray
) -> tuple[Update, ...]:
    """Replace every update by the best one, given those before it and the renewed ones after."""
    # What the objective gains for each unit of risk after the update, (B, K).
    price = np.repeat(objective[-1][None], len(problem.sizes), axis=0)
    renewed = []
    for k in reversed(range(len(choices))):
        c, learn = choices[k], risks[k, :, k]
        total = price.sum(axis=1)  # (B,)
        drift = (price * (problem.distances[:, k] - learn[:, None] - risks[k])).sum(axis=1)
        seen = c.inside @ learn  # (C,)
        noise = problem.noise[k] ** 2 + (learn.sum() - seen).clip(0)
        energy = (
            c.own[:, None] * learn
            + problem.sizes * (c.spread * seen + c.amplification * noise)[:, None]
        )  # (C, B)
        linear, quadratic = c.inside * c.pull[:, None] * drift, c.inside * energy * total
        gains = least(linear, quadratic)
        best = (gains * linear + gains**2 * quadratic).sum(axis=1).argmin()
        inside, gain = c.inside[best], gains[best] * c.inside[best]
        blocks = np.flatnonzero(inside)
        renewed.append(Update(blocks.tolist(), gain[blocks].tolist()))
        # The recursion backwards: what a unit of risk before the update costs.
        spill = (gain**2 * problem.sizes * total).sum()
        price = price * (1 - gain * c.pull[best])[:, None] + objective[k]
        price[:, k] += gain * (gain * c.own[best] - c.pull[best]) * total + spill * np.where(
            inside, c.spread[best], c.amplification[best]
        )
    return tuple(reversed(renewed))
