"""The linear tasks of the theory, and what their expected risks depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import pdist, squareform

from clcore.errors import InputError
from clcore.theory.validation import FloatArray, IntArray, counts, deviations, finite, freeze

# Squared distances computed by a user carry rounding errors; relative, far above those.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class LinearTasks:
    """A sequence of linear regression tasks with known ground truths.

    Task ``k`` has ``samples[k]`` samples with i.i.d. N(0, 1) features and labels
    ``features @ truths[k] + noise[k] * N(0, 1)``.

    Parameters
    ----------
    sizes : sequence of int, shape (B,)
        Number of parameters in each block, each at least 1; P is their sum.
    truths : array_like, shape (K, P)
        Ground truth of each task, the blocks side by side in the order of `sizes`.
    samples : int or sequence of int, shape (K,)
        Training samples of each task, each at least 1.
    noise : float or sequence of float, shape (K,)
        Standard deviation of the label noise of each task, each at least 0.
    start : array_like, shape (P,), optional
        Parameters before the first task; zeros unless given.

    Raises
    ------
    InputError
        If a shape or a value is not as described.
    """

    sizes: IntArray
    truths: FloatArray
    samples: IntArray
    noise: FloatArray
    start: FloatArray

    def __init__(
        self,
        sizes: Sequence[int] | IntArray,
        truths: npt.ArrayLike,
        samples: int | Sequence[int] | IntArray,
        noise: float | Sequence[float] | FloatArray = 0.0,
        start: npt.ArrayLike | None = None,
    ) -> None:
        sizes = counts("sizes", sizes)
        parameters = int(sizes.sum())
        truths = finite("truths", truths)
        if truths.ndim != 2 or truths.shape[0] == 0 or truths.shape[1] != parameters:
            raise InputError(
                f"truths has shape {truths.shape}, but one row per task and sum(sizes) = "
                f"{parameters} columns are expected: check sizes or the rows"
            )
        tasks = truths.shape[0]
        start = np.zeros(parameters) if start is None else finite("start", start)
        if start.shape != (parameters,):
            raise InputError(
                f"start has shape {start.shape}, but sum(sizes) = {parameters} values are expected"
            )
        freeze(
            self,
            sizes=sizes,
            truths=truths,
            samples=counts("samples", samples, tasks),
            noise=deviations("noise", noise, tasks),
            start=start,
        )


@dataclass(frozen=True, eq=False)
class Problem:
    """All that the expected risks of a task sequence depend on: distances, not directions.

    The theory is Gaussian and isotropic, so two sequences with equal block distances have
    equal expected risks.

    Parameters
    ----------
    sizes : sequence of int, shape (B,)
        Number of parameters in each block, each at least 1.
    distances : array_like, shape (B, K, K)
        ``distances[b, k, i]`` is the squared distance of the ground truths of tasks k and i in
        block b: symmetric, zero on the diagonal, at least 0. It must come from points; of
        that, only the triangle inequalities that involve the start are checked.
    initial : array_like, shape (B, K)
        ``initial[b, i]`` is the (expected) squared distance in block b from the parameters
        before the first task to the ground truth of task i.
    samples : int or sequence of int, shape (K,)
        Training samples of each task, each at least 1.
    noise : float or sequence of float, shape (K,)
        Standard deviation of the label noise of each task, each at least 0.

    Raises
    ------
    InputError
        If a shape or a value is not as described.
    """

    sizes: IntArray
    distances: FloatArray
    initial: FloatArray
    samples: IntArray
    noise: FloatArray

    def __init__(
        self,
        sizes: Sequence[int] | IntArray,
        distances: npt.ArrayLike,
        initial: npt.ArrayLike,
        samples: int | Sequence[int] | IntArray,
        noise: float | Sequence[float] | FloatArray = 0.0,
    ) -> None:
        sizes = counts("sizes", sizes)
        initial = finite("initial", initial)
        if initial.ndim != 2 or initial.shape[0] != len(sizes) or initial.shape[1] == 0:
            raise InputError(
                f"initial has shape {initial.shape}, but (blocks, tasks) is expected, with "
                f"{len(sizes)} blocks as in sizes"
            )
        tasks = initial.shape[1]
        distances = finite("distances", distances)
        if distances.shape != (len(sizes), tasks, tasks):
            raise InputError(
                f"distances has shape {distances.shape}, but (blocks, tasks, tasks) = "
                f"{(len(sizes), tasks, tasks)} is expected"
            )
        _check_distances(distances, initial)
        freeze(
            self,
            sizes=sizes,
            distances=distances,
            initial=initial,
            samples=counts("samples", samples, tasks),
            noise=deviations("noise", noise, tasks),
        )

    @classmethod
    def from_tasks(cls, tasks: LinearTasks) -> Problem:
        """Reduce tasks with known ground truths to their squared block distances."""
        points = np.vstack([tasks.start, tasks.truths])
        blocks = np.split(points, np.cumsum(tasks.sizes)[:-1], axis=1)  # B arrays (1 + K, p_b)
        squares = np.stack([squareform(pdist(block, "sqeuclidean")) for block in blocks])
        return cls(tasks.sizes, squares[:, 1:, 1:], squares[:, 0, 1:], tasks.samples, tasks.noise)


def _check_distances(distances: FloatArray, initial: FloatArray) -> None:
    for name, values in (("distances", distances), ("initial", initial)):
        if values.min() < 0:
            raise InputError(f"{name} holds {values.min():g}, but squared distances are at least 0")
    slack = _ROUNDING * max(1.0, float(distances.max()), float(initial.max()))
    if (np.abs(distances - distances.transpose(0, 2, 1)) > slack).any():
        raise InputError(
            "distances is not symmetric: distances[b, k, i] must equal distances[b, i, k]"
        )
    if (np.diagonal(distances, axis1=1, axis2=2) > slack).any():
        raise InputError("distances[b, k, k] must be 0: a task has no distance to itself")
    apart = np.sqrt(distances)
    reach = np.sqrt(initial)
    nearest = np.abs(reach[:, :, None] - reach[:, None, :])
    farthest = reach[:, :, None] + reach[:, None, :]
    # A square root turns an error of `slack` at zero into one of its root.
    loose = np.sqrt(slack)
    broken = np.argwhere((apart < nearest - loose) | (apart > farthest + loose))
    if len(broken):
        b, k, i = broken[0]
        raise InputError(
            f"no points have these distances: in block {b} the start is {reach[b, k]:g} from task "
            f"{k} and {reach[b, i]:g} from task {i}, which are {apart[b, k, i]:g} apart (roots of "
            "the squares given): check that both arrays hold squared distances"
        )
