import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from clcore.errors import InputError
from clcore.simulate import draw_configuration, simulate_risks
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    average_forgetting,
    direction_gain,
    expected_risks,
    law_plan,
    optimal_gains,
)

seeds = st.integers(0, 10**6)


def weighted(problem: Problem, plan: list[Update], weights: np.ndarray) -> float:
    """Weighted risk after the plan's updates, the model staying as it is from then on."""
    rest = [Update(())] * (len(problem.samples) - len(plan))
    return float(expected_risks(problem, [*plan, *rest])[len(plan)].sum(axis=0) @ weights)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_no_other_gain_is_better(seed: int) -> None:
    """Gradient-direction law (*How far to move*), against a grid of gains of each block."""
    rng = np.random.default_rng(seed)
    tasks, plan = draw_configuration(rng)
    problem = Problem.from_tasks(tasks)
    k = int(rng.integers(len(plan)))
    weights = rng.uniform(size=len(plan)) * rng.integers(0, 2, size=len(plan))
    weights[rng.integers(len(plan))] += 0.1
    before = expected_risks(problem, plan)[k]
    blocks = plan[k].trainable
    gains = optimal_gains(problem, before, k, blocks, weights)
    least = weighted(problem, [*plan[:k], Update(blocks, gains.tolist())], weights)
    grid = np.linspace(0, 1, 41)
    for j in range(len(blocks)):
        values = []
        for gain in grid:
            other = gains.copy()
            other[j] = gain
            values.append(weighted(problem, [*plan[:k], Update(blocks, other.tolist())], weights))
        assert min(values) >= least - 1e-9 * max(1, abs(least))
        if np.ptp(values) > 1e-6 * max(1, abs(least)):
            assert abs(grid[np.argmin(values)] - gains[j]) <= 0.5 / 40 + 1e-6


def test_the_law_from_vectors() -> None:
    """Gradient-direction law, derived with SymPy from the mean and the energy of an update."""
    c, e, gain = sp.symbols("c e gamma", positive=True)
    w = sp.symbols("w1:3", positive=True)
    theta = sp.Matrix(sp.symbols("t1:4"))
    truths = [sp.Matrix(sp.symbols(f"{name}1:4")) for name in "ab"]
    d = truths[1] - theta
    # E|a + γΔ|² with EΔ = c d and E|Δ|² = e.
    risk = sum(
        w[i] * ((theta - t).dot(theta - t) + 2 * gain * c * (theta - t).dot(d) + gain**2 * e)
        for i, t in enumerate(truths)
    )
    (vertex,) = sp.solve(sp.diff(risk, gain), gain)
    gradients = [2 * (theta - t) for t in truths]
    law = c * sum(w[i] * gradients[i].dot(gradients[1]) for i in (0, 1)) / (4 * e * sum(w))
    assert sp.simplify(vertex - law) == 0
    # Without noise, e = c|d|²: half of one plus the ratio of lengths times the cosine.
    one, other = (sp.sqrt(g.dot(g)) for g in gradients)
    cosine = gradients[0].dot(gradients[1]) / (one * other)
    reading = (1 + one / other * cosine) / 2
    assert sp.simplify(law.subs({w[0]: 1, w[1]: 1, e: c * d.dot(d)}) - reading) == 0

    values = {**dict(zip(theta, (0, 0, 0), strict=True))}
    values |= dict(zip(truths[0], (1, 2, 0), strict=True))
    values |= dict(zip(truths[1], (3, 1, 1), strict=True))
    problem = Problem.from_tasks(LinearTasks([3], [[1, 2, 0], [3, 1, 1]], 10))
    found = optimal_gains(problem, problem.initial, 1, (0,), (1, 1))
    assert found == pytest.approx([float(reading.subs(values))], rel=1e-12)


