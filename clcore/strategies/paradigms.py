"""The two paradigms of the paper: two trainable sets of one constrained update."""

from dataclasses import dataclass

from torch import Tensor

from clcore.networks import last_blocks
from clcore.strategies.strategy import Learner, Strategy, last_modules


@dataclass
class Initialized(Strategy):
    """Initialized training: start from the model of the previous tasks, train everything.

    Source: the paper's second paradigm; the constrained update whose trainable set is all blocks.
    """


@dataclass
class Frozen(Strategy):
    """Frozen training: the first task trains everything, later ones the last modules only.

    Source: the paper's first paradigm. That the first task trains everything is
    this companion's reading: the shared part must come from somewhere.

    Parameters
    ----------
    modules : int
        How many of the last modules later tasks train; 1 is the head alone.

    Raises
    ------
    InputError
        When the first task arrives, if the network has fewer modules.
    """

    modules: int = 1

    def begin(self, learner: Learner) -> Tensor:
        """Return that everything trains on the first task, the last modules afterwards."""
        last_blocks(learner.network, self.modules)
        everything = len(learner.network.body) + 1
        return last_modules(learner, self.modules if learner.task else everything)
