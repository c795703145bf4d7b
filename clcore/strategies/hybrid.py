"""The paper's adaptive strategy: gradient similarity decides how many modules train."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clcore.measures.gradients import cosine
from clcore.networks import Parameters, block_of, last_blocks
from clcore.strategies.strategy import Learner, Strategy, last_modules


@dataclass
class Hybrid(Strategy):
    """Algorithm 1 of the paper.

    When task t arrives, s = metric(g_t, g_{t−1}). A score below the threshold marks an
    unrelated task, for which many modules train; else few do. The paper leaves open where the
    gradients are taken and over which parameters. Here both are gradients of training losses
    where the model stands when task t arrives, as in the theory (g_{t−1} is stored when task
    t − 1 ends), over the body: heads need not be shared.

    Parameters
    ----------
    threshold : float
        Similarity from which on a task counts as related.
    few, many : int
        Modules that train on related and on unrelated tasks; `None` for `many` is all.
    metric : callable
        (gradients, gradients) → similarity of each replica, (R,).

    Raises
    ------
    InputError
        When the first task arrives, if the network has fewer modules.
    """

    threshold: float = 0.1
    few: int = 1
    many: int | None = None
    metric: Callable[[Parameters, Parameters], Tensor] = cosine
    previous: Parameters = field(default_factory=dict, init=False, repr=False)

    def begin(self, learner: Learner) -> Tensor:
        """Compare the arrived task with the one before; return which blocks train."""
        everything = len(learner.network.body) + 1
        many = everything if self.many is None else self.many
        for count in (self.few, many):
            last_blocks(learner.network, count)
        if learner.task == 0:
            return last_modules(learner, everything)
        similarity = self.metric(_of_body(learner), self.previous).cpu()
        modules = torch.where(similarity < self.threshold, many, self.few)
        learner.notes["similarity"] = similarity
        learner.notes["modules"] = modules
        return last_modules(learner, modules)

    def finish(self, learner: Learner) -> None:
        """Store the gradient of the task that was just trained."""
        self.previous = _of_body(learner)


def _of_body(learner: Learner) -> Parameters:
    return {n: g for n, g in learner.gradient().items() if block_of(n) in learner.network.body}
