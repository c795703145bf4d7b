"""A strategy that keeps what it saw, and streams whose replicas differ in everything."""

from collections.abc import Callable, Sequence

import pytest
from torch import Tensor

from clcore.networks import Parameters
from clcore.strategies import Learner, Strategy
from clcore.streams import Dataset, Stream, permuted
from clcore.streams.batches import Batch


class Spy(Strategy):
    """Lets another strategy decide; keeps the parameters before and after each task."""

    def __init__(self, decides: Strategy | None = None) -> None:
        self.decides = decides or Strategy()
        # Whoever overrides `gradient` loses the fused step, so a spy does not.
        assert type(self.decides).gradient is Strategy.gradient
        self.before: list[Parameters] = []
        self.after: list[Parameters] = []
        self.gradients: list[Parameters] = []

    def begin(self, learner: Learner) -> Tensor:
        self.before.append({n: p.clone() for n, p in learner.parameters.items()})
        self.gradients.append(learner.gradient())
        assert all(self.before[-1][n].equal(p) for n, p in learner.parameters.items())
        return self.decides.begin(learner)

    def tasks(self, learner: Learner) -> Sequence[int]:
        return self.decides.tasks(learner)

    def mix(self, learner: Learner, batch: Batch) -> Batch:
        return self.decides.mix(learner, batch)

    def slope(self, learner: Learner, batch: Batch, logits: Tensor, slope: Tensor) -> None:
        self.decides.slope(learner, batch, logits, slope)

    def after_step(self, learner: Learner) -> None:
        self.decides.after_step(learner)

    def finish(self, learner: Learner) -> None:
        self.decides.finish(learner)
        self.after.append({n: p.clone() for n, p in learner.parameters.items()})


@pytest.fixture
def spy() -> Callable[..., Spy]:
    return Spy


def _uneven(dataset: Dataset, seeds: Sequence[int], counts: Sequence[int]) -> list[Stream]:
    """Return streams whose replica r has only counts[r] training and counts[r] // 3 test rows."""
    found = []
    for seed, count in zip(seeds, counts, strict=True):
        stream = permuted(dataset, [1.0, 0.3], seed=seed)
        tasks = tuple(
            task._replace(train=task.train[-count:], test=task.test[: count // 3])
            for task in stream.tasks
        )
        found.append(stream._replace(tasks=tasks))
    return found


@pytest.fixture
def uneven() -> Callable[[Dataset, Sequence[int], Sequence[int]], list[Stream]]:
    return _uneven
