"""What one update may train, how far it moves, and the moments that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clcore.errors import InputError
from clcore.theory.validation import IntArray


@dataclass(frozen=True)
class Update:
    """The blocks that train on a task, and how far each moves.

    With `Δ` the smallest change of the trainable blocks that fits the new task (least squares
    where it cannot be fitted), block ``trainable[j]`` moves by ``gains[j] * Δ``.

    Parameters
    ----------
    trainable : sequence of int
        Indices of the trainable blocks, each once. Empty: the model stays as it is.
    gains : float or sequence of float
        Gain of each trainable block in the order of `trainable`, or one gain for all; in
        [0, 1].

    Raises
    ------
    InputError
        If a block repeats or is negative, or a gain is missing or outside [0, 1].

    Examples
    --------
    With the shared block 0 and the task-specific block 1: ``Update(())`` stays, ``Update((1,))``
    is frozen training, ``Update((0, 1))`` is initialized training and
    ``Update((0, 1), gains=(0.1, 1.0))`` lies between the two.
    """

    trainable: tuple[int, ...]
    gains: tuple[float, ...]

    def __init__(self, trainable: Sequence[int] = (), gains: float | Sequence[float] = 1.0) -> None:
        blocks = tuple(trainable)
        if any(not isinstance(b, (int, np.integer)) or b < 0 for b in blocks):
            raise InputError(f"trainable = {blocks}, but block indices of at least 0 are expected")
        if len(set(blocks)) < len(blocks):
            raise InputError(f"trainable = {blocks} names a block twice: name each once")
        values = (
            (float(gains),) * len(blocks)
            if isinstance(gains, (int, float, np.number))
            else tuple(float(g) for g in gains)
        )
        if len(values) != len(blocks):
            raise InputError(
                f"{len(values)} gains for {len(blocks)} trainable blocks: give one gain for all, "
                "or one for each"
            )
        if any(not 0 <= g <= 1 for g in values):
            raise InputError(f"gains = {values}, but each gain must lie in [0, 1]")
        object.__setattr__(self, "trainable", tuple(int(b) for b in blocks))
        object.__setattr__(self, "gains", values)


class Moments(NamedTuple):
    """What chance does to one update with m trainable parameters and n samples.

    All are pure numbers. With d what is to be learned and s² the effective label noise, the
    update Δ has the mean ``pull * d`` and, in a block with p parameters, the expected energy
    ``own * |d_b|² + p * spread * |d_T|² + (p / m) * noise * s²``.

    Attributes
    ----------
    pull : float
        The share c of d that is learned in the mean: n/m if m > n + 1, 1 if n > m + 1.
    noise : float
        The amplification κ of noise: n/(m-n-1) if m > n + 1, m/(n-m-1) if n > m + 1.
    own, spread : float
        How much of the energy of d stays in its block, and how much spreads evenly over all
        trainable parameters (α + β and β of the random projection).
    """

    pull: float
    noise: float
    own: float
    spread: float


def moments(trainable: int, samples: int) -> Moments:
    """Return the moments of an update with m = `trainable` parameters on n = `samples` samples.

    Source: the companion's derivation (*One update, exactly*, lemmas on the random projection
    and on the inverse Wishart matrix).

    Parameters
    ----------
    trainable : int
        m, at least 0.
    samples : int
        n, at least 1.

    Raises
    ------
    InputError
        If m or n is out of range, or |m - n| ≤ 1: there the expectation is infinite.
    """
    m, n = trainable, samples
    if m < 0 or n < 1:
        raise InputError(
            f"{m} trainable parameters and {n} samples, but at least 0 and 1 are expected"
        )
    if m == 0:
        return Moments(0.0, 0.0, 0.0, 0.0)
    if abs(m - n) <= 1:
        fewer = f"m < {n - 1} or " if n > 1 else ""
        raise InputError(
            f"m = {m} trainable parameters on n = {n} samples: for |m - n| <= 1 the expected risk "
            f"is infinite (the double-descent peak): choose {fewer}m > {n + 1}"
        )
    if m < n:
        return Moments(pull=1.0, noise=m / (n - m - 1), own=1.0, spread=0.0)
    spread = n * (m - n) / (m * (m - 1) * (m + 2))
    return Moments(
        pull=n / m,
        noise=n / (m - n - 1),
        own=n * (n + 2) / (m * (m + 2)) - spread,
        spread=spread,
    )


def check_plan(
    updates: Sequence[Update],
    sizes: IntArray,
    samples: IntArray,
    fits: bool = True,
) -> None:
    """Check that every update of a sequence can be made.

    Parameters
    ----------
    updates : sequence of Update, length K
        One update for each task.
    sizes : (B,) array
        Parameters in each block.
    samples : (K,) array
        Samples of each task.
    fits : bool
        Whether every update is the smallest change that fits: only then can its expected risk
        be infinite.

    Raises
    ------
    InputError
        If there is not one update a task, if an update trains a block that does not exist,
        or if its expected risk is infinite.
    """
    if len(updates) != len(samples):
        raise InputError(
            f"{len(updates)} updates for {len(samples)} tasks: give one for each, Update(()) "
            "where the model is to stay"
        )
    for k, (update, n) in enumerate(zip(updates, samples, strict=True)):
        if update.trainable and max(update.trainable) >= len(sizes):
            raise InputError(
                f"update {k} trains block {max(update.trainable)}, but the blocks are 0 to "
                f"{len(sizes) - 1}"
            )
        if fits:
            try:
                moments(int(sizes[list(update.trainable)].sum()), int(n))
            except InputError as error:
                raise InputError(f"update {k}: {error}") from error
