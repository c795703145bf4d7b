"""How far to move, block by block, from gradients: scale the update, or hold it in a ball.

The law (see the book, and `theory.optimal_gains` for the linear model): of the quadratic losses
of all tasks seen so far, with gradients g_i where task k arrives, the sum along an update Δ_b of
block b is smallest at the gain

    γ_b = Σ_{i≤k} ⟨g_i, g_k⟩_b / (k ⟨g_k, g_k⟩_b)                             (isotropic)
    γ_b = (⟨Δ, F_k Δ⟩_b − Σ_{i<k} ⟨g_i, Δ⟩_b) / Σ_{i≤k} ⟨Δ, F_i Δ⟩_b          (curvatures F)

clipped to [0, 1]. Gradients and curvatures of earlier tasks are stored as one sum each. A
gradient is taken where its task ends; the curvatures tell how it changes as later tasks move on,
and the isotropic form, which has none, takes it as it was.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clcore.errors import InputError, known
from clcore.measures.gradients import inner, of_blocks
from clcore.networks import Parameters, aligned, block_of, is_statistic, trained_names
from clcore.strategies.strategy import Learner, Strategy


@dataclass
class Scaled(Strategy):
    """Train freely, then keep a part of each block's update: θ̂ + γ ∘ Δ.

    Running statistics move with their block.

    Parameters
    ----------
    gain : float, optional
        The same part for every block and task after the first, in [0, 1]; by default that of
        the law.
    metric : {"identity", "fisher"}
        Which form of the law: isotropic, from gradients at arrival alone, or with the diagonal
        Fisher information as curvature.

    Raises
    ------
    InputError
        If the gain is outside [0, 1], or there is no such metric.
    """

    gain: float | None = None
    metric: str = "identity"
    gradients: Parameters = field(default_factory=dict, init=False, repr=False)
    curvatures: Parameters = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _check(self.gain, self.metric)

    def begin(self, learner: Learner) -> Tensor:
        """Take the gains of the isotropic law."""
        if learner.task and self.gain is None and self.metric == "identity":
            self._gains = isotropic_gains(learner, self.gradients)
        return super().begin(learner)

    def finish(self, learner: Learner) -> None:
        """Go back to where the gains say; store the task's gradient and curvature there."""
        if self.gain is not None:
            gains = learner.rates.new_full(
                (learner.replicas, len(learner.network.blocks)), self.gain
            )
        elif learner.task:
            gains = self._gains if self.metric == "identity" else self._curved(learner)
        if learner.task:
            _scale(learner, gains, statistics=True)
        if self.gain is None:
            if self.curvatures:
                move = _move(learner)
                _add(self.gradients, {n: c * move[n] for n, c in self.curvatures.items()})
            _add(self.gradients, learner.gradient())
            if self.metric == "fisher":
                _add(self.curvatures, learner.fisher())

    def _curved(self, learner: Learner) -> Tensor:
        blocks = learner.network.blocks
        fisher, move = learner.fisher(), _move(learner)
        new = of_blocks(inner, move, {n: f * move[n] for n, f in fisher.items()}, blocks)
        old = of_blocks(inner, move, {n: f * move[n] for n, f in self.curvatures.items()}, blocks)
        slope = of_blocks(inner, move, self.gradients, blocks)
        return _clipped(new - slope, new + old)


@dataclass
class Ball(Strategy):
    """Train each block inside a ball around where it stood: project after every step.

    The radius is a part of the length of the block's update by the first task, which trains
    freely.

    Parameters
    ----------
    gain : float, optional
        That part, > 0 and finite; by default the gain of the isotropic law.

    Raises
    ------
    InputError
        If the gain is out of range.
    """

    gain: float | None = None
    gradients: Parameters = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.gain is not None and not 0 < self.gain < math.inf:
            raise InputError(f"gain {self.gain} of a ball: it must be finite and above 0")

    def begin(self, learner: Learner) -> Tensor:
        """Set the radii."""
        if learner.task:
            gains = self.gain or isotropic_gains(learner, self.gradients)
            self._radii = gains * self._first
        return super().begin(learner)

    def after_step(self, learner: Learner) -> None:
        """Project."""
        if learner.task:
            _scale(learner, _clipped(self._radii, _lengths(learner)))

    def finish(self, learner: Learner) -> None:
        """Keep the length of the first update, and the task's gradient."""
        if not learner.task:
            self._first = _lengths(learner)
        if self.gain is None:
            _add(self.gradients, learner.gradient())


def isotropic_gains(learner: Learner, gradients: Parameters) -> Tensor:
    """Return the gain of each block by the isotropic law, float32 (R, blocks).

    Parameters
    ----------
    gradients : Parameters
        Sum of the earlier tasks' gradients.
    """
    own = learner.gradient()
    blocks = learner.network.blocks
    along, square = (of_blocks(inner, own, g, blocks) for g in (gradients, own))
    return _clipped(square + along, (learner.task + 1) * square).to(learner.rates)


def _clipped(part: Tensor, whole: Tensor) -> Tensor:
    """Return part / whole in [0, 1]; 1 where there is nothing to divide by."""
    return torch.where(whole > 0, part / whole, 1.0).clamp(0, 1)


def _move(learner: Learner) -> Parameters:
    names = trained_names(learner.parameters, learner.network.blocks)
    return {n: learner.parameters[n] - learner.before[n] for n in names}


def _lengths(learner: Learner) -> Tensor:
    """Return the length of each block's update, float32 (R, blocks), where the replicas are."""
    move = _move(learner)
    return of_blocks(inner, move, move, learner.network.blocks).sqrt().to(learner.rates)


def _scale(learner: Learner, gains: Tensor, *, statistics: bool = False) -> None:
    """Move each replica's blocks, running statistics too if asked, to θ̂ + γ Δ: gains (R, blocks).

    At gain 1 a block stays where it is, to the bit; at 0 it goes back.
    """
    blocks = learner.network.blocks
    for n, p in learner.parameters.items():
        if statistics or not is_statistic(n):
            gain = aligned(gains[:, blocks.index(block_of(n))].to(p), p)
            p.copy_(torch.lerp(learner.before[n], p, gain))


def _add(total: Parameters, values: Parameters) -> None:
    for n, value in values.items():
        total[n] = total[n] + value if n in total else value


def _check(gain: float | None, metric: str) -> None:
    known("metric", metric, ("identity", "fisher"))
    if gain is not None and not 0 <= gain <= 1:
        raise InputError(f"gain {gain} is not in [0, 1]")
