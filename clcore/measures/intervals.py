"""Means over seeds with their uncertainty."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from clcore.errors import InputError


class Interval(NamedTuple):
    """A mean over seeds.

    Attributes
    ----------
    mean : float
        The mean.
    low, high : float
        Ends of the confidence interval.
    deviation : float
        Sample standard deviation over seeds (divisor n − 1).
    seeds : int
        n.
    """

    mean: float
    low: float
    high: float
    deviation: float
    seeds: int

    def told(self, above: str, below: str, neither: str = "not distinguishable") -> str:
        """Return the word for an interval above zero, below it, or with zero in it."""
        return above if self.low > 0 else below if self.high < 0 else neither


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the mean over seeds and its Student-t confidence interval.

    Parameters
    ----------
    values : array_like
        (seeds,): one value a seed, all finite, at least two.
    confidence : float
        In (0, 1).

    Raises
    ------
    InputError
        If there are fewer than two values, one is not finite (a replica that diverged), or
        `confidence` is outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence {confidence} is not in (0, 1): pass 0.95 for 95 %")
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or len(sample) < 2:
        raise InputError(f"an interval needs at least 2 seeds, got values of shape {sample.shape}")
    if not np.isfinite(sample).all():
        raise InputError(
            f"values of seeds {np.flatnonzero(~np.isfinite(sample)).tolist()} (by position) are "
            "not finite: their replicas diverged; lower their learning rate"
        )
    mean, deviation = float(sample.mean()), float(sample.std(ddof=1))
    half = (
        float(student.ppf((1 + confidence) / 2, len(sample) - 1)) * deviation / len(sample) ** 0.5
    )
    return Interval(mean, mean - half, mean + half, deviation, len(sample))


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the interval of `first` − `second`, paired seed by seed.

    Raises
    ------
    InputError
        If the seeds do not pair up, or as `mean_interval` does.
    """
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape:
        raise InputError(f"values of shapes {one.shape} and {other.shape} do not pair by seed")
    return mean_interval(one - other, confidence)
