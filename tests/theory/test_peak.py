"""The double-descent peak: noise of single runs, and what tames it (*One update, exactly*)."""

import numpy as np
import pytest
from scipy.stats import f as fisher
from scipy.stats import kstest

from clcore.theory import Problem, Update, expected_risks, moments

REGIMES = [(30, 12), (12, 30), (13, 12), (12, 13), (12, 12), (1, 1)]


@pytest.mark.parametrize(("m", "n"), REGIMES)
def test_the_noise_term_is_a_ratio_of_chi_squares(m: int, n: int) -> None:
    """Proposition on the noise term in a single run, by pseudoinverses, at the peak as well."""
    rng = np.random.default_rng(m * 100 + n)
    runs, s = 4000, 1.7
    inverse = np.linalg.pinv(rng.normal(size=(runs, n, m)))
    noise = (inverse @ (s * rng.normal(size=(runs, n, 1))))[..., 0]
    small, nu = min(m, n), abs(m - n) + 1
    exact = fisher(small, nu, scale=s**2 * small / nu)
    assert kstest((noise**2).sum(axis=1), exact.cdf).pvalue > 1e-3


@pytest.mark.parametrize(("m", "n"), [(30, 12), (12, 30), (14, 12), (12, 14)])
def test_its_mean_is_the_amplification(m: int, n: int) -> None:
    small, nu = min(m, n), abs(m - n) + 1
    assert fisher(small, nu, scale=small / nu).mean() == pytest.approx(moments(m, n).noise)


@pytest.mark.parametrize(("m", "n"), [(30, 12), (12, 30), (14, 12), (12, 14)])
def test_the_best_gain_for_the_new_task(m: int, n: int) -> None:
    """Proposition on a gain against the peak: formula and grid, both through the recursion."""
    error, distance, learn, noise = 1.3, 2.9, 3.1, 0.8
    problem = Problem(
        [m], [[[0, distance], [distance, 0]]], [[error, learn]], n, [0.0, np.sqrt(noise)]
    )

    def after(gain: float) -> np.ndarray:
        return expected_risks(problem, [Update(()), Update((0,), gain)])[-1, 0]

    pull, amplification, *_ = moments(m, n)
    energy = pull * learn + amplification * noise
    best = pull * learn / energy
    grid = np.linspace(0, 1, 2001)
    assert grid[np.argmin([after(g)[1] for g in grid])] == pytest.approx(best, abs=1e-3)
    assert after(best)[1] == pytest.approx((1 - pull * best) * learn)
    for gain in (0.3, best, 1.0):
        change = gain * pull * (distance - error - learn) + gain**2 * energy
        assert after(gain)[0] - error == pytest.approx(change)


@pytest.mark.parametrize(("m", "n"), REGIMES)
def test_ridge_and_early_stopping_bound_the_peak(m: int, n: int) -> None:
    """Proposition that ridge and early stopping bound the peak: their filters and the bounds."""
    rng = np.random.default_rng(m * 100 + n)
    penalty, steps, energies = 0.7, 9, []
    for _ in range(50):
        features, residual = rng.normal(size=(n, m)), rng.normal(size=n)
        left, sigma, right = np.linalg.svd(features, full_matrices=False)
        eta = 1 / sigma[0] ** 2
        ridge = np.linalg.solve(features.T @ features + penalty * np.eye(m), features.T @ residual)
        stopped = np.zeros(m)
        for _ in range(steps):
            stopped += eta * features.T @ (residual - features @ stopped)
        pairs = (
            (ridge, sigma / (sigma**2 + penalty), 1 / (4 * penalty)),
            (stopped, (1 - (1 - eta * sigma**2) ** steps) / sigma, eta * steps),
        )
        for change, kept, bound in pairs:
            filtered = right.T @ (kept * (left.T @ residual))
            np.testing.assert_allclose(change, filtered, atol=1e-9)
            energies.append((kept**2).sum() / (min(m, n) * bound))
    assert max(energies) <= 1
