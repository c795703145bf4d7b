import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clcore.errors import InputError
from clcore.simulate import draw_configuration
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    average_forgetting,
    best_plan,
    expected_risks,
    generalization_error,
    history_weights,
    law_plan,
)

seeds = st.integers(0, 10**6)


def value(problem: Problem, plan: list[Update], weights: np.ndarray) -> float:
    return float((weights * expected_risks(problem, plan).sum(axis=1)).sum())


def drawn(seed: int, tasks: int = 3) -> Problem:
    """Two blocks, both regimes, related and unrelated tasks."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(3, 40, size=2)
    scale = np.repeat(rng.uniform(0.2, 1.5, size=2), sizes)
    truths = rng.normal(size=sizes.sum()) * rng.integers(0, 2) + scale * rng.normal(
        size=(tasks, sizes.sum())
    )
    # Clear of the peak of every set of blocks.
    free = [
        n for n in range(2, 90) if all(abs(n - m) > 2 for m in (sizes[0], sizes[1], sizes.sum()))
    ]
    return Problem.from_tasks(
        LinearTasks(sizes, truths, rng.choice(free, size=tasks), rng.uniform(0, 2, size=tasks))
    )


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_no_change_of_one_update_is_better(seed: int) -> None:
    """The search ends where every single update is the best: property of the dynamic search."""
    rng = np.random.default_rng(seed)
    tasks, updates = draw_configuration(rng)
    problem = Problem.from_tasks(tasks)
    count = len(updates)
    weights = rng.normal(size=(count + 1, count)) + 0.5
    best = best_plan(problem, weights, restarts=1)
    assert best.value == pytest.approx(value(problem, best.updates, weights), rel=1e-12)
    slack = 1e-7 * (1 + abs(best.value))
    for k in range(count):
        for _ in range(20):
            blocks = np.flatnonzero(rng.random(len(problem.sizes)) < 0.6)
            if abs(problem.sizes[blocks].sum() - problem.samples[k]) <= 1 and len(blocks):
                continue
            other = list(best.updates)
            gains = rng.choice([0.0, 1.0, rng.random()], size=len(blocks))
            other[k] = Update(blocks.tolist(), gains.tolist())
            assert value(problem, other, weights) >= best.value - slack


def grid_minimum(problem: Problem, gains: int) -> float:
    """Least generalization error of all sets with all gains on a grid, plan by plan."""
    grid = np.linspace(0, 1, gains)
    single = [
        Update(blocks, values)
        for blocks in ((), (0,), (1,), (0, 1))
        for values in itertools.product(grid, repeat=len(blocks))
    ]
    plans = itertools.product(single, repeat=len(problem.samples))
    return min(generalization_error(expected_risks(problem, plan)) for plan in plans)


@pytest.mark.parametrize(("tasks", "gains"), [(2, 7), (3, 3)])
def test_the_search_beats_a_grid_of_all_plans(tasks: int, gains: int) -> None:
    """Dynamic search against brute force: two blocks, all sets, gains on a grid."""
    for seed in range(5):
        problem = drawn(seed, tasks)
        assert best_plan(problem).value <= grid_minimum(problem, gains) + 1e-9


def test_more_starts_seldom_find_more() -> None:
    """How often the search finds the best plan known, for three objectives."""
    found = []
    for seed, share in itertools.product(range(12), (0.0, 0.5, 1.0)):
        problem, weights = drawn(seed, tasks=2), history_weights(2, share, 1 - share)
        few = best_plan(problem, weights).value
        many = best_plan(problem, weights, restarts=40, seed=1).value
        found.append(few - many <= 1e-6 * abs(many))
    assert sum(found) >= 35


@pytest.mark.parametrize("tasks", [2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_the_oracle_is_no_worse_than_any_strategy(seed: int, tasks: int) -> None:
    problem = drawn(seed, tasks)
    whole, frozen = Update((0, 1)), Update((1,))
    best = best_plan(problem, restarts=2).value
    for plan in (
        [Update(())] * tasks,
        [whole] * tasks,
        law_plan(problem, [(0, 1)] * tasks),
        [whole] + [frozen] * (tasks - 1),
        law_plan(problem, [(0, 1)] + [(1,)] * (tasks - 1)),
    ):
        assert best <= generalization_error(expected_risks(problem, plan)) * (1 + 1e-9)


def test_the_last_update_obeys_the_law() -> None:
    for seed in range(5):
        problem = drawn(seed)
        best = best_plan(problem).updates
        law = law_plan(problem, [u.trainable for u in best], np.ones((3, 3)))
        risks = [expected_risks(problem, plan)[-1].sum() for plan in (best, [*best[:2], law[2]])]
        if best[:2] == law[:2]:
            assert best[2].gains == pytest.approx(law[2].gains, rel=1e-6)
        assert risks[0] <= risks[1] + 1e-9


@given(seeds, st.floats(0.05, 20))
@settings(max_examples=20, deadline=None)
def test_units_and_order_of_blocks_do_not_matter(seed: int, scale: float) -> None:
    p = drawn(seed)
    moved = Problem(
        p.sizes[::-1],
        scale**2 * p.distances[::-1],
        scale**2 * p.initial[::-1],
        p.samples,
        scale * p.noise,
    )
    # The random starts would differ.
    one, other = best_plan(p, restarts=0), best_plan(moved, restarts=0)
    assert other.value == pytest.approx(scale**2 * one.value, rel=1e-6)


@given(seeds, st.integers(2, 4), st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_weights_are_the_measures(
    seed: int, tasks: int, generalization: float, forgetting: float
) -> None:
    risks = np.random.default_rng(seed).normal(size=(tasks + 1, 2, tasks))
    weights = history_weights(tasks, generalization, forgetting)
    expected = generalization * generalization_error(risks) + forgetting * average_forgetting(risks)
    assert (weights * risks.sum(axis=1)).sum() == pytest.approx(expected, abs=1e-9)


def test_forgetting_alone_is_never_positive_and_mixes_lie_between() -> None:
    problem = drawn(3)
    last = -np.inf
    for share in (0.0, 0.5, 1.0):
        best = best_plan(problem, history_weights(3, share, 1 - share))
        risks = expected_risks(problem, best.updates)
        assert average_forgetting(risks) <= 1e-9 or share > 0
        assert -generalization_error(risks) >= last - 1e-9
        last = -generalization_error(risks)


def test_sets_on_the_peak_are_left_out() -> None:
    problem = Problem.from_tasks(LinearTasks([6, 5], np.ones((2, 11)), [11, 40], 0.1))
    first, _ = best_plan(problem).updates
    assert first.trainable != (0, 1)


def test_the_seed_decides() -> None:
    assert best_plan(drawn(1), seed=3) == best_plan(drawn(1), seed=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": np.ones((3, 3))}, r"weights has shape \(3, 3\), but \(4, 3\)"),
        ({"restarts": -1}, "restarts = -1"),
    ],
)
def test_what_the_search_refuses(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        best_plan(drawn(0), **arguments)


def test_too_many_subsets_are_refused() -> None:
    problem = Problem([1] * 13, np.zeros((13, 1, 1)), np.ones((13, 1)), 30)
    with pytest.raises(InputError, match="8192 subsets"):
        best_plan(problem)


def test_no_forgetting_of_one_task() -> None:
    assert history_weights(1).tolist() == [[0], [1]]
    with pytest.raises(InputError, match="2 to weigh forgetting"):
        history_weights(1, forgetting=1.0)
