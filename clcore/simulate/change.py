"""The change of the parameters that every update is made of: exact, proximal or by descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.theory import LinearTasks
from clcore.theory.validation import FloatArray, finite, freeze, strengths_by_block

# Ratio of pivots below which features count as linearly dependent.
_DEPENDENT = 1e-6


class Change(Protocol):
    """How the trainable parameters change, given the data of a task."""

    def check(self, tasks: LinearTasks) -> None:
        """Raise `InputError` if the change cannot be made on these tasks."""

    def __call__(self, features: Tensor, residual: Tensor, task: int, blocks: Tensor) -> Tensor:
        """Return the (R, m) change on (R, n, m) features; `blocks` (m,) has each column's block."""


@dataclass(frozen=True, eq=False)
class Proximal:
    """The change that trades the misfit against the distance moved.

    It minimizes (1/n) ‖r − Φᵀ Δ‖² + Σ_b λ_b ‖Δ_b‖², between the smallest change (λ → 0) and
    none (λ → ∞).

    Parameters
    ----------
    strengths : array_like, shape (), (B,) or (K, B)
        λ of each block, each positive; one value, or one row, stands for all.

    Raises
    ------
    InputError
        If a strength is not positive.
    """

    strengths: FloatArray

    def __init__(self, strengths: npt.ArrayLike) -> None:
        values = finite("strengths", strengths)
        if not (values > 0).all():
            raise InputError(
                f"strengths hold {values.min():g}, but positive ones are expected: leave out "
                "`change` for the smallest change that fits"
            )
        freeze(self, strengths=values)

    def check(self, tasks: LinearTasks) -> None:
        """Raise `InputError` if the strengths do not fit the tasks' blocks."""
        strengths_by_block(self.strengths, len(tasks.samples), len(tasks.sizes))

    def __call__(self, features: Tensor, residual: Tensor, task: int, blocks: Tensor) -> Tensor:
        """Return the (R, m) change on (R, n, m) features, with (R, n) residuals."""
        row = self.strengths[task] if self.strengths.ndim == 2 else self.strengths
        strengths = torch.tensor(row, device=features.device)
        return proximal_change(features, residual, strengths[blocks] if row.ndim else strengths)


@dataclass(frozen=True)
class Descent:
    """The change by gradient descent from zero on half the mean squared error, full batch.

    Stopped early, it shrinks each direction of the data by a factor of its own; with many steps
    it is the smallest change that fits.

    Parameters
    ----------
    steps : int
        Number of steps, at least 0.
    rate : float
        Learning rate, positive. Every trial converges if it is below 2 / (largest
        eigenvalue of Φ Φᵀ / n).

    Raises
    ------
    InputError
        If a value is out of range; when run, if the rate is too large for a trial's data.
    """

    steps: int
    rate: float

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"steps = {self.steps}, but at least 0 is expected")
        if not 0 < self.rate < float("inf"):
            raise InputError(f"rate = {self.rate}, but a positive number is expected")

    def check(self, tasks: LinearTasks) -> None:
        """Accept all tasks: the data decide whether a rate is too large."""

    def __call__(self, features: Tensor, residual: Tensor, task: int, blocks: Tensor) -> Tensor:
        """Return the (R, m) change on (R, n, m) features, with (R, n) residuals."""
        scale = self.rate / features.shape[1]
        change = features.new_zeros(len(features), 1, features.shape[2])
        left = target = residual[:, None]
        for _ in range(self.steps):
            change = change + scale * (left @ features)
            left = target - change @ features.mT
        # A stable rate shrinks every component of the misfit, so growth means divergence.
        grown = left.square().sum(dim=(1, 2)) > (1 + 1e-9) * target.square().sum(dim=(1, 2))
        if grown.any() or not left.isfinite().all():
            raise InputError(
                f"descent diverges with rate = {self.rate:g}: choose one below 2 / (largest "
                "eigenvalue of the features' second moments)"
            )
        return change[:, 0]


def smallest_change(features: Tensor, residual: Tensor) -> Tensor:
    """Return the smallest change of the parameters that fits the residual, for every trial.

    Where it cannot be fitted (m < n), the least-squares change. Gradient descent on the
    squared error from zero converges to the same.

    Parameters
    ----------
    features : (R, n, m) tensor
        Full-rank features of R trials, a sample a row.
    residual : (R, n) tensor
        What the changed parameters are to explain.

    Returns
    -------
    (R, m) tensor

    Raises
    ------
    InputError
        If the features of a trial have less than full rank.
    """
    solve, factor, failed = normal_equations(features)
    least, most = factor.diagonal(dim1=1, dim2=2).aminmax(dim=1)
    if failed.any() or (least < _DEPENDENT * most).any():
        raise InputError(
            "the features of a trial are linearly dependent, so that not all residuals can be "
            "fitted: use more parameters or samples, or a Proximal change"
        )
    return solve(residual)


def normal_equations(features: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
    """Factor the Gram matrices of (R, n, m) features, those of the smaller side.

    About ten times faster than a batched lstsq, and as accurate where n and m are well apart.

    Returns
    -------
    solve : callable
        From (R, n) residuals to the (R, m) smallest changes that fit them.
    factor : (R, min(n, m), min(n, m)) tensor
        Their upper Cholesky factors.
    failed : (R,) tensor
        Not zero where a matrix has none.
    """
    over = features.shape[2] > features.shape[1]
    gram = product(features, features.mT) if over else product(features.mT, features)
    factor, failed = torch.linalg.cholesky_ex(gram, upper=True)

    def solve(residual: Tensor) -> Tensor:
        # Rows are several times faster than columns.
        target = residual[:, None] if over else product(residual[:, None], features)
        half = torch.linalg.solve_triangular(factor, target, upper=True, left=False)
        found = torch.linalg.solve_triangular(factor.mT, half, upper=False, left=False)
        return (product(found, features) if over else found)[:, 0]

    return solve, factor, failed


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return `left @ right`; NumPy's is up to twice as fast on small matrices on a CPU."""
    if left.device.type != "cpu":
        return left @ right
    return torch.from_numpy(np.matmul(left.numpy(), right.numpy()))


def proximal_change(features: Tensor, residual: Tensor, strengths: Tensor) -> Tensor:
    """Return the minimizer of (1/n) ‖r − Φᵀ Δ‖² + Σ_j λ_j Δ_j² for every trial.

    Parameters
    ----------
    features : (R, n, m) tensor
        A sample a row.
    residual : (R, n) tensor
        What the changed parameters are to explain.
    strengths : (m,) or () tensor
        λ of each parameter, or of all; positive.

    Returns
    -------
    (R, m) tensor
    """
    samples, parameters = features.shape[-2:]
    target = residual[..., None]
    if parameters > samples:
        weighted = features / strengths
        matrix = weighted @ features.mT
        matrix.diagonal(dim1=1, dim2=2).add_(samples)
        return (torch.cholesky_solve(target, torch.linalg.cholesky(matrix)).mT @ weighted)[:, 0]
    matrix = features.mT @ features
    matrix.diagonal(dim1=1, dim2=2).add_(samples * strengths)
    return torch.cholesky_solve((target.mT @ features).mT, torch.linalg.cholesky(matrix))[..., 0]
