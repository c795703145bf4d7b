import numpy as np
import pytest

from clcore.errors import InputError
from clcore.theory import LinearTasks, Problem, Update, check_plan


def test_distances_from_truths_are_blockwise() -> None:
    tasks = LinearTasks([1, 2], [[0, 0, 0], [3, 1, 2]], samples=5, noise=0.5, start=[1, 0, 0])
    problem = Problem.from_tasks(tasks)
    assert problem.distances.tolist() == [[[0, 9], [9, 0]], [[0, 5], [5, 0]]]
    assert problem.initial.tolist() == [[1, 4], [0, 5]]
    assert problem.samples.tolist() == [5, 5]
    assert problem.noise.tolist() == [0.5, 0.5]


def test_start_is_zero_unless_given() -> None:
    assert LinearTasks([2], [[1, 1]], 3).start.tolist() == [0, 0]


def test_a_problem_cannot_be_changed_under_its_user() -> None:
    truths = np.ones((1, 2))
    tasks = LinearTasks([2], truths, 3)
    truths[0, 0] = 7
    assert tasks.truths[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        tasks.truths[0, 0] = 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizes": [1, 0]}, r"sizes = \[1, 0\].*at least 1"),
        ({"sizes": []}, "sizes has shape"),
        ({"sizes": [1.5, 1]}, "integers"),
        ({"sizes": [1, 2]}, r"truths has shape \(2, 2\).*sum\(sizes\) = 3"),
        ({"truths": [[0, np.nan], [1, 1]]}, "truths holds NaN"),
        ({"truths": [[0, 1], [1]]}, "truths is no array"),
        ({"samples": 0}, "samples"),
        ({"samples": [5, 5, 5]}, "one value or 2"),
        ({"noise": -0.1}, "noise holds -0.1"),
        ({"noise": [0.1, 0.1, 0.1]}, "one value or 2"),
        ({"start": [1]}, r"start has shape \(1,\)"),
    ],
)
def test_tasks_that_cannot_be(change: dict, message: str) -> None:
    arguments = {"sizes": [1, 1], "truths": [[0, 0], [1, 1]], "samples": 5} | change
    with pytest.raises(InputError, match=message):
        LinearTasks(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"initial": [1.0, 1.0]}, "initial has shape"),
        ({"initial": [[1.0, -1.0]]}, "initial holds -1"),
        ({"distances": [[0.0, 1.0]]}, "distances has shape"),
        ({"distances": [[[0, -1], [-1, 0]]]}, "distances holds -1"),
        ({"distances": [[[0, 1], [2, 0]]]}, "not symmetric"),
        ({"distances": [[[1, 1], [1, 0]]]}, "must be 0"),
        ({"distances": [[[0, 5], [5, 0]]]}, "no points have these distances"),
        ({"initial": [[9.0, 1.0]]}, "no points have these distances"),
    ],
)
def test_problems_that_cannot_be(change: dict, message: str) -> None:
    arguments = {
        "sizes": [3],
        "distances": [[[0, 1], [1, 0]]],
        "initial": [[1, 1]],
        "samples": 5,
    } | change
    with pytest.raises(InputError, match=message):
        Problem(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 0),), "names a block twice"),
        (((-1,),), "at least 0"),
        (((0.5,),), "block indices"),
        (((0,), 1.1), r"\[0, 1\]"),
        (((0,), -0.1), r"\[0, 1\]"),
        (((0,), float("nan")), r"\[0, 1\]"),
        (((0, 1), (1.0,)), "1 gains for 2"),
    ],
)
def test_updates_that_cannot_be(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Update(*arguments)


def test_one_gain_stands_for_all_blocks() -> None:
    assert Update((0, 2), 0.5) == Update([0, 2], [0.5, 0.5])


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ([Update()], "1 updates for 2 tasks"),
        ([Update(), Update((2,))], "update 1 trains block 2, but the blocks are 0 to 1"),
        ([Update((0,)), Update((0, 1))], r"update 1: m = 9 .* n = 10.*infinite.*m < 9 or m > 11"),
    ],
)
def test_plans_that_cannot_be(updates: list[Update], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_plan(updates, np.array([4, 5]), np.array([20, 10]))
