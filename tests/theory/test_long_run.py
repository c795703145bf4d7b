"""What happens over long sequences (*A thousand tasks*)."""

from itertools import permutations

import numpy as np
import pytest

from clcore.errors import InputError
from clcore.simulate import bonferroni, largest_score, simulate_risks, z_scores
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    average_forgetting,
    equidistant,
    expected_risks,
    generalization_error,
    long_run,
    moments,
)

CASES = [(40, 8, 1.0), (40, 8, 0.3), (12, 40, 1.0), (12, 40, 0.5), (40, 38, 0.7)]


def histories(m: int, n: int, gain: float, tasks: int = 400) -> np.ndarray:
    problem = equidistant(tasks, [m - 5, 5], [0.7, 1.1], [3.0, 0.2], n, 0.6)
    return expected_risks(problem, [Update((0, 1), gain)] * tasks).sum(axis=1)


@pytest.mark.parametrize(("m", "n", "gain"), CASES)
def test_the_stationary_state(m: int, n: int, gain: float) -> None:
    """Theorem "Stationary state of training with one gain" against the recursion."""
    total = histories(m, n, gain)
    found, share = long_run(m, n, 1.8, 0.36, gain), gain * moments(m, n).pull
    unseen = np.array([total[t, -1] for t in range(len(total) - 1)])
    gap = unseen - found.risk
    close = np.abs(gap) > 1e-9 * np.abs(gap[0])
    np.testing.assert_allclose(gap[1:][close[1:]], found.approach * gap[:-1][close[1:]], rtol=1e-5)
    assert unseen[-1] == pytest.approx(found.risk)
    late = 300
    ages = np.arange(60)
    expected = found.risk - share * 1.8 * (1 - share) ** ages
    np.testing.assert_allclose(total[late + 1 + ages, late], expected, rtol=1e-6)
    assert total[-1, late] - total[late + 1, late] == pytest.approx(found.forgetting, rel=1e-2)
    if found.memory:
        assert (1 - share) ** found.memory == pytest.approx(1 / np.e)
    else:
        assert total[late + 2, late] == pytest.approx(found.risk)


@pytest.mark.parametrize(("m", "n", "gain"), CASES)
def test_averages_tend_to_the_stationary_state(m: int, n: int, gain: float) -> None:
    problem = equidistant(1500, [m], [1.8], [0.2], n, 0.6)
    risks = expected_risks(problem, [Update((0,), gain)] * 1500)
    found = long_run(m, n, 1.8, 0.36, gain)
    assert generalization_error(risks) == pytest.approx(found.risk, rel=0.02)
    assert average_forgetting(risks) == pytest.approx(found.forgetting, rel=0.03)


def test_the_stationary_state_in_simulation() -> None:
    """Theorem "Stationary state of training with one gain" in 30 tasks: corners of a simplex."""
    rng = np.random.default_rng(0)
    count, m, n, distance, noise = 30, 36, 9, 1.8, 0.6
    turn = np.linalg.qr(rng.normal(size=(m, m)))[0]
    tasks = LinearTasks([m], np.sqrt(distance / 2) * turn[:count], n, noise)
    simulated = simulate_risks(tasks, [Update((0,))] * count, 3000, seed=1).totals
    found = long_run(m, n, distance, noise**2)
    ages = np.arange(10)
    expected = found.risk - found.forgetting * (1 - n / m) ** ages
    mean, error = (v[-1, ::-1][ages] for v in simulated)
    assert (np.abs(mean - expected) / error).max() < bonferroni(len(ages))


def random_tasks(seed: int, count: int, m: int, n: int) -> Problem:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, m)) * rng.uniform(0.2, 2, size=(count, 1))
    return Problem.from_tasks(LinearTasks([m], points, n, 0.5))


@pytest.mark.parametrize(("m", "n"), [(30, 6), (6, 30)])
def test_what_is_remembered(m: int, n: int) -> None:
    """Proposition "Memory of initialized training": the solved recursion, for any tasks."""
    count = 8
    problem = random_tasks(0, count, m, n)
    total = expected_risks(problem, [Update((0,))] * count).sum(axis=1)
    pull, amplification, *_ = moments(m, n)
    for t in range(count + 1):
        for i in range(count):
            shares = pull * (1 - pull) ** (t - 1 - np.arange(t))
            expected = (1 - pull) ** t * problem.initial[0, i]
            expected += (shares * problem.distances[0, :t, i]).sum()
            expected += amplification * 0.25 * shares.sum() / pull
            assert total[t, i] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_no_order_generalizes_better_than_the_central_last(seed: int) -> None:
    """Corollary "The best order for initialized training": all orders of six tasks."""
    count = 6
    problem = random_tasks(seed, count, 30, 6)
    plan = [Update((0,))] * count

    def error(order: tuple[int, ...]) -> float:
        rows = list(order)
        shuffled = Problem(
            problem.sizes,
            problem.distances[:, rows][:, :, rows],
            problem.initial[:, rows],
            problem.samples,
            problem.noise,
        )
        return generalization_error(expected_risks(shuffled, plan))

    errors = {order: error(order) for order in permutations(range(count))}
    mean = problem.distances[0].mean(axis=0)
    best = tuple(np.argsort(-mean).tolist())
    assert errors[best] == pytest.approx(min(errors.values()))
    assert errors[best[::-1]] == pytest.approx(max(errors.values()))


def test_a_short_stretch_of_all_plans_in_simulation() -> None:
    """Long sequences are made of short ones: ten tasks in two blocks, three gains."""
    rng = np.random.default_rng(3)
    tasks = LinearTasks([20, 15], rng.normal(size=(10, 35)) / 5, 8, 0.4)
    scores = []
    for seed, gain in enumerate((1.0, 0.5, 0.1)):
        plan = [Update((0, 1), gain)] * 10
        expected = expected_risks(Problem.from_tasks(tasks), plan)
        scores.append(z_scores(expected, simulate_risks(tasks, plan, 1500, seed).risks).ravel())
    largest, comparisons = largest_score(np.concatenate(scores))
    assert largest < bonferroni(comparisons)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"distance": -1.0}, "distance = -1"),
        ({"noise": np.nan}, "noise = nan"),
        ({"gain": 0.0}, "gain = 0"),
        ({"gain": 1.5}, "gain = 1.5"),
        ({"trainable": 0}, "trainable = 0"),
        ({"samples": 20}, "infinite"),
    ],
)
def test_what_the_long_run_refuses(changed: dict, message: str) -> None:
    good = {"trainable": 20, "samples": 5, "distance": 1.0, "noise": 0.1, "gain": 1.0}
    with pytest.raises(InputError, match=message):
        long_run(**(good | changed))


def test_risks_are_linear_in_distance_and_noise_and_either_may_be_zero() -> None:
    good = {"trainable": 20, "samples": 5, "distance": 1.0, "noise": 0.1, "gain": 0.5}

    def risks(**changed: float) -> np.ndarray:
        return np.array(long_run(**(good | changed))[:2])

    np.testing.assert_allclose(risks(distance=0.0) + risks(noise=0.0), risks(), rtol=1e-12)
    assert not risks(distance=0.0, noise=0.0).any()
