import numpy as np
import pytest

from clcore.errors import InputError
from clcore.measures import mean_interval, paired_difference

# Quantiles of Student's t as printed in tables: (degrees of freedom, confidence) → t.
TABLE = {(1, 0.95): 12.706, (2, 0.95): 4.303, (4, 0.95): 2.776, (9, 0.95): 2.262, (9, 0.99): 3.250}


@pytest.mark.parametrize(("freedom", "confidence"), TABLE)
def test_half_width_is_that_of_the_table(freedom: int, confidence: float) -> None:
    values = np.random.default_rng(freedom).normal(5, 2, freedom + 1)
    n = len(values)
    mean = sum(values) / n
    deviation = (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5
    half = TABLE[freedom, confidence] * deviation / n**0.5
    found = mean_interval(values, confidence)
    assert (found.mean, found.deviation) == pytest.approx((mean, deviation))
    assert (found.high - mean, mean - found.low) == pytest.approx((half, half), rel=3e-4)
    assert found.seeds == n


def test_by_hand() -> None:
    # Mean of 1, 2, 3 is 2, deviation √((1 + 0 + 1) / 2) = 1; t(2; 95 %) = 4.303:
    # 2 ± 4.303 / √3 = 2 ± 2.484.
    found = mean_interval([1, 2, 3])
    assert (found.mean, found.deviation) == (2, 1)
    assert (found.low, found.high) == pytest.approx((-0.484, 4.484), abs=1e-3)


@pytest.mark.parametrize(
    ("values", "word"),
    [([2, 3, 4], "more"), ([-4, -3, -2], "less"), ([1, 2, 3], "none"), ([0, 0], "none")],
)
def test_the_word_for_a_side_of_zero(values: list[float], word: str) -> None:
    """The half width is 2.484, by hand above, and none for equal values."""
    assert mean_interval(values).told("more", "less", "none") == word


def test_covers_the_mean_as_often_as_it_says() -> None:
    samples = np.random.default_rng(0).normal(1, 3, (2000, 4))
    found = [mean_interval(sample, 0.9) for sample in samples]
    covered = np.mean([f.low < 1 < f.high for f in found])
    assert abs(covered - 0.9) < 4 * (0.9 * 0.1 / 2000) ** 0.5


def test_equal_values_have_no_width() -> None:
    found = mean_interval([0.25] * 3)
    assert found.low == found.mean == found.high == 0.25


def test_paired_difference() -> None:
    # Differences 1, 2, 3: as above. The values' own spread is far larger and must not enter.
    found = paired_difference([11, 102, -7], [10, 100, -10])
    assert (found.mean, found.deviation, found.seeds) == (2, 1, 3)
    assert found.high == pytest.approx(4.484, abs=1e-3)
    assert paired_difference([10, 100, -10], [11, 102, -7]).mean == -2


@pytest.mark.parametrize("values", [[], [1.0], 1.0, [[1.0, 2.0], [3.0, 4.0]]])
def test_too_few_seeds(values: object) -> None:
    with pytest.raises(InputError, match="at least 2 seeds"):
        mean_interval(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_diverged_seeds_are_named(bad: float) -> None:
    with pytest.raises(InputError, match=r"values of seeds \[1, 3\] \(by position\)"):
        mean_interval([1, bad, 2, bad])
    with pytest.raises(InputError, match=r"seeds \[0\]"):
        paired_difference([bad, 1], [0, 0])


def test_pairs_must_match() -> None:
    with pytest.raises(InputError, match=r"shapes \(2,\) and \(3,\) do not pair"):
        paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="do not pair"):
        paired_difference([1, 2, 3], 1)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.5, float("nan")])
def test_bad_confidence(confidence: float) -> None:
    with pytest.raises(InputError, match=f"confidence {confidence} is not in"):
        mean_interval([1, 2], confidence)
