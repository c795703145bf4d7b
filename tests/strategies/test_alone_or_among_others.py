"""With every strategy, a replica's numbers are its own, and a rerun's are the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from clcore.networks import MLP, Network, Parameters, ResNet18
from clcore.strategies import STRATEGIES, strategy
from clcore.streams import Dataset, Stream, permuted, split
from clcore.training import Budget, Outcome, train

SEEDS = [3, 4, 5]
COUNTS = [20, 11, 3]  # samples a task: one replica never fills a batch, and idles for long
RATES = [0.0625, 0.03125, 0.125]

OPTIONS: dict[str, dict[str, Any]] = {  # of the strategies that do not do without
    "partial": {"modules": 2},
    "ewc": {"strength": 10.0},
    "replay": {"size": 7},
    "agem": {"per_task": 4, "sample": 5},
    "der++": {"size": 7, "alpha": 0.25},  # with the usual 1 the third replica runs away
}


class InDouble:
    """Makes a network one of float64: what differs then is no rounding, however amplified."""

    def initialize(self, *given: Any) -> Parameters:
        return {n: p.double() for n, p in super().initialize(*given).items()}

    def forward(self, parameters: Parameters, images: torch.Tensor, *rest: Any) -> Any:
        return super().forward(parameters, images.double(), *rest)

    def add_squared_gradients(self, parameters: Any, images: torch.Tensor, *rest: Any) -> None:
        super().add_squared_gradients(parameters, images.double(), *rest)


class DoubleMLP(InDouble, MLP):
    pass


class DoubleResNet(InDouble, ResNet18):
    pass


def mlp(kind: type[MLP] = DoubleMLP) -> Network:
    return kind(192, [12, 10], 6)


def resnet(kind: type[ResNet18] = DoubleResNet) -> Network:
    return kind(3, 6, width=2)


def permuted_pixels(dataset: Dataset, seed: int) -> Stream:
    return permuted(dataset, [1.0, 0.5], seed=seed)


def task_incremental(dataset: Dataset, seed: int) -> Stream:
    return split(dataset, 3, seed=seed)


def class_incremental(dataset: Dataset, seed: int) -> Stream:
    return split(dataset, 3, seed=seed, scenario="class")


CASES = [(mlp, permuted_pixels), (mlp, task_incremental), (mlp, class_incremental)]
CASES += [(resnet, class_incremental)]


@pytest.fixture(scope="module")
def six(learnable: Callable[..., Dataset]) -> Dataset:
    """Return 90 + 30 images of 3 × 8 × 8 pixels in 6 classes."""
    return learnable(3, 8, 90, 6)


def uneven(dataset: Dataset, make: Callable[..., Stream]) -> list[Stream]:
    """Return streams whose replica r trains on `COUNTS`[r] samples of each task."""
    found = []
    for seed, count in zip(SEEDS, COUNTS, strict=True):
        stream = make(dataset, seed)
        tasks = tuple(task._replace(train=task.train[:count]) for task in stream.tasks)
        found.append(stream._replace(tasks=tasks))
    return found


def trained(
    name: str, make: Callable[[], Network], streams: list[Stream], which: list[int]
) -> tuple[Outcome, Parameters]:
    """Train some of the replicas; return also where they stood at the end."""
    decides, after = strategy(name, **OPTIONS.get(name, {})), {}
    finish = decides.finish

    def keep(learner: Any) -> None:
        finish(learner)
        after.update({n: p.clone() for n, p in learner.parameters.items()})

    decides.finish = keep
    rates = [RATES[r] for r in which]
    budget = Budget(2, 8, rates, 0.5, augment=True)
    seeds = [SEEDS[r] for r in which]
    return train([streams[r] for r in which], make(), decides, seeds, budget), after


@pytest.mark.parametrize(("make", "stream"), CASES)
@pytest.mark.parametrize("name", STRATEGIES)
def test_alone_or_among_others(
    six: Dataset, name: str, make: Callable[[], Network], stream: Callable[..., Stream]
) -> None:
    """Seeds, data, learning rates and numbers of samples differ; images are moved at random."""
    streams = uneven(six, stream)
    together, theirs = trained(name, make, streams, [0, 1, 2])
    assert not together.divergences
    for r in range(3):
        alone, ours = trained(name, make, streams, [r])
        for n, p in ours.items():
            torch.testing.assert_close(p[0], theirs[n][r], rtol=1e-6, atol=1e-8, msg=n)
        for n, values in alone.notes.items():
            assert values[0] == pytest.approx(together.notes[n][r], rel=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("make", "stream"),
    [
        (lambda: mlp(MLP), permuted_pixels),
        (lambda: resnet(ResNet18), class_incremental),
    ],
)
@pytest.mark.parametrize("name", STRATEGIES)
def test_rerun_is_bit_equal(
    six: Dataset, name: str, make: Callable[[], Network], stream: Callable[..., Stream]
) -> None:
    streams = uneven(six, stream)
    (one, ours), (other, theirs) = (trained(name, make, streams, [0, 1, 2]) for _ in range(2))
    assert all(p.equal(theirs[n]) for n, p in ours.items())
    assert (one.drift == other.drift).all()
