"""The comparison table against one worked by hand."""

import numpy as np
import pytest

from clcore.errors import InputError
from clcore.measures import compare


def matrices(last: list[list[float]]) -> np.ndarray:
    """Two tasks; 0.9 and 0.8 as each is learned, `last` after the second, one row a seed."""
    found = np.full((len(last), 2, 2), np.nan)
    found[:, 0, 0] = 0.9
    found[:, 1] = last
    return found


# Avg.Acc of base: 65, 60, 70; of other: 76, 70, 82. Differences 11, 10, 12: mean 11, deviation 1.
BASE = matrices([[0.5, 0.8], [0.4, 0.8], [0.6, 0.8]])
OTHER = matrices([[0.72, 0.8], [0.6, 0.8], [0.84, 0.8]])
HALF = 4.303 / 3**0.5  # t(2; 95 %) times the standard error of a deviation of 1


def test_by_hand() -> None:
    found = compare({"base": BASE, "other": OTHER}, "base")
    assert list(found) == ["base", "other"]
    assert found["base"].average_accuracy.mean == pytest.approx(65)
    assert found["base"].task_accuracy.mean == pytest.approx(85)  # (90 + 80) / 2
    assert found["base"].forgetting.mean == pytest.approx(40)  # 90 − 50
    assert found["other"].forgetting.mean == pytest.approx(18)  # 90 − 72
    assert found["base"].difference is None
    difference = found["other"].difference
    assert difference is not None
    assert difference.mean == pytest.approx(11)
    assert (difference.low, difference.high) == pytest.approx((11 - HALF, 11 + HALF), abs=1e-3)


def test_verdicts() -> None:
    noisy = matrices([[0.9, 0.8], [0.1, 0.8], [0.5, 0.8]])
    found = compare({"a": BASE, "b": OTHER, "c": noisy}, "a")
    assert [row.verdict for row in found.values()] == [
        "baseline",
        "better",
        "not distinguishable",
    ]
    assert compare({"a": BASE, "b": OTHER}, "b")["a"].verdict == "worse"


def test_unknown_baseline() -> None:
    with pytest.raises(InputError, match="unknown baseline 'basis': did you mean 'base'"):
        compare({"base": BASE}, "basis")


def test_a_diverged_seed_is_named() -> None:
    broken = OTHER.copy()
    broken[1] = np.nan
    with pytest.raises(InputError, match="diverged"):
        compare({"base": BASE, "other": broken}, "base")
