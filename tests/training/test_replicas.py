"""A replica's numbers are its own, whoever is trained beside it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from clcore.networks import MLP, Network, ResNet18
from clcore.strategies import Frozen, Hybrid, Strategy
from clcore.streams import Dataset, Stream, split
from clcore.training import Budget, Outcome, train

SEEDS = [3, 4, 5]
COUNTS = [70, 33, 9]
RATES = [0.05, 0.02, 0.1]
EXACT: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def mlp() -> Network:
    return MLP(192, [12, 10], 4)


def resnet() -> Network:
    return ResNet18(3, 4, width=4)


def same_numbers(
    alone: Outcome, together: Outcome, r: int, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    np.testing.assert_allclose(alone.accuracy[0], together.accuracy[r], atol=1e-12)
    np.testing.assert_allclose(alone.drift[0], together.drift[r], rtol=1e-3, atol=1e-6)
    for name in ours:
        torch.testing.assert_close(ours[name][0], theirs[name][r], **EXACT, msg=name)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("make", [mlp, resnet])
@pytest.mark.parametrize("strategy", [Strategy, lambda: Frozen(2)])
def test_alone_or_among_others(
    color: Dataset,
    uneven: Callable[..., list[Stream]],
    spy: Callable[..., Any],
    make: Callable[[], Network],
    strategy: Callable[[], Strategy],
    momentum: float,
) -> None:
    """Seeds, permutations, learning rates and numbers of samples differ."""
    streams = uneven(color, SEEDS, COUNTS)
    watch = spy(strategy())
    together = train(streams, make(), watch, SEEDS, Budget(3, 16, RATES, momentum))
    for r in range(3):
        one = spy(strategy())
        budget = Budget(3, 16, [RATES[r]], momentum)
        alone = train([streams[r]], make(), one, [SEEDS[r]], budget)
        same_numbers(alone, together, r, one.after[-1], watch.after[-1])
        for name, gradient in one.gradients[0].items():
            torch.testing.assert_close(gradient[0], watch.gradients[0][name][r], **EXACT, msg=name)
    assert together.images == 3 * 3 * sum(COUNTS)


def test_hybrid_decides_for_each_replica(digits: Dataset, spy: Callable[..., Any]) -> None:
    """On a split stream, whose replicas have different classes, and so numbers of samples."""
    streams = [split(digits, 2, seed=s) for s in SEEDS]
    assert len({len(s.tasks[0].train) for s in streams}) > 1
    network: Network = MLP(64, [12], 10)
    budget = Budget(2, 32, 0.1)
    probe = train(streams, network, Hybrid(), SEEDS, budget)
    threshold = float(np.median(probe.notes["similarity"][:, 1]))  # splits the replicas
    watch = spy(Hybrid(threshold))
    together = train(streams, network, watch, SEEDS, budget)
    assert sorted(together.notes["modules"][:, 1]) == [1, 1, 2]
    for r in (i for i in range(3) if probe.notes["similarity"][i, 1] != threshold):
        one = spy(Hybrid(threshold))
        alone = train([streams[r]], network, one, [SEEDS[r]], budget)
        same_numbers(alone, together, r, one.after[-1], watch.after[-1])
        for note in ("similarity", "modules"):
            np.testing.assert_allclose(alone.notes[note][0], together.notes[note][r], rtol=1e-4)


@pytest.mark.parametrize("make", [mlp, resnet])
def test_equal_seeds_are_bit_equal(
    color: Dataset,
    uneven: Callable[..., list[Stream]],
    spy: Callable[..., Any],
    make: Callable[[], Network],
) -> None:
    found = []
    for _ in range(2):
        watch = spy()
        streams = uneven(color, SEEDS, COUNTS)
        outcome = train(streams, make(), watch, SEEDS, Budget(2, 16, RATES, 0.5))
        found.append((outcome, watch.after[-1]))
    (one, ours), (other, theirs) = found
    np.testing.assert_array_equal(one.accuracy, other.accuracy)
    np.testing.assert_array_equal(one.drift, other.drift)
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_seeds_differ(color: Dataset, uneven: Callable[..., list[Stream]]) -> None:
    streams = uneven(color, [3, 3], [70, 70])
    same = train(streams, mlp(), Strategy(), [1, 1], Budget(1, 16, 0.05))
    np.testing.assert_allclose(same.drift[0], same.drift[1], rtol=1e-5)
    other = train(streams, mlp(), Strategy(), [1, 2], Budget(1, 16, 0.05))
    assert np.abs(other.drift[0] - other.drift[1]).min() > 1e-4