@given(seeds, st.integers(1, 6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_directions_are_enough_for_one_block_without_noise(
    seed: int, tasks: int, more_samples: bool
) -> None:
    """Corollary "Reading the law by directions": confidence 1, one block, against the law."""
    rng = np.random.default_rng(seed)
    truths = rng.normal(size=(tasks, 8)) + rng.uniform(0, 2) * rng.normal(size=8)
    problem = Problem.from_tasks(LinearTasks([8], truths, 12 if more_samples else 4))
    gradients = -2 * truths  # the start is the origin
    lengths = np.linalg.norm(gradients, axis=1)
    cosines = gradients[:-1] @ gradients[-1] / (lengths[:-1] * lengths[-1])
    found = direction_gain(lengths[:-1], lengths[-1], cosines)
    law = optimal_gains(problem, problem.initial, tasks - 1, (0,), np.ones(tasks))
    assert found == pytest.approx(law[0], rel=1e-9)


@given(seeds, st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_directions_are_enough_for_every_block_with_many_samples(seed: int, tasks: int) -> None:
    """Corollary "Reading the law by directions": confidence 1 with more samples."""
    rng = np.random.default_rng(seed)
    truths = rng.normal(size=(tasks, 8)) + rng.uniform(0, 2) * rng.normal(size=8)
    problem = Problem.from_tasks(LinearTasks([3, 5], truths, 12))
    law = optimal_gains(problem, problem.initial, tasks - 1, (0, 1), np.ones(tasks))
    for b, block in enumerate((truths[:, :3], truths[:, 3:])):
        lengths = np.linalg.norm(block, axis=1)
        cosines = block[:-1] @ block[-1] / (lengths[:-1] * lengths[-1])
        found = direction_gain(lengths[:-1], lengths[-1], cosines)
        assert found == pytest.approx(law[b], rel=1e-9)


@given(seeds, st.integers(2, 5), st.floats(0.01, 3))
@settings(max_examples=40, deadline=None)
def test_the_law_is_direction_times_confidence(seed: int, tasks: int, noise: float) -> None:
    """Corollary "Reading the law by directions": both factors, noise, more samples."""
    rng = np.random.default_rng(seed)
    sizes, n = np.array([3, 5]), 14
    truths = rng.normal(size=(tasks, 8)) + rng.uniform(0, 2) * rng.normal(size=8)
    problem = Problem.from_tasks(LinearTasks(sizes, truths, n, noise))
    law = optimal_gains(problem, problem.initial, tasks - 1, (0, 1), np.ones(tasks))
    signal = problem.initial[:, -1]
    confidence = signal / (signal + sizes * noise**2 / (n - 8 - 1))
    for b, block in enumerate((truths[:, :3], truths[:, 3:])):
        direction = (block @ block[-1]).sum() / (block[-1] @ block[-1]) / tasks
        expected = np.clip(confidence[b] * direction, 0, 1)
        assert law[b] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_noise_calls_for_less_than_directions_say() -> None:
    """Where the reading stops: a factor that it does not know of."""
    truths = np.array([[1.0, 0, 0], [0, 1, 0]])
    noisy = Problem.from_tasks(LinearTasks([3], truths, 10, noise=2.0))
    assert optimal_gains(noisy, noisy.initial, 1, (0,), (1, 1)) < direction_gain([2], 2, [0]) / 2


def test_three_directions() -> None:
    assert direction_gain([2.0], 2.0, [1 + 1e-15]) == 1.0
    assert direction_gain([2.0], 2.0, [1.0]) == 1.0
    assert direction_gain([2.0], 2.0, [0.0]) == 0.5
    assert direction_gain([2.0], 2.0, [-1.0]) == 0.0
    assert direction_gain([1.0] * 9, 3.0, [0.0] * 9) == pytest.approx(0.1)


@pytest.mark.parametrize("tasks", [2, 3, 6])
def test_how_far_to_move_from_gradients(tasks: int) -> None:
    """Theorem "How far to move" (*Magnitude curves*): brute force over gains, both positions."""
    rng = np.random.default_rng(tasks)
    fine = np.linspace(-3, 3, 6_001)

    def best(solutions: np.ndarray, model: np.ndarray) -> tuple[float, float]:
        """The gain with the least mean loss on a fine grid, and that of the gradients."""
        errors, change = model - solutions, solutions[-1] - model
        losses = ((errors + fine[:, None, None] * change) ** 2).sum(axis=2).mean(axis=1)
        gradients = 2 * errors
        formula = (gradients @ gradients[-1]).mean() / (gradients[-1] @ gradients[-1])
        return fine[losses.argmin()], formula

    for _ in range(20):
        searched, formula = best(rng.normal(size=(tasks, 9)), rng.normal(size=9))
        assert searched == pytest.approx(np.clip(formula, -3, 3), abs=6e-4)
    equal = np.linalg.qr(rng.normal(size=(20, tasks)))[0].T  # equally far from each other
    assert best(equal, equal[:-1].mean(axis=0)) == pytest.approx((1 / tasks, 1 / tasks), abs=6e-4)
    assert best(equal, equal[-2]) == pytest.approx((0.5, 0.5), abs=6e-4)


def test_without_noise_the_law_keeps_the_running_average() -> None:
    """Proposition "Running average": exact when every task determines its solution."""
    tasks = LinearTasks([3, 4], np.random.default_rng(0).normal(size=(6, 7)), 20, start=[1.0] * 7)
    problem = Problem.from_tasks(tasks)
    plan = law_plan(problem, [(0, 1)] * 6)
    for k, update in enumerate(plan):
        assert update.gains == pytest.approx((1 / (k + 1),) * 2, rel=1e-9)
    mean = tasks.truths.mean(axis=0)
    np.testing.assert_allclose(
        expected_risks(problem, plan)[-1].sum(axis=0), ((tasks.truths - mean) ** 2).sum(axis=1)
    )


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_a_plan_by_the_law_follows_its_own_risks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tasks, updates = draw_configuration(rng)
    problem = Problem.from_tasks(tasks)
    weights = rng.uniform(size=(len(updates), len(updates)))
    plan = law_plan(problem, [u.trainable for u in updates], weights)
    risks = expected_risks(problem, plan)
    for k, update in enumerate(plan):
        gains = optimal_gains(problem, risks[k], k, update.trainable, weights[k])
        np.testing.assert_allclose(update.gains, gains, rtol=1e-6, atol=1e-9)


@given(seeds, st.floats(0.01, 100))
@settings(max_examples=40, deadline=None)
def test_units_and_order_of_blocks_do_not_matter(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    tasks, updates = draw_configuration(rng)
    p = Problem.from_tasks(tasks)
    trainable = [u.trainable for u in updates]
    plan = law_plan(p, trainable)
    order = rng.permutation(len(p.sizes))
    place = np.argsort(order)
    moved = Problem(
        p.sizes[order],
        scale**2 * p.distances[order],
        scale**2 * p.initial[order],
        p.samples,
        scale * p.noise,
    )
    other = law_plan(moved, [place[list(blocks)].tolist() for blocks in trainable])
    for one, two in zip(plan, other, strict=True):
        np.testing.assert_allclose(one.gains, two.gains, rtol=1e-6, atol=1e-9)


def test_forgetting_alone_never_forgets_and_the_first_task_is_learned_whole() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        tasks, updates = draw_configuration(rng)
        problem = Problem.from_tasks(tasks)
        alone = np.tri(len(updates), k=-1)
        plan = law_plan(problem, [u.trainable for u in updates], alone)
        assert all(gain == 1 for gain in plan[0].gains)
        assert average_forgetting(expected_risks(problem, plan)) <= 1e-9


def test_limits_of_the_law() -> None:
    truths = np.random.default_rng(2).normal(size=(2, 10))
    noisy = Problem.from_tasks(LinearTasks([4, 6], truths, 30, noise=1e4))
    assert optimal_gains(noisy, noisy.initial, 1, (0, 1), (1, 1)).max() < 1e-6
    same = Problem.from_tasks(LinearTasks([4, 6], truths[[0, 0]], 30))
    assert optimal_gains(same, same.initial, 1, (0, 1), (1, 1)).tolist() == [1, 1]
    known = Problem.from_tasks(LinearTasks([4, 6], truths, 30, start=truths[1]))
    assert optimal_gains(known, known.initial, 1, (0, 1), (1, 1)).tolist() == [0, 0]
    assert optimal_gains(known, known.initial, 1, (), (1, 1)).shape == (0,)


def test_the_law_in_simulation() -> None:
    """Gradient-direction law: its gains beat halved and doubled ones in simulated sequences."""
    rng = np.random.default_rng(3)
    truths = rng.normal(size=24) + 0.7 * rng.normal(size=(3, 24))
    tasks = LinearTasks([10, 14], truths, [60, 12, 50], 0.5)
    plan = law_plan(Problem.from_tasks(tasks), [(0, 1)] * 3)
    risk = simulate_risks(tasks, plan, 4000, seed=0).totals
    for factor in (0.5, 2.0):
        gains = [min(1.0, factor * gain) for gain in plan[-1].gains]
        other = simulate_risks(tasks, [*plan[:2], Update((0, 1), gains)], 4000, seed=1).totals
        gap = other.mean[-1].mean() - risk.mean[-1].mean()
        assert gap > 4 * np.hypot(other.standard_error[-1].max(), risk.standard_error[-1].max())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"risks": np.zeros((2, 3))}, r"risks has shape \(2, 3\), but \(2, 2\)"),
        ({"task": 2}, "tasks are 0 to 1"),
        ({"trainable": (2,)}, "block 2"),
        ({"weights": (1, -1)}, "weights holds -1"),
        ({"weights": (1, 1, 1)}, "weights has shape"),
        ({"trainable": (1,)}, "infinite"),
    ],
)
def test_what_the_law_refuses(changed: dict, message: str) -> None:
    problem = Problem.from_tasks(LinearTasks([3, 4], np.ones((2, 7)), 5))
    arguments = {"risks": problem.initial, "task": 1, "trainable": (0, 1), "weights": (1, 1)}
    with pytest.raises(InputError, match=message):
        optimal_gains(problem, **arguments | changed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], 0.0, [0.5]), "new_length = 0"),
        (([1.0], 1.0, [1.5]), "cosines"),
        (([1.0, 2.0], 1.0, [0.5]), "old_lengths has shape"),
        (([-1.0], 1.0, [0.5]), "old_lengths holds -1"),
    ],
)
def test_what_directions_refuse(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        direction_gain(*arguments)
