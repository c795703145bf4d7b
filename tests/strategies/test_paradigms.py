from collections.abc import Callable
from typing import Any

import pytest
import torch

from clcore.errors import InputError
from clcore.networks import MLP, Network, ResNet18
from clcore.strategies import (
    STRATEGIES,
    Frozen,
    Hybrid,
    Initialized,
    Strategy,
    last_modules,
    strategy,
)
from clcore.streams import Dataset, permuted, split
from clcore.training import Budget, train

BUDGET = Budget(1, 16, 0.05, 0.5)


class Stand:
    """A learner that only stands somewhere: 3 replicas of a network of 4 modules."""

    def __init__(self, task: int = 0) -> None:
        self.network: Network = MLP(4, [5, 5, 5], 2)
        self.parameters: dict[str, torch.Tensor] = {}
        self.replicas, self.task, self.head = 3, task, 0
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
        found = Frozen(modules).begin(Stand(task)).tolist()
        assert found == (last if task else everything)


@pytest.mark.parametrize("modules", [0, 1, 2])
@pytest.mark.parametrize(
    "make", [lambda heads: MLP(192, [6, 5], 2, heads), lambda heads: ResNet18(3, 2, heads, 2)]
)
def test_frozen_moves_only_the_last_modules(
    color: Dataset, make: Callable[[int], Network], modules: int
) -> None:
    streams = [split(color, 2, seed=s) for s in (0, 1)]
    outcome = train(streams, make(2), Frozen(modules), [0, 1], BUDGET)
    assert (outcome.drift[:, 0] > 0).all()
    kept = outcome.drift.shape[2] - modules
    assert (outcome.drift[:, 1, :kept] == 0).all()
    assert (outcome.drift[:, 1, kept:] > 0).all()


def test_initialized_moves_everything(gray: Dataset) -> None:
    outcome = train([permuted(gray, [1.0], seed=0)], MLP(16, [6, 5], 4), Initialized(), [0], BUDGET)
    assert (outcome.drift > 0).all()


TOO_MANY: list[tuple[Strategy, str]] = [
    (Frozen(4), "4 trained modules asked of mlp-16-6-5-4, which has 3"),
    (Frozen(-1), "-1 trained modules"),
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
    assert set(STRATEGIES) >= {"initialized", "frozen", "hybrid"}
    assert strategy("frozen", modules=2) == Frozen(2)
    assert isinstance(strategy("initialized"), Initialized)
    assert isinstance(strategy("hybrid"), Hybrid)
    assert strategy("hybrid") is not strategy("hybrid")


@pytest.mark.parametrize(
    ("wrong", "meant"), [("frozn", "frozen"), ("Hybrid", "hybrid"), ("initialised", "initialized")]
)
def test_unknown_strategy(wrong: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"unknown strategy '{wrong}': did you mean '{meant}'"):
        strategy(wrong)
