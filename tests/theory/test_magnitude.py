import math

import numpy as np
import pytest

from clcore.errors import InputError
from clcore.theory import one_step_forgetting, optimal_trainable


def curve(m: int, n: int, xi: float, eta: float) -> float:
    error, distance = (xi, 0.0) if xi > 0 else (0.0, -xi)
    return one_step_forgetting(m, n, error, distance, eta)


def test_optimum_beats_every_other_integer() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(1, 60))
        eta = rng.uniform(0.01, 2)
        xi = eta * rng.uniform(1.05, 200)
        best = optimal_trainable(n, xi, eta)
        assert best.case == "interior"
        reach = range(n + 2, max(3 * n, math.ceil(2 * best.m)) + 10)
        values = {m: curve(m, n, xi, eta) for m in reach}
        assert best.whole_m == min(values, key=values.__getitem__)
        assert best.whole_forgetting == pytest.approx(min(values.values()), rel=1e-9)
        # No integer is below the real minimum, which is negative.
        assert best.forgetting <= best.whole_forgetting
        assert best.forgetting < 0


def test_real_optimum_is_stationary() -> None:
    n, xi, eta = 40, 4.0, 1.0
    best = optimal_trainable(n, xi, eta)
    assert best.m == pytest.approx(82)
    assert best.forgetting == pytest.approx(-40 / 41)
    m = np.linspace(best.m - 1, best.m + 1, 2001)
    f = -xi * n / m + eta * n / (m - n - 1)
    assert m[f.argmin()] == pytest.approx(best.m, abs=1e-3)
    assert f.min() == pytest.approx(best.forgetting, rel=1e-9)


@pytest.mark.parametrize(("xi", "eta"), [(1.0, 1.0), (0.5, 1.0), (-2.0, 1.0), (0.0, 0.3), (-1, 0)])
def test_falling_case_is_positive_and_falls(xi: float, eta: float) -> None:
    best = optimal_trainable(10, xi, eta)
    assert (best.case, best.m, best.forgetting) == ("falling", math.inf, 0.0)
    assert (best.whole_m, best.whole_forgetting) == (None, None)
    values = [curve(m, 10, xi, eta) for m in range(12, 400)]
    assert min(values) > 0
    assert (np.diff(values) < 0).all()


def test_rising_case_is_negative_and_rises() -> None:
    best = optimal_trainable(10, 2.0, 0.0)
    assert (best.case, best.m, best.whole_m) == ("rising", 11, 12)
    values = [curve(m, 10, 2.0, 0.0) for m in range(12, 400)]
    assert best.whole_forgetting == pytest.approx(values[0])
    assert best.forgetting < min(values)
    assert max(values) < 0
    assert (np.diff(values) > 0).all()


def test_flat_case() -> None:
    best = optimal_trainable(10, 0.0, 0.0)
    assert best.case == "flat"
    assert math.isnan(best.m)
    assert best.forgetting == 0


def test_next_to_the_boundary_the_optimum_is_far_but_finite() -> None:
    best = optimal_trainable(10, math.nextafter(1.0, 2.0), 1.0)
    assert best.case == "interior"
    assert 1e15 < best.m < math.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 1), "samples = 0"),
        ((5, math.nan, 1), "xi = nan"),
        ((5, 1, -1), "eta = -1"),
        ((5, 1, math.inf), "eta = inf"),
    ],
)
def test_values_that_cannot_be(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        optimal_trainable(*arguments)
