from collections.abc import Callable
from typing import Any

import pytest
import torch

from clcore.errors import InputError
from clcore.networks import MLP, Network, Parameters, ResNet18
from clcore.strategies import (
    STRATEGIES,
    Frozen,
    Hybrid,
    Initialized,
    Joint,
    Learner,
    Partial,
    Scratch,
    Strategy,
    last_modules,
    strategy,
)
from clcore.streams import Dataset, permuted, split
from clcore.training import Budget, Moment, Observer, train

BUDGET = Budget(1, 16, 0.05, 0.5)


class Stand:
    """A learner that only stands somewhere: 3 replicas of a network of 4 modules."""

    def __init__(self, task: int = 0) -> None:
        self.network: Network = MLP(4, [5, 5, 5], 2)
        self.parameters: dict[str, torch.Tensor] = {}
        self.replicas, self.task = 3, task
        self.notes: dict[str, torch.Tensor] = {}

    def gradient(self) -> dict[str, torch.Tensor]:
        raise AssertionError("no gradient is needed")


def test_last_modules() -> None:
    common = last_modules(Stand(), 3)
    assert common.tolist() == [[False, True, True, True]] * 3
    own = last_modules(Stand(), torch.tensor([0, 1, 4]))
    assert own.tolist() == [[False] * 4, [False, False, False, True], [True] * 4]
    assert own.dtype == torch.bool


@pytest.mark.parametrize("task", [0, 1, 5])
def test_who_trains(task: int) -> None:
    everything = [[True] * 4] * 3
    assert Initialized().begin(Stand(task)).tolist() == everything
    for modules in range(5):
        last = [[i >= 4 - modules for i in range(4)]] * 3
        for frozen in (Frozen(modules), Partial(modules)):
            assert frozen.begin(Stand(task)).tolist() == (last if task else everything)
    assert Frozen() == Frozen(1)
    for wanted in (Initialized(), Frozen(), Scratch()):
        assert list(wanted.tasks(Stand(task))) == [task]
    assert list(Joint().tasks(Stand(task))) == list(range(task + 1))
    assert Joint().begin(Stand(task)).tolist() == everything


@pytest.mark.parametrize("modules", [0, 1, 2])
@pytest.mark.parametrize(
    "make", [lambda outputs: MLP(192, [6, 5], outputs), lambda outputs: ResNet18(3, outputs, 2)]
)
def test_frozen_moves_only_the_last_modules(
    color: Dataset, make: Callable[[int], Network], modules: int
) -> None:
    streams = [split(color, 2, seed=s) for s in (0, 1)]
    outcome = train(streams, make(4), Frozen(modules), [0, 1], BUDGET)
    assert (outcome.drift[:, 0] > 0).all()
    kept = outcome.drift.shape[2] - modules
    assert (outcome.drift[:, 1, :kept] == 0).all()
    assert (outcome.drift[:, 1, kept:] > 0).all()


def test_initialized_moves_everything(gray: Dataset) -> None:
    outcome = train([permuted(gray, [1.0], seed=0)], MLP(16, [6, 5], 4), Initialized(), [0], BUDGET)
    assert (outcome.drift > 0).all()


class End(Observer):
    """Keeps where the replicas stand after each task."""

    def __init__(self) -> None:
        self.stood: list[Parameters] = []

    def after_task(self, moment: Moment) -> dict[str, torch.Tensor]:
        self.stood.append({n: p.clone() for n, p in moment.parameters.items()})
        return {}


class Only(Strategy):
    """Trains on one task alone."""

    def __init__(self, task: int) -> None:
        self.task = task

    def begin(self, learner: Learner) -> torch.Tensor:
        blocks = len(learner.network.blocks)
        return last_modules(learner, blocks if learner.task == self.task else 0)


@pytest.mark.parametrize("make", [lambda: MLP(192, [6, 5], 4), lambda: ResNet18(3, 4, 2)])
def test_scratch_trains_each_task_from_the_start(
    color: Dataset, make: Callable[[], Network]
) -> None:
    """As if the task were the only one of the run; the drift is between the solutions."""
    streams = [permuted(color, [1.0, 0.5], seed=s) for s in (0, 1)]
    scratch = End()
    outcome = train(streams, make(), Scratch(), [0, 1], BUDGET, observers=[scratch])
    for k in range(3):
        only = End()
        train(streams, make(), Only(k), [0, 1], BUDGET, observers=[only])
        for name, value in only.stood[k].items():
            assert value.equal(scratch.stood[k][name])
    for k in (1, 2):
        for r in range(2):
            apart = [
                scratch.stood[k][f"head.{part}"][r] - scratch.stood[k - 1][f"head.{part}"][r]
                for part in ("weight", "bias")
            ]
            length = sum(a.double().square().sum().item() for a in apart) ** 0.5
            assert outcome.drift[r, k, -1] == pytest.approx(length, rel=1e-6)


