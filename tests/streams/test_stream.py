import pytest
import torch

from clcore.errors import InputError
from clcore.streams import Dataset, judged_on, judged_rows, permuted


def test_without_holdout_all_train_rows_and_all_test_rows(digits: Dataset) -> None:
    train, test = judged_rows(digits, 0, 0.0)
    assert torch.equal(train, torch.arange(1347))
    assert torch.equal(test, torch.arange(450))


def test_holdout_is_disjoint_random_and_seeded(digits: Dataset) -> None:
    train, judged = judged_rows(digits, 4, 0.25)
    assert len(judged) == round(0.25 * 1347)
    assert sorted(train.tolist() + judged.tolist()) == list(range(1347))
    assert torch.equal(judged_rows(digits, 4, 0.25)[1], judged)
    other = judged_rows(digits, 5, 0.25)[1]
    assert len(set(judged.tolist()) & set(other.tolist())) < 0.5 * len(judged)


def test_judged_images_are_those_the_rows_point_to(digits: Dataset) -> None:
    images, labels = judged_on(permuted(digits, [], seed=0))
    assert images is digits.test_images
    assert labels is digits.test_labels
    images, labels = judged_on(permuted(digits, [], seed=0, holdout=0.1))
    assert images is digits.train_images
    assert labels is digits.train_labels


@pytest.mark.parametrize("holdout", [1.5, 1.0, -0.1, float("nan")])
def test_bad_holdout(digits: Dataset, holdout: float) -> None:
    with pytest.raises(InputError, match=f"holdout {holdout} is not in"):
        judged_rows(digits, 0, holdout)


@pytest.mark.parametrize(("holdout", "takes"), [(1e-6, 0), (1 - 1e-6, 1347)])
def test_holdout_that_leaves_nothing(digits: Dataset, holdout: float, takes: int) -> None:
    with pytest.raises(
        InputError, match=f"holdout {holdout} of 1347 training images takes {takes}"
    ):
        judged_rows(digits, 0, holdout)
