"""Strategies that hold on to earlier parameters or answers: references for scale."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clcore.errors import InputError
from clcore.networks import Parameters
from clcore.networks.loss import masked
from clcore.strategies.strategy import Learner, Strategy
from clcore.streams.batches import Batch


@dataclass
class EWC(Strategy):
    """Elastic weight consolidation: ½ λ Σ_i (θ − θ̂_i)ᵀ F_i (θ − θ̂_i) joins the loss.

    Source: Kirkpatrick et al. (2017), equation 3, one penalty for each earlier task i. Its slope
    λ (Σ F_i θ − Σ F_i θ̂_i) needs two sums, however many tasks there were.

    Parameters
    ----------
    strength : float
        λ, ≥ 0 and finite, for losses that are means over samples.

    Raises
    ------
    InputError
        If `strength` is out of range.
    """

    strength: float
    fishers: Parameters = field(default_factory=dict, init=False, repr=False)
    anchors: Parameters = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.strength < math.inf:
            raise InputError(f"strength {self.strength} of EWC: it must be finite and at least 0")

    def gradient(self, learner: Learner, gradient: Parameters) -> None:
        """Add the slope of the penalty."""
        for n, fisher in self.fishers.items():
            away = torch.addcmul(self.anchors[n], fisher, learner.parameters[n], value=-1)
            gradient[n].sub_(away, alpha=self.strength)

    def finish(self, learner: Learner) -> None:
        """Add the task's penalty."""
        for n, fisher in learner.fisher().items():
            anchor = fisher * learner.parameters[n]
            self.fishers[n] = self.fishers[n] + fisher if n in self.fishers else fisher
            self.anchors[n] = self.anchors[n] + anchor if n in self.anchors else anchor


@dataclass
class LwF(Strategy):
    """Learning without forgetting: keep the answers that the old model gives to new images.

    The loss of task k, counted from 1, is 1/k of its own plus `strength` (1 − 1/k) of the cross
    entropy to the softened answers of the model before the task, with temperature T, times T².
    Where tasks have outputs of their own, the answers as each earlier task count, on average;
    else one answer, of the outputs that competed before the task. Source: Li and Hoiem (2016),
    without its first phase, which trains new outputs alone; the weights by k are van de Ven et
    al.'s (2022).

    Parameters
    ----------
    temperature : float
        > 0 and finite.
    strength : float
        ≥ 0 and finite.

    Raises
    ------
    InputError
        If an option is out of range.
    """

    temperature: float = 2.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.temperature < math.inf and 0 <= self.strength < math.inf):
            raise InputError(
                f"temperature {self.temperature}, strength {self.strength} of LwF: both must be "
                "finite, the one above 0, the other at least 0"
            )
        # Which outputs answered before, (R, 1, outputs), and the share of the tasks they did for.
        self._groups: list[tuple[Tensor | None, float]] = [(None, 1.0)]

    def slope(self, learner: Learner, batch: Batch, logits: Tensor, slope: Tensor) -> None:
        """Weigh the loss of the task, and add that of the earlier answers."""
        if not learner.task:
            return
        new = 1 / (learner.task + 1)
        slope.mul_(new)
        taught = learner.logits(learner.before, batch) / self.temperature
        softened = logits / self.temperature
        for compete, share in self._groups:
            apart = masked(softened, compete).softmax(2) - masked(taught, compete).softmax(2)
            scale = self.strength * (1 - new) * self.temperature * share
            slope.addcmul_(apart, batch.weights[..., None], value=scale)

    def finish(self, learner: Learner) -> None:
        """Keep which outputs competed so far: those of each task, or the same for all."""
        if learner.competing is None:
            return
        seen = learner.competing[:, : learner.task + 1]
        groups, counts = seen.unique(dim=1, return_counts=True)
        shares = (counts / seen.shape[1]).tolist()
        self._groups = [
            (g[:, None], share) for g, share in zip(groups.unbind(1), shares, strict=True)
        ]