@pytest.mark.parametrize("scenario", ["domain", "class"])
def test_joint_is_one_task_with_the_samples_of_all(
    learnable: Callable[..., Dataset], scenario: str
) -> None:
    dataset = learnable(1, 4, 70, 6)
    streams = [split(dataset, 3, seed=s, scenario=scenario) for s in (0, 1)]
    merged = []
    for stream in streams:
        tasks = []
        for k, task in enumerate(stream.tasks):
            seen = stream.tasks[: k + 1]
            outputs = torch.stack([t.outputs for t in seen]).amax(0)  # −1 for classes to come
            train_rows = torch.cat([t.train for t in seen])
            tasks.append(task._replace(train=train_rows, outputs=outputs))
        merged.append(stream._replace(tasks=tuple(tasks)))
    found = []
    for given, wanted in ((streams, Joint()), (merged, Initialized())):
        end = End()
        network = MLP(16, [6, 5], streams[0].outputs)
        outcome = train(given, network, wanted, [0, 1], BUDGET, observers=[end])
        found.append((outcome.images, end.stood))
    (images, joint), (again, one) = found
    sizes = [[len(task.train) for task in stream.tasks] for stream in streams]
    assert images == again == sum(3 * a + 2 * b + c for a, b, c in sizes)
    for ours, theirs in zip(joint, one, strict=True):
        assert all(p.equal(theirs[n]) for n, p in ours.items())


TOO_MANY: list[tuple[Strategy, str]] = [
    (Frozen(4), "4 trained modules asked of mlp-16-6-5-4, which has 3"),
    (Frozen(-1), "-1 trained modules"),
    (Partial(4), "4 trained modules"),
    (Hybrid(few=4), "4 trained modules"),
    (Hybrid(many=4), "4 trained modules"),
]


@pytest.mark.parametrize(("wanted", "message"), TOO_MANY)
def test_more_modules_than_the_network_has(
    gray: Dataset, monkeypatch: pytest.MonkeyPatch, wanted: Strategy, message: str
) -> None:
    """Refused when the first task arrives, although it would train everything."""

    def forward(*_: Any) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(MLP, "forward", forward)
    with pytest.raises(InputError, match=message):
        train([permuted(gray, [1.0], seed=0)], MLP(16, [6, 5], 4), wanted, [0], BUDGET)


def test_strategies_by_name() -> None:
    assert set(STRATEGIES) >= {"initialized", "frozen", "partial", "scratch", "joint", "hybrid"}
    assert strategy("frozen", modules=2) == Frozen(2)
    assert strategy("partial", modules=2) == Partial(2)
    assert isinstance(strategy("scratch"), Scratch)
    assert isinstance(strategy("joint"), Joint)
    assert isinstance(strategy("initialized"), Initialized)
    assert isinstance(strategy("hybrid"), Hybrid)
    assert strategy("hybrid") is not strategy("hybrid")


@pytest.mark.parametrize(
    ("wrong", "meant"), [("frozn", "frozen"), ("Hybrid", "hybrid"), ("initialised", "initialized")]
)
def test_unknown_strategy(wrong: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"unknown strategy '{wrong}': did you mean '{meant}'"):
        strategy(wrong)


class Pushing(Frozen):
    """Adds to every gradient, as a strategy might that corrects them."""

    def gradient(self, learner: Learner, gradient: Parameters) -> None:
        for g in gradient.values():
            g.add_(0.01)


@pytest.mark.parametrize("network", [MLP(16, [9, 8], 4), ResNet18(1, 4, width=2)])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"optimizer": "adam"}])
def test_what_is_frozen_stays_whatever_a_strategy_does_to_the_gradient(
    gray: Dataset, network: Network, options: dict[str, Any]
) -> None:
    budget = Budget(epochs=1, batch=16, learning_rate=0.05, **options)
    outcome = train([permuted(gray, [1.0], seed=0)], network, Pushing(1), [0], budget)
    assert (outcome.drift[0, 0] > 0).all()
    assert (outcome.drift[0, 1, :-1] == 0).all()
    assert outcome.drift[0, 1, -1] > 0
