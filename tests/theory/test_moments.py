"""The moments of one update, against brute-force averages over random matrices.

Lemma on random projections and inverse Wishart matrices (*One update, exactly*).
"""

import numpy as np
import pytest

from clcore.errors import InputError
from clcore.theory import moments


@pytest.mark.parametrize(("m", "n"), [(12, 4), (30, 10), (4, 12), (10, 30), (20, 1)])
def test_moments_of_random_matrices(m: int, n: int) -> None:
    rng = np.random.default_rng(m * 100 + n)
    draws = 20_000
    features = rng.normal(size=(draws, n, m))
    inverse = np.linalg.pinv(features)  # (draws, m, n): maps residuals to changes
    noise = (inverse**2).sum(axis=(1, 2))
    projected = inverse @ features  # (draws, m, m)
    direction = np.zeros(m)
    direction[0] = 1.0
    along = (projected @ direction)[:, 0]
    across = (projected @ direction)[:, 1]
    expected = moments(m, n)
    for sample, value in (
        (along, expected.pull),
        (noise, expected.noise),
        (along**2, expected.own + expected.spread),
        (across**2, expected.spread),
    ):
        error = sample.std(ddof=1) / np.sqrt(draws)
        assert abs(sample.mean() - value) < 4.5 * error + 1e-9


def test_projection_moments_are_consistent() -> None:
    # |Pd|² = <d, Pd> for a projection, so its energy must equal its pull.
    for m, n in ((5, 3), (50, 10), (400, 398), (3, 1)):
        found = moments(m, n)
        assert found.own + m * found.spread == pytest.approx(found.pull, rel=1e-12)


def test_nothing_trains_nothing_moves() -> None:
    assert moments(0, 1) == (0, 0, 0, 0)


@pytest.mark.parametrize(("m", "n"), [(9, 10), (10, 10), (11, 10), (1, 1), (2, 1), (1, 2)])
def test_the_peak_is_refused(m: int, n: int) -> None:
    with pytest.raises(InputError, match=r"infinite \(the double-descent peak\): choose .*m > "):
        moments(m, n)


def test_no_impossible_advice_for_one_sample() -> None:
    with pytest.raises(InputError, match="choose m > 2"):
        moments(1, 1)


@pytest.mark.parametrize(("m", "n"), [(-1, 5), (5, 0)])
def test_counts_out_of_range(m: int, n: int) -> None:
    with pytest.raises(InputError, match="at least 0 and 1"):
        moments(m, n)
