import math

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from clcore.errors import InputError
from clcore.theory import (
    LinearTasks,
    Problem,
    Update,
    expected_risks,
    one_step_forgetting,
    optimal_trainable,
)


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


def test_optimum_derived_with_sympy() -> None:
    """Theorem on the optimal number of trainable parameters: m*, F(m*) and uniqueness."""
    n, root_eta, excess = sp.symbols("n s d", positive=True)
    m, root_xi = sp.symbols("m", positive=True), root_eta + excess  # √ξ > √η > 0
    f = -(root_xi**2) * n / m + root_eta**2 * n / (m - n - 1)
    stationary = sp.solve(sp.numer(sp.together(sp.diff(f, m))), m)
    best = (n + 1) * root_xi / excess
    inside = [r for r in stationary if sp.simplify(r - n - 1).is_positive]
    assert [sp.simplify(r - best) for r in inside] == [0]
    assert sp.simplify(f.subs(m, best) + n / (n + 1) * excess**2) == 0
    found = optimal_trainable(9, 6.25, 2.25)
    values = {n: 9, root_eta: sp.Rational(3, 2), excess: 1}
    assert found.m == pytest.approx(float(best.subs(values)))
    assert found.forgetting == pytest.approx(float(f.subs(m, best).subs(values)))


squares = st.one_of(st.just(0.0), st.floats(1e-3, 1e3))


@given(st.integers(1, 40), squares, squares, squares)
@settings(max_examples=200, deadline=None)
def test_the_cases_are_all_and_say_what_the_curve_does(
    n: int, error: float, distance: float, eta: float
) -> None:
    """Theorem on the optimal number of trainable parameters: every ξ of any sign, every η ≥ 0."""
    best = optimal_trainable(n, error - distance, eta)
    reach = np.unique(np.geomspace(n + 2, 1e7, 400).astype(int))
    values = np.array([one_step_forgetting(int(m), n, error, distance, eta) for m in reach])
    tiny = 1e-9 * (error + distance + eta)
    if best.case == "interior":
        assert best.whole_forgetting <= values.min() + tiny
    elif best.case == "rising":
        assert values.argmin() == 0
        assert (np.diff(values) >= -tiny).all()
    elif best.case == "falling":
        assert values.min() >= -tiny
        assert (np.diff(values) <= tiny).all()
    else:
        assert np.abs(values).max() <= tiny


def test_weighted_risks_have_the_same_curve() -> None:
    """Corollary "The new task, and averages over all seen tasks" (*How many parameters to train*).

    The change of the weighted risk, by the recursion in three blocks, against the formula of F
    with the corollary's ξ, its error vectors taken from the model itself.
    """
    rng = np.random.default_rng(3)
    n, weights = 9, np.array([0.2, 0.5, 0.3])
    for redundant in range(8, 60):
        truths = np.zeros((3, 7 + redundant))
        truths[:, :7] = rng.normal(size=(3, 7))  # blocks: shared, task-specific, redundant
        start = np.zeros(7 + redundant)
        start[:7] = rng.normal(size=7)
        # The third task meets the model `start`; the first two stay where they are.
        tasks = LinearTasks([4, 3, redundant], truths, n, 0.7, start=start)
        stay, last = Update(()), Update((1, 2))
        risks = expected_risks(Problem.from_tasks(tasks), [stay, stay, last]).sum(axis=1)
        error = ((start - truths)[:, 4:] ** 2).sum(axis=1)
        distance = ((truths[2] - truths)[:, 4:] ** 2).sum(axis=1)
        xi = weights @ (error - distance)
        eta = 0.7**2 + ((truths[2] - start)[:4] ** 2).sum()
        m = 3 + redundant
        expected = -xi * n / m + eta * n / (m - n - 1)
        assert (risks[3] - risks[2]) @ weights == pytest.approx(expected, rel=1e-9)


@given(st.integers(3, 40), squares, squares, squares)
@settings(max_examples=200, deadline=None)
def test_below_the_peak_more_parameters_harm(
    n: int, error: float, distance: float, eta: float
) -> None:
    """Proposition "Underparameterized updates" (*How many parameters to train*)."""
    below = [one_step_forgetting(m, n, error, distance, eta) for m in range(1, n - 1)]
    tiny = 1e-9 * (error + distance + eta)
    assert (np.diff(below) > 0).all() if eta > tiny else np.ptp(below) <= tiny
    best = optimal_trainable(n, error - distance, eta)
    if best.case == "interior":
        assert max(below[: (n - 1) // 2]) < best.whole_forgetting


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
