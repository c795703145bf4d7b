"""Constrain the update while it is made: a proximal term with the curvature of earlier tasks."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from clcore.errors import InputError, known
from clcore.measures.gradients import cosine, inner, of_blocks
from clcore.networks import Parameters, aligned, block_of, trained_names
from clcore.strategies.strategy import Learner, Strategy

REWOUND = 0.5  # part of a block's update that is taken back to measure a curvature
CEILING = 1e5  # of a measured curvature, where the Fisher information vanishes


@dataclass
class Proximal(Strategy):
    """Descent on the task's loss plus ½ (θ − θ̂)ᵀ C (θ − θ̂), θ̂ being where the task found θ.

    After every step, the penalty's own (implicit) step: θ ← θ̂ + (θ − θ̂) / (1 + η C), which no
    strength makes unstable. C is the sum of the earlier tasks' curvatures, and for quadratic
    losses the update then minimizes the sum of all tasks' losses: the law for the gain in its
    curvature form, held during training.

    By default each task's curvature is measured, with no strength to tune. The Fisher
    information F is that of infinitely small moves, and underestimates how the loss rises over
    the distances that blocks move. So when a task ends, half of each block's update Δ_b is taken
    back, and C_b = F_b · (rise of the task's own training loss) / (rise that F_b predicts), never
    below F_b (0 with the metric "identity") nor above `CEILING` · F_b. This calibration
    is this companion's own; the proximal step in the Fisher metric is that of EWC (Kirkpatrick
    et al., 2017) and its relatives, taken implicitly and around θ̂.

    The measured rise has the slope of the loss in it: where the penalty kept a task from its own
    minimum, C_b is larger than the curvature, and where a block overshot, smaller. Where descent
    has momentum m, the penalty counts (1 − m)-fold, since it has none.
    Adam scales each entry's step and not the penalty, which would hold hardly anything: `train`
    refuses it. On a network with running statistics the rise is that of training, where batches
    are normalized by their own, and F that of evaluation.

    Parameters
    ----------
    strength : float, optional
        Take C = strength · F instead, > 0 and finite.
    metric : {"fisher", "identity"}
        What F is: the diagonal Fisher information, or 1 for each parameter.
    directed : bool
        Multiply C_b by 1 − cos(g_k, g_{k−1})_b as well, with gradients at θ̂: hold a block less
        where the task wants to go where the one before wanted to.

    Raises
    ------
    InputError
        If the strength is out of range, or there is no such metric.
    """

    optimizers: ClassVar[tuple[str, ...]] = ("sgd",)

    strength: float | None = None
    metric: str = "fisher"
    directed: bool = False
    curvatures: Parameters = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        known("metric", self.metric, ("fisher", "identity"))
        if self.strength is not None and not 0 < self.strength < math.inf:
            raise InputError(
                f"strength {self.strength} of a proximal term: it must be finite, above 0"
            )
        self._back: Parameters = {}
        self._gradient: Parameters = {}

    def begin(self, learner: Learner) -> Tensor:
        """Compute what part of each parameter's move the penalty takes back in a step."""
        blocks = learner.network.blocks
        factors = learner.rates[:, None].expand(-1, len(blocks))
        if self.directed and learner.task:
            alike = of_blocks(cosine, learner.gradient(), self._gradient, blocks)
            factors = factors * (1 - alike).to(factors)
        for n, curvature in self.curvatures.items():
            pull = aligned(factors[:, blocks.index(block_of(n))], curvature) * curvature
            self._back[n] = pull / (1 + pull)
        return super().begin(learner)

    def after_step(self, learner: Learner) -> None:
        """Take the penalty's step."""
        for n, back in self._back.items():
            p = learner.parameters[n]
            p.lerp_(learner.before[n], back)

    def finish(self, learner: Learner) -> None:
        """Measure the task's curvature, and add it to the others'."""
        self._back = {}  # `begin` makes another
        names = trained_names(learner.parameters, learner.network.blocks)
        fisher = (
            learner.fisher()
            if self.metric == "fisher"
            else {n: torch.ones_like(learner.parameters[n]) for n in names}
        )
        ratios = self._ratios(learner, fisher)
        for b, block in enumerate(learner.network.blocks):
            learner.notes[f"curvature_{block}"] = ratios[:, b].cpu()
        for n, f in fisher.items():
            ratio = ratios[:, learner.network.blocks.index(block_of(n))]
            curvature = f * aligned(ratio.to(f), f)
            total = self.curvatures.get(n)
            self.curvatures[n] = curvature if total is None else total + curvature
        if self.directed:
            self._gradient = learner.gradient()

    def _ratios(self, learner: Learner, fisher: Parameters) -> Tensor:
        """Return curvature over Fisher information of each block, float64 (R, blocks)."""
        blocks = learner.network.blocks
        if self.strength is not None:
            return torch.full((learner.replicas, len(blocks)), self.strength, dtype=torch.float64)
        move = {n: REWOUND * (learner.parameters[n] - learner.before[n]) for n in fisher}
        predicted = of_blocks(inner, move, {n: f * move[n] for n, f in fisher.items()}, blocks) / 2
        reached = learner.loss(learner.parameters)
        rises = []
        for block in blocks:
            rewound = dict(learner.parameters)
            for n in (n for n in fisher if block_of(n) == block):
                rewound[n] = learner.parameters[n] - move[n]
            rises.append(learner.loss(rewound) - reached)
        ratios = torch.stack(rises, 1) / predicted
        # A block that did not move says nothing of its curvature: take the Fisher information's.
        least = 1.0 if self.metric == "fisher" else 0.0
        return ratios.nan_to_num(least, posinf=CEILING).clamp(least, CEILING)
