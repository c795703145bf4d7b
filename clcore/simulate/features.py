"""Where the features of simulated data come from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clcore.errors import InputError, known
from clcore.simulate.normal import fill_normal
from clcore.theory.validation import FloatArray, finite, freeze, one_a_task, second_moments

Kind = Literal["normal", "uniform", "signs"]

# Of the random weights: not the numbers that a caller draws from the same seed.
_SPAWN_KEY = 9
# Relative size of an eigenvalue below which whitening would amplify rounding errors.
_DEPENDENT = 1e-10


class Features(Protocol):
    """A distribution of features for each task."""

    def covariances(self, tasks: int, parameters: int) -> FloatArray | None:
        """Return the (K, P, P) second moments, None if all are the identity."""

    def draw(self, task: int, out: Tensor, generator: torch.Generator) -> None:
        """Fill the (R, n, P) tensor of single precision: n samples in each of R trials."""


@dataclass(frozen=True, eq=False)
class IndependentFeatures:
    """Independent entries of mean 0 and variance 1, mixed to have the covariance Σ_k.

    Parameters
    ----------
    kind : {"normal", "uniform", "signs"}
        Distribution of the entries z: N(0, 1), uniform on [−√3, √3], or ±1. Features are
        Σ_k^(1/2) z.
    covariance : array_like, shape (P, P) or (K, P, P), optional
        Σ_k of every task, or one for all; the identity unless given.

    Raises
    ------
    InputError
        If the kind is unknown or Σ is no covariance; when used, if Σ does not fit the tasks.
    """

    kind: Kind
    covariance: FloatArray | None
    root: FloatArray | None

    def __init__(self, kind: Kind = "normal", covariance: npt.ArrayLike | None = None) -> None:
        object.__setattr__(self, "kind", known("kind of entries", kind, get_args(Kind)))
        object.__setattr__(self, "covariance", None)
        object.__setattr__(self, "root", None)
        if covariance is not None:
            array = second_moments("covariance", covariance)
            values, vectors = np.linalg.eigh(array)
            scaled = vectors * np.sqrt(values.clip(0.0))[..., None, :]
            freeze(self, covariance=array, root=scaled @ np.swapaxes(vectors, -1, -2))

    def covariances(self, tasks: int, parameters: int) -> FloatArray | None:
        """Return the (K, P, P) second moments, None if all are the identity."""
        if self.covariance is None:
            return None
        return one_a_task("covariance", self.covariance, tasks, parameters)

    def draw(self, task: int, out: Tensor, generator: torch.Generator) -> None:
        """Fill the (R, n, P) tensor with features."""
        if self.kind == "normal":
            fill_normal(out, generator)
        elif self.kind == "uniform":
            out.uniform_(-math.sqrt(3), math.sqrt(3), generator=generator)
        else:
            out.random_(0, 2, generator=generator).mul_(2).sub_(1)
        if self.root is not None:
            root = self.root[task] if self.root.ndim == 3 else self.root
            out.copy_(out @ torch.tensor(root, dtype=out.dtype, device=out.device))


@dataclass(frozen=True, eq=False)
class SampledFeatures:
    """Rows of a given table, such as features of real images; the same table for all tasks.

    A trial draws n rows without replacement (a repeated row could not be fitted to two labels), so
    n far below N is as good as independent samples. The table is the whole population: its
    second moments are known, not estimated.

    Parameters
    ----------
    rows : array_like, shape (N, P)
        One sample a row, with N at least every task's number of samples.

    Raises
    ------
    InputError
        If the rows are no table; when used, if the table does not fit the tasks.
    """

    rows: FloatArray

    def __init__(self, rows: npt.ArrayLike) -> None:
        array = finite("rows", rows)
        if array.ndim != 2 or array.size == 0:
            raise InputError(f"rows has shape {array.shape}, but (samples, features) is expected")
        freeze(self, rows=array)

    def covariances(self, tasks: int, parameters: int) -> FloatArray | None:
        """Return the (K, P, P) second moments of the table."""
        moment = self.rows.T @ self.rows / len(self.rows)
        return one_a_task("second moments of the rows", moment, tasks, parameters)

    def draw(self, task: int, out: Tensor, generator: torch.Generator) -> None:
        """Fill the (R, n, P) tensor with features."""
        trials, samples, _ = out.shape
        if samples > len(self.rows):
            raise InputError(f"{samples} samples, but the table has only {len(self.rows)} rows")
        lots = torch.rand(trials, len(self.rows), generator=generator, device=out.device)
        chosen = lots.topk(samples, dim=1).indices  # (R, n)
        out.copy_(torch.tensor(self.rows, device=out.device)[chosen])


def relu_features(
    images: npt.ArrayLike, width: int, seed: int = 0, whiten: bool = False
) -> FloatArray:
    """Return random ReLU features of images, standardized over these images.

    Feature j of image x is max(0, w_j · x) with w_j ~ N(0, I) and x the centred image, then less
    its mean and divided by its standard deviation.

    Parameters
    ----------
    images : array_like, shape (N, pixels)
        One image a row.
    width : int
        P, the number of features, at least 1 and below N.
    seed : int
        Of the random weights, at least 0.
    whiten : bool
        Mix the features to have the identity as covariance: as isotropic as Gaussian ones in
        their second moments, but in nothing else.

    Returns
    -------
    (N, width) array
        With mean 0 and variance 1 in each column.

    Raises
    ------
    InputError
        If a shape or value is out of range, or features are constant, or (when whitened)
        linearly dependent.
    """
    inputs = finite("images", images)
    if inputs.ndim != 2 or not 1 <= width < len(inputs):
        raise InputError(
            f"images of shape {inputs.shape} and width {width}, but (samples, pixels) and a "
            "width from 1 to below the number of samples are expected"
        )
    draws = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SPAWN_KEY,)))
    weights = draws.normal(size=(inputs.shape[1], width))
    hidden = np.maximum(0.0, (inputs - inputs.mean(axis=0)) @ weights)
    deviation = hidden.std(axis=0)
    if not deviation.all():
        raise InputError("a feature is the same in all images: give images that differ")
    rows: FloatArray = (hidden - hidden.mean(axis=0)) / deviation
    if whiten:
        values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
        if values[0] < _DEPENDENT * values[-1]:
            raise InputError(
                f"the {width} features are linearly dependent: choose a smaller width to whiten"
            )
        rows = rows @ (vectors / np.sqrt(values)) @ vectors.T
    return rows
