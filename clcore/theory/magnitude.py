"""The number of trainable parameters that forgets least."""

import math
from typing import Literal, NamedTuple

from clcore.errors import InputError

Case = Literal["interior", "rising", "falling", "flat"]


class TrainableOptimum(NamedTuple):
    """Where forgetting is least among all m > n + 1, and which case this is.

    Attributes
    ----------
    case : {"interior", "rising", "falling", "flat"}
        ``interior``: ξ > η > 0, one minimum, below 0. ``rising``: ξ > η = 0, forgetting is
        negative and rises with m, so the fewest parameters are best. ``falling``: ξ ≤ η
        with η > 0, or ξ < η = 0; forgetting is positive and falls towards 0, so that staying
        (m = 0, no forgetting) beats every m > n + 1. ``flat``: ξ = η = 0, m does not matter.
    m : float
        m*, a real number; n + 1, where the infimum lies, if rising; infinite if falling; NaN
        if flat.
    forgetting : float
        F(m*), or its infimum where there is no minimum.
    whole_m : int or None
        The best integer m > n + 1; None if there is none (falling) or all are equal (flat).
    whole_forgetting : float or None
        The forgetting at `whole_m`.
    """

    case: Case
    m: float
    forgetting: float
    whole_m: int | None
    whole_forgetting: float | None


def optimal_trainable(samples: int, xi: float, eta: float) -> TrainableOptimum:
    """Return the number of trainable parameters that minimizes one-step forgetting, m > n + 1.

    Source: the companion's theorem on the optimal number of trainable parameters (*How many
    parameters to train*), our reading of the paper's Theorem IV.4. It holds while the added
    parameters are redundant: needed by no task and zero before the update, so that
    neither ξ nor η changes with m.

    Parameters
    ----------
    samples : int
        n, the samples of the new task, at least 1.
    xi : float
        ξ = squared error on the old task less squared distance of the tasks, both over
        the trainable parameters.
    eta : float
        η = effective noise variance s² of the new task, at least 0.

    Raises
    ------
    InputError
        If n < 1, η < 0, or ξ or η is not finite.
    """
    if samples < 1:
        raise InputError(f"samples = {samples}, but at least 1 is expected")
    if not math.isfinite(xi):
        raise InputError(f"xi = {xi}, but a finite number is expected")
    if not (math.isfinite(eta) and eta >= 0):
        raise InputError(f"eta = {eta}, but it is a variance: give a finite value, at least 0")
    n = samples
    if eta == 0 and xi == 0:
        return TrainableOptimum("flat", math.nan, 0.0, None, None)
    if xi <= eta:
        return TrainableOptimum("falling", math.inf, 0.0, None, None)
    if eta == 0:
        return TrainableOptimum(
            "rising", n + 1.0, -xi * n / (n + 1), n + 2, _forgetting(n + 2, n, xi, eta)
        )
    # √ξ - √η without cancellation, which would divide by zero for ξ just above η.
    gap = (xi - eta) / (math.sqrt(xi) + math.sqrt(eta))
    best = (n + 1) * math.sqrt(xi) / gap
    # F has a single minimum, so the best integer is a neighbour of the real one.
    below = max(math.floor(best), n + 2)
    value, whole = min((_forgetting(m, n, xi, eta), m) for m in (below, below + 1))
    least = -n / (n + 1) * gap**2
    return TrainableOptimum("interior", best, least, whole, value)


def _forgetting(m: int, n: int, xi: float, eta: float) -> float:
    return -xi * n / m + eta * n / (m - n - 1)
