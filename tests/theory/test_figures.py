"""What the figures of the theory show is what they were given."""

import matplotlib

matplotlib.use("Agg")

import numpy as np

from clcore.plots import figure
from clcore.plots import theory as draw
from clcore.simulate import Estimate, simulate_risks
from clcore.theory import LinearTasks, Problem, Update, expected_risks


def test_bars_show_two_standard_errors() -> None:
    _, ax = figure()
    bars = draw.draw_simulated(ax, [1.0, 2.0], Estimate(np.array([3.0, 5.0]), np.array([0.1, 0.4])))
    segments = bars.lines[2][0].get_segments()
    np.testing.assert_allclose([s[:, 1] for s in segments], [[2.8, 3.2], [4.2, 5.8]])


def test_the_black_bar_is_the_sum_of_the_terms() -> None:
    _, ax = figure()
    terms = {"drift": np.array([1.0, 2.0]), "error": np.array([-3.0, 0.5]), "noise": np.ones(2)}
    draw.draw_terms(ax, ["a", "b"], terms, Estimate(np.zeros(2), np.ones(2)))
    last = next(c for c in ax.containers if c.get_label() == "sum: forgetting")
    assert [bar.get_height() for bar in last] == [-1.0, 3.5]


def test_histories_add_up_blocks() -> None:
    tasks = LinearTasks([2, 3], np.random.default_rng(0).normal(size=(2, 5)), 20, 0.1)
    plan = [Update((0, 1)), Update((1,))]
    expected = expected_risks(Problem.from_tasks(tasks), plan)
    _, ax = figure()
    draw.draw_history(ax, expected, simulate_risks(tasks, plan, trials=10), (1,), "black")
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected[:, 0, 1] + expected[:, 1, 1])
