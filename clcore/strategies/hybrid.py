"""The paper's adaptive strategy: gradient similarity decides how many modules train."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clcore.errors import known
from clcore.measures.gradients import cosine, sign_agreement
from clcore.networks import Parameters, block_of, check_modules
from clcore.strategies.strategy import Learner, Strategy, last_modules

METRICS: dict[str, Callable[[Parameters, Parameters], Tensor]] = {
    "cosine": cosine,
    "sign": sign_agreement,
}


@dataclass
class Hybrid(Strategy):
    """Algorithm 1 of the paper.

    When task t arrives, s = metric(g_t, g_{t−1}). A score below the threshold marks an
    unrelated task, for which many modules train; else few do. The paper leaves open where the
    gradients are taken and over which parameters. Here both are gradients of training losses
    where the model stands when task t arrives, as in the theory (g_{t−1} is stored when task
    t − 1 ends), over all blocks but the head, whose outputs tasks need not share.

    Parameters
    ----------
    threshold : float
        Similarity from which on a task counts as related.
    few, many : int
        Modules that train on related and on unrelated tasks; `None` for `many` is all.
    metric : str or callable
        A name in `METRICS`, or (gradients, gradients) → similarity of each replica, (R,).
    taken : {"end", "arrival"}
        When the gradient of a task is stored: after its training, or before.

    Raises
    ------
    InputError
        If there is no such metric or moment; when the first task arrives, if the network has
        fewer modules.
    """

    threshold: float = 0.1
    few: int = 1
    many: int | None = None
    metric: str | Callable[[Parameters, Parameters], Tensor] = "cosine"
    taken: str = "end"
    previous: Parameters = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        known("moment to take a gradient", self.taken, ("end", "arrival"))
        if isinstance(self.metric, str):
            known("metric", self.metric, METRICS)

    def begin(self, learner: Learner) -> Tensor:
        """Compare the arrived task with the one before; return which blocks train."""
        everything = len(learner.network.blocks)
        many = everything if self.many is None else self.many
        for count in (self.few, many):
            check_modules(learner.network, count)
        wanted = learner.task > 0 or self.taken == "arrival"
        arrived = _of_body(learner) if wanted else {}
        modules: Tensor | int = everything
        if learner.task:
            metric = METRICS[self.metric] if isinstance(self.metric, str) else self.metric
            similarity = metric(arrived, self.previous).cpu()
            modules = torch.where(similarity < self.threshold, many, self.few)
            learner.notes["similarity"] = similarity
            learner.notes["modules"] = modules
        if self.taken == "arrival":
            self.previous = arrived
        return last_modules(learner, modules)

    def finish(self, learner: Learner) -> None:
        """Store the gradient of the task that was just trained."""
        if self.taken == "end":
            self.previous = _of_body(learner)


def _of_body(learner: Learner) -> Parameters:
    head = learner.network.blocks[-1]
    return {n: g for n, g in learner.gradient().items() if block_of(n) != head}
