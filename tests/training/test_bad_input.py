"""What `train` refuses, before any work is done."""

from typing import Any

import pytest
import torch

from clcore.errors import InputError
from clcore.networks import MLP
from clcore.strategies import Strategy
from clcore.streams import Dataset, Stream, permuted, split
from clcore.training import Budget, Outcome, train

NAN = float("nan")


class Untouched(MLP):
    """A network that must not even be initialized."""

    def initialize(self, *_: Any) -> Any:
        raise AssertionError("work was done before the input was checked")


def attempt(
    streams: list[Stream],
    seeds: list[int],
    budget: Budget | None = None,
    heads: int = 5,
    device: str = "cpu",
) -> Outcome:
    network = Untouched(64, [8], 10, heads)
    return train(streams, network, Strategy(), seeds, budget or Budget(1, 64, 0.1), device=device)


@pytest.fixture(scope="module")
def stream(digits: Dataset) -> Stream:
    return permuted(digits, [1.0], seed=0)


@pytest.mark.parametrize("seeds", [[], [0], [0, 1, 2]])
def test_streams_and_seeds(stream: Stream, seeds: list[int]) -> None:
    with pytest.raises(InputError, match=f"2 streams for {len(seeds)} seeds"):
        attempt([stream] * 2, seeds)


def test_nothing_to_train() -> None:
    with pytest.raises(InputError, match="0 streams for 0 seeds"):
        attempt([], [])


def test_negative_seed(stream: Stream) -> None:
    with pytest.raises(InputError, match=r"seeds \[0, -1\]: each must be at least 0"):
        attempt([stream] * 2, [0, -1])


BUDGETS = {
    "momentum 1 is not in": Budget(1, 64, 0.1, 1),
    "momentum -0.1 is not in": Budget(1, 64, 0.1, -0.1),
    "momentum nan is not in": Budget(1, 64, 0.1, NAN),
    "0 epochs and batch 64": Budget(0, 64, 0.1),
    "1 epochs and batch 0": Budget(1, 0, 0.1),
    r"rates \[nan\]: each must be finite and above 0": Budget(1, 64, NAN),
    r"rates \[inf\]": Budget(1, 64, float("inf")),
    r"rates \[0.0\]": Budget(1, 64, 0),
    r"rates \[-0.1\]": Budget(1, 64, [-0.1]),
    "2 learning rates for 1 seeds": Budget(1, 64, [0.1, 0.1]),
    "0 learning rates for 1 seeds": Budget(1, 64, []),
}


@pytest.mark.parametrize("message", BUDGETS)
def test_budget(stream: Stream, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attempt([stream], [0], BUDGETS[message])


def test_mixed_streams(digits: Dataset, gray: Dataset, stream: Stream) -> None:
    others = {
        "heads": split(digits, 2, seed=0),
        "tasks": permuted(digits, [1.0, 1.0], seed=0),
        "held-out": permuted(digits, [1.0], seed=0, holdout=0.1),
        "classes": permuted(gray, [1.0], seed=0),
        "data set": permuted(digits._replace(checksum="other"), [1.0], seed=0),
    }
    for other in others.values():
        with pytest.raises(InputError, match=r"streams 'permuted' and .* differ in"):
            attempt([stream, other], [0, 1])


def test_too_few_heads(digits: Dataset) -> None:
    with pytest.raises(InputError, match="'split' needs 5 heads, mlp-64-8-10 has 4"):
        attempt([split(digits, 5, seed=0)], [0], heads=4)


def test_task_without_samples(stream: Stream) -> None:
    for part in ("train", "test"):
        empty = stream.tasks[1]._replace(**{part: torch.arange(0)})
        broken = stream._replace(tasks=(stream.tasks[0], empty))
        with pytest.raises(InputError, match=r"task 1 of stream 'permuted' has"):
            attempt([broken], [0])


def test_device(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        attempt([stream], [0], device="gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="'cuda' was asked for"):
        attempt([stream], [0], device="cuda")
