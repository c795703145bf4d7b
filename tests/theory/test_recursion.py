import subprocess
import sys

import numpy as np
import pytest

from clcore.errors import InputError
from clcore.simulate import draw_configuration
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    average_forgetting,
    expected_risks,
    forgetting,
    generalization_error,
    one_step_forgetting,
    one_step_risk,
)


def test_theory_needs_no_torch() -> None:
    code = "import sys, clcore, clcore.theory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recursion_contains_the_one_step_identity() -> None:
    rng = np.random.default_rng(0)
    sizes, samples, noise = [6, 10, 30], [25, 20, 10], [0.3, 0.7, 0.2]
    tasks = LinearTasks(sizes, rng.normal(size=(3, 46)), samples, noise)
    problem = Problem.from_tasks(tasks)
    updates = [Update((0, 1)), Update((0, 2)), Update((1, 2))]
    risks = expected_risks(problem, updates)
    for k, update in enumerate(updates):
        inside = list(update.trainable)
        outside = [b for b in range(3) if b not in inside]
        m = sum(sizes[b] for b in inside)
        s2 = noise[k] ** 2 + risks[k, outside, k].sum()
        for i in range(3):
            found = one_step_risk(
                m,
                samples[k],
                error=risks[k, inside, i].sum(),
                distance=problem.distances[inside, k, i].sum(),
                noise=s2,
            )
            assert risks[k + 1, inside, i].sum() == pytest.approx(found, rel=1e-12)
            assert (risks[k + 1, outside, i] == risks[k, outside, i]).all()


def test_one_step_by_hand() -> None:
    # m = 20, n = 10: c = 1/2 and κ = 10/9; m = 5, n = 16: c = 1 and κ = 1/2.
    assert one_step_risk(20, 10, error=4, distance=2, noise=0.9) == pytest.approx(4.0)
    assert one_step_forgetting(20, 10, error=4, distance=2, noise=0.9) == pytest.approx(0.0)
    assert one_step_risk(5, 16, error=4, distance=2, noise=1) == pytest.approx(2.5)
    assert one_step_forgetting(5, 16, error=4, distance=2, noise=1) == pytest.approx(-1.5)
    assert one_step_forgetting(0, 16, error=4, distance=2, noise=1) == 0


@pytest.mark.parametrize("name", ["error", "distance", "noise"])
def test_one_step_refuses_negative_squares(name: str) -> None:
    values = {"error": 1.0, "distance": 1.0, "noise": 1.0} | {name: -1.0}
    with pytest.raises(InputError, match=f"{name} = -1"):
        one_step_risk(20, 10, **values)


def test_noiseless_underparameterized_training_lands_on_the_truth() -> None:
    tasks = LinearTasks([3, 4], np.random.default_rng(1).normal(size=(2, 7)), 20, 0.0)
    problem = Problem.from_tasks(tasks)
    risks = expected_risks(problem, [Update((0, 1))] * 2)
    np.testing.assert_allclose(risks[1], problem.distances[:, 0], atol=1e-12)
    np.testing.assert_allclose(risks[2], problem.distances[:, 1], atol=1e-12)


def test_staying_and_zero_gain_change_nothing() -> None:
    tasks = LinearTasks([3, 4], np.random.default_rng(2).normal(size=(2, 7)), 2, 1.0)
    risks = expected_risks(Problem.from_tasks(tasks), [Update(()), Update((0, 1), gains=0.0)])
    assert (risks == risks[0]).all()


def test_order_of_blocks_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        tasks, updates = draw_configuration(rng)
        problem = Problem.from_tasks(tasks)
        order = rng.permutation(len(tasks.sizes))
        place = np.argsort(order)
        permuted = Problem(
            problem.sizes[order],
            problem.distances[order],
            problem.initial[order],
            problem.samples,
            problem.noise,
        )
        moved = [Update(place[list(u.trainable)].tolist(), u.gains) for u in updates]
        np.testing.assert_allclose(
            expected_risks(permuted, moved), expected_risks(problem, updates)[:, order], rtol=1e-12
        )


def test_splitting_a_block_in_two_does_not_matter() -> None:
    rng = np.random.default_rng(4)
    truths, start = rng.normal(size=(3, 30)), rng.normal(size=30)
    whole = LinearTasks([10, 20], truths, [12, 5, 60], 0.4, start)
    split = LinearTasks([10, 8, 12], truths, [12, 5, 60], 0.4, start)
    risks = expected_risks(
        Problem.from_tasks(whole), [Update((1,)), Update((0, 1), (1, 0.3)), Update((0, 1))]
    )
    finer = expected_risks(
        Problem.from_tasks(split),
        [Update((1, 2)), Update((0, 1, 2), (1, 0.3, 0.3)), Update((0, 1, 2))],
    )
    np.testing.assert_allclose(finer[:, 0], risks[:, 0], rtol=1e-12)
    np.testing.assert_allclose(finer[:, 1] + finer[:, 2], risks[:, 1], rtol=1e-12)


def test_forgetting_is_read_off_the_total_risks() -> None:
    risks = np.zeros((4, 2, 3))
    risks[1, :, 0] = [1, 2]
    risks[2, :, 1] = [0, 1]
    risks[3] = [[4, 2, 1], [5, 1, 1]]
    assert forgetting(risks).tolist() == [6, 2, 0]
    assert average_forgetting(risks) == 4
    assert generalization_error(risks) == pytest.approx(14 / 3)


def test_measures_refuse_other_shapes() -> None:
    with pytest.raises(InputError, match=r"\(3, 2, 3\)"):
        generalization_error(np.zeros((3, 2, 3)))
    with pytest.raises(InputError, match="two tasks"):
        average_forgetting(np.zeros((2, 1, 1)))
