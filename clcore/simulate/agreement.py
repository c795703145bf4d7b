"""Does a closed form agree with its simulation? With a bound on false alarms."""

from statistics import NormalDist

import numpy as np

from clcore.errors import InputError
from clcore.simulate.monte_carlo import Estimate
from clcore.theory.validation import FloatArray

# Relative; above the rounding errors of either side, below any effect that could matter.
_ROUNDING = 1e-9


def z_scores(expected: FloatArray, estimate: Estimate) -> FloatArray:
    """Return how many standard errors each simulated risk lies from its expectation.

    Parameters
    ----------
    expected : (K+1, B, K) array
        From `clcore.theory.expected_risks`.
    estimate : Estimate
        The risks from `clcore.simulate.simulate_risks`, for the same tasks and updates.

    Returns
    -------
    (K, B, K) array
        For the risks after each update. NaN where there is nothing to compare: the block
        did not move, or risk and expectation are equal and without spread. Infinite where a risk
        without spread differs.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    mean, error = estimate
    if expected.shape != mean.shape:
        raise InputError(
            f"expected has shape {expected.shape} but the estimate {mean.shape}: both must be of "
            "the same tasks"
        )
    tiny = _ROUNDING * max(1.0, float(expected.max()))
    gap = (mean - expected)[1:]
    moved = np.maximum(*(np.abs(np.diff(risks, axis=0)) for risks in (expected, mean))) > tiny
    random = error[1:] > tiny
    scores = np.full(gap.shape, np.nan)
    scores[moved & random] = gap[moved & random] / error[1:][moved & random]
    scores[~random & (np.abs(gap) > tiny)] = np.inf
    return scores


def largest_score(scores: FloatArray) -> tuple[float, int]:
    """Return the largest |z| and how many were compared (those that are not NaN)."""
    compared = np.abs(scores[~np.isnan(scores)])
    return float(compared.max(initial=0.0)), int(compared.size)


def bonferroni(comparisons: int, level: float = 0.01) -> float:
    """Return the |z| that a correct theory exceeds anywhere with probability ≤ `level`.

    Bonferroni's bound holds for dependent comparisons; that each z is normal is exact only
    for many trials.

    Parameters
    ----------
    comparisons : int
        Number of z-scores looked at, at least 1.
    level : float
        Family-wise false-alarm rate, in (0, 1).

    Raises
    ------
    InputError
        If a value is out of range.
    """
    if comparisons < 1:
        raise InputError(f"comparisons = {comparisons}, but at least 1 is expected")
    if not 0 < level < 1:
        raise InputError(f"level = {level}, but a probability between 0 and 1 is expected")
    return NormalDist().inv_cdf(1 - level / (2 * comparisons))
