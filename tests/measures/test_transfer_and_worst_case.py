import numpy as np
import pytest

from clcore.errors import InputError
from clcore.measures import (
    forward_transfer,
    minimum_accuracy,
    stability_gap,
    worst_case_accuracy,
)

N = float("nan")
TABLE = np.array([[0.9, N, N], [0.7, 0.8, N], [0.4, 0.9, 0.6]])
# Two points within each of three tasks; the second task judged at one point only.
WITHIN = np.array(
    [
        [[0.2, N, N], [0.5, N, N]],
        [[0.3, 0.4, N], [N, N, N]],
        [[0.6, 0.5, 0.1], [0.5, 0.7, 0.3]],
    ]
)


def test_forward_transfer() -> None:
    # ((0.5 − 0.1) + (0.2 − 0.3)) / 2 = 0.15; the first task, met untrained, does not count.
    assert forward_transfer([0.9, 0.5, 0.2], [0.2, 0.1, 0.3]) == pytest.approx(0.15)


def test_forward_transfer_of_an_untrained_network_is_zero() -> None:
    assert forward_transfer([0.1, 0.2], [0.1, 0.2]) == 0


def test_forward_transfer_over_seeds() -> None:
    found = forward_transfer([[0, 0.5], [0, 0.25]], [[0, 0.25], [0, 0.5]])
    np.testing.assert_array_equal(found, [0.25, -0.25])


@pytest.mark.parametrize(
    ("arrival", "initial"), [([0.5], [0.5]), ([0.5, 0.6], [0.5]), (0.5, 0.5), ([], [])]
)
def test_no_forward_transfer(arrival: object, initial: object) -> None:
    with pytest.raises(InputError, match=r"expected \(…, tasks\) twice"):
        forward_transfer(arrival, initial)  # type: ignore[arg-type]


def test_minimum_accuracy() -> None:
    # Task 1, from task 2 on: within 0.3 | 0.6, 0.5; ends 0.7, 0.4: 0.3. Its own low start does not
    # count. Task 2, from task 3 on: 0.5, 0.7; end 0.9: 0.5. Mean 0.4.
    assert minimum_accuracy(WITHIN, TABLE) == pytest.approx(0.4)


def test_worst_case_accuracy() -> None:
    # 0.6 / 3 + 2/3 · 0.4.
    assert worst_case_accuracy(WITHIN, TABLE) == pytest.approx(0.2 + 0.8 / 3)


def test_stability_gap() -> None:
    # (2, 1): 0.7 − 0.3 = 0.4. (3, 1): 0.4 − min(0.6, 0.5, 0.4) = 0. (3, 2): 0.9 − 0.5 = 0.4.
    assert stability_gap(WITHIN, TABLE) == pytest.approx(0.8 / 3)


def test_no_gap_where_accuracy_only_falls() -> None:
    within = [[[0.5, N]], [[0.8, 0.4]]]
    assert stability_gap(within, [[0.9, N], [0.7, 0.8]]) == 0
    assert minimum_accuracy(within, [[0.9, N], [0.7, 0.8]]) == pytest.approx(0.7)


def test_seeds_are_a_leading_axis() -> None:
    within, tables = np.array([WITHIN, WITHIN / 2]), np.array([TABLE, TABLE / 2])
    np.testing.assert_allclose(minimum_accuracy(within, tables), [0.4, 0.2])
    np.testing.assert_allclose(stability_gap(within, tables), [0.8 / 3, 0.4 / 3])
    np.testing.assert_allclose(worst_case_accuracy(within, tables), [1.4 / 3, 0.7 / 3])


def test_a_diverged_replica_stays_unknown() -> None:
    diverged = TABLE.copy()
    diverged[2] = N
    for measure in (minimum_accuracy, worst_case_accuracy, stability_gap):
        assert np.isnan(measure(WITHIN, diverged))


@pytest.mark.parametrize("shape", [(3, 2, 2), (2, 2, 3), (3, 3), (3, 0, 3), (1, 3, 2, 3)])
def test_shapes_must_fit(shape: tuple[int, ...]) -> None:
    for measure in (minimum_accuracy, worst_case_accuracy, stability_gap):
        with pytest.raises(InputError, match="accuracies within tasks of shape"):
            measure(np.zeros(shape), np.zeros((3, 3)))


def test_one_task_has_no_later_one() -> None:
    for measure in (minimum_accuracy, worst_case_accuracy, stability_gap):
        with pytest.raises(InputError, match="at least 2 tasks"):
            measure(np.zeros((1, 4, 1)), [[0.5]])
