"""Strategies that keep samples of earlier tasks: references for scale, no rivals."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.measures.gradients import inner
from clcore.networks import Parameters, aligned
from clcore.strategies.memory import Memory
from clcore.strategies.strategy import Learner, Strategy
from clcore.streams.batches import Batch


@dataclass
class Replay(Strategy):
    """Experience replay: each step trains on the batch and on as many remembered samples.

    The loss is the mean over both together: half of it is the batch's, also where the batch is
    the last, smaller one of an epoch. Source: Chaudhry et al. (2019, On Tiny Episodic Memories),
    algorithm 1, with samples drawn with replacement.

    Parameters
    ----------
    size : int
        Samples kept of each replica, ≥ 1.

    Raises
    ------
    InputError
        If `size` is below 1.
    """

    size: int

    def __post_init__(self) -> None:
        self.memory = Memory(self.size)

    def mix(self, learner: Learner, batch: Batch) -> Batch:
        """Put remembered samples in front of the batch, and remember of the batch."""
        found = self.memory.sample(batch.rows.shape[1], learner.draws)
        self.memory.add(batch, learner.draws)
        if not found:
            return batch
        weights = torch.full_like(batch.weights, 0.5 / batch.rows.shape[1])
        mixed = batch._replace(weights=batch.weights / 2)
        return mixed.after(learner.recall(**found, weights=weights))


@dataclass
class AGEM(Strategy):
    """Averaged GEM: no step may raise the loss on remembered samples, to first order.

    If the gradient g points against that of the remembered samples, ⟨g, r⟩ < 0, it loses that
    part: g − ⟨g, r⟩ / ⟨r, r⟩ r. Source: Chaudhry et al. (2019, Efficient Lifelong Learning with
    A-GEM), equation 11; it is gradients that are projected, before momentum.

    Parameters
    ----------
    per_task : int
        Samples kept of each task and replica, ≥ 1.
    sample : int
        Remembered samples a step, ≥ 1: as many of each earlier task, rounded up.

    Raises
    ------
    InputError
        If a number is below 1.
    """

    per_task: int
    sample: int = 128

    def __post_init__(self) -> None:
        if self.sample < 1:
            raise InputError(f"{self.sample} remembered samples a step: draw at least 1")
        self.memories: list[Memory] = []
        self._current = Memory(self.per_task)

    def mix(self, learner: Learner, batch: Batch) -> Batch:
        """Remember of the batch, for later tasks."""
        self._current.add(batch, learner.draws)
        return batch

    def gradient(self, learner: Learner, gradient: Parameters) -> None:
        """Take away what would raise the loss on remembered samples."""
        if not self.memories:
            return
        each = -(-self.sample // len(self.memories))
        parts = [memory.sample(each, learner.draws) for memory in self.memories]
        found = {n: torch.cat([part[n] for part in parts], 1) for n in parts[0]}
        number = each * len(parts)
        weights = torch.full((learner.replicas, number), 1 / number, device=learner.rates.device)
        reference = learner.gradient(learner.recall(**found, weights=weights))
        against = inner(gradient, reference)
        share = torch.where(against < 0, against / inner(reference, reference), 0.0)
        for n, g in gradient.items():
            g.sub_(aligned(share.to(g), g) * reference[n])

    def finish(self, learner: Learner) -> None:
        """Close the task's memory."""
        self.memories.append(self._current)
        self._current = Memory(self.per_task)


@dataclass
class DarkReplay(Strategy):
    """DER++: remembered samples keep their labels and the logits that they once had.

    The loss is that of the batch, plus `alpha` times the mean squared distance to the logits
    kept of some remembered samples, plus `beta` times the loss on others, as many each as the
    batch has. The mean runs over samples and over the outputs that competed when the sample was
    kept: no other was trained by then, so what it answered means nothing. Where all compete
    (domain-incremental), that is the code of Buzzega et al. (2020), whose equation 6 sums over
    the outputs instead. One forward pass serves all three parts, so that batch normalization
    sees them together.

    Parameters
    ----------
    size : int
        Samples kept of each replica, ≥ 1.
    alpha, beta : float
        ≥ 0 and finite.

    Raises
    ------
    InputError
        If an option is out of range.
    """

    size: int
    alpha: float = 1.0
    beta: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.alpha < math.inf and 0 <= self.beta < math.inf):
            raise InputError(
                f"alpha {self.alpha}, beta {self.beta}: both must be finite and at least 0"
            )
        self.memory = Memory(self.size)
        self._targets: tuple[Tensor, Tensor] | None = None

    def mix(self, learner: Learner, batch: Batch) -> Batch:
        """Put remembered samples in front of the batch, twice: for their logits and labels."""
        number = batch.rows.shape[1]
        found = self.memory.sample(2 * number, learner.draws)
        self._batch, self._targets = batch, None
        if not found:
            return batch
        self._targets = found.pop("logits")[:, :number], found.pop("competed")[:, :number]
        weights = torch.zeros_like(found["rows"], dtype=batch.weights.dtype)
        weights[:, number:] = self.beta / number
        return batch.after(learner.recall(**found, weights=weights))

    def slope(self, learner: Learner, batch: Batch, logits: Tensor, slope: Tensor) -> None:
        """Draw remembered samples to their logits, and remember of the batch."""
        number = self._batch.rows.shape[1]
        if self._targets:
            kept, competed = self._targets
            apart = (logits[:, :number] - kept) * competed / competed.sum(2, keepdim=True)
            slope[:, :number].add_(apart, alpha=2 * self.alpha / number)
        own = logits[:, -number:]
        competed = torch.ones_like(own, dtype=torch.bool)
        if learner.competing is not None:
            competed = learner.competing[:, learner.task, None].expand_as(own)
        self.memory.add(self._batch, learner.draws, logits=own, competed=competed)
