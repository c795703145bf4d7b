"""Strategies side by side, paired by seed."""

from collections.abc import Mapping
from typing import NamedTuple

from numpy.typing import ArrayLike

from clcore.errors import known
from clcore.measures.accuracy import average_accuracy, forgetting, task_accuracy
from clcore.measures.intervals import Interval, mean_interval, paired_difference


class Comparison(NamedTuple):
    """How one strategy did, beside another one.

    Attributes
    ----------
    average_accuracy, task_accuracy, forgetting : Interval
        In percent.
    difference : Interval or None
        Its Avg.Acc less that of the baseline, in points; None for the baseline itself.
    """

    average_accuracy: Interval
    task_accuracy: Interval
    forgetting: Interval
    difference: Interval | None

    @property
    def verdict(self) -> str:
        """Say whether the interval of the difference leaves zero out, and on which side."""
        return self.difference.told("better", "worse") if self.difference else "baseline"


def compare(accuracy: Mapping[str, ArrayLike], baseline: str) -> dict[str, Comparison]:
    """Return how each strategy did, and its difference to the baseline.

    Parameters
    ----------
    accuracy : mapping of str to array_like
        Strategy → accuracy matrices (seeds, M, M), in [0, 1], with the same seeds in the same
        order.
    baseline : str
        With which one the others are compared.

    Raises
    ------
    InputError
        If there is no such baseline, or as `mean_interval` and `paired_difference` do.
    """
    reference = 100 * average_accuracy(accuracy[known("baseline", baseline, accuracy)])
    return {
        name: Comparison(
            mean_interval(100 * average_accuracy(matrices)),
            mean_interval(100 * task_accuracy(matrices)),
            mean_interval(100 * forgetting(matrices)),
            None
            if name == baseline
            else paired_difference(100 * average_accuracy(matrices), reference),
        )
        for name, matrices in accuracy.items()
    }
