"""On a GPU nothing is left on the CPU: seen on a pretended one, on machines that have none.

An operation on tensors of two devices, or with a generator of the other one, raises
`DevicesMixed` where a GPU would refuse it; all else the CPU computes, so that outcomes must be
those on the CPU, to 1e-5. What this cannot show: whether CUDA has the kernels, and how they
round; autocast on CUDA (a ResNet-18 in bf16); deterministic kernels; what a GPU draws; memory;
waits and speed; more GPUs than one.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clcore.device import resolve_device
from clcore.networks import MLP, Network, ResNet18
from clcore.simulate import Descent, IndependentFeatures, Proximal, SampledFeatures, simulate_risks
from clcore.strategies import STRATEGIES, Learner, Strategy, strategy
from clcore.streams import Dataset, Stream, corrupted, permuted, rotated, split
from clcore.streams.batches import Batch
from clcore.theory import LinearTasks, Update
from clcore.training import Budget, Moment, Observer, Outcome, observers, train
from tests.training.pretend_cuda import DevicesMixed, pretend_cuda

SEEDS = [3, 4]
OPTIONS: dict[str, dict[str, Any]] = {"partial": {"modules": 2}, "ewc": {"strength": 10.0}}
OPTIONS |= {"replay": {"size": 7}, "agem": {"per_task": 4, "sample": 5}, "der++": {"size": 7}}
PLAIN = Budget(1, 8, 0.05)
MOVED = PLAIN._replace(augment=True)
WAYS: dict[str, tuple[Callable[..., Stream], Network, Budget]] = {
    "plain": (partial(permuted, fractions=[0.5, 1.0]), MLP(192, [6, 5], 4), PLAIN),
    "momentum": (
        partial(split, tasks=2, scenario="class"),
        MLP(192, [6], 4, dropout=0.3),
        PLAIN._replace(momentum=0.5),
    ),
    "adam": (partial(rotated, angles=[0, 40]), MLP(192, [6], 4), MOVED._replace(optimizer="adam")),
    "bf16": (
        partial(corrupted, tasks=2, noise=[20.0, 90.0], holdout=0.25),
        MLP(192, [6], 4, bf16=True),
        MOVED,
    ),
    "resnet": (partial(split, tasks=2), ResNet18(3, 4, width=2), MOVED._replace(batch=12)),
}


@pytest.fixture(scope="module")
def few(learnable: Callable[..., Dataset]) -> Dataset:
    """Return 24 + 30 images of 3 × 8 × 8 pixels in 4 classes."""
    return learnable(3, 8, 24)


class Places(Observer):
    """Keeps on which devices the parameters were."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def after_task(self, moment: Moment) -> dict[str, Tensor]:
        self.found |= {p.device.type for p in moment.parameters.values()}
        return {}


def check_same(
    dataset: Dataset,
    stream: Callable[..., Stream],
    network: Network,
    budget: Budget,
    decides: Callable[[], Strategy],
    watch: Callable[[], list[Observer]] = list,
) -> Outcome:
    """Train on the pretended GPU and on the CPU; compare all that comes out."""
    streams = [stream(dataset, seed=seed) for seed in SEEDS]

    def run(device: str) -> tuple[Outcome, dict[str, Any]]:
        look = [places := Places(), *watch()]
        got = train(streams, network, decides(), SEEDS, budget, device=device, observers=look)
        assert places.found == {device}
        return got, {"accuracy": got.accuracy, "drift": got.drift, **got.notes, **got.observed}

    with pretend_cuda():
        there, found = run("cuda")
    here, expected = run("cpu")
    assert there.divergences == here.divergences
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-7, err_msg=name)
    return there


REFUSED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda there, here: there + here,
    "product": lambda there, here: there @ here,
    "joined": lambda there, here: torch.cat([there, here]),
    "selected": lambda there, here: there.index_select(0, here.long()),
    "indexed": lambda there, here: here[there.long()],
    "changed": lambda there, here: here.sum().add_(there.sum()),
    "copied": lambda there, here: there.copy_(here).sub_(here),
    "drawn there": lambda there, here: torch.rand(3, device="cuda", generator=torch.Generator()),
    "drawn here": lambda there, here: here.normal_(generator=torch.Generator("cuda")),
}


