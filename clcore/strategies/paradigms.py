"""The paradigms of the paper, and their bounds: trainable sets of one constrained update."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from clcore.networks import check_modules
from clcore.strategies.strategy import Learner, Strategy, last_modules


@dataclass
class Initialized(Strategy):
    """Initialized training: start from the model of the previous tasks, train everything.

    Source: the paper's second paradigm; the constrained update whose trainable set is all blocks.
    """


@dataclass
class Partial(Strategy):
    """The first task trains everything, later ones the last modules only.

    Source: the paper's p₍₂₎, the number of trainable parameters, in a network. That the first
    task trains everything is this companion's reading: the shared part must come from somewhere.

    Parameters
    ----------
    modules : int
        How many of the last modules later tasks train.

    Raises
    ------
    InputError
        When the first task arrives, if the network has fewer modules.
    """

    modules: int

    def begin(self, learner: Learner) -> Tensor:
        """Return that everything trains on the first task, the last modules afterwards."""
        check_modules(learner.network, self.modules)
        everything = len(learner.network.blocks)
        return last_modules(learner, self.modules if learner.task else everything)


@dataclass
class Frozen(Partial):
    """Frozen training: later tasks train the head alone, or the last `modules` with it.

    Source: the paper's first paradigm. See `Partial`.
    """

    modules: int = 1


@dataclass
class Scratch(Strategy):
    """Each task trains the network as it was initialized: a control that keeps nothing.

    The drift that is recorded of it is the distance between the solutions of successive tasks,
    each found from the same start.
    """

    def begin(self, learner: Learner) -> Tensor:
        """Go back to the start."""
        for n, p in learner.parameters.items():
            p.copy_(learner.initial[n])
        return super().begin(learner)


@dataclass
class Joint(Strategy):
    """Each task trains on the data of all tasks so far: an upper bound, not a rival.

    The epochs of the budget pass over all these data, so task k takes k times as many steps.
    """

    def tasks(self, learner: Learner) -> Sequence[int]:
        """Return all tasks so far."""
        return range(learner.task + 1)
