"""Summaries of an accuracy matrix, as the paper defines them.

An accuracy matrix `a` has shape (…, tasks, tasks): `a[..., k, i]` is the accuracy on task i
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
    """Return Task.Acc = (1/M) Σ_k a[k, k]: the mean accuracy on each task just trained."""
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


def _matrix(accuracy: ArrayLike) -> Floats:
    matrix = np.asarray(accuracy, dtype=np.float64)
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
        raise InputError(f"accuracy matrix of shape {matrix.shape}: expected (…, tasks, tasks)")
    return matrix


def _diagonal(matrix: Floats) -> Floats:
    return np.diagonal(matrix, axis1=-2, axis2=-1)
