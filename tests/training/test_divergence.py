"""A replica whose loss is not finite is reported and leaves the others alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clcore.networks import MLP, Network
from clcore.strategies import Hybrid, Learner, Strategy, last_modules
from clcore.streams import Dataset, permuted
from clcore.training import Budget, Divergence, Outcome, train

SEEDS = [3, 4, 5]
HUGE = 1e30


def run(
    dataset: Dataset, rates: list[float], strategy: Strategy | None = None, **budget: Any
) -> Outcome:
    streams = [permuted(dataset, [1.0, 0.5], seed=s) for s in SEEDS]
    network: Network = MLP(16, [9], 4)
    options = {"epochs": 2, "batch": 16, **budget}
    return train(
        streams, network, strategy or Strategy(), SEEDS, Budget(learning_rate=rates, **options)
    )


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_one_of_three(gray: Dataset, momentum: float) -> None:
    calm = run(gray, [0.05, 0.05, 0.02], momentum=momentum)
    wild = run(gray, [0.05, HUGE, 0.02], momentum=momentum)
    # The first step's loss is still that of the initial weights.
    assert wild.divergences == (Divergence(replica=1, task=0, step=1, learning_rate=HUGE),)
    assert np.isnan(wild.accuracy[1]).all()
    assert np.isnan(wild.drift[1]).all()
    for r in (0, 2):
        np.testing.assert_array_equal(wild.accuracy[r], calm.accuracy[r])
        np.testing.assert_array_equal(wild.drift[r], calm.drift[r])


def test_message() -> None:
    text = str(Divergence(1, 0, 7, 12.5))
    for part in ("replica 1", "task 0", "step 7", "learning rate 12.5", "lower"):
        assert part in text


class Later(Strategy):
    """Replica 0 waits for the second task."""

    def begin(self, learner: Learner) -> Tensor:
        counts = torch.tensor([0 if learner.task == 0 else 2, 2, 2])
        return last_modules(learner, counts)


def test_what_came_before_stays_known(gray: Dataset) -> None:
    outcome = run(gray, [HUGE, 0.05, 0.05], Later())
    assert outcome.divergences == (Divergence(0, 1, 1, HUGE),)
    assert np.isfinite(outcome.accuracy[0, 0, 0])
    assert (outcome.drift[0, 0] == 0).all()
    assert np.isnan(outcome.accuracy[0, 1:]).all()
    assert np.isnan(outcome.drift[0, 1:]).all()


def test_last_step_of_a_task(gray: Dataset) -> None:
    """One step a task: no later loss of that task would show where it led."""
    outcome = run(gray, [0.05, HUGE, 0.05], epochs=1, batch=70)
    assert outcome.divergences == (Divergence(1, 0, 1, HUGE),)
    assert np.isnan(outcome.accuracy[1]).all()


def test_every_replica(gray: Dataset) -> None:
    outcome = run(gray, [HUGE] * 3)
    assert [d.replica for d in outcome.divergences] == [0, 1, 2]
    assert np.isnan(outcome.accuracy).all()


def test_notes_of_a_diverged_replica_are_unknown(gray: Dataset, spy: Callable[..., Any]) -> None:
    outcome = run(gray, [0.05, HUGE, 0.05], Hybrid())
    for note in outcome.notes.values():
        assert np.isnan(note[1]).all()
        assert np.isfinite(note[[0, 2]][:, 1:]).all()
