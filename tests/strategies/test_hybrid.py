"""Algorithm 1: decisions against cosines worked out by hand."""

import numpy as np
import pytest
import torch

from clcore.networks import MLP, Network, Parameters
from clcore.strategies import Hybrid
from clcore.streams import SCENARIOS, Dataset, permuted, split
from clcore.training import Budget, train


class Stand:
    """A learner whose gradient is given: below the head, (R, 2), and in the head."""

    def __init__(self, task: int, body: list[list[float]], head: list[list[float]]) -> None:
        self.network: Network = MLP(4, [5, 5], 2)
        self.parameters: Parameters = {}
        self.replicas, self.task = len(body), task
        self.notes: dict[str, torch.Tensor] = {}
        self.given = {
            "layer1.weight": torch.tensor(body)[:, :1, None],
            "layer2.bias": torch.tensor(body)[:, None, 1:],
            "head.bias": torch.tensor(head)[:, None],
        }

    def gradient(self) -> Parameters:
        return self.given


# Cosines of the bodies: 1, (1·3 + 2·4) / (√5 · 5) = 0.9839, 0, (1·2 − 2·2) / (√5 · √8) = −0.3162.
BEFORE = [[2.0, 0.0], [1.0, 2.0], [0.0, 3.0], [1.0, 2.0]]
ARRIVED = [[5.0, 0.0], [3.0, 4.0], [1.0, 0.0], [2.0, -2.0]]
COSINES = [1.0, 11 / (5 * 5**0.5), 0.0, -2 / 40**0.5]
# Heads that would turn every decision if they counted.
HEADS = [[[100.0, 0.0]] * 4, [[-100.0, 0.0]] * 2 + [[100.0, 0.0]] * 2]


def decide(strategy: Hybrid) -> tuple[list[int], Stand]:
    """Return how many modules train in each replica when the second task arrives."""
    first, second = Stand(0, BEFORE, HEADS[0]), Stand(1, ARRIVED, HEADS[1])
    assert strategy.begin(first).all()
    assert first.notes == {}
    strategy.finish(first)
    trains = strategy.begin(second)
    counts = trains.sum(1)
    assert trains.tolist() == [[i >= 3 - c for i in range(3)] for c in counts.tolist()]
    return counts.tolist(), second


@pytest.mark.parametrize(
    ("threshold", "modules"),
    [
        (-0.5, [1, 1, 1, 1]),
        (0.0, [1, 1, 1, 3]),  # 0 is not below 0
        (0.1, [1, 1, 3, 3]),
        (0.983, [1, 1, 3, 3]),
        (0.985, [1, 3, 3, 3]),
        (1.5, [3, 3, 3, 3]),
    ],
)
def test_each_replica_decides_by_its_cosine(threshold: float, modules: list[int]) -> None:
    found, learner = decide(Hybrid(threshold))
    assert found == modules
    assert learner.notes["similarity"].tolist() == pytest.approx(COSINES)
    assert learner.notes["modules"].tolist() == modules


def test_few_and_many() -> None:
    assert decide(Hybrid(0.1, few=0, many=2))[0] == [0, 0, 2, 2]
    assert decide(Hybrid(0.1, few=3, many=1))[0] == [3, 3, 1, 1]


def test_metric_gets_arrived_and_previous() -> None:
    def by_first_entry(arrived: Parameters, previous: Parameters) -> torch.Tensor:
        assert sorted(arrived) == sorted(previous) == ["layer1.weight", "layer2.bias"]
        return (arrived["layer1.weight"] - previous["layer1.weight"]).flatten()

    found, learner = decide(Hybrid(0.5, metric=by_first_entry))
    assert learner.notes["similarity"].tolist() == [3, 2, 1, 1]
    assert found == [1, 1, 1, 1]
    assert decide(Hybrid(1.5, metric=by_first_entry))[0] == [1, 1, 3, 3]


def test_compares_with_the_task_just_before() -> None:
    hybrid = Hybrid(0.1)
    decide(hybrid)
    hybrid.finish(Stand(1, ARRIVED, HEADS[1]))
    third = Stand(2, ARRIVED, HEADS[0])
    hybrid.begin(third)
    assert third.notes["similarity"].tolist() == pytest.approx([1, 1, 1, 1])


def test_new_run_starts_anew() -> None:
    hybrid = Hybrid(0.1)
    assert decide(hybrid)[0] == decide(hybrid)[0]


def test_repeated_task_is_related_and_trains_the_head_alone(gray: Dataset) -> None:
    """With all samples in both gradients, a task shown again has cosine 1."""
    streams = [permuted(gray, [0.0, 1.0], seed=s) for s in (0, 1)]
    outcome = train(streams, MLP(16, [8, 8], 4), Hybrid(0.99), [0, 1], Budget(3, 16, 0.1))
    similarity, modules = outcome.notes["similarity"], outcome.notes["modules"]
    assert np.isnan(similarity[:, 0]).all()
    np.testing.assert_allclose(similarity[:, 1], 1, atol=1e-4)
    assert (np.abs(similarity[:, 2]) < 0.9).all()
    assert modules[:, 1:].tolist() == [[1, 3], [1, 3]]
    assert (outcome.drift[:, 1, :2] == 0).all()
    assert (outcome.drift[:, [0, 2]] > 0).all()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_outputs_of_their_own(digits: Dataset, scenario: str) -> None:
    stream = split(digits, 5, seed=0, scenario=scenario)
    network = MLP(64, [8], stream.outputs)
    outcome = train([stream], network, Hybrid(), [0], Budget(1, 64, 0.1))
    similarity = outcome.notes["similarity"][0, 1:]
    assert (np.abs(similarity) <= 1).all()
    assert len(set(similarity)) == 4
