import subprocess
import sys

import numpy as np
import pytest

from clcore.errors import InputError
from clcore.measures import backward_transfer as accuracy_backward_transfer
from clcore.measures import forward_transfer as accuracy_forward_transfer
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    average_forgetting,
    backward_transfer,
    expected_risks,
    forgetting,
    forward_transfer,
    generalization_error,
    one_step_forgetting,
    one_step_risk,
)


def test_theory_needs_no_torch() -> None:
    code = "import sys, clcore, clcore.theory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recursion_contains_the_one_step_identity() -> None:
    """One-step identity (*One update, exactly*) as a case of the risk recursion."""
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


def test_forgetting_is_read_off_the_total_risks() -> None:
    risks = np.zeros((4, 2, 3))
    risks[1, :, 0] = [1, 2]
    risks[2, :, 1] = [0, 1]
    risks[3] = [[4, 2, 1], [5, 1, 1]]
    assert forgetting(risks).tolist() == [6, 2, 0]
    assert average_forgetting(risks) == 4
    assert generalization_error(risks) == pytest.approx(14 / 3)
    assert backward_transfer(risks) == -4


def test_forward_transfer_is_what_earlier_tasks_saved() -> None:
    """The signs are those of the measures on accuracies, had accuracy fallen by the risk."""
    risks = np.random.default_rng(5).uniform(size=(5, 2, 4))
    accuracy = 1 - risks.sum(axis=1)
    arrival = [accuracy[i, i] for i in range(4)]  # before task i is learned
    expected = float(accuracy_forward_transfer(arrival, accuracy[0]))
    assert forward_transfer(risks) == pytest.approx(expected)
    assert backward_transfer(risks) == pytest.approx(
        float(accuracy_backward_transfer(accuracy[1:]))
    )
    risks[:] = 1.0
    risks[1, :, 1] = 0.25  # learning the first task helped with the second
    assert forward_transfer(risks) == pytest.approx(0.5)


def test_measures_refuse_other_shapes() -> None:
    with pytest.raises(InputError, match=r"\(3, 2, 3\)"):
        generalization_error(np.zeros((3, 2, 3)))
    for measure in (average_forgetting, backward_transfer, forward_transfer):
        with pytest.raises(InputError, match="two tasks"):
            measure(np.zeros((2, 1, 1)))
