"""Summaries of accuracies: the paper's, and those that others report.

An accuracy matrix `a` has shape (…, M, M) for M tasks: `a[..., k, i]` is the accuracy on task i
after task k was trained, in [0, 1]. Entries above the diagonal (tasks not yet seen) are not
used here.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clcore.errors import InputError

Floats = NDArray[np.float64]


def average_accuracy(accuracy: ArrayLike) -> Floats:
    """Return Avg.Acc = (1/M) Σ_i a[M, i]: the mean over all M tasks after the last one."""
    return np.asarray(_matrix(accuracy)[..., -1, :].mean(-1))


def task_accuracy(accuracy: ArrayLike) -> Floats:
    """Return Task.Acc = (1/M) Σ_k a[k, k]: the mean accuracy on each task just trained.

    Elsewhere it is called learning accuracy (Riemer et al., 2019).
    """
    return np.asarray(_diagonal(_matrix(accuracy)).mean(-1))


def forgetting(accuracy: ArrayLike) -> Floats:
    """Return Forgetting = 1/(M−1) Σ_{k<M} (a[k, k] − a[M, k]).

    Differs from Chaudhry et al. (2018), who subtract from the best accuracy ever reached.

    Raises
    ------
    InputError
        If there is one task only.
    """
    matrix = _matrix(accuracy)
    if matrix.shape[-1] < 2:
        raise InputError("forgetting needs at least 2 tasks, the accuracy matrix has 1")
    return np.asarray((_diagonal(matrix) - matrix[..., -1, :])[..., :-1].mean(-1))


def backward_transfer(accuracy: ArrayLike) -> Floats:
    """Return 1/(M−1) Σ_{k<M} (a[M, k] − a[k, k]) of Lopez-Paz and Ranzato (2017).

    It is the paper's forgetting with the sign turned.
    """
    return -forgetting(accuracy)


def forward_transfer(arrival: ArrayLike, initial: ArrayLike) -> Floats:
    """Return 1/(M−1) Σ_{k>1} (a[k−1, k] − b[k]) of Lopez-Paz and Ranzato (2017).

    Parameters
    ----------
    arrival : array_like
        (…, M): a[k−1, k], the accuracy on each task just before it is trained, in [0, 1]; the
        first task's is not used.
    initial : array_like
        (…, M): b[k], the accuracy on each task of the network as it was initialized.

    Raises
    ------
    InputError
        If the shapes differ, or there is one task only.
    """
    known, drawn = np.asarray(arrival, dtype=np.float64), np.asarray(initial, dtype=np.float64)
    if known.shape != drawn.shape or known.ndim < 1 or known.shape[-1] < 2:
        raise InputError(
            f"accuracies of shapes {known.shape} and {drawn.shape}: expected (…, tasks) twice, "
            "with at least 2 tasks"
        )
    return np.asarray((known - drawn)[..., 1:].mean(-1))


def minimum_accuracy(within: ArrayLike, accuracy: ArrayLike) -> Floats:
    """Return min-ACC = 1/(M−1) Σ_{i<M} min a[t, i] of De Lange et al. (2023).

    The minimum runs over all judged moments t after task i was learned: those within later
    tasks, and the ends of these.

    Parameters
    ----------
    within : array_like
        (…, M, points, M): accuracies at points within each task, in [0, 1], as `Trajectory`
        gives them; NaN where there are none.
    accuracy : array_like
        (…, M, M): the accuracy matrix.

    Raises
    ------
    InputError
        If the shapes do not fit, or there is one task only.
    """
    points, matrix = _within(within, accuracy)
    later = np.tri(matrix.shape[-1], k=-1, dtype=bool)  # (after task k, on task i): i before k
    lowest = np.where(later, _lowest(points, matrix), np.inf).min(-2)
    return np.asarray(lowest[..., :-1].mean(-1))


def worst_case_accuracy(within: ArrayLike, accuracy: ArrayLike) -> Floats:
    """Return WC-ACC = a[M, M] / M + (1 − 1/M) min-ACC of De Lange et al. (2023).

    What a user can rely on at any moment: new tasks as learned, old ones at their worst.
    Parameters and errors as for `minimum_accuracy`.
    """
    _, matrix = _within(within, accuracy)
    share = 1 / matrix.shape[-1]
    lowest = minimum_accuracy(within, accuracy)
    return np.asarray(share * matrix[..., -1, -1] + (1 - share) * lowest)


def stability_gap(within: ArrayLike, accuracy: ArrayLike) -> Floats:
    """Return the mean over k and i < k of a[k, i] − min_t a[t, i], t within or after task k.

    That is what an old task loses while a new one trains and has back at its end (De Lange et
    al., 2023, name the effect); 0 if accuracies fall without turning back. Parameters and errors
    as for `minimum_accuracy`.
    """
    points, matrix = _within(within, accuracy)
    rows, columns = np.tril_indices(matrix.shape[-1], k=-1)
    gap = matrix - _lowest(points, matrix)
    return np.asarray(gap[..., rows, columns].mean(-1))


def _within(within: ArrayLike, accuracy: ArrayLike) -> tuple[Floats, Floats]:
    points, matrix = np.asarray(within, dtype=np.float64), _matrix(accuracy)
    tasks = matrix.shape[-1]
    fits = points.ndim == matrix.ndim + 1 and points.shape[-2] > 0
    if not fits or (*points.shape[:-2], tasks) != matrix.shape or points.shape[-1] != tasks:
        raise InputError(
            f"accuracies within tasks of shape {points.shape}, accuracy matrix of shape "
            f"{matrix.shape}: expected (…, tasks, points, tasks) and (…, tasks, tasks)"
        )
    if tasks < 2:
        raise InputError("accuracy within later tasks needs at least 2 tasks, there is 1")
    return points, matrix


def _lowest(points: Floats, matrix: Floats) -> Floats:
    """Return the lowest accuracy within or after each task, (…, tasks, tasks)."""
    ends = np.fmin(np.fmin.reduce(points, axis=-2), matrix)
    return np.asarray(np.minimum(ends, matrix))  # a replica without a matrix stays unknown


def _matrix(accuracy: ArrayLike) -> Floats:
    matrix = np.asarray(accuracy, dtype=np.float64)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
        raise InputError(f"accuracy matrix of shape {matrix.shape}: expected (…, tasks, tasks)")
    return matrix


def _diagonal(matrix: Floats) -> Floats:
    return np.diagonal(matrix, axis1=-2, axis2=-1)
