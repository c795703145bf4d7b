import numpy as np
import pytest

from clcore.errors import InputError
from clcore.measures import average_accuracy, backward_transfer, forgetting, task_accuracy

N = float("nan")
# Three tasks: row k holds the accuracies after task k, NaN what was not seen yet.
TABLE = [[0.9, N, N], [0.7, 0.8, N], [0.4, 0.9, 0.6]]


def test_average_accuracy() -> None:
    # Last row: (0.4 + 0.9 + 0.6) / 3 = 1.9 / 3.
    assert average_accuracy(TABLE) == pytest.approx(1.9 / 3)


def test_task_accuracy() -> None:
    # Diagonal: (0.9 + 0.8 + 0.6) / 3 = 2.3 / 3.
    assert task_accuracy(TABLE) == pytest.approx(2.3 / 3)


def test_forgetting() -> None:
    # ((0.9 − 0.4) + (0.8 − 0.9)) / 2 = (0.5 − 0.1) / 2 = 0.2: lost is positive.
    assert forgetting(TABLE) == pytest.approx(0.2)
    assert backward_transfer(TABLE) == pytest.approx(-0.2)


def test_best_accuracy_on_the_way_does_not_count() -> None:
    # (0.5 − 0.4) / 1, not 0.9 − 0.4: only the accuracy just after training and the last count.
    table = [[0.5, N, N], [0.9, 0.7, N], [0.4, 0.7, 1.0]]
    assert forgetting(table) == pytest.approx((0.1 + 0.0) / 2)


def test_last_task_cannot_be_forgotten() -> None:
    # Gaining on task 0 is negative forgetting: 0.2 − 0.6 = −0.4 over M − 1 = 1.
    assert forgetting([[0.2, N], [0.6, 0.1]]) == pytest.approx(-0.4)


def test_seeds_are_a_leading_axis() -> None:
    tables = np.array([TABLE, np.array(TABLE) / 2])
    np.testing.assert_allclose(average_accuracy(tables), [1.9 / 3, 1.9 / 6])
    np.testing.assert_allclose(task_accuracy(tables), [2.3 / 3, 2.3 / 6])
    np.testing.assert_allclose(forgetting(tables), [0.2, 0.1])
    assert forgetting(tables[None]).shape == (1, 2)


def test_diverged_replica_stays_unknown() -> None:
    assert np.isnan(average_accuracy(np.full((3, 3), N)))
    assert np.isnan(forgetting(np.full((3, 3), N)))


def test_one_task() -> None:
    assert average_accuracy([[0.5]]) == task_accuracy([[0.5]]) == 0.5
    with pytest.raises(InputError, match="at least 2 tasks"):
        forgetting([[0.5]])


@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 0), ()])
def test_no_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"accuracy matrix of shape .* expected"):
        average_accuracy(np.zeros(shape))