@pytest.mark.parametrize("mixes", REFUSED.values(), ids=REFUSED)
def test_what_a_gpu_refuses_is_caught(mixes: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pretend_cuda(), pytest.raises(DevicesMixed):
        mixes(torch.ones(3, device="cuda"), torch.ones(3))


def test_what_a_gpu_does_is_done() -> None:
    """Copies, single numbers and indices may come from the CPU; afterwards all is as before."""
    before = (torch.cuda.is_available(), torch.Generator, dict(os.environ))
    with pretend_cuda():
        x = torch.tensor([1.0, 2.0, 3.0], device=resolve_device("cuda"))
        x[torch.tensor([0])] = torch.tensor(5.0)
        y = (x * torch.tensor(2.0)).add_(torch.ones(3).to(x.device))
        assert y.device == torch.device("cuda:0")
        assert y.tolist() == [11.0, 5.0, 7.0]
    assert (torch.cuda.is_available(), torch.Generator, dict(os.environ)) == before
    assert type(torch.tensor([1.0]) + 1) is Tensor


class Forgets(Strategy):
    """Makes a tensor without saying where."""

    def slope(self, learner: Learner, batch: Batch, logits: Tensor, slope: Tensor) -> None:
        slope.mul_(torch.ones(slope.shape))


@pytest.mark.parametrize("way", ["plain", "resnet"])
def test_a_forgotten_device_is_caught_in_training(few: Dataset, way: str) -> None:
    with pytest.raises(DevicesMixed, match="mul_"):
        check_same(few, *WAYS[way], Forgets)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy(few: Dataset, name: str, way: str) -> None:
    stream, network, budget = WAYS[way]
    if budget.optimizer not in STRATEGIES[name].optimizers:
        budget = budget._replace(optimizer="sgd")
    options = OPTIONS.get(name, {})
    found = check_same(few, stream, network, budget, lambda: strategy(name, **options))
    assert not found.divergences


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hybrid", {"metric": "sign", "taken": "arrival"}),
        ("scaled", {"metric": "fisher"}),
        ("scaled", {"gain": 0.5}),
        ("ball", {"gain": 0.5}),
        ("proximal", {"directed": True, "metric": "identity"}),
        ("proximal", {"strength": 2.0}),
    ],
)
def test_options_of_strategies(few: Dataset, name: str, options: dict[str, Any]) -> None:
    check_same(few, *WAYS["momentum"], lambda: strategy(name, **options))


def everything() -> list[Observer]:
    found = [observers.RelativeDrift(), observers.FunctionDrift(), observers.GradientCosines()]
    found += [observers.MagnitudeCurve([0, 0.5]), observers.ForwardAccuracy()]
    return [*found, observers.Trajectory(1, 2)]


@pytest.mark.parametrize("way", ["plain", "resnet"])
def test_observers_and_a_replica_that_diverges(few: Dataset, way: str) -> None:
    stream, network, budget = WAYS[way]
    budget = budget._replace(learning_rate=[0.05, 1e30])
    found = check_same(few, stream, network, budget, Strategy, everything)
    assert [divergence.replica for divergence in found.divergences] == [1]


@pytest.mark.parametrize("change", [None, Proximal([0.1, 0.2]), Descent(5, 0.05)])
@pytest.mark.parametrize("kind", ["uniform", "sampled", "normal"])
def test_simulation(kind: str, change: Any) -> None:
    """Normal features, which a CPU draws in a way of its own, agree within their errors."""
    draws = np.random.default_rng(0)
    tasks = LinearTasks([3, 5], draws.normal(size=(2, 8)), [5, 20], 0.3)
    plan = (Update((0, 1)), Update((1,), (0.5,)))
    sampled = SampledFeatures(draws.normal(size=(40, 8)))
    features = sampled if kind == "sampled" else IndependentFeatures(kind, np.eye(8) + 0.1)
    with pretend_cuda():
        there = simulate_risks(tasks, plan, 100, 0, "cuda", features=features, change=change)
    here = simulate_risks(tasks, plan, 100, features=features, change=change)
    (one, spread), (other, apart) = there.totals, here.totals
    error = 5 * np.hypot(spread, apart) if kind == "normal" else 0
    assert (np.abs(one - other) <= error + 1e-6).all()
